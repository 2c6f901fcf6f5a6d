"""Planes of labelled training frames, drawn at random from all patients and changed at random."""

from collections.abc import Sequence

import numpy as np

from autofuse_jax.data.augment import Augmentation, augment_plane
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import Frame
from autofuse_jax.models.plane_branch import OFFSETS

# Streams of random draws: which planes a step takes, and how they change.
CHOICE, CHANGE = range(2)


class LabelledPlanes:
    """Batches of planes; those of a step follow from the seed and the step alone.

    A batch is laid out as a volume whose third axis is that of the planes, so that what is known of volumes holds.

    Args:
        store: Source of the frames.
        frames: Frames with labels; all are loaded at once.
        augmentation: Limits of the random change.
        count: Planes of a batch, each from another frame while there are enough.
        part: Voxels of the part that is taken, along both axes of a plane, in steps before `whole_from`.
        whole_from: Step from which on planes are whole.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        store: FrameStore,
        frames: Sequence[Frame],
        augmentation: Augmentation,
        *,
        count: int,
        part: int,
        whole_from: int,
        seed: int,
    ):
        self._frames = [store.load(frame) for frame in frames]
        self._augmentation, self._seed = augmentation, seed
        self._count, self._part, self._whole_from = count, part, whole_from

    def at(self, step: int) -> dict[str, np.ndarray]:
        """Return what a step learns from.

        Returns:
            'planes' float32 (N, d, h, S), 'fixed' float32 (1, d, h, N, 1), their own slices, and 'fixed_labels' uint8
            (1, d, h, N).
        """
        rng = np.random.default_rng((self._seed, CHOICE, step))
        count = len(self._frames)
        chosen = rng.choice(count, self._count, replace=self._count > count)
        change = np.random.default_rng((self._seed, CHANGE, step))
        size = 0 if step >= self._whole_from else self._part
        planes, labels = zip(*(self._plane(*self._frames[number], rng, change, size) for number in chosen), strict=True)
        stacked = np.stack(planes)
        own = np.moveaxis(stacked[..., OFFSETS.index(0)], 0, -1)
        return {'planes': stacked, 'fixed': own[None, ..., None], 'fixed_labels': np.stack(labels, axis=-1)[None]}

    def _plane(
        self,
        image: np.ndarray,
        labels: np.ndarray | None,
        rng: np.random.Generator,
        change: np.random.Generator,
        size: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        # Slices that padding filled show nothing.
        index = rng.choice(np.flatnonzero(image.any(axis=(0, 1))))
        around = np.clip(index + np.array(OFFSETS), 0, image.shape[2] - 1)
        return augment_plane(image[..., around], labels[..., index], self._augmentation, change, size)
