"""Frames in memory on the grid that the network works on."""

import threading

import numpy as np

from autofuse_jax.data.manifests import Frame, Manifest
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.data.resample import resize_image, resize_labels

BYTES_PER_GIB = 2**30


class FrameStore:
    """Loads prepared frames, brings them to the network's grid and keeps them until a memory limit is reached.

    Args:
        manifest: The prepared data.
        grid: (D, H, W) of the network; equal to the manifest's shape, or another grid over the same field of view.
        cache_gib: How much memory the kept frames may take, in GiB. Frames beyond it are read again each time.
    """

    def __init__(self, manifest: Manifest, grid: tuple[int, int, int], cache_gib: float):
        self._manifest = manifest
        self._grid = tuple(grid)
        self._free_bytes = cache_gib * BYTES_PER_GIB
        self._kept: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        self._lock = threading.Lock()

    def load(self, frame: Frame) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a frame on the network's grid.

        Args:
            frame: A frame of the manifest.

        Returns:
            Image float32 (D, H, W) in [0, 1] and labels uint8 (D, H, W) or None. Read-only: they are shared.

        Raises:
            UserError: The file is missing, damaged or does not fit the manifest.
        """
        kept = self._kept.get(frame.file)
        if kept is not None:
            return kept
        volume = load_frame(self._manifest, frame)
        image, labels = volume.image, volume.labels
        if self._grid != self._manifest.shape:
            image = resize_image(image, self._grid)
            labels = None if labels is None else resize_labels(labels, self._grid)
        size = image.nbytes + (0 if labels is None else labels.nbytes)
        for array in (image, labels):
            if array is not None:
                array.setflags(write=False)
        with self._lock:
            if size <= self._free_bytes and frame.file not in self._kept:
                self._free_bytes -= size
                self._kept[frame.file] = (image, labels)
        return image, labels
