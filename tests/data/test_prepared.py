import hashlib
import os

import numpy as np
import pytest

from autofuse_jax.data.manifests import Frame, Manifest
from autofuse_jax.data.prepared import (
    Grid,
    encoded_image,
    load_frame,
    origin_of,
    prepare_volume,
    read_finished,
    write_frame,
)
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.files import write_text

GRID = Grid((6, 4, 5), (1.0, 1.0, 2.0))
CLASSES = {0: 'background', 1: 'one', 2: 'two'}


def make_volume(shape=(4, 8, 5), spacing=(1.0, 1.0, 2.0)):
    rng = np.random.default_rng(0)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (10, 20, 30)
    labels = rng.integers(0, 3, shape).astype(np.int32)
    return Volume(rng.normal(50, 20, shape).astype(np.float32), labels, affine, 'patient001 frame 1')


def make_manifest(root):
    return Manifest(root, 'acdc', GRID.shape, GRID.spacing, CLASSES, (), {})


def written(root, **changes):
    """Write a frame, with some of its arrays replaced or (None) left out."""
    prepared = prepare_volume(make_volume(), GRID, tuple(CLASSES))
    arrays = {'vol': prepared.image, 'seg': prepared.labels, 'affine': prepared.affine} | changes
    (root / 'a').mkdir(exist_ok=True)
    np.savez(root / 'a' / 'frame_01.npz', **{key: array for key, array in arrays.items() if array is not None})
    return make_manifest(root), Frame(1, 'ED', 'a/frame_01.npz', True)


def test_crop_and_pad_by_hand():
    source = make_volume()
    found = prepare_volume(source, GRID, (0, 1, 2))
    # First axis padded by 1 on each side, second cropped by 2 on each side, third unchanged.
    kept = source.image[:, 2:6]
    wanted = (kept - kept.min()) / (kept.max() - kept.min())
    np.testing.assert_allclose(found.image[1:5], wanted, atol=1e-6)
    assert found.image.dtype == np.float32 and found.image.min() == 0 and found.image.max() == 1
    assert not found.image[[0, 5]].any() and not found.labels[[0, 5]].any()
    np.testing.assert_array_equal(found.labels[1:5], source.labels[:, 2:6])
    assert found.labels.dtype == np.uint8
    np.testing.assert_allclose(found.affine[:3, 3], [10 - 1, 20 + 2, 30])
    assert found.spacing == GRID.spacing


def test_prepared_affine_leads_to_the_same_place():
    source = make_volume((9, 7, 4), (1.4, 0.8, 6.0))
    source.labels[:] = 0
    source.labels[4:6, 3:5, 1:3] = 1
    found = prepare_volume(source, Grid((12, 8, 9), (0.7, 0.8, 2.0)), (0, 1))

    def centre(labels, affine):
        return affine[:3, :3] @ np.argwhere(labels == 1).mean(0) + affine[:3, 3]

    # Nearest neighbour may shift a border by half a prepared voxel.
    distance = np.abs(centre(found.labels, found.affine) - centre(source.labels, source.affine))
    assert (distance <= np.array([0.7, 0.8, 2.0]) / 2 + 1e-9).all()


def test_unlabelled_volume():
    source = make_volume()
    assert prepare_volume(Volume(source.image, None, source.affine, 'x'), GRID, (0, 1)).labels is None


def test_unknown_label_ids():
    source = make_volume()
    source.labels[0, 0, 0] = 7
    source.labels[0, 0, 1] = -1
    with pytest.raises(UserError, match=r'patient001 frame 1 hold the unknown ids \[-1, 7\].*\[0, 1, 2\]'):
        prepare_volume(source, GRID, (0, 1, 2))


def test_no_contrast_inside_the_grid():
    image = np.zeros((4, 20, 5), np.float32)
    image[:, 0] = 1
    with pytest.raises(UserError, match='same value 0 everywhere'):
        prepare_volume(Volume(image, None, np.diag([1.0, 1, 2, 1]), 'x'), GRID, (0,))


def test_load_frame_round_trip(tmp_path):
    prepared = prepare_volume(make_volume(), GRID, tuple(CLASSES))
    write_frame(tmp_path / 'a' / 'frame_01.npz', prepared, 'origin')
    manifest, frame = make_manifest(tmp_path), Frame(1, 'ED', 'a/frame_01.npz', True)
    found = load_frame(manifest, frame)
    for one, other in ((found.image, prepared.image), (found.labels, prepared.labels), (found.affine, prepared.affine)):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert found.name == 'a/frame_01.npz'
    assert load_frame(manifest, Frame(1, 'ED', 'a/frame_01.npz', False)).labels is None


