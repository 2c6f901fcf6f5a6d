"""Files of every kind that is read, damaged in many ways: each is read or refused in one sentence, never a traceback.

Seeded; another seed is set by the variable `AUTOFUSE_JAX_SEED`, more files by `AUTOFUSE_JAX_HOSTILE`.
"""

import copy
import json
import os
import random

import numpy as np
import pytest

from autofuse_jax.data.inputs import read_classes
from autofuse_jax.data.manifests import Frame, Manifest, Subject, read_manifest, write_manifest
from autofuse_jax.data.teacher_fields import open_teacher, write_record
from autofuse_jax.data.volumes import read_image
from autofuse_jax.deployment.artefacts import load_exported
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.earlier_scores import open_scores
from autofuse_jax.evaluation.protocol_files import read_protocol
from autofuse_jax.evaluation.register_results import open_results
from autofuse_jax.evaluation.runs import Sources
from autofuse_jax.files import listed_files
from autofuse_jax.preparation.brain_labels import read_label_table
from autofuse_jax.preparation.splits import read_splits
from autofuse_jax.training.metrics_log import read_rows
from autofuse_jax.training.stored_config import read_config
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo, read_sidecar, write_sidecar
from autofuse_jax.weights.released import Description, read_released, write_released
from tests.evaluation.made_results import write_result

SEED = int(os.environ.get('AUTOFUSE_JAX_SEED', '0'))
EACH = int(os.environ.get('AUTOFUSE_JAX_HOSTILE', '12'))
AFFINE = np.diag([2.0, 2, 3, 1])
# Values that stand in JSON where another one is expected; the words become raw text below.
HOSTILE = (
    None,
    True,
    -1,
    0,
    0.5,
    1e300,
    '',
    '..',
    '/etc/passwd',
    '../../x',
    '\ud800',
    '\0',
    'x' * 5000,
    [],
    {},
    [[]],
    {'': 1},
)
RAW = (
    '1e999',
    '-Infinity',
    'NaN',
    '9' * 5000,
    '[' * 100_000 + ']' * 100_000,
    '{"a":' * 70 + '1' + '}' * 70,
    '"\\u12"',
    '',
)
RAW_MARK = '"here stands raw text"'


def damaged_json(content, rng):
    """Return the bytes of a JSON text with one fault, by its structure or by its bytes."""
    text = json.dumps(content)
    kind = rng.randrange(4)
    if kind == 0:
        return damaged_bytes(text.encode(), rng)
    changed = copy.deepcopy(content)
    *way, last = rng.choice(places(content))
    inner = changed
    for step in way:
        inner = inner[step]
    if kind == 1 and isinstance(inner, dict):
        del inner[last]
        return json.dumps(changed).encode()
    inner[last] = json.loads(RAW_MARK) if kind == 2 else rng.choice(HOSTILE)
    return json.dumps(changed).replace(RAW_MARK, rng.choice(RAW)).encode()


def places(content, way=()):
    """Return where values stand in nested JSON: keys and positions that lead there."""
    steps = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for step, inner in steps for place in ((*way, step), *places(inner, (*way, step)))]


def damaged_bytes(content, rng):
    """Return bytes cut off, with a flipped bit, without some of them, with strange ones among them, or none."""
    place = rng.randrange(max(len(content), 1))
    flipped = bytearray(content)
    flipped[place] ^= 1 << rng.randrange(8)
    return rng.choice(
        [
            content[:place],
            bytes(flipped),
            content[:place] + content[place + 7 :],
            content[:place] + b'\xff\xfe\x80' + content[place:],
            b'',
        ]
    )


def manifest_of(root):
    frames = (Frame(1, 'ED', 'p1/frame_01.npz', True), Frame(2, '', 'p1/frame_02.npz', False))
    subjects = (Subject('p1', 'train', 'a', frames),)
    return Manifest(root, 'acdc', (8, 8, 4), (1.5, 1.5, 3.0), {0: 'background', 1: 'left'}, subjects, {'seed': 1})


def make_manifest(folder):
    return write_manifest(manifest_of(folder)), lambda path: read_manifest(path)


def make_teacher(folder):
    manifest = manifest_of(folder)
    write_manifest(manifest)
    write_record(folder, manifest, {'velocity_shape': [4, 4, 2], 'labelled_subjects': ['p1'], 'settings': {}})
    return folder / 'teacher.json', lambda path: open_teacher(path.parent, manifest)


def make_sidecar(folder):
    image = ImageRecord('a.nii.gz', ImageGrid((4, 5, 6), AFFINE))
    write_sidecar(folder / 'forward.nii.gz', TransformInfo(fixed=image, moving=image, settings={'steps': 3}))
    return folder / 'forward.json', lambda path: read_sidecar(path.with_suffix('.nii.gz'))


def make_weights(folder):
    path = folder / 'params.npz'
    write_released(path, {'a/kernel': np.ones((2, 2), np.float32)}, Description('autofuse', {'fusion': 'gate'}))
    return folder / 'params.json', lambda changed: read_released(path)


def make_export(folder):
    (folder / 'net.stablehlo').write_bytes(b'no program')
    record = {'format': 'autofuse_jax exported network', 'format_version': 1, 'size': [16, 16, 16]}
    return json_file(folder / 'net.json', record | {'sha256': {'net.stablehlo': '0' * 64}}), lambda path: load_exported(
        folder / 'net.stablehlo'
    )


def make_report(folder):
    result = write_result(folder / 'out', shift=0.0, data=folder / 'data')
    return result / 'report.json', lambda path: open_results(result, 'run', Sources())


