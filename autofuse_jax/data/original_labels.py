"""Original label maps of prepared frames in memory, for evaluations that come back to the same subjects."""

import numpy as np

from autofuse_jax.data.frame_cache import FrameCache
from autofuse_jax.data.manifests import Frame, Manifest
from autofuse_jax.data.prepared import load_original_labels


class OriginalLabels:
    """Loads label maps with the ids of the source and keeps them until a memory limit is reached.

    Args:
        manifest: The prepared data; it has `original_classes`.
        cache_gib: Largest memory of the kept maps, in GiB. Maps beyond it are read again each time.
    """

    def __init__(self, manifest: Manifest, cache_gib: float):
        self._cache = FrameCache(lambda frame: (load_original_labels(manifest, frame),), cache_gib)

    def load(self, frame: Frame) -> np.ndarray | None:
        """Return the label map of a frame.

        Args:
            frame: A frame of the manifest.

        Returns:
            Integer (D, H, W), read-only because it is shared; None where the frame has no labels.

        Raises:
            UserError: The file is missing, damaged or does not fit the manifest.
        """
        return self._cache.load(frame)[0]
