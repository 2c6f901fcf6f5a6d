import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.formats import load_npz
from autofuse_jax.data.prepared import Grid
from autofuse_jax.errors import UserError
from autofuse_jax.preparation import one_brain as brain_preparation
from autofuse_jax.preparation.brain_labels import oasis_table
from autofuse_jax.preparation.found_brains import FoundBrain
from autofuse_jax.preparation.one_brain import BrainJob, prepare_brain_subject, read_brain, warnings_of
from tests.preparation.brain_trees import LAS, image, labels, make_folder, make_template, save

GRID = Grid((16, 18, 14), (1.0, 1.0, 1.0))


def centres_aligned(template, volume, kind, similarity):
    """Stand for the alignment: bring the middle of the brain to the middle of the template's."""
    matrix = np.eye(4)
    matrix[:3, 3] = _middle(volume) - _middle(template)
    return matrix, 'masses'


def _middle(volume):
    inside = np.argwhere(volume.image > 0) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return (inside.min(axis=0) + inside.max(axis=0)) / 2


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(brain_preparation, 'align_to_template', centres_aligned)
    root = make_folder(tmp_path / 'source')
    brain = FoundBrain('s2', root / 's2' / 't1.nii.gz', root / 's2' / 'seg.nii.gz')
    template = make_template(tmp_path / 'template.nii.gz')
    settings = {'grid': [16, 18, 14]}
    return BrainJob(
        brain, 'train', GRID, oasis_table(), template, 'affine', 'ncc', 'none', True, False, settings, tmp_path / 'out'
    )


def test_prepared_brain_lies_on_the_template_with_both_label_maps(job):
    outcome = prepare_brain_subject(job)
    assert outcome.problems == () and not outcome.reused
    assert outcome.ids == (0, 1, 14, 20, 30)
    arrays = load_npz(job.out / 's2' / 'frame_01.npz')
    # The template's box is around the world's origin, and the grid around the box: two voxels are left at each end.
    np.testing.assert_allclose(arrays['affine'][:3, 3], [-7.5, -8.5, -6.5])
    box = (slice(2, 14), slice(2, 16), slice(2, 12))
    # The source is LAS: its first axis runs the other way.
    expected = labels(shift=(1, 0, 0))[7:19, 7:21, 8:18][::-1]
    np.testing.assert_array_equal(arrays['seg_original'][box], expected)
    assert np.count_nonzero(arrays['seg_original']) == expected.size
    # Ids 1 and 20 are one class, so are 14 and 30.
    np.testing.assert_array_equal(arrays['seg'][box], np.where(np.isin(expected, (1, 20)), 1, 14))
    assert arrays['seg'].dtype == arrays['seg_original'].dtype == np.uint8
    assert arrays['vol'].dtype == np.float32 and 0 <= arrays['vol'].min() and arrays['vol'].max() == 1
    assert outcome.report['cut_percent'] == 0 and outcome.report['template_overlap'] == 1
    assert outcome.report['brain_ml'] == pytest.approx(1.7)


def test_the_stored_matrix_leads_back_to_the_source(job):
    prepare_brain_subject(job)
    arrays = load_npz(job.out / 's2' / 'frame_01.npz')
    back = np.linalg.inv(arrays['source_affine']) @ arrays['to_source'] @ arrays['affine']
    source = labels(shift=(1, 0, 0))
    for voxel in ((3, 4, 5), (12, 13, 10)):
        index = tuple(np.rint(back @ [*voxel, 1])[:3].astype(int))
        assert source[index] == arrays['seg_original'][voxel] != 0
    assert tuple(arrays['source_shape']) == source.shape


def test_a_finished_brain_is_not_made_again(job, monkeypatch):
    first = prepare_brain_subject(job)
    path = job.out / 's2' / 'frame_01.npz'
    before = path.stat().st_mtime_ns
    monkeypatch.delattr(brain_preparation, 'align_to_template')
    second = prepare_brain_subject(job)
    assert second == dataclasses.replace(first, reused=True)
    assert path.stat().st_mtime_ns == before


def test_other_settings_or_another_source_make_it_again(job):
    prepare_brain_subject(job)
    assert not prepare_brain_subject(dataclasses.replace(job, settings={'grid': 'other'})).reused
    save(job.brain.image, image(77)[:, ::-1] * 2)
    assert not prepare_brain_subject(dataclasses.replace(job, settings={'grid': 'other'})).reused


