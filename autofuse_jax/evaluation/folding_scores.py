"""Folding of a pair's displacement, as a protocol counts it."""

import math

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_data import PairData
from autofuse_jax.evaluation.protocol import JACOBIAN_RANGE, NJD, SDLOGJ, Folding, Protocol
from autofuse_jax.metrics.diffeomorphism import ndv_percent
from autofuse_jax.metrics.folding import (
    central_determinant,
    jacobian_determinant,
    njd_percent,
    official_njd_percent,
    sdlogj,
)
from autofuse_jax.metrics.learn2reg import sdlogj_of_shifted
from autofuse_jax.metrics.structures import BACKGROUND

KEYS = {NJD: ('njd_percent',), SDLOGJ: ('sdlogj',), JACOBIAN_RANGE: ('jacobian_min', 'jacobian_max')}
# Voxels left out at each side for the voxels 'interior', as in Learn2Reg.
INTERIOR_MARGIN = 2


def folding_scores(pair: PairData, protocol: Protocol) -> dict[str, float]:
    """Return 'njd_percent', 'sdlogj', 'jacobian_min', 'jacobian_max' and 'ndv_percent', as far as they are asked for.

    Args:
        pair: A pair with a displacement.
        protocol: Definition of what is counted on which voxels.

    Returns:
        Numbers; nan where no voxel counts.

    Raises:
        UserError: The field is too small for the protocol, or not finite; or only labelled voxels count and there are
            no labels.
    """
    folding = protocol.folding
    scores: dict[str, float] = {}
    try:
        determinant = _determinant(pair.displacement, folding)
        if folding.ndv:
            scores['ndv_percent'] = ndv_percent(pair.displacement)
        official = official_njd_percent(pair.displacement) if folding.determinant == 'official' else None
    except ValueError as error:
        raise UserError(
            f'the displacement cannot be scored: {error}', fix='check the transform, or use another protocol'
        ) from error
    if folding.voxels == 'labelled':
        determinant = determinant[_labelled(pair, protocol, determinant.shape)]
    return scores | _numbers(determinant, protocol, official)


def _numbers(determinant: np.ndarray, protocol: Protocol, official: float | None) -> dict[str, float]:
    folding, quantities = protocol.folding, protocol.quantities
    if not determinant.size:
        return {key: math.nan for quantity, keys in KEYS.items() if quantity in quantities for key in keys}
    scores = {}
    if NJD in quantities:
        scores['njd_percent'] = njd_percent(determinant, folding.threshold) if official is None else official
    if SDLOGJ in quantities:
        spread = sdlogj if folding.sdlogj == 'plain' else sdlogj_of_shifted
        scores['sdlogj'] = spread(determinant)
    if JACOBIAN_RANGE in quantities:
        scores |= {'jacobian_min': float(determinant.min()), 'jacobian_max': float(determinant.max())}
    return scores


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
    structures = next((ids for ids in (protocol.labels, pair.structures) if ids is not None), None)
    return labels != BACKGROUND if structures is None else np.isin(labels, [label for label in structures if label])
