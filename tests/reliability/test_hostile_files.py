"""Files of every kind that is read, damaged in many ways: each is read or refused in one sentence, never a traceback.

Seeded; another seed is set by the variable `AUTOFUSE_JAX_SEED`, more files by `AUTOFUSE_JAX_HOSTILE`.
"""

import json
import os
import random

import numpy as np
import pytest

from autofuse_jax.data.volumes import read_image
from autofuse_jax.errors import UserError
from autofuse_jax.training.metrics_log import read_rows
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo
from tests.reliability.campaign.damage import RAW, damaged_json, damaged_words
from tests.reliability.campaign.json_kinds import AFFINE, JSON_KINDS
from tests.reliability.campaign.text_kinds import ITK_KINDS, text_of

SEED = int(os.environ.get('AUTOFUSE_JAX_SEED', '0'))
EACH = int(os.environ.get('AUTOFUSE_JAX_HOSTILE', '12'))


def read_all(path, read, contents):
    """Read each content; count those that are refused, and let everything but a sentence to the user through."""
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            read(path)
        except UserError as error:
            assert '\n' not in str(error) and len(str(error)) < 3000
            refused += 1
    return refused


@pytest.mark.parametrize('kind', JSON_KINDS)
def test_json_is_read_or_refused(tmp_path, kind):
    rng = random.Random(f'{SEED} {kind}')
    path, read = JSON_KINDS[kind](tmp_path)
    content = json.loads(path.read_text())
    try:
        read(path)
    except UserError:
        assert kind == 'export'  # its network is no program
    refused = read_all(path, read, [damaged_json(content, rng) for _ in range(EACH)])
    # A damaged lock tells of no process: it is taken over.
    assert (refused > 0) == (kind != 'lock')
    # Whatever it is, each of these is damage.
    whole = [text.encode() for text in RAW] + [b'\xff\xfe\x80', b'[]' if kind != 'label names' else b'{"a": 1}']
    assert read_all(path, read, whole) >= (0 if kind in ('sidecar', 'lock') else len(whole) - 1)


def test_rows_of_metrics(tmp_path):
    rng = random.Random(SEED)
    rows = [json.dumps({'step': step, 'kind': 'train', 'loss': 0.5, 'note': None}).encode() for step in range(4)]
    path = tmp_path / 'metrics.jsonl'
    for _ in range(2 * EACH):
        place = rng.randrange(4)
        damaged = [*rows]
        damaged[place] = damaged_json(json.loads(rows[place]), rng).replace(b'\n', b' ')
        path.write_bytes(b'\n'.join(damaged) + b'\n')
        said = []
        try:
            assert len(read_rows(path, said.append)) >= 3
            assert not said or place == 3 and 'line 4' in said[0]
        except UserError as error:
            assert f'line {place + 1} of' in str(error) and place < 3


@pytest.mark.parametrize('kind', [*ITK_KINDS, 'lta', 'flirt'])
def test_transforms_in_text_are_read_or_refused(tmp_path, kind):
    rng = random.Random(f'{SEED} {kind}')
    image = ImageRecord('a.nii.gz', ImageGrid((4, 4, 4), AFFINE))
    name, text = text_of(kind)

    def read(path):
        transform, _ = read_transform(
            path, fixed=image if kind == 'flirt' else None, moving=image if kind == 'flirt' else None
        )
        points = transform.map_points(np.zeros((1, 3)))
        assert np.isfinite(points).all()

    read_all(tmp_path / name, read, [text.encode()])
    contents = [damaged_words(text, rng) for _ in range(EACH)]
    with np.errstate(over='raise', invalid='raise', divide='raise'):
        assert read_all(tmp_path / name, read, contents) > 0


@pytest.mark.parametrize(
    'affine',
    [
        np.diag([1e308, 1, 1, 1]),
        np.diag([1.0, 1, 1, 2]),
        np.diag([1.0, np.nan, 1, 1]),
        np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1e-3, 1]]),
        np.diag([1.0, 0, 1, 1]),
        np.eye(3),
        np.full((4, 4), 'x'),
        np.eye(4, dtype=complex),
        np.zeros((0, 4)),
    ],
)
def test_no_affine_of_an_npz_is_taken_that_is_none(tmp_path, affine):
    path = tmp_path / 'a.npz'
    np.savez(path, vol=np.arange(60, dtype=np.float32).reshape(3, 4, 5), affine=affine)
    with pytest.raises(UserError, match='the affine of'):
        read_image(path)


def test_a_written_transform_survives_its_own_reader(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = [1e6, -3, 2]
    write_transform(tmp_path / 'a.tfm', AffineTransform(matrix), 'itk', TransformInfo())
    np.testing.assert_array_equal(read_transform(tmp_path / 'a.tfm')[0].matrix, matrix)