@pytest.mark.parametrize(('stored_type', 'most'), [('float32', 0.0), ('float16', 2**-12), ('uint8', 1 / 510)])
def test_images_may_be_stored_in_smaller_types(tmp_path, stored_type, most):
    image = np.linspace(0, 1, np.prod(GRID.shape), dtype=np.float32).reshape(GRID.shape)
    stored = encoded_image(image, stored_type)
    manifest, frame = written(tmp_path, vol=stored)
    found = load_frame(manifest, frame).image
    assert stored.dtype == stored_type and found.dtype == np.float32
    # Not the slightest error of the extremes: 0 is what padding is known by.
    assert found.flat[0] == 0 and found.flat[-1] == 1
    np.testing.assert_allclose(found, image, rtol=0, atol=most * (1 + 1e-6))
    assert (np.abs(found - image).max() > most / 2) == (most > 0)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'vol': None}, 'lacks vol'),
        ({'seg': None}, 'lacks seg'),
        ({'affine': None}, 'lacks affine'),
        ({'vol': np.zeros((6, 4, 4), np.float32)}, r'\(6, 4, 4\).*float32 \(6, 4, 5\)'),
        ({'vol': np.zeros(GRID.shape, np.float64)}, 'float64'),
        ({'vol': np.zeros(GRID.shape, np.uint16)}, 'uint16'),
        ({'vol': np.full(GRID.shape, np.nan, np.float32)}, 'NaN'),
        ({'seg': np.zeros((6, 4, 4), np.uint8)}, r'labels uint8 \(6, 4, 4\)'),
        ({'seg': np.zeros(GRID.shape, np.int32)}, 'labels int32'),
        ({'seg': np.full(GRID.shape, 3, np.uint8)}, r'unknown ids \[3\]'),
        ({'vol': np.array([None], object)}, 'allow_pickle=False'),
    ],
)
def test_load_frame_checks_against_the_manifest(tmp_path, changes, message):
    manifest, frame = written(tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        load_frame(manifest, frame)


def test_load_frame_of_missing_and_truncated_files(tmp_path):
    manifest, frame = written(tmp_path)
    path = tmp_path / frame.file
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match='frame_01.npz cannot be read.*prepare the data again'):
        load_frame(manifest, frame)
    path.unlink()
    with pytest.raises(UserError, match='does not exist.*prepare the data again'):
        load_frame(manifest, frame)


def test_an_origin_is_the_hash_of_settings_and_contents(tmp_path):
    files = [tmp_path / 'a' / 'image.nii', tmp_path / 'a' / 'seg.nii']
    for path, content in zip(files, ('abc', 'de'), strict=True):
        write_text(path, content)
    hashes = [hashlib.sha256(content).hexdigest() for content in (b'abc', b'de')]
    # Prepared frames are found again as long as this text stays the same.
    text = f'[{{"shape": [1, 2, 3]}}, ["{hashes[0]}", "{hashes[1]}"], null]'
    assert origin_of({'shape': (1, 2, 3)}, files, None) == hashlib.sha256(text.encode()).hexdigest()
    write_text(tmp_path / 'b.nii', 'abc')
    assert origin_of({}, [files[0], None]) == origin_of({}, [tmp_path / 'b.nii'])
    before = origin_of({}, files)
    write_text(files[1], 'df')
    assert origin_of({}, files) != before


def write_finished(path, origin):
    write_frame(path, prepare_volume(make_volume(), GRID, tuple(CLASSES)), origin)


def test_finished_frames_are_recognised_by_their_origin(tmp_path):
    path, source = tmp_path / 'frame_01.npz', tmp_path / 'image.nii'
    write_text(source, 'abc')
    assert read_finished(path, {}, [source], 1) is None
    write_finished(path, origin_of({}, [source], 1))
    assert set(read_finished(path, {}, [source], 1)) == {'vol', 'seg', 'affine', 'origin'}
    assert read_finished(path, {}, [source], 2) is None
    assert read_finished(path, {'shape': 3}, [source], 1) is None
    # Of the same name and size.
    write_text(source, 'abd')
    assert read_finished(path, {}, [source], 1) is None
    write_text(source, 'abc')
    path.write_bytes(path.read_bytes()[:-200])
    assert read_finished(path, {}, [source], 1) is None


def test_frames_of_earlier_versions_count_until_their_source_changes(tmp_path):
    path, source = tmp_path / 'frame_01.npz', tmp_path / 'image.nii'
    write_text(source, 'abc')
    write_finished(path, hashlib.sha256(b'[{}, [["image.nii", 3]], 1]').hexdigest())
    assert read_finished(path, {}, [source, None], 1) is not None
    later = path.stat().st_mtime + 10
    os.utime(source, (later, later))
    assert read_finished(path, {}, [source, None], 1) is None
