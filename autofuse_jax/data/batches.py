"""The input pipeline: pairs or frames in, batches of arrays out, addressed by step so that it can be resumed."""

import grain
import numpy as np

from autofuse_jax.data.augment import TEACHER, WHOLE, Arrays, Augmentation, Size, augment_pair, crop_at_random
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.pairs import LabelledFrame, Pair, PairSource
from autofuse_jax.data.teacher_fields import TeacherFields

IMAGES = ('fixed', 'moving')


def pair_to_arrays(store: FrameStore, pair: Pair | LabelledFrame, teacher: TeacherFields | None = None) -> Arrays:
    """Load one pair, or a frame alone.

    Args:
        store: Source of the frames.
        pair: The frames, and whether their labels may be used.
        teacher: Velocities of pairs; None: there are none.

    Returns:
        Arrays by name; of a frame alone, those called 'fixed'.
        'fixed', 'moving': float32 (D, H, W, 1) in [0, 1]. 'fixed_labels', 'moving_labels': uint8 (D, H, W), zero where
        labels are absent or hidden. 'fixed_has_labels', 'moving_has_labels': float32 scalars, 1 or 0; losses look at
        these only, never at the content of the label arrays. With a teacher, of a pair, 'teacher_velocity': float32
        (d, h, w, 3), in voxels of its own grid.
    """
    arrays: Arrays = {}
    for role, frame, has_labels in pair.members:
        image, labels = store.load(frame)
        arrays[role] = image[..., None]
        arrays[f'{role}_labels'] = labels if has_labels and labels is not None else np.zeros(image.shape, np.uint8)
        arrays[f'{role}_has_labels'] = np.asarray(has_labels, np.float32)
    if teacher is not None and isinstance(pair, Pair):
        arrays[TEACHER] = teacher.load(pair)
    return arrays


def stack(examples: list[Arrays]) -> Arrays:
    """Stack examples along a new first axis B."""
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def training_batches(
    source: PairSource,
    store: FrameStore,
    *,
    batch_size: int,
    augmentation: Augmentation,
    crop: Size = WHOLE,
    teacher: TeacherFields | None = None,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    prefetch: int = 4,
) -> grain.DatasetIterator:
    """Iterate over batches without end, in an order and with random draws that depend on the seed and position alone.

    Every epoch goes through the anchors in a new order. All processes walk one global order and take every n-th pair
    of it, so that together they see what a single process would.

    Args:
        source: Anchors and the function that draws a pair.
        store: Source of the frames.
        batch_size: Pairs a batch and process.
        augmentation: Limits of the random change of pairs.
        crop: Size of a part of each volume, at random, that is taken after that; default zeros: all of it.
        teacher: Fields as in `pair_to_arrays`; not together with parts of volumes.
        seed: Seed of order and draws.
        process_index: Number of this process, which takes that share of the global order.
        process_count: Number of processes.
        threads: Reading threads.
        prefetch: Arrayses prepared ahead.

    Returns:
        An iterator whose `get_state()` is a small JSON-compatible dictionary; `set_state()` continues exactly there.
    """
    pairs = grain.MapDataset.source(source.anchors).seed(seed).shuffle().repeat().random_map(source.draw)
    arrays = pairs.map(lambda pair: pair_to_arrays(store, pair, teacher))
    if augmentation.active:
        arrays = arrays.random_map(lambda pair, rng: augment_pair(pair, augmentation, rng))
    if any(crop):
        arrays = arrays.random_map(lambda pair, rng: crop_at_random(pair, crop, rng))
    batches = arrays[process_index::process_count].batch(batch_size, drop_remainder=True, batch_fn=stack)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(batches.to_iter_dataset(options))
