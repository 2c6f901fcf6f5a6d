"""What a file says of an image besides its values and its place: times, a description, and how ITK and FSL read it."""

import dataclasses

UNKNOWN_UNIT = 'unknown'
# Bytes that NIfTI has for a description.
LONGEST_DESCRIPTION = 79


@dataclasses.dataclass(frozen=True)
class Notes:
    """Notes of a file, which go along with what is made of its image.

    Attributes:
        time_step: Time from one frame to the next (the repetition time), in `time_unit`; 0 where it is not known.
        time_offset: Time of the first frame, in `time_unit`.
        time_unit: Unit of time as NIfTI names it: 'sec', 'msec', 'usec', 'hz', 'ppm', 'rads' or 'unknown'.
        description: Text of the header, at most 79 bytes in NIfTI.
        itk_obstacle: Reason why ITK places the image elsewhere than this package; empty where it does not.
        fsl_obstacle: Reason why FSL counts along its axes in another way; empty where it does not.
    """

    time_step: float = 0.0
    time_offset: float = 0.0
    time_unit: str = UNKNOWN_UNIT
    description: bytes = b''
    itk_obstacle: str = ''
    fsl_obstacle: str = ''

    @property
    def times(self) -> 'Notes':
        """The times alone, for what is made of an image and shows something else."""
        return Notes(self.time_step, self.time_offset, self.time_unit)


NO_NOTES = Notes()
