"""The scores of one registered pair under a protocol."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.protocol import Folding, Protocol, Surface
from autofuse_jax.metrics.diffeomorphism import ndv_percent
from autofuse_jax.metrics.folding import central_determinant, jacobian_determinant, sdlogj
from autofuse_jax.metrics.landmarks import robust_summary, target_registration_errors
from autofuse_jax.metrics.learn2reg import labels_in_both, sample_labels_between_centres, sdlogj_of_shifted
from autofuse_jax.metrics.overlap import BACKGROUND, dice_per_label
from autofuse_jax.metrics.surface import SurfaceDefinition, hausdorff_per_label
from autofuse_jax.transforms.grids import spacing_of, to_voxels, to_world, voxel_indices
from autofuse_jax.transforms.resampling import sample_labels, sample_labels_linear

# Voxels left out at each side for the voxels 'interior', as in Learn2Reg.
INTERIOR_MARGIN = 2
WHEN = ('before', 'after')


@dataclasses.dataclass(frozen=True, eq=False)
class PairData:
    """A registered pair in memory.

    Attributes:
        displacement: (D, H, W, 3), in voxels of the fixed grid, along (D, H, W), pull direction.
        fixed_affine: (4, 4), from fixed voxels to RAS millimetres.
        moving_affine: (4, 4), from moving voxels to RAS millimetres.
        to_moving: (4, 4), from positions in fixed voxels to positions in moving voxels where nothing is displaced: the
            identity where displacements relate array indices (Learn2Reg), else through the world.
        fixed_labels: Integer (D, H, W) on the fixed grid, or None.
        moving_labels: Integer (D', H', W') on the moving grid, or None.
        fixed_points: (n, 3) landmarks in fixed voxels, or None.
        moving_points: (n, 3) landmarks in moving voxels, or None.
        seconds: How long the registration took, or None where that is not known.
        structures: Ids that the data set scores, where the protocol lists none; None: all that its label maps hold.
    """

    displacement: np.ndarray
    fixed_affine: np.ndarray
    moving_affine: np.ndarray
    to_moving: np.ndarray
    fixed_labels: np.ndarray | None = None
    moving_labels: np.ndarray | None = None
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None
    seconds: float | None = None
    structures: Sequence[int] | None = None


def through_the_world(fixed_affine: np.ndarray, moving_affine: np.ndarray) -> np.ndarray:
    """Return the (4, 4) matrix from fixed voxels to moving voxels at the same place of the world."""
    return np.linalg.inv(moving_affine) @ fixed_affine


def score_pair(pair: PairData, protocol: Protocol) -> dict[str, Any]:
    """Score one registered pair.

    Args:
        pair: The pair.
        protocol: What the scores are.

    Returns:
        'njd_percent', 'sdlogj', where asked for 'ndv_percent', and 'seconds' where known; with both label maps, for
        'before' and 'after', 'dsc_<when>' (0 .. 1), 'hd95_mm_<when>' and the same with '_per_label' (label id to
        number); with landmarks 'tre_mm_<when>' (mean), 'tre_mm_<when>_median', 'tre_mm_<when>_p30' and 'landmarks'.
        nan where a value is not defined.

    Raises:
        UserError: The field is too small for the protocol, or not finite.
    """
    record: dict[str, Any] = _folding_scores(pair, protocol)
    if pair.seconds is not None:
        record['seconds'] = pair.seconds
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        record |= _label_scores(pair, protocol)
    if pair.fixed_points is not None and pair.moving_points is not None:
        record |= _landmark_scores(pair, protocol)
    return record


def warp_moving_labels(pair: PairData, protocol: Protocol, *, displaced: bool = True) -> np.ndarray:
    """Bring the moving label map onto the fixed grid as the protocol says.

    Args:
        pair: A pair with a moving label map.
        protocol: Says how labels are interpolated and where the map ends.
        displaced: Whether the displacement is applied; False shows the state before registration.

    Returns:
        Label map of the same type on the fixed grid.
    """
    index = voxel_indices(pair.displacement.shape[:3])
    voxels = index + pair.displacement if displaced else index
    positions = np.moveaxis(to_world(pair.to_moving, voxels), -1, 0)
    if protocol.label_interpolation == 'linear':
        warped = sample_labels_linear(pair.moving_labels, positions)
        if protocol.outside == 'voxel_centres':
            warped[~_between_centres(positions, pair.moving_labels.shape)] = BACKGROUND
        return warped
    sample = sample_labels_between_centres if protocol.outside == 'voxel_centres' else sample_labels
    return sample(pair.moving_labels, positions)


def _between_centres(positions: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    last = np.reshape(np.asarray(shape) - 1, (3, 1, 1, 1))
    return ((positions >= 0) & (positions <= last)).all(axis=0)


def _label_scores(pair: PairData, protocol: Protocol) -> dict[str, Any]:
    fixed, moving = pair.fixed_labels, pair.moving_labels
    held = (set(np.unique(fixed).tolist()) | set(np.unique(moving).tolist())) - {BACKGROUND}
    wanted = next((ids for ids in (protocol.labels, pair.structures) if ids is not None), sorted(held))
    labels = [label for label in wanted if label != BACKGROUND]
    if protocol.missing_structures == 'skip':
        labels = labels_in_both(fixed, moving, labels)
    surface = protocol.surface
    spacing = (1.0, 1.0, 1.0) if surface.spacing == 'unit' else spacing_of(pair.fixed_affine)
    scores: dict[str, Any] = {}
    for when in WHEN:
        warped = warp_moving_labels(pair, protocol, displaced=when == 'after')
        overlap, distance = _structure_scores(fixed, warped, labels, spacing, surface)
        means = [_mean(values.values()) for values in (overlap, distance)]
        # A structure in neither map has no DSC; one in a single map has a DSC (0) but no distance.
        lone = [label for label in labels if math.isnan(distance[label]) and not math.isnan(overlap[label])]
        if protocol.missing_structures == 'nan' and lone:
            overlap |= dict.fromkeys(lone, math.nan)
            means = [math.nan, math.nan]
        scores |= {f'dsc_{when}': means[0], f'hd95_mm_{when}': means[1]}
        scores |= {f'dsc_{when}_per_label': overlap, f'hd95_mm_{when}_per_label': distance}
    return scores


def _structure_scores(
    fixed: np.ndarray, warped: np.ndarray, labels: Sequence[int], spacing: Sequence[float], surface: Surface
) -> tuple[dict[int, float], dict[int, float]]:
    """DSC and HD95 of every structure, on the box that holds all of both maps."""
    boxes = ndimage.find_objects(((fixed != BACKGROUND) | (warped != BACKGROUND)).astype(np.uint8))
    if boxes:
        fixed, warped = fixed[boxes[0]], warped[boxes[0]]
    definition = SurfaceDefinition(surface.elements, surface.combine, surface.percentile)
    return dice_per_label(fixed, warped, labels), hausdorff_per_label(fixed, warped, labels, spacing, definition)


def _folding_scores(pair: PairData, protocol: Protocol) -> dict[str, float]:
    folding = protocol.folding
    scores = {}
    try:
        determinant = _determinant(pair.displacement, folding)
        if folding.ndv:
            scores['ndv_percent'] = ndv_percent(pair.displacement)
    except ValueError as error:
        raise UserError(
            f'the displacement cannot be scored: {error}', fix='check the transform, or use another protocol'
        ) from error
    if folding.voxels == 'labelled':
        determinant = determinant[_labelled(pair, protocol, determinant.shape)]
    if not determinant.size:
        return scores | {'njd_percent': math.nan, 'sdlogj': math.nan}
    spread = sdlogj(determinant) if folding.sdlogj == 'plain' else sdlogj_of_shifted(determinant)
    folded = np.count_nonzero(determinant <= folding.threshold)
    return scores | {'njd_percent': 100.0 * folded / determinant.size, 'sdlogj': spread}


def _determinant(displacement: np.ndarray, folding: Folding) -> np.ndarray:
    if folding.differences == 'central':
        return central_determinant(displacement, INTERIOR_MARGIN if folding.voxels == 'interior' else 1)
    determinant = jacobian_determinant(displacement)
    if folding.voxels != 'interior':
        return determinant
    return determinant[tuple(slice(INTERIOR_MARGIN, size - INTERIOR_MARGIN) for size in displacement.shape[:3])]


def _labelled(pair: PairData, protocol: Protocol, shape: tuple[int, ...]) -> np.ndarray:
    """The fixed voxels in a scored structure, on the voxels of the determinant."""
    if pair.fixed_labels is None:
        raise UserError(
            f'the protocol {protocol.name} counts folds in labelled voxels, but the fixed image has no label map',
            fix="set folding.voxels to 'all', or give labels",
        )
    # Central differences leave out one voxel at both sides, forward differences the last one.
    first = (pair.fixed_labels.shape[0] - shape[0]) // 2
    labels = pair.fixed_labels[tuple(slice(first, first + size) for size in shape)]
    wanted = next((ids for ids in (protocol.labels, pair.structures) if ids is not None), None)
    return labels != BACKGROUND if wanted is None else np.isin(labels, [label for label in wanted if label])


def _landmark_scores(pair: PairData, protocol: Protocol) -> dict[str, float]:
    matrices = {
        'fixed': pair.fixed_affine[:3, :3],
        'moving': np.diag(spacing_of(pair.moving_affine)) @ pair.to_moving[:3, :3],
        'unit': np.eye(3),
    }
    moving_points = to_voxels(pair.to_moving, pair.moving_points)
    scores: dict[str, float] = {'landmarks': len(pair.fixed_points)}
    for when, displacement in zip(WHEN, (None, pair.displacement), strict=True):
        summary = robust_summary(
            target_registration_errors(
                pair.fixed_points,
                moving_points,
                displacement,
                matrices[protocol.tre.spacing],
                interpolation=protocol.tre.interpolation,
            )
        )
        scores[f'tre_mm_{when}'] = summary.pop('mean')
        scores |= {f'tre_mm_{when}_{name}': value for name, value in summary.items()}
    return scores


def _mean(values: Iterable[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else math.nan


def structure_names(
    protocol: Protocol, classes: Mapping[int, str], records: Sequence[Mapping[str, Any]]
) -> dict[int, str]:
    """Names of the structures that any record has a score of, background excluded.

    Args:
        protocol: Its labels, where it lists them, name the structures and give their order.
        classes: Names that come with the data.
        records: From `score_pair`.

    Returns:
        Label id to name, in the order of the protocol or else of the ids.
    """
    scored = {int(label) for record in records for label in record.get('dsc_after_per_label') or {}}
    if protocol.labels is not None:
        return {label: name for label, name in protocol.labels.items() if label in scored}
    return {label: classes.get(label, f'label {label}') for label in sorted(scored)}
