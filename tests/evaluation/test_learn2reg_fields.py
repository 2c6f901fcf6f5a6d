"""Learn2Reg folders: fields under both names and formats, labels, landmarks, and what may be missing."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.learn2reg_fields import has_fields, open_fields, read_landmarks
from autofuse_jax.evaluation.pair_scores import score_pair
from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.evaluation.runs import Sources
from tests.evaluation.made_results import AFFINE, SHAPE, shift_field, write_learn2reg

CASES = {'0001': 5, '0002': 3, '0003': 4}


@pytest.fixture
def data(tmp_path):
    return write_learn2reg(tmp_path / 'data', CASES)


@pytest.fixture
def fields(tmp_path):
    folder = tmp_path / 'fields'
    folder.mkdir()
    np.savez(folder / 'disp_0001_0002.npz', shift_field(-2.0))
    nib.save(nib.Nifti1Image(shift_field(-1.0), np.eye(4)), folder / 'disp_0001_0000_0003_0000.nii.gz')
    return folder


def opened(fields, **sources):
    return open_fields(fields, 'run', Sources(**sources))


def test_both_names_and_formats(data, fields):
    assert has_fields(fields)
    run = opened(fields, dataset_json=data)
    assert [case.name for case in run.cases] == ['0002_0000_to_0001_0000', '0003_0000_to_0001_0000']
    assert {case.group for case in run.cases} == {'0001'}
    for case in run.cases:
        record = score_pair(case.load(), PROTOCOLS['learn2reg'])
        assert record['dsc_after'] == 1.0 and record['tre_mm_after'] == pytest.approx(0, abs=1e-9)
        assert record['landmarks'] == 2
    # Landmarks of the case that starts two planes earlier are two voxels of 2 mm away.
    assert score_pair(run.cases[0].load(), PROTOCOLS['learn2reg'])['tre_mm_before'] == pytest.approx(4.0)


def test_fields_relate_array_indices_whatever_the_affines_say(data, fields):
    path = data.parent / 'labelsTr' / 'Toy_0002_0000.nii.gz'
    shifted = AFFINE.copy()
    shifted[:3, 3] = 50.0
    labels = np.asarray(nib.load(path).dataobj)
    nib.save(nib.Nifti1Image(labels, shifted), path)
    assert score_pair(opened(fields, dataset_json=data).cases[0].load(), PROTOCOLS['default'])['dsc_after'] == 1.0


def test_description_is_found_in_the_data(data, fields):
    assert len(opened(fields, data=data.parent).cases) == 2
    with pytest.raises(UserError, match='no .*dataset.json that says.*--dataset-json'):
        opened(fields)
    (data.parent / 'Other_dataset.json').write_text('{}')
    with pytest.raises(UserError, match='several descriptions.*Other_dataset.json, Toy_dataset.json'):
        opened(fields, data=data.parent)


def test_missing_field_is_named(data, fields):
    (fields / 'disp_0001_0002.npz').unlink()
    with pytest.raises(
        UserError, match='no disp_0001_0002 or disp_0001_0000_0002_0000.*1 of 2 pairs of registration_val'
    ):
        opened(fields, dataset_json=data)


def test_test_list_is_taken_where_its_fields_are_there(data, fields):
    content = json.loads(data.read_text())
    content |= {'registration_test': content['registration_val'], 'registration_val': []}
    data.write_text(json.dumps(content))
    assert 'registration_test' in opened(fields, dataset_json=data).notes[0]


def test_fields_of_other_cases_are_no_pairs(data, tmp_path):
    (tmp_path / 'other').mkdir()
    np.savez(tmp_path / 'other' / 'disp_0008_0009.npz', shift_field(0.0))
    with pytest.raises(UserError, match='no pairs were found in .*other.*fields named disp_FIXED_MOVING'):
        opened(tmp_path / 'other', dataset_json=data)


@pytest.mark.parametrize('kind', ['labelsTr/Toy_0003_0000.nii.gz', 'landmarksTr/Toy_0003_0000.csv'])
def test_missing_file_of_a_pair_is_named(data, fields, kind):
    (data.parent / kind).unlink()
    with pytest.raises(UserError, match=f'there is no file .*{kind}'):
        opened(fields, dataset_json=data)


def test_data_without_landmarks_has_no_tre(tmp_path, fields):
    data = write_learn2reg(tmp_path / 'plain', CASES, landmarks=False)
    assert 'tre_mm_after' not in score_pair(opened(fields, dataset_json=data).cases[0].load(), PROTOCOLS['default'])


@pytest.mark.parametrize('shape', [(6, 5, 4, 3), (3, *SHAPE)])
def test_fields_of_another_shape_are_refused(data, fields, shape):
    np.savez(fields / 'disp_0001_0002.npz', np.zeros(shape, np.float32))
    with pytest.raises(UserError, match='another grid|expected|Expected'):
        opened(fields, dataset_json=data).cases[0].load()


def test_field_under_another_key_is_refused(data, fields):
    np.savez(fields / 'disp_0001_0002.npz', flow=shift_field(0.0))
    with pytest.raises(UserError, match='holds flow. Expected: an array named arr_0'):
        opened(fields, dataset_json=data).cases[0].load()


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('{', 'is no JSON'),
        ('{"training": []}', 'lists no pairs'),
        ('{"registration_val": [1]}', 'is no list of pairs'),
        ('{"registration_val": 12}', 'is no list of pairs'),
        ('{"registration_val": [{"fixed": 1, "moving": 2}]}', 'is no list of pairs'),
        ('{"registration_val": [{"fixed": "a.nii.gz", "moving": "b.nii.gz"}]}', 'NAME_CASE_MODALITY'),
    ],
)
def test_bad_descriptions(data, fields, content, words):
    data.write_text(content)
    with pytest.raises(UserError, match=words):
        opened(fields, dataset_json=data)


def test_landmarks_are_three_numbers_a_line(tmp_path):
    path = tmp_path / 'points.csv'
    for content, words in (
        ('1,2\n', '1 lines of 2 values'),
        ('x,y,z\n', 'cannot be read'),
        ('1,2,nan\n', 'three numbers'),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=words):
            read_landmarks(path)
    path.write_text('1,2.5,3\n')
    assert read_landmarks(path).tolist() == [[1.0, 2.5, 3.0]]
    with pytest.raises(UserError, match='cannot be read'):
        read_landmarks(tmp_path / 'nowhere.csv')
    path.write_text('')
    with pytest.warns(UserWarning, match='no data'), pytest.raises(UserError, match='0 lines'):
        read_landmarks(path)


def test_landmarks_that_do_not_correspond_are_refused(data, fields):
    (data.parent / 'landmarksTr' / 'Toy_0002_0000.csv').write_text('1,2,3\n')
    with pytest.raises(UserError, match='Toy_0001_0000.csv has 2 landmarks and .*Toy_0002_0000.csv 1'):
        opened(fields, dataset_json=data).cases[0].load()


def test_data_without_images_and_labels_is_refused(data, fields, tmp_path):
    shutil.rmtree(data.parent / 'labelsTr')
    assert set(score_pair(opened(fields, dataset_json=data).cases[0].load(), PROTOCOLS['default'])) >= {'tre_mm_after'}
    (data.parent / 'imagesTr' / 'Toy_0003_0000.nii.gz').unlink()
    with pytest.raises(UserError, match='neither a label map nor the image .*imagesTr/Toy_0003_0000.nii.gz'):
        opened(fields, dataset_json=data)


def test_missing_description_is_named(fields, tmp_path):
    with pytest.raises(UserError, match='there is no file .*nowhere.json'):
        opened(fields, dataset_json=tmp_path / 'nowhere.json')
