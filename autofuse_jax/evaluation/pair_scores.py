"""The scores of one pair under a protocol: the one place where a registration is scored."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from autofuse_jax.evaluation.folding_scores import folding_scores
from autofuse_jax.evaluation.pair_data import AFTER, BEFORE, PairData, Segmentation
from autofuse_jax.evaluation.protocol import ASSD, DSC, HD95, JACOBIAN_RANGE, NJD, SDLOGJ, TRE, Protocol, Surface
from autofuse_jax.metrics.landmarks import robust_summary, target_registration_errors
from autofuse_jax.metrics.learn2reg import labels_in_both, sample_labels_between_centres
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import BACKGROUND, label_ids, mean_over_structures, structure_names
from autofuse_jax.metrics.surface import (
    SurfaceDefinition,
    average_distance,
    distances_per_label,
    percentile_distance,
    with_margin,
)
from autofuse_jax.transforms.grids import spacing_of, to_voxels, to_world
from autofuse_jax.transforms.resampling import sample_labels, sample_labels_linear

# Keys of records, without '_before' and '_after'.
KEYS = {DSC: 'dsc', HD95: 'hd95_mm', ASSD: 'assd_mm'}


def score_pair(pair: PairData, protocol: Protocol) -> dict[str, Any]:
    """Score one pair.

    Args:
        pair: The pair.
        protocol: Quantities to measure, and their definitions.

    Returns:
        Scores, as far as the protocol asks for them and the pair allows them: 'njd_percent', 'sdlogj', 'jacobian_min',
        'jacobian_max', 'ndv_percent'; 'seconds'; with labels of both images, for 'before' and 'after',
        'dsc_<when>' (0 .. 1), 'hd95_mm_<when>', 'assd_mm_<when>' and the same with '_per_label' (label id to number);
        with landmarks 'tre_mm_<when>' (mean), 'tre_mm_<when>_median', 'tre_mm_<when>_p30' and 'landmarks'; with a
        segmentation 'segmentation_dsc' and 'segmentation_dsc_per_label' or, of other ids than the structures',
        'segmentation_dsc_per_training_class'; and the pair's own measurements. nan where a value is not defined.

    Raises:
        UserError: The field is too small for the protocol, or not finite.
    """
    quantities = set(protocol.quantities)
    record: dict[str, Any] = {}
    if pair.displacement is not None and (quantities & {NJD, SDLOGJ, JACOBIAN_RANGE} or protocol.folding.ndv):
        record |= folding_scores(pair, protocol)
    if pair.seconds is not None:
        record['seconds'] = pair.seconds
    if pair.fixed_labels is not None and pair.unwarped_labels is not None and quantities & KEYS.keys():
        record |= _label_scores(pair, protocol)
    if pair.fixed_points is not None and pair.moving_points is not None and TRE in quantities:
        record |= _landmark_scores(pair, protocol)
    if pair.segmentation is not None and DSC in quantities:
        record |= _segmentation_scores(pair.segmentation)
    return record | dict(pair.measurements)


def _labels_on_fixed_grid(pair: PairData, protocol: Protocol, when: str) -> np.ndarray:
    """The moving label map on the fixed grid, before or after registration."""
    if pair.warped_labels is not None:
        return pair.warped_labels[when]
    shape, moving = pair.fixed_labels.shape, pair.moving_labels
    same_indices = np.array_equal(pair.to_moving, np.eye(4))
    if when == BEFORE and same_indices and moving.shape == shape:
        return moving
    positions = np.indices(shape, np.float64)
    if when == AFTER:
        positions += np.moveaxis(pair.displacement, -1, 0)
    if not same_indices:
        positions = np.moveaxis(to_world(pair.to_moving, np.moveaxis(positions, 0, -1)), -1, 0)
    if protocol.label_interpolation == 'linear':
        warped = sample_labels_linear(moving, positions)
        if protocol.outside == 'voxel_centres':
            warped[~_between_centres(positions, moving.shape)] = BACKGROUND
        return warped
    sample = sample_labels_between_centres if protocol.outside == 'voxel_centres' else sample_labels
    return sample(moving, positions)


def _between_centres(positions: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    last = np.reshape(np.asarray(shape) - 1, (3, 1, 1, 1))
    return np.all((positions >= 0) & (positions <= last), axis=0)


def _label_scores(pair: PairData, protocol: Protocol) -> dict[str, Any]:
    labels = _scored_ids(pair, protocol)
    scores: dict[str, Any] = {}
    for when in pair.states:
        warped = _labels_on_fixed_grid(pair, protocol, when)
        by_quantity = _structure_scores(pair, warped, labels, protocol)
        means = {quantity: mean_over_structures(values) for quantity, values in by_quantity.items()}
        if protocol.missing_structures == 'nan':
            lone = _in_one_map(pair.fixed_labels, warped, labels)
            if lone:
                means = dict.fromkeys(means, math.nan)
                by_quantity = {
                    quantity: values | dict.fromkeys(lone, math.nan) for quantity, values in by_quantity.items()
                }
        for quantity, values in by_quantity.items():
            scores |= {f'{KEYS[quantity]}_{when}': means[quantity], f'{KEYS[quantity]}_{when}_per_label': values}
    return scores


def _scored_ids(pair: PairData, protocol: Protocol) -> list[int]:
    structures = next((ids for ids in (protocol.labels, pair.structures) if ids is not None), None)
    maps = pair.fixed_labels, pair.unwarped_labels
    labels = label_ids(*maps) if structures is None else [int(label) for label in structures if label != BACKGROUND]
    return labels_in_both(*maps, labels) if protocol.missing_structures == 'skip' else labels


def _in_one_map(fixed: np.ndarray, warped: np.ndarray, labels: Sequence[int]) -> list[int]:
    in_fixed, in_warped = set(label_ids(fixed)), set(label_ids(warped))
    return [label for label in labels if (label in in_fixed) != (label in in_warped)]


def _structure_scores(
    pair: PairData, warped: np.ndarray, labels: Sequence[int], protocol: Protocol
) -> dict[str, dict[int, float]]:
    """What is asked for of every structure."""
    fixed, surface = pair.fixed_labels, protocol.surface
    scores: dict[str, dict[int, float]] = {}
    if DSC in protocol.quantities:
        scores[DSC] = dice_per_label(fixed, warped, labels)
    if {HD95, ASSD} & set(protocol.quantities):
        distances = distances_per_label(*_foreground(fixed, warped), labels, _spacing(pair, surface), surface.elements)
        definition = SurfaceDefinition(surface.elements, surface.combine, surface.percentile)
        if HD95 in protocol.quantities:
            scores[HD95] = {label: percentile_distance(distance, definition) for label, distance in distances.items()}
        if ASSD in protocol.quantities:
            scores[ASSD] = {label: average_distance(distance) for label, distance in distances.items()}
    return scores


def _foreground(fixed: np.ndarray, warped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both maps on the box that holds all of their structures."""
    boxes = ndimage.find_objects(((fixed != BACKGROUND) | (warped != BACKGROUND)).astype(np.uint8))
    if not boxes:
        return fixed, warped
    box = with_margin(boxes[0])
    return fixed[box], warped[box]


