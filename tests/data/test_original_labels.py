import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.formats import store_npz
from autofuse_jax.data.original_labels import OriginalLabels
from autofuse_jax.errors import UserError
from tests.data.hand_made import manifest_of, subject

SHAPE = (4, 5, 6)
MAP = np.arange(120, dtype=np.int16).reshape(SHAPE) * 10


@pytest.fixture
def manifest(tmp_path):
    manifest = manifest_of(subject('a', '-+'), subject('b', '-'), root=tmp_path, shape=SHAPE)
    store_npz(tmp_path / 'a' / 'frame_01.npz', {'vol': np.zeros(SHAPE), 'seg_original': MAP})
    return dataclasses.replace(manifest, original_classes={10: 'ten'})


def test_maps_are_read_once_and_shared(manifest):
    store = OriginalLabels(manifest, cache_gib=1)
    frame = manifest.subjects[0].frames[0]
    first = store.load(frame)
    np.testing.assert_array_equal(first, MAP)
    assert store.load(frame) is first and not first.flags.writeable


def test_no_more_is_kept_than_allowed(manifest):
    store = OriginalLabels(manifest, cache_gib=0)
    frame = manifest.subjects[0].frames[0]
    assert store.load(frame) is not store.load(frame)


def test_unlabelled_frames_have_none(manifest):
    assert OriginalLabels(manifest, 1).load(manifest.subjects[1].frames[0]) is None


@pytest.mark.parametrize(
    ('arrays', 'words'),
    [
        ({'vol': MAP}, 'no such array'),
        ({'seg_original': MAP[:-1]}, r'int16 \(3, 5, 6\)'),
        ({'seg_original': MAP * 0.5}, 'float64'),
    ],
)
def test_files_that_do_not_fit(manifest, arrays, words):
    store_npz(manifest.root / 'a' / 'frame_01.npz', arrays)
    with pytest.raises(UserError, match=words) as raised:
        OriginalLabels(manifest, 1).load(manifest.subjects[0].frames[0])
    assert 'prepare the data again' in str(raised.value)
