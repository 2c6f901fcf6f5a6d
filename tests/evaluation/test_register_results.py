"""Results of register: found on any level, read with their labels, and refused where something is missing."""

import json

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_labels
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.open_run import open_run
from autofuse_jax.evaluation.pair_scores import score_pair
from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.evaluation.register_results import open_results
from autofuse_jax.evaluation.runs import Sources
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.conventions import ITK
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo
from tests.evaluation.made_results import AFFINE, SHAPE, shift_field, write_result, write_results


def opened(folder, data=None):
    return open_results(folder, 'run', Sources(data=data))


def test_folder_of_results(tmp_path):
    run = opened(write_results(tmp_path / 'run', {'b': -2.0, 'a': 0.0}, tmp_path / 'data'))
    assert [(case.name, case.group) for case in run.cases] == [('a', 'a'), ('b', 'b')]
    assert run.classes == {0: 'background', 1: 'left_ventricle', 2: 'right & rest'}
    scores = [score_pair(case.load(), PROTOCOLS['default'])['dsc_after'] for case in run.cases]
    assert scores == [0.5, 1.0]
    assert run.cases[0].facts['fixed_file'].endswith('data/a/fixed.nii.gz')


def test_results_one_level_deeper(tmp_path):
    for subject in ('a', 'b'):
        write_result(tmp_path / 'run' / subject / 'ED_to_ES', shift=0.0, data=tmp_path / 'data', subject=subject)
    assert [case.name for case in opened(tmp_path / 'run').cases] == ['a/ED_to_ES', 'b/ED_to_ES']


def test_single_result_is_named_by_its_images(tmp_path):
    run = opened(write_result(tmp_path / 'out', shift=-2.0, data=tmp_path / 'data'))
    assert [(case.name, case.group) for case in run.cases] == [('moving_to_fixed', 'fixed')]
    assert run.cases[0].load().seconds == 2.0


def test_itk_transform_will_do(tmp_path):
    folder = write_result(tmp_path / 'out', shift=0.0, data=tmp_path / 'data')
    (folder / 'forward_voxel.nii.gz').unlink()
    record = ImageRecord('fixed.nii.gz', ImageGrid(SHAPE, AFFINE))
    info = TransformInfo(fixed=record, moving=record)
    write_transform(folder / 'forward_itk.nii.gz', DenseTransform(shift_field(-2.0), AFFINE), ITK, info)
    pair = opened(folder).cases[0].load()
    np.testing.assert_allclose(pair.displacement, shift_field(-2.0), atol=1e-5)


def test_pairs_without_labels_have_folding_only(tmp_path):
    run = opened(write_result(tmp_path / 'out', shift=0.0, data=tmp_path / 'data', labelled=False))
    assert run.notes == ('1 of 1 pairs were registered without label maps and have no DSC or HD95.',)
    assert set(score_pair(run.cases[0].load(), PROTOCOLS['default'])) == {'njd_percent', 'sdlogj', 'seconds'}


def test_moved_data_is_found_again(tmp_path):
    folder = write_result(tmp_path / 'out', shift=-2.0, data=tmp_path / 'data')
    (tmp_path / 'data').rename(tmp_path / 'moved')
    with pytest.raises(UserError, match='fixed label map .*data/one/fixed_seg.nii.gz .* does not exist.*add --data'):
        opened(folder)
    assert len(opened(folder, tmp_path / 'moved').cases) == 1


def test_missing_transform_is_named(tmp_path):
    folder = write_results(tmp_path / 'run', {'a': 0.0, 'b': 0.0}, tmp_path / 'data')
    (folder / 'b' / 'forward_voxel.nii.gz').unlink()
    with pytest.raises(UserError, match='run/b has a report.json but no forward_voxel.nii.gz or forward_itk.nii.gz'):
        opened(folder)


