"""Scoring predictions on pairs: DSC, folding, segmentation and time, always on the grid of the prepared data."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import Manifest
from autofuse_jax.data.original_labels import OriginalLabels
from autofuse_jax.data.pairs import Pair
from autofuse_jax.fields import resample_displacement
from autofuse_jax.methods.base import Method, Params, Prediction
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent, official_njd_percent, sdlogj
from autofuse_jax.metrics.overlap import dice_per_label, mean_dice
from autofuse_jax.metrics.warping import warp_labels

Record = dict[str, Any]
LABEL_CACHE_GIB = 1.0
# Called with each pair, its record and its displacement (D, H, W, 3) on the prepared grid.
PairCallback = Callable[[Pair, Record, np.ndarray], None]


PredictFunction = Callable[[Params, jax.Array, jax.Array, jax.Array], Prediction]


def make_predict(
    method: Method, shape: tuple[int, int, int], layout: jax.sharding.Sharding | None = None
) -> PredictFunction:
    """Return the compiled prediction on the prepared grid.

    Args:
        method: The registration method.
        shape: (D, H, W) of the prepared data; the network may work on another grid over the same field of view.
        layout: Of the result; default where the compiler leaves it.

    Returns:
        (params, fixed, moving, key) -> prediction. Images are on the network's grid; the displacement of the result is
        in voxels of the prepared grid, and its segmentations are label maps (B, D, H, W) uint8 on that grid.
    """

    def predict(params: Params, fixed: jax.Array, moving: jax.Array, key: jax.Array) -> Prediction:
        prediction = method.predict(params, fixed, moving, key)
        displacement = prediction.displacement
        if displacement.shape[1:4] != shape:
            displacement = jax.vmap(lambda u: resample_displacement(u, shape))(displacement)
        return prediction.replace(
            displacement=displacement,
            fixed_segmentation=_labels_on(prediction.fixed_segmentation, shape),
            moving_segmentation=_labels_on(prediction.moving_segmentation, shape),
        )

    return jax.jit(predict, out_shardings=layout)


def _labels_on(probabilities: jax.Array | None, shape: tuple[int, int, int]) -> jax.Array | None:
    if probabilities is None:
        return None
    if probabilities.shape[1:4] != shape:
        resized = (probabilities.shape[0], *shape, probabilities.shape[-1])
        probabilities = jax.image.resize(probabilities, resized, 'linear', antialias=False)
    return jnp.argmax(probabilities, axis=-1).astype(jnp.uint8)


class PairScorer:
    """Scores predictions for a fixed list of pairs; compiled once, used at every validation and at the end.

    Args:
        method: The registration method.
        manifest: The prepared data.
        store: Frames on the network's grid.
        pairs: What to register. Scoring uses the label maps of all frames that have one, because hidden labels are
            hidden from training only. A manifest with original classes is scored on the original label maps.
        seed: Of the draws of a method that samples; pair n always gets the same.
        determinant: 'correct' (default), or 'official' to replay the NJD of the official code: the share of voxels
            where its determinant is below zero. SDlogJ is always that of the correct determinant.
        layouts: Of images and of results on several devices; default wherever they are. With several processes all do
            the same, and results must be on all of them.
    """

    def __init__(
        self,
        method: Method,
        manifest: Manifest,
        store: FrameStore,
        pairs: Sequence[Pair],
        *,
        seed: int = 0,
        determinant: str = 'correct',
        layouts: tuple[jax.sharding.Sharding, jax.sharding.Sharding] | None = None,
    ):
        self._image_layout, result_layout = layouts or (None, None)
        self._predict = make_predict(method, manifest.shape, result_layout)
        self.manifest = manifest
        self._store = store
        # Label maps on the prepared grid, read once: validation comes back to them again and again.
        self._prepared = FrameStore(manifest, manifest.shape, cache_gib=LABEL_CACHE_GIB)
        self.pairs = tuple(pairs)
        self._key = jax.random.key(seed)
        self._determinant = determinant
        self._labels = [label for label in manifest.scored_classes if label != 0]
        self._original = OriginalLabels(manifest, LABEL_CACHE_GIB) if manifest.original_classes else None

    def score(self, params: Params, on_pair: PairCallback | None = None) -> list[Record]:
        """Register every pair and score it.

        Args:
            params: Parameters of the method.
            on_pair: Called after each pair, for pictures.

        Returns:
            One record a pair: DSC before and after and per structure (0..1, NaN where a structure is in neither map),
            NJD in percent, SDlogJ, seconds (synchronised; the first pair includes compilation and says so), gate means
            and segmentation DSC where the method has them.
        """
        records = []
        for number, pair in enumerate(self.pairs):
            record, displacement = self._score_pair(params, number)
            record['first_call'] = number == 0
            records.append(record)
            if on_pair is not None:
                on_pair(pair, record, displacement)
        return records

    def volumes(self, pair: Pair) -> dict[str, np.ndarray | None]:
        """Return images and scored label maps of a pair on the prepared grid: 'fixed', 'moving', '..._labels'."""
        fixed, moving = self._prepared.load(pair.fixed), self._prepared.load(pair.moving)
        if self._original is not None:
            fixed = fixed[0], self._original.load(pair.fixed)
            moving = moving[0], self._original.load(pair.moving)
        return {'fixed': fixed[0], 'moving': moving[0], 'fixed_labels': fixed[1], 'moving_labels': moving[1]}

    def register(self, params: Params, number: int) -> tuple[Prediction, float]:
        """Register one pair without scoring it.

        Args:
            params: Parameters of the method.
            number: Position in `pairs`.

        Returns:
            The prediction as NumPy arrays with a leading axis of 1, see `make_predict`, and the seconds it took (the
            first call includes compilation).
        """
        pair, key = self.pairs[number], jax.random.fold_in(self._key, number)
        images = [self._store.load(frame)[0][None, ..., None] for frame in (pair.fixed, pair.moving)]
        images = jax.block_until_ready(jax.device_put(images, self._image_layout))
        started = time.perf_counter()
        prediction = jax.block_until_ready(self._predict(params, *images, key))
        seconds = time.perf_counter() - started
        return jax.device_get(prediction), seconds

    def _score_pair(self, params: Params, number: int) -> tuple[Record, np.ndarray]:
        pair = self.pairs[number]
        prediction, seconds = self.register(params, number)
        displacement = prediction.displacement[0]
        determinant = jacobian_determinant(displacement)
        volumes = self.volumes(pair)
        record = {
            'pair': pair.name,
            'subject': pair.fixed_subject,
            'fixed_frame': pair.fixed.phase or str(pair.fixed.index),
            'moving_frame': pair.moving.phase or str(pair.moving.index),
            'njd_percent': self._njd_percent(displacement, determinant),
            'sdlogj': sdlogj(determinant),
            'seconds': seconds,
        }
        if prediction.gate_means:
            record['gate_means'] = {name: float(value[0]) for name, value in prediction.gate_means.items()}
        if volumes['fixed_labels'] is not None and volumes['moving_labels'] is not None:
            warped = warp_labels(volumes['moving_labels'], displacement)
            for when, labels in (('before', volumes['moving_labels']), ('after', warped)):
                scores = dice_per_label(volumes['fixed_labels'], labels, self._labels)
                record |= {f'dsc_{when}': mean_dice(scores), f'dsc_{when}_per_label': scores}
        if prediction.fixed_segmentation is not None and pair.fixed.has_labels:
            training_labels = self._prepared.load(pair.fixed)[1]
            classes = [label for label in self.manifest.classes if label != 0]
            scores = dice_per_label(training_labels, prediction.fixed_segmentation[0], classes)
            # Training classes have other ids than the original structures, so their scores have a name of their own.
            kind = 'label' if self._original is None else 'training_class'
            record[f'segmentation_dsc_per_{kind}'] = scores
        return record, displacement

    def _njd_percent(self, displacement: np.ndarray, determinant: np.ndarray) -> float:
        if self._determinant == 'correct':
            return njd_percent(determinant)
        return official_njd_percent(displacement)


def summarise(records: Sequence[Record]) -> dict[str, float]:
    """Return the means over pairs that select checkpoints and head reports.

    Args:
        records: From `PairScorer.score`.

    Returns:
        'dsc_before', 'dsc_after' (0..1), 'njd_percent', 'sdlogj', and where there are segmentations 'segmentation_dsc';
        NaN where no pair has the value.
    """
    means = {name: _mean(records, name) for name in ('dsc_before', 'dsc_after', 'njd_percent', 'sdlogj')}
    keys = ('segmentation_dsc_per_label', 'segmentation_dsc_per_training_class')
    segmentations = [mean_dice(record[key]) for record in records for key in keys if key in record]
    if segmentations:
        means['segmentation_dsc'] = _mean([{'dsc': value} for value in segmentations], 'dsc')
    return means


def _mean(records: Sequence[Record], name: str) -> float:
    values = [record[name] for record in records if name in record and not np.isnan(record[name])]
    return float(np.mean(values)) if values else float('nan')
