"""Original label maps of prepared frames in memory, for evaluations that come back to the same subjects."""

import threading

import numpy as np

from autofuse_jax.data.frame_store import BYTES_PER_GIB
from autofuse_jax.data.manifests import Frame, Manifest
from autofuse_jax.data.prepared import load_original_labels


class OriginalLabels:
    """Loads label maps with the ids of the source and keeps them until a memory limit is reached.

    Args:
        manifest: The prepared data; it has `original_classes`.
        cache_gib: How much memory the kept maps may take, in GiB. Maps beyond it are read again each time.
    """

    def __init__(self, manifest: Manifest, cache_gib: float):
        self._manifest = manifest
        self._free_bytes = cache_gib * BYTES_PER_GIB
        self._kept: dict[str, np.ndarray | None] = {}
        self._lock = threading.Lock()

    def load(self, frame: Frame) -> np.ndarray | None:
        """Return the label map of a frame.

        Args:
            frame: A frame of the manifest.

        Returns:
            Integer (D, H, W), read-only because it is shared; None where the frame has no labels.

        Raises:
            UserError: The file is missing, damaged or does not fit the manifest.
        """
        if frame.file in self._kept:
            return self._kept[frame.file]
        labels = load_original_labels(self._manifest, frame)
        if labels is None:
            return None
        labels.setflags(write=False)
        with self._lock:
            if labels.nbytes <= self._free_bytes and frame.file not in self._kept:
                self._free_bytes -= labels.nbytes
                self._kept[frame.file] = labels
        return labels
