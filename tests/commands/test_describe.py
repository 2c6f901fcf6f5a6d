"""What a report of a problem holds, what it must never hold, and that a broken jax does not keep it from being made."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.commands import environment
from autofuse_jax.commands.describe import as_text, describe_file, main
from autofuse_jax.commands.environment import without_folders
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform
from autofuse_jax.transforms_io.conventions import ITK
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo
from autofuse_jax.version import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
PERSON = 'Erika Mustermann'
AFFINE = np.array([[-1.5, 0, 0, 90], [0, 1.5, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / PERSON
    place.mkdir()
    return place


@pytest.fixture
def without_jax(monkeypatch):
    """Describe without starting jax, which takes seconds."""
    answer = {'backend': 'gpu', 'devices': [{'kind': 'Some GPU', 'memory': 8 * 2**30}] * 2}
    monkeypatch.setattr(environment, '_ask_for_devices', lambda: answer)


def write_scan(path, array, affine=AFFINE):
    """Write an image with a name wherever scanners write one."""
    image = nib.Nifti1Image(array, affine)
    image.header['descrip'] = image.header['aux_file'] = PERSON.encode()
    image.header['intent_name'] = image.header['db_name'] = PERSON.encode()[:15]
    image.header.extensions.append(nib.nifti1.Nifti1Extension('comment', PERSON.encode()))
    image.header.set_xyzt_units('mm', 'sec')
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=2)
    nib.save(image, path)
    return path


def test_header_of_an_image(folder):
    path = write_scan(folder / 'scan.nii.gz', np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    assert describe_file(path) == {
        'file': 'scan.nii.gz',
        'format': 'Nifti1',
        'shape': [2, 3, 4],
        'dtype': 'int16',
        'affine': AFFINE.tolist(),
        'units': 'mm sec',
        'scl_slope': 1.0,
        'scl_inter': 0.0,
        'sform_code': 1,
        'qform_code': 2,
        'intent_code': 0,
        'spacing_mm': [1.5, 1.5, 3.0],
        'orientation': 'LAS',
        'oblique_degrees': 0.0,
    }


def test_scaling_is_that_of_the_file(folder):
    path = folder / 'scaled.nii'
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -1024)
    nib.save(image, path)
    fields = describe_file(path)
    assert (fields['scl_slope'], fields['scl_inter']) == (0.5, -1024)


def test_what_is_suspicious_or_refused_is_said(folder):
    thick = write_scan(folder / 'thick.nii.gz', np.zeros((4, 4, 4), np.float32), np.diag([1, 1, 8, 1]))
    assert 'slices of 8 mm' in describe_file(thick)['remarks'][0]
    colours = write_scan(folder / 'colours.nii.gz', np.zeros((4, 4, 4), np.complex64))
    fields = describe_file(colours)
    assert fields['refused'].startswith('colours.nii.gz holds colours') and fields['shape'] == [4, 4, 4]


def test_images_of_other_formats(folder):
    nib.save(nib.MGHImage(np.zeros((2, 3, 4), np.float32), AFFINE), folder / 'brain.mgz')
    fields = describe_file(folder / 'brain.mgz')
    assert (fields['format'], fields['shape'], fields['orientation']) == ('MGH', [2, 3, 4], 'LAS')
    np.savez(folder / 'frame.npz', vol=np.zeros((2, 3, 4)), seg=np.zeros((2, 3, 4), np.uint8), affine=AFFINE)
    fields = describe_file(folder / 'frame.npz')
    assert (fields['shape'], fields['spacing_mm']) == ([2, 3, 4], [1.5, 1.5, 3.0])
    assert fields['arrays']['seg'] == 'uint8 [2, 3, 4]' and 'transform' not in fields


def test_transforms(folder):
    info = TransformInfo(fixed=ImageRecord('fixed.nii.gz', ImageGrid((2, 3, 4), AFFINE)))
    write_transform(folder / 'field.nii.gz', DenseTransform(np.ones((2, 3, 4, 3), np.float32), AFFINE), ITK, info)
    fields = describe_file(folder / 'field.nii.gz')
    assert fields['shape'] == [2, 3, 4, 1, 3] and 'a dense displacement field in ITK convention' in fields['transform']
    write_transform(folder / 'affine.txt', AffineTransform(np.eye(4)), ITK, info)
    assert 'an affine transform in ITK convention' in describe_file(folder / 'affine.txt')['transform']
    np.savez(folder / 'disp_0001_0002.npz', np.zeros((3, 2, 3, 4)))
    assert 'learn2reg convention' in describe_file(folder / 'disp_0001_0002.npz')['transform']
    (folder / 'composite.h5').write_bytes(b'...')
    assert 'composite.h5 cannot be read' in describe_file(folder / 'composite.h5')['transform']
    series = write_scan(folder / 'three_frames.nii.gz', np.zeros((4, 4, 4, 3), np.float32))
    assert 'its convention is not known' in describe_file(series)['transform']


@pytest.mark.parametrize(
    ('name', 'content', 'words'),
    [
        ('absent.nii.gz', None, 'there is no file absent.nii.gz'),
        ('broken.nii.gz', b'no gzip', 'broken.nii.gz cannot be read'),
        ('broken.npz', b'no zip', 'broken.npz cannot be read'),
        ('notes.txt', b'12 patients', 'notes.txt'),
    ],
)
def test_files_that_cannot_be_read_are_described_by_the_reason(folder, name, content, words):
    if content is not None:
        (folder / name).write_bytes(content)
    fields = describe_file(folder / name)
    assert words in fields.get('problem', fields.get('transform'))
    assert PERSON not in str(fields)


def test_a_folder_is_no_file(folder):
    assert describe_file(folder)['problem'] == f'{PERSON} is a folder'


def test_no_person_and_no_folder_is_in_a_report(folder, capsys, without_jax, monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', f'--xla_dump_to=/home/{PERSON.split()[1]}/dumps/x --xla_gpu_autotune_level=0')
    paths = [
        write_scan(folder / 'scan.nii.gz', np.zeros((2, 3, 4), np.int16)),
        write_scan(folder / 'field.nii.gz', np.zeros((4, 4, 4, 1, 3), np.float32)),
        folder / 'absent.nii.gz',
    ]
    for arguments in ([], ['--json']):
        assert main([*map(str, paths), *arguments]) == 0
        output = capsys.readouterr().out
        assert 'scan.nii.gz' in output and 'absent.nii.gz' in output and 'autotune_level=0' in output
        assert PERSON.split()[0] not in output and PERSON.split()[1] not in output
        assert str(Path.home()) not in output and sys.prefix not in output


def test_text_and_json_hold_the_same(capsys, without_jax):
    assert main(['--json']) == 0
    record = json.loads(capsys.readouterr().out)
    assert record['versions']['autofuse_jax'] == __version__ and record['versions']['numpy'] == np.__version__
    assert record['machine']['cores'] >= 1 and record['machine']['memory'] > 2**28
    assert record['commit'] is None or len(record['commit'].split('-')[0]) == 12
    text = as_text(record)
    assert main([]) == 0 and capsys.readouterr().out == text + '\n'
    for words in (f'autofuse_jax {__version__}', f'numpy {np.__version__}', '2 x Some GPU (gpu, 8.0 GiB each)'):
        assert words in text


def test_extras_are_those_of_the_installed_package(monkeypatch):
    requirements = ['numpy>=2', 'pytest>=8; extra == "test"', "no-such-package<3; extra == 'test'"]
    requirements.append('numpy; extra == "torch"')
    monkeypatch.setattr(environment.importlib.metadata, 'requires', lambda name: requirements)
    assert environment.extras() == {'test': ['no-such-package'], 'torch': []}
    line = as_text({**environment.facts(), 'jax': {'problem': 'none'}, 'files': []}).splitlines()[2]
    assert line == 'extras: test without no-such-package; torch'


@pytest.mark.parametrize(
    ('text', 'cleaned'),
    [
        ("No such file: '/home/erika/data/scan.nii.gz'", "No such file: 'scan.nii.gz'"),
        ('ImportError: /opt/x/lib.so: undefined symbol: f', 'ImportError: lib.so: undefined symbol: f'),
        ('~/erika/x.txt and ../erika/y.txt and C:\\erika\\z.txt', 'x.txt and y.txt and z.txt'),
        ('4 of 1/2 mm, and/or none', '4 of 1/2 mm, and/or none'),
    ],
)
def test_folders_are_taken_out_of_sentences(text, cleaned):
    assert without_folders(text) == cleaned


@pytest.mark.parametrize(
    ('jax', 'words'),
    [
        ('raise ImportError("libcudart.so of /home/erika/lib cannot be opened")', 'libcudart.so of lib cannot'),
        ('raise ModuleNotFoundError("No module named \'jax\'")', "No module named 'jax'"),
        ('import os; os.abort()', 'does not start (status -6): it said nothing'),
    ],
)
def test_a_broken_jax_is_described(tmp_path, jax, words):
    (tmp_path / 'jax.py').write_text(jax)
    scan = write_scan(tmp_path / 'scan.nii.gz', np.zeros((2, 3, 4), np.int16))
    # Where the first jax that Python finds is the broken one.
    program = f'import sys; sys.path[:0] = [{str(REPOSITORY)!r}]; from autofuse_jax.cli import main; sys.exit(main())'
    answer = subprocess.run(
        [sys.executable, '-c', program, 'describe', str(scan)], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert words in answer.stdout and 'erika' not in answer.stdout
    assert f'autofuse_jax {__version__}' in answer.stdout and 'spacing_mm: [1.5, 1.5, 3.0]' in answer.stdout


def test_a_jax_that_hangs_is_described(monkeypatch):
    monkeypatch.setattr(environment, 'DEVICE_SECONDS', 0.01)
    assert 'did not name its devices within 0.01 s' in environment.jax_devices()['problem']


def test_the_devices_are_those_of_jax():
    fields = environment.jax_devices()
    assert fields['backend'] == 'cpu' and fields['devices'][0]['kind'] == 'cpu'