def _spacing(pair: PairData, surface: Surface) -> tuple[float, float, float]:
    return (1.0, 1.0, 1.0) if surface.spacing == 'unit' else spacing_of(pair.fixed_affine)


def _segmentation_scores(segmentation: Segmentation) -> dict[str, Any]:
    classes = [label for label in segmentation.classes if label != BACKGROUND]
    scores = dice_per_label(segmentation.labels, segmentation.predicted, classes)
    return {
        'segmentation_dsc': mean_over_structures(scores),
        f'segmentation_dsc_per_{segmentation.kind}': scores,
    }


def _landmark_scores(pair: PairData, protocol: Protocol) -> dict[str, float]:
    matrices = {
        'fixed': pair.fixed_affine[:3, :3],
        'moving': np.diag(spacing_of(pair.moving_affine)) @ pair.to_moving[:3, :3],
        'unit': np.eye(3),
    }
    moving_points = to_voxels(pair.to_moving, pair.moving_points)
    scores: dict[str, float] = {'landmarks': len(pair.fixed_points)}
    for when in pair.states:
        summary = robust_summary(
            target_registration_errors(
                pair.fixed_points,
                moving_points,
                pair.displacement if when == AFTER else None,
                matrices[protocol.tre.spacing],
                interpolation=protocol.tre.interpolation,
            )
        )
        scores[f'tre_mm_{when}'] = summary.pop('mean')
        scores |= {f'tre_mm_{when}_{name}': value for name, value in summary.items()}
    return scores


def name_structures(
    protocol: Protocol, classes: Mapping[int, str], records: Sequence[Mapping[str, Any]]
) -> dict[int, str]:
    """Return the names of the structures that any record has a score of, background excluded.

    Args:
        protocol: Its labels, where it lists them, name the structures and give their order.
        classes: Names that come with the data.
        records: Records of `score_pair`.

    Returns:
        Label id to name, in the order of the protocol or else of the ids.
    """
    score_maps = [record[key] for record in records for key in record if key.endswith('_after_per_label')]
    ids = {int(label) for scores in score_maps for label in scores or {}}
    if protocol.labels is not None:
        return {label: name for label, name in protocol.labels.items() if label in ids}
    return structure_names(sorted(ids), classes)
