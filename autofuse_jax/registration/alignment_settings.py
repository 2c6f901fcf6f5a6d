"""How to align two images linearly."""

import dataclasses

from autofuse_jax.choices import AFFINE, AUTO, LINEAR_MAPS, NONE, ROTATIONS, SIMILARITIES, STARTS, TRANSLATION
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import COUNT, POSITIVE, SHARE, WHOLE, UserError, check_numbers, check_option
from autofuse_jax.registration.pyramid import in_proportion

# Voxel sizes of the levels for images of the size of a body.
SPACINGS_MM = (8.0, 4.0, 2.0)


@dataclasses.dataclass(frozen=True)
class AlignmentSettings:
    """How to align.

    Attributes:
        kind: 'none', 'translation', 'rigid' or 'affine' (default).
        similarity: 'ncc', local correlation in a window of 9 voxels; 'mi', mutual information, for images of different
            contrasts; 'mind', the same here, since descriptors turn with the image; 'matched', the same, and then the
            correlation of both images in one contrast, which can be told only once they are aligned; or 'auto'
            (default): correlation, and 'matched' where that leads to images of different contrasts.
        start: 'header' (world positions as the files say), 'centres' (of the grids), 'masses' (centres of the
            intensities), 'rotations' (large rotations about the centres of the intensities are tried as well), or
            'auto' (default): the most similar of the three, and rotations where they are promising.
        spacings: Voxel sizes of the levels from coarse to fine, millimetres; None (default): 8, 4 and 2 for images
            that reach 120 mm or more, and in proportion for smaller ones.
        steps: Largest number of steps of each level, 1 or more; default 120, 40 and 5: the finer the level, the more a
            step costs and the nearer the exact end already is.
        exact_steps: Largest number of evaluations of the loss by L-BFGS at the end, 0: none; default 12.
        learning_rate: Millimetres a step at the first step of a level, as a share of its voxel size.
        tolerance: Tolerance of `Schedule`.

    Raises:
        UserError: An option is unknown or out of its range, spacings and steps differ in length, or rotations are to be
            tried for a kind without any.
    """

    kind: str = AFFINE
    similarity: str = AUTO
    start: str = 'auto'
    spacings: tuple[float, ...] | None = None
    steps: tuple[int, ...] = (120, 40, 5)
    exact_steps: int = 12
    learning_rate: float = 0.15
    tolerance: float = 0.002

    def __post_init__(self):
        check_option('the kind of the alignment', self.kind, LINEAR_MAPS)
        check_option('the similarity of the alignment', self.similarity, (AUTO, *SIMILARITIES))
        check_option('the start of the alignment', self.start, STARTS)
        if self.start == ROTATIONS and self.kind in (NONE, TRANSLATION):
            raise UserError(
                f'the alignment starts from rotations, and its kind is {self.kind}',
                expected='rigid or affine, which are refined from rotations',
                fix='seek another linear map (--align=rigid), or start from the header, centres or masses',
            )
        spacings = SPACINGS_MM if self.spacings is None else self.spacings
        check_numbers('the spacings of the alignment', spacings, POSITIVE)
        check_numbers('the steps of the alignment', self.steps, COUNT)
        if len(spacings) != len(self.steps):
            raise UserError(
                f'the alignment has {len(spacings)} spacings and {len(self.steps)} numbers of steps',
                expected='one number of steps for each spacing',
                fix='add or remove steps',
            )
        check_option('the number of exact steps of the alignment', self.exact_steps, WHOLE)
        check_option('the learning rate of the alignment', self.learning_rate, POSITIVE)
        check_option('the tolerance of the alignment', self.tolerance, SHARE)


def level_spacings(settings: AlignmentSettings, fixed: Volume, moving: Volume) -> tuple[float, ...]:
    """Return the voxel sizes of the levels for a pair, millimetres, from coarse to fine."""
    if settings.spacings is not None:
        return settings.spacings
    return tuple(in_proportion(spacing, fixed.grid, moving.grid) for spacing in SPACINGS_MM)
