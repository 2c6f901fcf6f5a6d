import numpy as np
import pytest

from autofuse_jax.data.frame_cache import BYTES_PER_GIB
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.errors import UserError
from tests.data.hand_made import manifest_of, subject, write_data_set, write_frame

SHAPE = (4, 4, 4)
# A float32 image and uint8 labels of 64 voxels.
BYTES_PER_FRAME = 64 * 4 + 64


@pytest.fixture
def manifest(tmp_path):
    return write_data_set(manifest_of(subject('a', 'ED+ ES+ -'), root=tmp_path, shape=SHAPE))


def frames_of(manifest):
    return manifest.subjects[0].frames


def delete(manifest, frame):
    (manifest.root / frame.file).unlink()


def test_prepared_grid_is_handed_out_as_it_is(manifest):
    image, labels = FrameStore(manifest, SHAPE, 1.0).load(frames_of(manifest)[0])
    # Frame 1: the block covers planes 1 and 2, the inner 2 x 2 voxels of each.
    wanted = np.zeros(SHAPE)
    wanted[1:3, 1:3, 1:3] = 1
    assert image.dtype == np.float32 and labels.dtype == np.uint8
    np.testing.assert_array_equal(image, wanted)
    np.testing.assert_array_equal(labels, wanted)


def test_frame_without_labels(manifest):
    image, labels = FrameStore(manifest, (2, 4, 4), 1.0).load(frames_of(manifest)[2])
    assert image.shape == (2, 4, 4)
    assert labels is None


def test_other_grid_over_the_same_field_of_view(manifest):
    # From 4 to 2 voxels along the first axis: centres 0.5 and 2.5, triangle of half width 2, so the weights of the
    # source voxels for the first target voxel are (0.75, 0.75, 0.25, 0) / 1.75.
    ramp = np.arange(4.0)[:, None, None] / 3 * np.ones(SHAPE)
    labels = np.zeros(SHAPE)
    labels[:2] = 1
    frame = frames_of(manifest)[0]
    write_frame(manifest, frame, ramp, labels)
    image, labels = FrameStore(manifest, (2, 4, 4), 1.0).load(frame)
    first = (0.75 * 1 + 0.25 * 2) / 1.75 / 3
    np.testing.assert_allclose(image[:, 0, 0], [first, 1 - first], rtol=1e-6)
    np.testing.assert_array_equal(labels[:, 0, 0], [1, 0])
    assert image.shape == labels.shape == (2, 4, 4)
    assert image.dtype == np.float32 and labels.dtype == np.uint8


def test_arrays_are_shared_and_read_only(manifest):
    for gib in (0.0, 1.0):
        store = FrameStore(manifest, SHAPE, gib)
        for array in store.load(frames_of(manifest)[0]):
            with pytest.raises(ValueError, match='read-only'):
                array[0, 0, 0] = 1
    assert store.load(frames_of(manifest)[0])[0] is store.load(frames_of(manifest)[0])[0]


def test_kept_frames_are_not_read_again(manifest):
    store = FrameStore(manifest, SHAPE, 1.0)
    frame = frames_of(manifest)[0]
    image = store.load(frame)[0]
    delete(manifest, frame)
    assert store.load(frame)[0] is image


def test_frames_are_kept_up_to_the_limit(manifest):
    # Room for one frame and a half: the second is read each time, the first never again.
    store = FrameStore(manifest, SHAPE, 1.5 * BYTES_PER_FRAME / BYTES_PER_GIB)
    first, second, _ = frames_of(manifest)
    for frame in (first, second):
        store.load(frame)
        delete(manifest, frame)
    store.load(first)
    with pytest.raises(UserError, match='which does not exist'):
        store.load(second)


def test_limit_counts_to_the_byte(manifest):
    first, second, _ = frames_of(manifest)
    store = FrameStore(manifest, SHAPE, 2 * BYTES_PER_FRAME / BYTES_PER_GIB)
    for frame in (first, second):
        store.load(frame)
        delete(manifest, frame)
        assert store.load(frame)[0].shape == SHAPE


def test_limit_is_about_the_resized_frames(manifest):
    # On a grid of 1/8 of the voxels a frame takes 1/8 of the memory.
    store = FrameStore(manifest, (2, 2, 2), BYTES_PER_FRAME / 8 / BYTES_PER_GIB)
    frame = frames_of(manifest)[0]
    store.load(frame)
    delete(manifest, frame)
    assert store.load(frame)[0].shape == (2, 2, 2)


def test_nothing_is_kept_without_memory(manifest):
    store = FrameStore(manifest, SHAPE, 0.0)
    frame = frames_of(manifest)[0]
    store.load(frame)
    delete(manifest, frame)
    with pytest.raises(UserError, match='prepare the data again'):
        store.load(frame)