@pytest.mark.parametrize('role', ['fixed', 'moving'])
def test_labels_on_another_grid_are_refused(tmp_path, role):
    folder = write_result(tmp_path / 'out', shift=0.0, data=tmp_path / 'data')
    write_labels(tmp_path / 'data' / 'one' / f'{role}_seg.nii.gz', np.ones((4, 4, 4), np.uint8), AFFINE)
    with pytest.raises(UserError, match=rf'{role}_seg.nii.gz is on another grid \((4x4x4,|\(4, 4, 4\) voxels)'):
        opened(folder).cases[0].load()


@pytest.mark.parametrize('role', ['fixed', 'moving'])
def test_labels_with_their_axes_in_another_order_score_the_same(tmp_path, role):
    folder = write_result(tmp_path / 'out', shift=-2.0, data=tmp_path / 'data')
    wanted = score_pair(opened(folder).cases[0].load(), PROTOCOLS['default'])
    file = tmp_path / 'data' / 'one' / f'{role}_seg.nii.gz'
    image = nib.load(file)
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    assert turned.shape != image.shape
    nib.save(turned, file)
    assert score_pair(opened(folder).cases[0].load(), PROTOCOLS['default']) == wanted


def test_an_image_of_one_frame_has_the_labels_of_a_volume(tmp_path):
    folder = write_result(tmp_path / 'out', shift=0.0, data=tmp_path / 'data')
    report = json.loads((folder / 'report.json').read_text())
    report['moving']['shape'] = [*SHAPE, 1]
    (folder / 'report.json').write_text(json.dumps(report))
    assert opened(folder).cases[0].load().moving_labels.shape == SHAPE


def test_labels_at_another_place_are_refused(tmp_path):
    folder = write_result(tmp_path / 'out', shift=0.0, data=tmp_path / 'data')
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] = 5.0
    write_labels(tmp_path / 'data' / 'one' / 'fixed_seg.nii.gz', np.ones(SHAPE, np.uint8), elsewhere)
    with pytest.raises(UserError, match='on another grid'):
        opened(folder).cases[0].load()


@pytest.mark.parametrize('content', ['{', '[]', '{"fixed": {"file": "a"}}', json.dumps({'fixed': {'file': 1}})])
def test_damaged_reports_are_named(tmp_path, content):
    folder = write_result(tmp_path / 'out', shift=0.0, data=tmp_path / 'data')
    (folder / 'report.json').write_text(content)
    with pytest.raises(UserError, match='out/report.json is no report of a registration'):
        opened(folder)


def test_a_series_is_said_to_be_one(tmp_path):
    folder = write_result(tmp_path / 'out', shift=0.0, data=tmp_path / 'data')
    report = json.loads((folder / 'report.json').read_text())
    del report['fixed']
    (folder / 'report.json').write_text(json.dumps(report | {'reference_frame': 0}))
    with pytest.raises(UserError, match='report.json is the report of a series, whose frames are not evaluated'):
        opened(folder)


def test_no_results(tmp_path):
    with pytest.raises(UserError, match='no pairs were found in .*report.json in it or in folders below'):
        opened(tmp_path)


def test_pairs_that_failed_are_named(tmp_path):
    folder = write_results(tmp_path / 'run', {'a': 0.0, 'b': 0.0}, tmp_path / 'data')
    (folder / 'c').mkdir()
    for name in ('b', 'c'):
        (folder / name / 'failed.json').write_text('{}')
    notes = opened(folder).notes
    assert notes[0] == (
        '2 pairs failed when last registered (b, c), and of 1 of them the result of an earlier run counts.'
    )


def test_a_folder_of_failures_says_so(tmp_path):
    (tmp_path / 'run' / 'a').mkdir(parents=True)
    (tmp_path / 'run' / 'a' / 'failed.json').write_text('{}')
    with pytest.raises(UserError, match=r'no pairs were found in .*: 1 pair failed when last registered \(a\)'):
        open_run(tmp_path / 'run', 'run', Sources(), lambda *_: None)
