"""Arrays of frames in memory: read once, shared, and kept until a limit is reached."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from autofuse_jax.data.manifests import Frame

BYTES_PER_GIB = 2**30
# Arrays that belong to a frame; None stands for one that the frame has not.
Arrays = TypeVar('Arrays', bound=tuple[np.ndarray | None, ...])


class FrameCache(Generic[Arrays]):
    """Reads the arrays of frames and keeps them.

    Args:
        read: Function that reads the arrays of a frame.
        cache_gib: Largest memory of the kept arrays, in GiB. What is beyond it is read again each time.
    """

    def __init__(self, read: Callable[[Frame], Arrays], cache_gib: float):
        self._read = read
        self._free_bytes = cache_gib * BYTES_PER_GIB
        self._entries: dict[str, Arrays] = {}
        self._lock = threading.Lock()

    def load(self, frame: Frame) -> Arrays:
        """Return the arrays of a frame, read-only because they are shared; whatever `read` raises is raised."""
        entry = self._entries.get(frame.file)
        if entry is not None:
            return entry
        arrays = self._read(frame)
        present = [array for array in arrays if array is not None]
        for array in present:
            array.setflags(write=False)
        size = sum(array.nbytes for array in present)
        with self._lock:
            if size <= self._free_bytes and frame.file not in self._entries:
                self._free_bytes -= size
                self._entries[frame.file] = arrays
        return arrays
