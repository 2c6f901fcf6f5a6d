"""The cases: two images each, what they must come to, and how far what they come to is from it."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from autofuse_jax.choices import IN_TURN
from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.transforms.grids import grid_points
from experiments.real_world.images import (
    HEART_STRUCTURES,
    Images,
    grey_values,
    in_other_contrast,
    middle_slice,
    reordered,
    resized,
    sheared,
    slab,
    turned,
)
from experiments.real_world.outcomes import How, Outcome

# The part that a slab shows of an image, shares of its extent.
PART = (0.35, 0.7)
CONTRASTS = ('inverted', 'negative', 'not monotonic', 'T2-like', 'CT-like', 'ultrasound-like')
# Points of DSC that a pair may lose to the same pair in one contrast: 2, and 4 where no order of brightness is left.
LOST_BY_CONTRAST = {'not monotonic': 4.0, 'CT-like': 4.0, 'ultrasound-like': 4.0}
# Of a mouse beside a human being.
SMALL = 0.05
AXES = 'xyz'
ALIGNED = How(deform=False)
# Ways in which exchanged images are registered, by what follows the name of the case.
EXCHANGES = {
    '': How(),
    ', --inverse-weight=turns': How(inverse=IN_TURN),
    ', --inverse-weight=1': How(inverse=1.0),
    ', --symmetric': How(symmetric=True),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A situation.

    Attributes:
        kind: What it stands for.
        name: Name within its kind.
        load: Returns the fixed and the moving image.
        measure: Turns the result into numbers.
        wanted: Largest value of each number that must not be exceeded; of 'dsc' the least.
        how: How the images are registered; default with the settings of `register`.
        reference: Name of the case whose 'dsc' is what `wanted['dsc']`, a number of points, is counted from; None:
            `wanted['dsc']` is the value itself.
        good: Whether the verdict must be 'good' (True), must not be (False), or may be anything (None).
        swap: Whether the images are registered the other way round as well, and the difference is measured, see
            `swap_difference`, besides the numbers of `measure`, which are means of both directions.
    """

    kind: str
    name: str
    load: Callable[[], tuple[Volume, Volume]]
    measure: Callable[[Outcome], dict[str, float]]
    wanted: dict[str, float]
    how: How = How()
    reference: str | None = None
    good: bool | None = None
    swap: bool = False


def all_cases(images: Images) -> Iterator[Case]:
    """Return the cases in the order of their kinds, references first."""
    head, other, structures = images.head(0), images.head(1), images.head_structures()
    heart = images.heart(0, 'ED')
    dsc = lambda result: {'dsc': overlap(result, structures)}  # noqa: E731
    heart_dsc = lambda result: {'dsc': overlap(result, HEART_STRUCTURES)}  # noqa: E731
    pair, beat = lambda: (head, other), lambda: (heart, images.heart(0, 'ES'))
    yield Case('one contrast', 'two heads', pair, dsc, {'dsc': 70.0}, good=True)
    yield Case('one contrast', 'two heads, aligned only', pair, dsc, {'dsc': 55.0}, ALIGNED)
    yield Case('one contrast', 'a heart', beat, heart_dsc, {'dsc': 80.0}, good=True)
    yield Case('one contrast', 'a heart, aligned only', beat, heart_dsc, {'dsc': 55.0}, ALIGNED)
    yield from _parts(head, heart)
    yield from _identities(head, heart)
    yield from _masks(head)
    for thing, two, measure in (('heads', pair, dsc), ('hearts', beat, heart_dsc)):
        for words, how in EXCHANGES.items():
            name = f'two {thing}, fixed and moving exchanged{words}'
            yield Case('swap', name, two, measure, {'p95_voxels': 0.5}, how, swap=True)
    yield from _contrasts(head, other, dsc)
    yield from _orientations(head, other, dsc, images, heart_dsc)
    yield from _slices(images, heart_dsc)
    yield from _small_things(head, other, dsc)
    yield Case('other organs', 'a head and a heart', lambda: (head, heart), nothing, {}, good=False)


