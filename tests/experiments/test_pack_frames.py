"""Prepared data made smaller, and read again by the ways that training reads it."""

import json

import numpy as np
import pytest

from autofuse_jax.data.formats import load_npz
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.prepared import load_frame
from experiments.accelerator import pack_frames
from tests.data.hand_made import manifest_of, subject, write_data_set, write_frame

SHAPE = (16, 16, 8)


@pytest.fixture
def data(tmp_path):
    """Two subjects with noise for images, which nothing compresses well."""
    several = subject('a', 'ED+ - ES+'), subject('b', 'ED+ ES+', 'validation')
    manifest = write_data_set(manifest_of(*several, root=tmp_path / 'data', shape=SHAPE))
    rng = np.random.default_rng(0)
    for entry in manifest.subjects:
        for frame in entry.frames:
            labels = rng.integers(0, 2, SHAPE) if frame.has_labels else None
            write_frame(manifest, frame, rng.random(SHAPE), labels)
    return manifest


@pytest.mark.parametrize(('stored_type', 'most', 'share'), [('uint8', 1 / 510, 0.5), ('float16', 2**-12, 0.75)])
def test_packed_frames_are_read_as_before_and_take_less(data, tmp_path, capsys, stored_type, most, share):
    out = tmp_path / 'small'
    assert pack_frames.main([f'--data={data.root}', f'--out={out}', f'--type={stored_type}']) == 0
    packed = read_manifest(out)
    assert packed.subjects == data.subjects and packed.classes == data.classes
    assert packed.settings['images_stored_as'].startswith(f'{stored_type}, off by 0.00')
    assert packed.settings['images_stored_as'] in capsys.readouterr().out
    store = FrameStore(packed, SHAPE, 1.0)
    for entry in data.subjects:
        for frame in entry.frames:
            before, (image, labels) = load_frame(data, frame), store.load(frame)
            assert np.abs(image - before.image).max() <= most * (1 + 1e-6)
            np.testing.assert_equal(labels, before.labels)
            before, after = (load_npz(root / frame.file) for root in (data.root, out))
            assert before.keys() == after.keys() and after['vol'].dtype == stored_type
            np.testing.assert_equal(after['affine'], before['affine'])
            assert (out / frame.file).stat().st_size < share * (data.root / frame.file).stat().st_size


def test_nothing_is_packed_twice_or_over_something(data, tmp_path, capsys):
    small = tmp_path / 'small'
    assert pack_frames.main([f'--data={data.root}', f'--out={small}']) == 0
    assert pack_frames.main([f'--data={small}', f'--out={tmp_path / "smaller"}']) == 2
    assert 'holds no float32 image' in capsys.readouterr().err
    # Without a manifest what was begun is no data.
    assert not (tmp_path / 'smaller' / 'manifest.json').exists()
    before = json.loads((small / 'manifest.json').read_text())
    assert pack_frames.main([f'--data={data.root}', f'--out={small}']) == 2
    assert 'not empty' in capsys.readouterr().err and json.loads((small / 'manifest.json').read_text()) == before