def test_a_cut_brain_is_fitted_unless_that_is_forbidden(job):
    small = dataclasses.replace(job, grid=Grid((16, 13, 14), (1.0, 1.0, 1.0)))
    fitted = prepare_brain_subject(small).report
    assert fitted['cut_percent'] == 0
    # The box is 14 voxels long: 1 of 14 planes is outside, the 13 voxels from centre to centre fit from edge to edge.
    assert fitted['cut_percent_before_fit'] == pytest.approx(100 / 14, rel=1e-4)
    assert fitted['fit_scale'] == pytest.approx([1, 1, 1], abs=1e-4)
    outcome = prepare_brain_subject(dataclasses.replace(small, fit=False, settings={'fit': False}))
    assert outcome.report['cut_percent'] == pytest.approx(100 / 14, rel=1e-4)
    assert any('7.143 % of its brain voxels' in sentence for sentence in warnings_of(outcome))


def test_without_alignment_the_volume_is_cropped_around_its_centre(job):
    outcome = prepare_brain_subject(dataclasses.replace(job, alignment='none', template=None))
    arrays = load_npz(job.out / 's2' / 'frame_01.npz')
    np.testing.assert_array_equal(arrays['seg_original'], labels(shift=(1, 0, 0))[::-1][4:20, 5:23, 6:20])
    assert 'template_overlap' not in outcome.report


def test_missing_values_are_outside_of_the_brain(job):
    plain = dataclasses.replace(job, alignment='none', template=None)
    prepare_brain_subject(plain)
    expected = load_npz(job.out / 's2' / 'frame_01.npz')['vol']
    values = image(1, (1, 0, 0)).astype(np.float32)
    save(job.brain.image, np.where(values == 0, np.nan, values))
    assert prepare_brain_subject(plain).reused is False
    found = load_npz(job.out / 's2' / 'frame_01.npz')['vol']
    assert np.isfinite(found).all() and (found == 0).any()
    np.testing.assert_array_equal(found, expected)


def test_unlabelled_brain(job):
    outcome = prepare_brain_subject(dataclasses.replace(job, brain=dataclasses.replace(job.brain, labels=None)))
    assert outcome.ids == () and not outcome.subject.frames[0].has_labels
    assert {'seg', 'seg_original'}.isdisjoint(load_npz(job.out / 's2' / 'frame_01.npz'))
    assert outcome.report['cut_percent'] == 0


def test_bad_files_are_problems_and_leave_nothing_behind(job):
    content = job.brain.image.read_bytes()
    job.brain.image.write_bytes(content[:200])
    outcome = prepare_brain_subject(job)
    assert outcome.subject is None and 'cannot be read' in outcome.problems[0].reason
    job.brain.image.write_bytes(content)
    save(job.brain.labels, labels((1, 20, 14, 99)))
    assert 'unknown ids [99]' in prepare_brain_subject(job).problems[0].reason
    assert not job.out.exists()


@pytest.mark.parametrize('affine', [np.diag([2.0, 1, 1, 1]), LAS @ np.diag([1, 1, 1.0, 1]) + np.eye(4, k=3) * 5])
def test_label_map_on_another_grid(job, affine):
    save(job.brain.labels, labels(), affine)
    with pytest.raises(UserError, match='on another grid') as raised:
        read_brain(job.brain)
    assert 'nearest neighbour' in str(raised.value)


def test_labels_inside_an_npz(tmp_path):
    np.savez(tmp_path / 'a.npz', vol=image(0) / 1500, seg=labels())
    volume = read_brain(FoundBrain('a', tmp_path / 'a.npz', None))
    np.testing.assert_array_equal(volume.labels, labels())
    np.savez(tmp_path / 'b.npz', vol=image(0) / 1500)
    assert read_brain(FoundBrain('b', tmp_path / 'b.npz', None)).labels is None


def test_unusual_brains_are_pointed_out(job):
    outcome = prepare_brain_subject(job)
    sentences = warnings_of(outcome)
    # The synthetic brain has less than two millilitres.
    assert len(sentences) == 1 and '2 ml count as brain' in sentences[0] and 'skull-stripped' in sentences[0]
    usual = {'cut_percent': 0.05, 'brain_ml': 1500.0, 'template_overlap': 0.93}
    assert warnings_of(dataclasses.replace(outcome, report=usual)) == []
    failed = usual | {'template_overlap': 0.4}
    assert 'overlaps the template by 40 %' in warnings_of(dataclasses.replace(outcome, report=failed))[0]


def test_brain_extraction_comes_before_the_alignment(job, monkeypatch):
    seen = []

    def extract(volume, tool):
        seen.append((tool, volume.name))
        kept = np.where(labels(shift=(1, 0, 0)) > 0, volume.image, 0)
        return dataclasses.replace(volume, image=kept)

    save(job.brain.image, np.random.default_rng(0).integers(100, 900, image(0).shape).astype(np.int16))
    monkeypatch.setattr(brain_preparation, 'extract_brain', extract)
    brain = dataclasses.replace(job.brain, labels=None)
    outcome = prepare_brain_subject(dataclasses.replace(job, brain=brain, extraction='bet'))
    assert seen == [('bet', 's2')] and outcome.report['template_overlap'] == 1