def _parts(head: Volume, heart: Volume) -> Iterator[Case]:
    limits = {'mean_voxels': 0.5, 'p95_voxels': 1.0}
    for whole, thing, axes in ((head, 'head', range(3)), (heart, 'heart', range(2))):
        for axis in axes:
            part = slab(whole, axis, *PART)
            inside = move_volume(dataclasses.replace(part, image=np.ones_like(part.image)), whole.grid).image > 0.5
            yield Case(
                'partial views',
                f'a part of a {thing} along {AXES[axis]} to the whole',
                lambda whole=whole, part=part: (whole, part),
                lambda result, inside=inside: errors(result, inside=inside),
                limits,
            )
            yield Case(
                'partial views',
                f'a whole {thing} to a part along {AXES[axis]}',
                lambda whole=whole, part=part: (part, whole),
                errors,
                limits,
            )


def _identities(head: Volume, heart: Volume) -> Iterator[Case]:
    limits = {'largest_voxels': 0.01}
    for thing, volume in (('head', head), ('heart', heart)):
        copy = dataclasses.replace(volume, name='copy')
        yield Case('bias', f'a {thing} to itself', lambda v=volume, c=copy: (v, c), errors, limits, good=True)
    steps = (2, -1, 3)
    image, labels = (np.roll(array, steps, (0, 1, 2)) for array in (head.image, head.labels))
    shifted = dataclasses.replace(head, image=image, labels=labels, name='shifted')
    shift = head.affine[:3, :3] @ np.asarray(steps, float)
    yield Case(
        'bias',
        'a head to its copy, shifted by whole voxels',
        lambda: (head, shifted),
        lambda result: errors(result, truth=lambda points: points + shift),
        {'mean_voxels': 0.01},
    )
    yield Case(
        'bias',
        'a head to itself on tilted slices',
        lambda: (sheared(head, 15.0), head),
        lambda result: errors(result, inside=result.fixed.image > 0),
        {'mean_voxels': 0.2, 'p95_voxels': 0.5},
    )


def _masks(head: Volume) -> Iterator[Case]:
    points = grid_points(head.grid)
    shift = np.array([9.0, -6.0, 12.0])
    moving = dataclasses.replace(head, affine=head.affine + np.pad(shift[:, None], ((0, 1), (3, 0))), name='shifted')
    for name, share, weight in (('a twentieth', 0.05, 0.3), ('a fiftieth', 0.02, 1.0)):
        distance = np.linalg.norm(points - head.grid.centre_mm, axis=-1)
        soft = np.clip(2 * (1 - distance / np.quantile(distance, share)), 0, 1).astype(np.float32)
        yield Case(
            'masks',
            f'a soft mask on {name} of the moving head',
            lambda mask=weight * soft: (head, dataclasses.replace(moving, mask=mask)),
            lambda result, inside=soft > 0.5: errors(result, lambda points: points + shift, inside),
            {'mean_voxels': 0.5, 'p95_voxels': 1.0},
        )


def _contrasts(head: Volume, other: Volume, dsc: Callable) -> Iterator[Case]:
    for contrast in CONTRASTS:
        seen = in_other_contrast(other, contrast)
        lost = LOST_BY_CONTRAST.get(contrast, 2.0)
        load = lambda seen=seen: (head, seen)  # noqa: E731
        yield Case('other contrasts', contrast, load, dsc, {'dsc': lost}, reference='two heads')


def _orientations(head: Volume, other: Volume, dsc: Callable, images: Images, heart_dsc: Callable) -> Iterator[Case]:
    half, quarter = np.diag([-1.0, -1.0, 1.0]), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    angle = np.radians(50)
    oblique = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]) @ quarter
    turns = {
        'turned by 180 degrees': half,
        'upside down': np.diag([-1.0, 1.0, -1.0]),
        'turned by 90 degrees twice': quarter @ quarter[[1, 2, 0]][:, [1, 2, 0]],
        'turned by 90 and 50 degrees': oblique,
    }
    for name, matrix in turns.items():
        load = lambda matrix=matrix: (head, turned(other, matrix))  # noqa: E731
        reference = 'two heads, aligned only'
        yield Case('orientation', f'a head {name}', load, dsc, {'dsc': 2.0}, ALIGNED, reference)
    sideways = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for name, matrix in (('turned by 90 degrees', sideways), ('turned by 180 degrees', half)):
        load = lambda matrix=matrix: (images.heart(0, 'ED'), turned(images.heart(0, 'ES'), matrix))  # noqa: E731
        yield Case('orientation', f'a heart {name}', load, heart_dsc, {'dsc': 2.0}, ALIGNED, 'a heart, aligned only')
    for name, matrix in (('left for right', np.diag([-1.0, 1, 1])), ('head for feet', np.diag([1.0, 1, -1]))):
        load = lambda matrix=matrix: (head, turned(other, matrix))  # noqa: E731
        yield Case('orientation', f'a header that takes {name}', load, nothing, {}, good=False)
    for codes in ('PIR', 'ASL'):
        load = lambda codes=codes: (reordered(head, codes), reordered(other, codes))  # noqa: E731
        yield Case('orientation', f'files stored as {codes}', load, dsc, {'dsc': 0.5}, reference='two heads')


