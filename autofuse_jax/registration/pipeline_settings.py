"""Settings of a registration: which steps are carried out and how."""

import dataclasses

from autofuse_jax.choices import AUTO
from autofuse_jax.errors import POSITIVE, Range, check_option
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.instance_settings import InstanceSettings


@dataclasses.dataclass(frozen=True)
class PipelineSettings:
    """Which steps are carried out and how.

    Attributes:
        alignment: Linear alignment; its kind 'none' with start 'header' takes world positions as the files say.
        instance: Instance optimisation, or None to leave it out.
        background: Value of the moved image where the moving one does not reach: a number, 'min' or 'auto' (default),
            see `choose_background`.
        spacing_mm: Voxel size of the working grid, one number above 0; None chooses, see `working_grid`.
        samples: Number of restarts of instance optimisation, or without it of draws from a network's variance, over
            which the spread of the deformation is measured; default 0: it is not.

    Raises:
        UserError: A number is out of its range.
    """

    alignment: AlignmentSettings = AlignmentSettings()
    instance: InstanceSettings | None = InstanceSettings()
    spacing_mm: float | None = None
    background: float | str = AUTO
    samples: int = 0

    def __post_init__(self):
        if self.spacing_mm is not None:
            check_option('the spacing of the working grid in mm', self.spacing_mm, POSITIVE)
        check_option('the number of samples', self.samples, Range(least=0, whole=True))
