"""Frames in memory on the grid that the network works on."""

import numpy as np

from autofuse_jax.data.frame_cache import FrameCache
from autofuse_jax.data.manifests import Frame, Manifest
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.data.resample import resize_image, resize_labels


class FrameStore:
    """Loads prepared frames, brings them to the network's grid and keeps them until a memory limit is reached.

    Args:
        manifest: The prepared data.
        grid: (D, H, W) of the network; equal to the manifest's shape, or another grid over the same field of view.
        cache_gib: Largest memory of the kept frames, in GiB. Frames beyond it are read again each time.
    """

    def __init__(self, manifest: Manifest, grid: tuple[int, ...], cache_gib: float):
        self._manifest = manifest
        self._grid = tuple(grid)
        self._cache = FrameCache(self._read_frame, cache_gib)

    def load(self, frame: Frame) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a frame on the network's grid.

        Args:
            frame: A frame of the manifest.

        Returns:
            Image float32 (D, H, W) in [0, 1] and labels uint8 (D, H, W) or None. Read-only: they are shared.

        Raises:
            UserError: The file is missing, damaged or does not fit the manifest.
        """
        return self._cache.load(frame)

    def _read_frame(self, frame: Frame) -> tuple[np.ndarray, np.ndarray | None]:
        volume = load_frame(self._manifest, frame)
        if self._grid == self._manifest.shape:
            return volume.image, volume.labels
        labels = None if volume.labels is None else resize_labels(volume.labels, self._grid)
        return resize_image(volume.image, self._grid), labels