def _slices(images: Images, heart_dsc: Callable) -> Iterator[Case]:
    fixed, moving = (middle_slice(images.heart(0, phase)) for phase in ('ED', 'ES'))
    beat, aligned_name = (lambda: (fixed, moving)), 'a slice of a heart, aligned only'
    yield Case('single slices', 'a slice of a heart', beat, heart_dsc, {'dsc': 80.0}, good=True)
    yield Case('single slices', aligned_name, beat, heart_dsc, {'dsc': 55.0}, ALIGNED)
    copy = dataclasses.replace(fixed, name='copy')
    limits = {'largest_voxels': 0.01}
    yield Case('single slices', 'a slice to itself', lambda: (fixed, copy), errors, limits, good=True)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    load = lambda: (fixed, turned(moving, quarter))  # noqa: E731
    yield Case('single slices', 'a slice turned by 90 degrees', load, heart_dsc, {'dsc': 2.0}, ALIGNED, aligned_name)


def _small_things(head: Volume, other: Volume, dsc: Callable) -> Iterator[Case]:
    small, reference = (resized(head, SMALL), resized(other, SMALL)), 'two heads, aligned only'
    load, name = (lambda: small), f'two heads, {SMALL:g} times as large'
    yield Case('small things', name, load, dsc, {'dsc': 0.5}, reference='two heads', good=True)
    yield Case('small things', f'{name}, aligned only', load, dsc, {'dsc': 2.0}, ALIGNED, reference)
    upside = lambda: (small[0], turned(small[1], np.diag([-1.0, 1.0, -1.0])))  # noqa: E731
    yield Case('small things', f'{name}, one upside down', upside, dsc, {'dsc': 2.0}, ALIGNED, reference)


def nothing(result: Outcome) -> dict[str, float]:
    """Measure nothing: what counts is the verdict, or the difference to another registration."""
    return {}


def overlap(result: Outcome, structures: tuple[int, ...]) -> float:
    """Return the mean DSC of the structures, percent."""
    return 100 * float(mean_over_structures(dice_per_label(result.fixed.labels, result.moved_labels, structures)))


def errors(
    result: Outcome,
    truth: Callable[[np.ndarray], np.ndarray] | None = None,
    inside: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return how far the transform is from the truth, in voxels of the smallest side.

    Args:
        result: The registration.
        truth: Map of points in millimetres; None: the identity.
        inside: bool (D, H, W), voxels that count; None: all.
    """
    points = grid_points(result.fixed.grid)
    apart = result.transform.map_points(points) - (points if truth is None else truth(points))
    return _lengths(apart if inside is None else apart[inside], result.fixed)


def swap_difference(result: Outcome, swapped: Outcome) -> dict[str, float]:
    """Return how far the transform is from the inverse of what comes out with fixed and moving exchanged.

    Args:
        result: The registration.
        swapped: The registration of the same images, the moving one fixed.

    Returns:
        Numbers as of `errors`, over what the fixed image shows.
    """
    points = grid_points(result.fixed.grid)
    _, shown = grey_values(result.fixed)
    return _lengths((result.transform.map_points(points) - swapped.inverse.map_points(points))[shown], result.fixed)


def _lengths(apart: np.ndarray, fixed: Volume) -> dict[str, float]:
    apart = np.linalg.norm(apart, axis=-1) / min(fixed.spacing)
    return {
        'mean_voxels': float(apart.mean()),
        'p95_voxels': float(np.percentile(apart, 95)),
        'largest_voxels': float(apart.max()),
    }
