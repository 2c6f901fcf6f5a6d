"""What in the evidence on a registration speaks against it, in sentences, whatever the scores before were."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from autofuse_jax.reports.html import is_number, number

# The levels of a verdict, from the best.
GOOD, LOOK, FAILED = LEVELS = ('good', 'look', 'failed')


class Limit(NamedTuple):
    """Bounds of a number of the evidence: beyond the inner ones it is to be looked at, beyond the outer it has failed.

    Attributes:
        key: Name in the evidence.
        name: Name in sentences, with '{}' for the value.
        factor: Factor of the value in the sentence.
        digits: Digits in the sentence.
        failed_below: Least value that has not failed; None: no such bound.
        look_below: Least value that needs no look.
        look_above: Largest value that needs no look.
        failed_above: Largest value that has not failed.
        because: What it may mean.
    """

    key: str
    name: str
    factor: float = 1.0
    digits: int = 2
    failed_below: float | None = None
    look_below: float | None = None
    look_above: float | None = None
    failed_above: float | None = None
    because: str = ''


# Measured on pairs of hearts and heads that are aligned, and on the same pairs turned, mirrored and exchanged.
LIMITS = (
    Limit(
        'foreground_overlap',
        'what is imaged overlaps by {} % only',
        100,
        0,
        failed_below=0.5,
        look_below=0.75,
        because='one image may show something else, or lie elsewhere',
    ),
    Limit(
        'covered_percent',
        'the moving image covers {} % of the fixed one',
        1,
        0,
        look_below=25,
        because='the rest of the field is a continuation, not a measurement',
    ),
    Limit(
        'shared_percent',
        'the images share {} % of what counts of the smaller one',
        1,
        0,
        failed_below=3,
        because='there is hardly anything to compare',
    ),
    Limit(
        'volume_change',
        'the linear part changes volumes by a factor of {}',
        failed_below=0.3,
        look_below=0.6,
        look_above=1.7,
        failed_above=3.3,
        because='bodies differ by less: look whether it shows what belongs together',
    ),
    Limit(
        'stretch',
        'the linear part stretches one direction {} times as much as another',
        look_above=1.6,
        failed_above=3.0,
        because='shear or stretching of this size is rarely anatomy',
    ),
    Limit(
        'mirrored',
        'a mirror image fits as well or better ({} times as similar)',
        look_above=1.0,
        failed_above=1.1,
        digits=3,
        because='check left and right, and the orientation in both headers',
    ),
    Limit(
        'both_ways_share',
        'the alignment from fixed to moving and that from moving to fixed differ by {} % of the size of what is imaged',
        100,
        0,
        look_above=0.3,
        because='at least one of them has been led astray',
    ),
    Limit(
        'jacobian_p1',
        'one voxel in a hundred shrinks to less than {} of its volume',
        look_below=0.08,
        because='the images may differ by more than a deformation',
    ),
    Limit(
        'jacobian_p99',
        'one voxel in a hundred grows to more than {} times its volume',
        1.0,
        1,
        look_above=6.0,
        because='the images may differ by more than a deformation',
    ),
    Limit(
        'points_outside',
        'the points that guide are not all inside of their images ({} outside)',
        1,
        0,
        look_above=0,
        because='check which image they belong to, and the signs of x and y (LPS or RAS)',
    ),
    # Points are set no more precisely than this.
    Limit(
        'points_growth',
        'the points that guide are further apart than before, by {} voxels on average',
        1,
        1,
        look_above=0.5,
        because='check that they are counterparts, in the same order and in RAS millimetres',
    ),
)
# Local correlation of images of one contrast, and dependence of the grey values of images of different contrasts.
SAME_CONTRAST = Limit(
    'local_correlation',
    'where the fixed image shows anything, the moved one resembles it little (local correlation {})',
    failed_below=0.2,
    look_below=0.35,
    because='aligned images of one kind reach more',
)
OTHER_CONTRAST = Limit(
    'dependence',
    'the grey values of one image say little of those of the other (dependence {})',
    failed_below=0.2,
    look_below=0.35,
    because='aligned images of different contrasts reach more',
)


def doubts_of(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what speaks against a registration.

    Args:
        evidence: Results of `registration.evidence.evidence_of` and, with guiding points, of
            `registration.guide_points.point_evidence`; what is missing, None or not a number says nothing.

    Returns:
        Level, 'look' or 'failed', and a sentence for each; empty where nothing does.
    """
    kind = OTHER_CONTRAST if evidence.get('same_contrast') is False else SAME_CONTRAST
    doubts = [(limit, evidence.get(limit.key)) for limit in (*LIMITS, kind)]
    return [
        (level, f'{_capital(limit.name.format(number(value, limit.digits, limit.factor)))}: {limit.because}.')
        for limit, value in doubts
        if is_number(value) and (level := _level(limit, float(value))) != GOOD
    ]


def _level(limit: Limit, value: float) -> str:
    below = [bound is not None and value < bound for bound in (limit.failed_below, limit.look_below)]
    above = [bound is not None and value > bound for bound in (limit.failed_above, limit.look_above)]
    if below[0] or above[0]:
        return FAILED
    return LOOK if below[1] or above[1] else GOOD


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
