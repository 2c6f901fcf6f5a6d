import json

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms_io.sidecar import (
    TransformInfo,
    check_replaceable,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from autofuse_jax.version import __version__
from tests.transforms.examples import PAIRS, record

FIXED, MOVING = (record(on, f'{name}.nii.gz') for on, name in zip(PAIRS['oblique'], ('fixed', 'moving'), strict=True))


def written(tmp_path, **changes):
    info = TransformInfo(
        fixed=FIXED, moving=MOVING, inverse='inverse_itk.nii.gz', settings={'loss': {'ncc': 1.0}}, **changes
    )
    write_sidecar(tmp_path / 'forward_itk.nii.gz', info)
    return tmp_path / 'forward_itk.json'


def test_what_is_written_is_read(tmp_path):
    written(tmp_path, kind='displacement', convention='fsl', role='inverse', versions={'autofuse_jax': '9.9'})
    found = read_sidecar(tmp_path / 'forward_itk.nii.gz')
    assert (found.kind, found.convention, found.role) == ('displacement', 'fsl', 'inverse')
    assert found.inverse == 'inverse_itk.nii.gz'
    assert found.settings == {'loss': {'ncc': 1.0}} and found.versions == {'autofuse_jax': '9.9'}
    for image, expected in ((found.fixed, FIXED), (found.moving, MOVING)):
        assert image.file == expected.file and image.grid.shape == expected.grid.shape
        np.testing.assert_array_equal(image.grid.affine, expected.grid.affine)


def test_a_person_can_read_it(tmp_path):
    content = json.loads(written(tmp_path).read_text())
    assert list(content) == [
        *('format', 'version', 'suffix', 'kind', 'convention', 'units', 'frame', 'direction', 'role'),
        *('fixed', 'moving', 'inverse', 'settings', 'versions'),
    ]
    assert content['format'] == 'autofuse_jax transform' and content['version'] == 1
    assert content['units'] == 'mm' and 'LPS' in content['frame']
    assert content['direction'].startswith('pull: a point of the fixed image goes to the point of the moving image')
    assert content['versions'] == {'autofuse_jax': __version__}


def test_unknown_images_are_null(tmp_path):
    write_sidecar(tmp_path / 'a.txt', TransformInfo(kind='affine'))
    assert json.loads((tmp_path / 'a.json').read_text())['moving'] is None
    found = read_sidecar(tmp_path / 'a.txt')
    assert found.fixed is None and found.moving is None and found.inverse is None


def test_names():
    assert sidecar_path('x/affine_itk.txt').as_posix() == 'x/affine_itk.json'


def test_a_transform_of_the_same_stem_and_another_suffix_has_no_part_in_it(tmp_path):
    beside = written(tmp_path, convention='fsl')
    for name in ('forward_itk.nii', 'forward_itk.NII.GZ'):
        assert read_sidecar(tmp_path / name).convention == 'fsl'
    assert read_sidecar(tmp_path / 'forward_itk.npz') is None
    # Earlier versions did not say whose it is.
    content = json.loads(beside.read_text())
    del content['suffix']
    beside.write_text(json.dumps(content))
    assert read_sidecar(tmp_path / 'forward_itk.npz').convention == 'fsl'


def test_json_of_something_else_is_no_sidecar_and_is_not_replaced(tmp_path):
    path = tmp_path / 'scan.nii.gz'
    assert read_sidecar(path) is None
    # Scanners' parameters lie beside images under the same stem.
    (tmp_path / 'scan.json').write_text('{"EchoTime": 0.03}')
    assert read_sidecar(path) is None
    for content in ('{"EchoTime": 0.03}', '[1, 2]', 'no json'):
        (tmp_path / 'scan.json').write_text(content)
        with pytest.raises(UserError, match='scan.json exists and is no sidecar.*another name'):
            write_sidecar(path, TransformInfo())
        assert (tmp_path / 'scan.json').read_text() == content
    written(tmp_path)
    check_replaceable(tmp_path / 'forward_itk.nii.gz')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'version': 2}, 'version 2.*version 1.*newer'),
        ({'kind': 'spline'}, "'kind' is 'spline'.*'displacement' or 'affine'"),
        ({'convention': 'ants'}, "'convention' is 'ants'.*'itk' or 'fsl' or 'learn2reg' or 'voxel'"),
        ({'units': 'voxels'}, "'units' is 'voxels'.*'mm'"),
        ({'direction': 'push'}, "'direction' is 'push'.*pull"),
        ({'role': None}, "'role' is None"),
        ({'inverse': '../other/inverse.nii.gz'}, "'inverse' is.*in the same folder"),
        ({'inverse': 7}, "'inverse' is 7"),
        ({'settings': 'none'}, "'settings' is 'none'.*an object"),
        ({'versions': None}, "'versions' is None"),
        ({'fixed': {'file': 'f.nii', 'shape': [1, 2, 3]}}, "'fixed' is.*affine"),
        ({'fixed': {'file': 'f.nii', 'shape': [1, 2], 'affine': np.eye(4).tolist()}}, 'three sizes'),
        ({'fixed': {'file': 'f.nii', 'shape': [1, 2, 0], 'affine': np.eye(4).tolist()}}, 'three sizes'),
        ({'moving': {'file': 'm.nii', 'shape': [1, 2, 3], 'affine': np.zeros((4, 4)).tolist()}}, 'not singular'),
        ({'moving': {'file': 'm.nii', 'shape': [1, 2, 3], 'affine': 'x'}}, "'moving' is"),
        ({'moving': 'm.nii'}, "'moving' is 'm.nii'"),
    ],
)
def test_contradictions_are_named(tmp_path, change, message):
    path = written(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message) as error:
        read_sidecar(tmp_path / 'forward_itk.nii.gz')
    assert 'forward_itk.json' in str(error.value)


def test_a_damaged_sidecar_is_an_error(tmp_path):
    path = written(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match='forward_itk.json cannot be read: it is no JSON.*--convention'):
        read_sidecar(tmp_path / 'forward_itk.nii.gz')
