"""One row for each structure of a registration: volumes, overlap and surface distance before and after."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import voxel_counts
from autofuse_jax.reports.colours import PALETTE, structure_colours
from autofuse_jax.reports.html import DASH, Html, chip, is_number, number, section, table, tag

MM3_PER_ML = 1000.0


def structures_section(
    names: Mapping[int, str],
    scores: Mapping[str, Any],
    labels: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None],
    voxel_mm3: float,
) -> Html | None:
    """Return the table, the structure with the smallest DSC after registration first.

    Args:
        names: Label id to name, in any order.
        scores: The entry 'scores' of report.json. Where it has no DSC of the structures, they are counted here.
        labels: Fixed, moving (before) and moved labels on the fixed grid, or None.
        voxel_mm3: Volume of a voxel.

    Returns:
        The section; None if there are no structures.
    """
    if not names:
        return None
    fixed, before, after = labels
    volumes = [_volumes_ml(array, voxel_mm3) for array in labels]
    overlap = [
        scores.get(f'dsc_{when}_per_label') or _overlaps(fixed, moving, names)
        for when, moving in (('before', before), ('after', after))
    ]
    distance = [scores.get(f'hd95_mm_{when}_per_label') or {} for when in ('before', 'after')]

    def worst_first(label: int) -> tuple[bool, float]:
        score = overlap[1].get(str(label))
        return (False, score) if is_number(score) else (True, 0.0)

    rows = []
    for label in sorted(names, key=worst_first):
        dsc = [scores_of.get(str(label)) for scores_of in overlap]
        hd95 = [scores_of.get(str(label)) for scores_of in distance]
        ml = [None if volume is None else volume.get(label, 0.0) for volume in volumes]
        rows.append(
            [
                [_chip(label, names), names[label]],
                *[number(value, 1 if value and value >= 100 else 2) for value in ml],
                _signed(100 * (ml[2] / ml[0] - 1) if ml[0] and ml[2] is not None else None, 1),
                number(dsc[0], 1, 100),
                _dsc_cell(*dsc),
                number(hd95[0], 1),
                number(hd95[1], 1),
            ]
        )
    header = [
        'structure',
        'fixed ml',
        'moving ml',
        'moved ml',
        'moved vs fixed %',
        'DSC % before',
        'after',
        'HD95 mm before',
        'after',
    ]
    text = (
        f'{len(rows)} structures, the lowest DSC after registration first. Volumes are of the labels on the fixed '
        'grid; the moving one is before registration, as far as it lies on that grid. A dash: the structure is '
        'missing in one of the images. Red: lower than before.'
    )
    words = in_one_map(names, scores)
    return section('Structures', tag('p', text), tag('p', words) if words else None, table(header, rows))


def in_one_map(names: Mapping[int, str], scores: Mapping[str, Any]) -> str:
    """Name the structures that only one label map has, and give the mean DSC with and without them.

    Args:
        names: Label id to name.
        scores: The entry 'scores' of report.json.

    Returns:
        Two sentences; empty where both maps have all structures.
    """
    single = [int(label) for label in scores.get('structures_in_one_map') or ()]
    if not single:
        return ''
    means = [
        f'{when} {number(scores.get(f"dsc_{when}"), 1, 100)} % with and '
        f'{number(scores.get(f"dsc_{when}_in_both"), 1, 100)} % without'
        for when in ('before', 'after')
    ]
    what = ', '.join(names.get(label, f'label {label}') for label in single)
    return f'In only one of the two label maps, so that the DSC is 0: {what}. Mean DSC {"; ".join(means)}.'


def _volumes_ml(labels: np.ndarray | None, voxel_mm3: float) -> dict[int, float] | None:
    if labels is None:
        return None
    return {label: count * voxel_mm3 / MM3_PER_ML for label, count in voxel_counts(labels).items()}


def _overlaps(fixed: np.ndarray | None, moving: np.ndarray | None, labels: Iterable[int]) -> dict[str, float]:
    """DSC of the labels of two maps, keyed as in report.json."""
    if fixed is None or moving is None:
        return {}
    return {str(label): score for label, score in dice_per_label(fixed, moving, labels).items()}


def _dsc_cell(before: Any, after: Any) -> Html:
    """The DSC after registration with a bar of that length behind it."""
    if not is_number(after):
        return tag('td', DASH, class_='number')
    worse = is_number(before) and after < before
    share = f'--share: {100 * after:.1f}%'
    return tag('td', number(after, 1, 100), class_='number share worse' if worse else 'number share', style=share)


def _signed(value: float | None, digits: int) -> str:
    text = number(value, digits)
    return f'+{text}' if is_number(value) and value > 0 and float(text) else text


def _chip(label: int, names: Mapping[int, str]) -> Html | None:
    """The colour of the structure's outline, where few enough have one of their own."""
    if len(names) > len(PALETTE):
        return None
    return chip(structure_colours(names)[label])
