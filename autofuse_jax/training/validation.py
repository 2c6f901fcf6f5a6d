"""Predictions on pairs for validation and reports, always on the grid of the prepared data, and how they are scored."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import Frame, Manifest
from autofuse_jax.data.original_labels import OriginalLabels
from autofuse_jax.data.pairs import Pair
from autofuse_jax.evaluation.case_scores import Record
from autofuse_jax.evaluation.pair_data import PairData, Segmentation
from autofuse_jax.evaluation.protocol import DSC, NJD, SDLOGJ, Folding, Protocol
from autofuse_jax.evaluation.runs import Case
from autofuse_jax.fields import resample_displacement
from autofuse_jax.methods.base import Method, Params, Prediction
from autofuse_jax.reports.summary import gates_of, spread_of

LABEL_CACHE_GIB = 1.0
DESCRIPTION = 'The definitions of default, without surface distances: they would take longer than the registration.'
PredictFunction = Callable[[Params, jax.Array, jax.Array, jax.Array], Prediction]


def make_predict(
    method: Method, shape: tuple[int, int, int], layout: jax.sharding.Sharding | None = None
) -> PredictFunction:
    """Return the compiled prediction on the prepared grid.

    Args:
        method: The registration method.
        shape: (D, H, W) of the prepared data; the network may work on another grid over the same field of view.
        layout: Layout of the result; default where the compiler leaves it.

    Returns:
        (params, fixed, moving, key) -> prediction. Images are on the network's grid; the displacement of the result is
        in voxels of the prepared grid, and its segmentations are label maps (B, D, H, W) uint8 on that grid.
    """

    def predict(params: Params, fixed: jax.Array, moving: jax.Array, key: jax.Array) -> Prediction:
        prediction = method.predict(params, fixed, moving, key)
        displacement = prediction.displacement
        if displacement.shape[1:4] != shape:
            displacement = jax.vmap(lambda u: resample_displacement(u, shape))(displacement)
        return dataclasses.replace(
            prediction,
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


class PairPredictor:
    """Registers a fixed list of pairs; compiled once, used at every validation and at the end.

    Args:
        predict: Function of `make_predict`.
        manifest: The prepared data.
        store: Frames on the network's grid.
        pairs: Pairs to register. Label maps of all frames that have one go with them, because hidden labels are hidden
            from training only. A manifest with original classes brings the original label maps.
        seed: Seed of the draws of a method that samples; pair n always gets the same.
        image_layout: Layout of images on several devices; default wherever they are. With several processes all do the
            same, and results must be on all of them.
        computing: Function that makes the context to compute in, such as `Experiment.computing`; default as it is.
    """

    def __init__(
        self,
        predict: PredictFunction,
        manifest: Manifest,
        store: FrameStore,
        pairs: Sequence[Pair],
        *,
        seed: int = 0,
        image_layout: jax.sharding.Sharding | None = None,
        computing: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self._predict = predict
        self._computing = computing
        self._image_layout = image_layout
        self.manifest = manifest
        self._store = store
        # Label maps on the prepared grid, read once: validation comes back to them again and again.
        self._prepared = FrameStore(manifest, manifest.shape, cache_gib=LABEL_CACHE_GIB)
        self.pairs = tuple(pairs)
        self._key = jax.random.key(seed)
        self._original = OriginalLabels(manifest, LABEL_CACHE_GIB) if manifest.original_classes else None

    def cases(self, params: Params) -> tuple[Case, ...]:
        """Return the pairs for `evaluation.case_scores`, each registered when it is loaded.

        Args:
            params: Parameters of the method.

        Returns:
            One a pair, on the prepared grid. The seconds of the first, which says so with 'first_call', may include
            compilation.
        """
        return tuple(
            Case(
                pair.name,
                pair.fixed_subject,
                functools.partial(self._registered, params, number),
                {
                    'fixed_frame': pair.fixed.phase or str(pair.fixed.index),
                    'moving_frame': pair.moving.phase or str(pair.moving.index),
                    'first_call': number == 0,
                },
            )
            for number, pair in enumerate(self.pairs)
        )

    def volumes(self, pair: Pair) -> dict[str, np.ndarray | None]:
        """Return images and scored label maps of a pair on the prepared grid: 'fixed', 'moving', '..._labels'."""
        fixed, moving = self._prepared.load(pair.fixed), self._prepared.load(pair.moving)
        if self._original is not None:
            fixed = fixed[0], self._original.load(pair.fixed)
            moving = moving[0], self._original.load(pair.moving)
        return {'fixed': fixed[0], 'moving': moving[0], 'fixed_labels': fixed[1], 'moving_labels': moving[1]}

    def predict(self, params: Params, number: int) -> tuple[Prediction, float]:
        """Register one pair.

        Args:
            params: Parameters of the method.
            number: Position in `pairs`.

        Returns:
            The prediction as NumPy arrays with a leading axis of 1, see `make_predict`, and the seconds it took.
        """
        pair, key = self.pairs[number], jax.random.fold_in(self._key, number)
        images = [self._store.load(frame)[0][None, ..., None] for frame in (pair.fixed, pair.moving)]
        with self._computing():
            fixed, moving = jax.block_until_ready(jax.device_put(images, self._image_layout))
            started = time.perf_counter()
            prediction = jax.block_until_ready(self._predict(params, fixed, moving, key))
            seconds = time.perf_counter() - started
        return jax.device_get(prediction), seconds

    def _registered(self, params: Params, number: int) -> PairData:
        prediction, seconds = self.predict(params, number)
        volumes = self.volumes(self.pairs[number])
        affine = np.diag([*self.manifest.spacing, 1.0])
        gates = {name: float(value[0]) for name, value in prediction.gate_means.items()}
        return PairData(
            np.asarray(prediction.displacement[0]),
            affine,
            affine,
            fixed_labels=volumes['fixed_labels'],
            moving_labels=volumes['moving_labels'],
            seconds=seconds,
            structures=tuple(self.manifest.scored_classes),
            segmentation=self._segmentation(self.pairs[number].fixed, prediction.fixed_segmentation),
            measurements={'gate_means': gates} if gates else {},
        )

    def _segmentation(self, frame: Frame, predicted: np.ndarray | jax.Array | None) -> Segmentation | None:
        if predicted is None or not frame.has_labels:
            return None
        # Training classes have other ids than the original structures.
        kind = 'label' if self._original is None else 'training_class'
        return Segmentation(self._prepared.load(frame)[1], np.asarray(predicted[0]), tuple(self.manifest.classes), kind)


def training_protocol(determinant: str = 'correct') -> Protocol:
    """Return how validations and the report of a run are scored.

    Args:
        determinant: 'correct' (default), or 'official' to replay the NJD of the official code.

    Returns:
        The protocol 'default' without what takes long.
    """
    folding = Folding(determinant=determinant)
    return Protocol('training', DESCRIPTION, folding=folding, quantities=(DSC, NJD, SDLOGJ))


def summarise(records: Sequence[Record]) -> dict[str, float]:
    """Return the means over pairs that select checkpoints and head reports.

    Args:
        records: Records of `evaluation.case_scores`.

    Returns:
        'dsc_before', 'dsc_after' (0..1), 'njd_percent', 'sdlogj', and where there are segmentations 'segmentation_dsc';
        nan where no pair has the value. Of a network with gates 'gate_2' and so on, the mean weight of each.
    """
    names = ['dsc_before', 'dsc_after', 'njd_percent', 'sdlogj']
    if any('segmentation_dsc' in record for record in records):
        names.append('segmentation_dsc')
    means = {name: spread_of(records, name).mean for name in names}
    return means | {gate: spread_of(records, 'gate_means', gate).mean for gate in gates_of(records)}