def make_scores(folder):
    pair = {'pair': 'a', 'subject': 's', 'dsc_after': 0.5, 'dsc_after_per_label': {'1': 0.5, '2': None}, 'seconds': 1.0}
    content = {
        'pairs': [pair, pair | {'pair': 'b'}],
        'classes': {'1': 'left', '2': 'right'},
        'protocol': {'name': 'default'},
    }
    return json_file(folder / 'pairs.json', content), lambda path: open_scores(path.parent, 'run')


def make_config(folder):
    options = {'base_channels': 4, 'fusion': 'gate'}
    content = {'method': 'autofuse', 'model': options, 'loss': {'kl': 0.1}, 'inference': {'symmetric': False}}
    data = {'root': 'prepared', 'grid': [0, 0, 0], 'source': 'prepared'}
    more = {'phases': {'phase_1': {'steps': 3, 'pairs': 'ed_es'}}, 'optimizer': {'learning_rate': 1e-3}}
    content |= {
        'data': data,
        'training': {'batch_size': 1, 'devices': 0, 'depth_devices': 1, 'precision': 'default'},
        'evaluation': {'split': 'test'},
    } | more
    return json_file(folder / 'config.json', content), lambda path: read_config(path, of_run=True)


def json_file(path, content):
    path.write_text(json.dumps(content))
    return path


PROTOCOL = {'name': 'mine', 'labels': {'3': 'left'}, 'quantities': ['dsc'], 'surface': {'percentile': 95}}
# Each makes a good file in a folder and says how it is read.
JSON_KINDS = {
    'manifest': make_manifest,
    'teacher': make_teacher,
    'sidecar': make_sidecar,
    'weights': make_weights,
    'export': make_export,
    'report': make_report,
    'scores': make_scores,
    'config': make_config,
    'label names': lambda folder: (json_file(folder / 'a.json', {'1': 'left', '2': 'right'}), read_classes),
    'protocol': lambda folder: (json_file(folder / 'a.json', PROTOCOL), lambda path: read_protocol(str(path))),
    'splits': lambda folder: (
        json_file(folder / 'a.json', {'train': ['a', 'b'], 'test': ['c']}),
        lambda path: read_splits(path, 'acdc'),
    ),
    'label table': lambda folder: (
        json_file(folder / 'a.json', {'17': {'name': 'Left-Hippocampus', 'class': 'Hippocampus'}, '85': 'Chiasm'}),
        read_label_table,
    ),
    'results': lambda folder: (json_file(folder / 'a.json', {'files': ['a.nii.gz', 'b/c.txt']}), listed_files),
}


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
    assert read_all(path, read, [damaged_json(content, rng) for _ in range(EACH)])
    # Whatever it is, each of these is damage.
    whole = [text.encode() for text in RAW] + [b'\xff\xfe\x80', b'[]' if kind != 'label names' else b'{"a": 1}']
    assert read_all(path, read, whole) >= (0 if kind == 'sidecar' else len(whole) - 1)


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


NUMBERS = ('nan', 'inf', '-inf', '1e308', '-1e308', '1e999', '9' * 5000, '', 'x', '0', '1e-320', '\xff', '1,5')
LINEAR = '#Insight Transform File V1.0\n#Transform 0\nTransform: {}\nParameters: {}\nFixedParameters: {}\n'
ITK_KINDS = {
    'AffineTransform_double_3_3': '1 0 0 0 1 0 0 0 1 0 0 0',
    'VersorRigid3DTransform_double_3_3': '0 0 0 1 2 3',
    'Euler3DTransform_double_3_3': '0.1 0 0 1 2 3',
    'QuaternionRigidTransform_double_3_3': '0 0 0 1 1 2 3',
    'Similarity3DTransform_double_3_3': '0 0 0 1 2 3 1',
    'ScaleSkewVersor3DTransform_double_3_3': '0 0 0 1 2 3 1 1 1 0 0 0 0 0 0',
    'DisplacementFieldTransform_double_3_3': ' '.join(['0'] * 24),
}
GRID = '2 2 2 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1'
LTA = 'type = 1\nnxforms = 1\nmean = 0 0 0\nsigma = 1\n1 4 4\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n' + ''.join(
    f'{name} volume info\nvalid = 1\nfilename = a.mgz\nvolume = 4 4 4\nvoxelsize = 1 1 1\nxras = 1 0 0\nyras = 0 1 0\n'
    'zras = 0 0 1\ncras = 0 0 0\n'
    for name in ('src', 'dst')
)


@pytest.mark.parametrize('kind', [*ITK_KINDS, 'lta', 'flirt'])
def test_transforms_in_text_are_read_or_refused(tmp_path, kind):
    rng = random.Random(f'{SEED} {kind}')
    image = ImageRecord('a.nii.gz', ImageGrid((4, 4, 4), AFFINE))
    if kind in ITK_KINDS:
        name, text = 'a.tfm', LINEAR.format(kind, ITK_KINDS[kind], GRID if kind.startswith('Disp') else '0 0 0')
    else:
        name, text = ('a.lta', LTA) if kind == 'lta' else ('a.mat', '1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n')

    def read(path):
        transform, _ = read_transform(
            path, fixed=image if kind == 'flirt' else None, moving=image if kind == 'flirt' else None
        )
        points = transform.map_points(np.zeros((1, 3)))
        assert np.isfinite(points).all()

    read_all(tmp_path / name, read, [text.encode()])
    contents = []
    for _ in range(EACH):
        words = text.split(' ')
        words[rng.randrange(1, len(words))] = rng.choice(NUMBERS)
        contents.append(rng.choice([' '.join(words).encode('latin-1'), damaged_bytes(text.encode(), rng)]))
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
