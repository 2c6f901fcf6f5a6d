"""Many pairs in one command: what is done, what is done again, what failed, and the summary of it."""

import csv
import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.register import main
from autofuse_jax.registration.pipeline import register_volumes

# No pair of images needs more than this to be registered for a test of what is around it.
CHEAP = ['--align=none', '--no-deform', '--no-page']
AFFINE = np.diag([2.0, 2, 2, 1])
TABLE = ('b.nii.gz,a.nii.gz,b_seg.nii.gz,a_seg.nii.gz,one', 'c.nii.gz,a.nii.gz,c_seg.nii.gz,a_seg.nii.gz,two')


def blob(shift):
    image = np.zeros((10, 11, 12), np.float32)
    image[2 + shift : 7 + shift, 3:8, 3:9] = 100
    return image + np.random.default_rng(0).uniform(size=image.shape).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Three images, the labels of two of them, and a table of two pairs."""
    for shift, name in enumerate('abc'):
        image = blob(shift)
        write_image(tmp_path / f'{name}.nii.gz', image, AFFINE)
        write_labels(tmp_path / f'{name}_seg.nii.gz', (image > 50).astype(np.int32), AFFINE)
    write_table(tmp_path, *TABLE)
    return tmp_path


def write_table(folder, *rows, header=''):
    (folder / 'pairs.csv').write_text('\n'.join([f'fixed,moving,fixed_labels,moving_labels,name{header}', *rows]))


def run(folder, *more):
    return main([f'--pairs={folder}/pairs.csv', f'--out={folder}/out', *CHEAP, *more])


def rows(folder):
    with (folder / 'out' / 'summary.csv').open(newline='') as file:
        return {row['name']: row for row in csv.DictReader(file)}


@pytest.fixture
def registrations(monkeypatch):
    """Names of the fixed images that were registered, in order."""
    names = []

    def record(fixed, moving, *rest, **options):
        names.append(fixed.name)
        return register_volumes(fixed, moving, *rest, **options)

    monkeypatch.setattr('autofuse_jax.registration.images.register_volumes', record)
    return names


def test_each_pair_has_its_folder_and_the_summary_has_the_worst_first(folder, capsys):
    assert run(folder) == 0
    summary = rows(folder)
    # The second pair overlaps less, and nothing was done about it.
    assert list(summary) == ['two', 'one']
    assert float(summary['one']['dsc_after']) > float(summary['two']['dsc_after'])
    report = json.loads((folder / 'out' / 'one' / 'report.json').read_text())
    assert report['verdict']['level'] == summary['one']['verdict']
    assert report['times']['compute_seconds'] >= 0 and report['times']['import_seconds'] >= 0
    assert summary['one']['fixed'] == str(folder / 'b.nii.gz')
    assert '2 pairs: ' in capsys.readouterr().out
    page = (folder / 'out' / 'summary.html').read_text()
    assert page.startswith('<!DOCTYPE html>') and page.index('<td>two') < page.index('<td>one')
    assert 'http' not in page and '<script' not in page


def test_finished_pairs_are_not_done_again(folder, registrations):
    assert run(folder) == 0
    before = (folder / 'out' / 'one' / 'report.json').read_bytes()
    write_table(folder, TABLE[0], 'a.nii.gz,c.nii.gz,,,three')
    assert run(folder) == 0
    assert registrations == ['b.nii.gz', 'c.nii.gz', 'a.nii.gz']
    assert (folder / 'out' / 'one' / 'report.json').read_bytes() == before


def test_a_pair_that_lost_a_result_is_done_again(folder, registrations, capsys):
    assert run(folder) == 0
    moved = folder / 'out' / 'one' / 'moved.nii.gz'
    moved.unlink()
    assert run(folder) == 0
    assert registrations == ['b.nii.gz', 'c.nii.gz', 'b.nii.gz'] and moved.is_file()
    assert 'lacks files that its report lists: one is registered again' in capsys.readouterr().err


def test_a_pair_whose_files_changed_is_replaced_only_when_asked(folder, registrations, capsys):
    assert run(folder) == 0
    write_image(folder / 'b.nii.gz', blob(1) + 1, AFFINE)
    assert run(folder) == 2
    assert 'one in' in (error := capsys.readouterr().err) and 'registered from other files' in error
    assert run(folder, '--overwrite') == 0
    assert registrations == ['b.nii.gz', 'c.nii.gz', 'b.nii.gz']


def test_other_options_are_another_result(folder, capsys):
    assert run(folder) == 0
    assert run(folder, '--background=3') == 2
    assert 'one, two in' in capsys.readouterr().err


def test_a_pair_that_fails_does_not_stop_the_others_and_is_tried_again(folder, registrations, capsys):
    good = (folder / 'b.nii.gz').read_bytes()
    write_image(folder / 'b.nii.gz', np.full((10, 11, 12), 7, np.float32), AFFINE)
    assert run(folder) == 1
    summary = rows(folder)
    assert list(summary) == ['one', 'two'] and summary['one']['verdict'] == 'error'
    assert 'same value 7 everywhere' in summary['one']['reason'] and '\n' not in summary['one']['reason']
    assert 'same value 7 everywhere' in (folder / 'out' / 'summary.html').read_text()
    assert '2 pairs: 1 error' in capsys.readouterr().out
    (folder / 'b.nii.gz').write_bytes(good)
    registrations.clear()
    assert run(folder) == 0
    assert registrations == ['b.nii.gz'] and rows(folder)['one']['verdict'] != 'error'
    assert not (folder / 'out' / 'one' / 'failed.json').exists()


def test_a_failure_with_other_options_is_forgotten_when_the_result_is_the_right_one(folder, monkeypatch):
    assert run(folder) == 0
    with monkeypatch.context() as patched:
        patched.setattr('autofuse_jax.registration.images.register_volumes', lambda *_, **__: 1 / 0)
        assert run(folder, '--overwrite', '--background=0') == 1
    assert rows(folder)['one']['verdict'] == 'error'
    assert run(folder) == 0
    assert rows(folder)['one']['verdict'] != 'error' and not (folder / 'out' / 'one' / 'failed.json').exists()


def test_a_defect_of_the_package_is_told_with_its_place(folder, monkeypatch, capsys):
    def fail(*_, **__):
        raise ValueError('broken')

    monkeypatch.setattr('autofuse_jax.registration.images.register_volumes', fail)
    assert run(folder) == 1
    assert rows(folder)['one']['reason'] == 'ValueError: broken'
    assert 'Traceback' in capsys.readouterr().err


def test_a_score_that_cannot_be_measured_is_unknown_and_stops_nothing(folder, monkeypatch, capsys):
    def moved_away(*arguments, **options):
        result = register_volumes(*arguments, **options)
        return dataclasses.replace(result, moved=np.zeros_like(result.moved))

    monkeypatch.setattr('autofuse_jax.registration.images.register_volumes', moved_away)
    assert run(folder) == 0
    assert {row['verdict'] for row in rows(folder).values()} == {'failed'}
    assert capsys.readouterr().out.count(' -> unknown, DSC ') == 2


def test_a_full_disk_stops_everything(folder, monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('autofuse_jax.commands.register_pair.write_results', fail)
    assert run(folder) == 2
    assert 'No space left' in capsys.readouterr().err
    assert {row['verdict'] for row in rows(folder).values()} == {'not yet registered'}


def test_parts_share_the_pairs_and_the_last_one_completes_the_summary(folder, registrations):
    assert run(folder, '--part=2/2') == 0
    assert registrations == ['c.nii.gz']
    assert {name: row['verdict'] == 'not yet registered' for name, row in rows(folder).items()} == {
        'one': True,
        'two': False,
    }
    assert run(folder, '--part=1/2') == 0
    assert registrations == ['c.nii.gz', 'b.nii.gz']
    assert 'not yet registered' not in {row['verdict'] for row in rows(folder).values()}


def test_damaged_files_are_known_before_any_work(folder, registrations, capsys):
    (folder / 'b.nii.gz').write_bytes(b'nothing')
    (folder / 'c.nii.gz').write_bytes(b'nothing')
    assert run(folder) == 2
    error = capsys.readouterr().err
    assert 'has 2 problems' in error and 'line 2: ' in error and 'line 3: ' in error
    assert registrations == [] and not (folder / 'out').exists()


def test_what_headers_show_is_known_before_any_work(folder, registrations, capsys):
    write_labels(folder / 'b_seg.nii.gz', np.ones((10, 11, 12), np.int32), np.diag([1.0, 2, 2, 1]))
    write_image(folder / 'cine.nii.gz', np.stack([blob(0), blob(1)], -1), AFFINE)
    write_image(folder / 'slice.nii.gz', blob(0)[:, :, :1], AFFINE)
    write_labels(folder / 'masks.nii.gz', np.ones((10, 11, 12, 2), np.int32), AFFINE)
    rows = ('a.nii.gz,cine.nii.gz,,,cine,', 'a.nii.gz,slice.nii.gz,,,slice,', 'a.nii.gz,none.nii.gz,,,none,')
    write_table(folder, TABLE[0] + ',', *rows, 'a.nii.gz,c.nii.gz,,,mask,masks.nii.gz', header=',fixed_mask')
    assert run(folder) == 2
    error = capsys.readouterr().err
    for words in (
        'has 5 problems',
        f'line 2: the label map {folder}/b_seg.nii.gz lies on another grid than b.nii.gz',
        'line 3: the moving image cine.nii.gz has shape (10, 11, 12, 2)',
        'line 4: slice.nii.gz is a 2-D image, and a.nii.gz a volume',
        f'line 5: moving {folder}/none.nii.gz is not there',
        f'line 6: the mask {folder}/masks.nii.gz has shape (10, 11, 12, 2)',
    ):
        assert words in error, (words, error)
    assert registrations == [] and not (folder / 'out').exists()


def test_labels_in_npz_files_without_an_image_are_opened_as_labels(folder):
    write_labels(folder / 'b_seg.npz', (blob(1) > 50).astype(np.int32), AFFINE)
    write_table(folder, TABLE[0].replace('b_seg.nii.gz', 'b_seg.npz'))
    assert run(folder) == 0


def test_pairs_are_not_called_as_the_summary(folder, registrations, capsys):
    write_table(folder, TABLE[0], 'a.nii.gz,c.nii.gz,,,summary.html')
    assert run(folder) == 2
    assert "line 3: 'summary.html' is the name of a file of the results" in capsys.readouterr().err
    assert registrations == []


def test_pairs_that_failed_are_named_by_an_evaluation(folder, capsys):
    from autofuse_jax.evaluate import main as evaluate

    write_image(folder / 'b.nii.gz', np.full((10, 11, 12), 7, np.float32), AFFINE)
    assert run(folder) == 1
    assert evaluate([f'{folder}/out', f'--out={folder}/scores']) == 0
    sentence = '1 pair failed when last registered (one).'
    assert f'out: {sentence}' in capsys.readouterr().err
    assert any(sentence in path.read_text() for path in (folder / 'scores').rglob('*.md'))


def test_folders_of_others_are_left_alone(folder, capsys):
    (folder / 'out' / 'one').mkdir(parents=True)
    (folder / 'out' / 'one' / 'thesis.tex').write_text('mine')
    assert run(folder, '--overwrite') == 2
    assert 'holds one, which this command did not write' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--fixed=a.nii.gz'], '--fixed does not go with --pairs'),
        (['--initial', 'a.mat'], '--initial does not go with --pairs'),
        (['--moving-images', 'a.nii.gz'], '--moving-images does not go with --pairs'),
        (['--reference-frame=0'], '--reference-frame does not go with --pairs'),
    ],
)
def test_options_of_one_pair_are_refused(folder, capsys, more, words):
    assert run(folder, *more) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--guide=network', '--weights=phantom'], 'a guide together with --no-deform'),
        (['--samples=2'], '--samples is given together with --no-deform and without --weights'),
        (['--classes={folder}/pairs.csv'], 'label names'),
    ],
)
def test_what_every_pair_would_fail_by_is_said_before_any(folder, registrations, capsys, more, words):
    assert run(folder, *(option.format(folder=folder) for option in more)) == 2
    assert words in capsys.readouterr().err
    assert registrations == [] and not (folder / 'out').exists()


def test_a_network_that_is_not_there_guides_no_pair(folder, registrations, capsys):
    assert main([f'--pairs={folder}/pairs.csv', f'--out={folder}/out', '--guide=network']) == 2
    assert 'the guide is a network, and there is none' in capsys.readouterr().err
    assert registrations == [] and not (folder / 'out').exists()


def test_a_part_needs_pairs_and_numbers(folder, capsys):
    assert main([f'--moving={folder}/a.nii.gz', f'--out={folder}/out', '--part=1/2']) == 2
    assert '--part is given without --pairs' in capsys.readouterr().err
    assert main([f'--out={folder}/out']) == 2
    assert 'no moving image is given' in capsys.readouterr().err
    for text in ('0/2', '3/2', '1', 'a/b'):
        with pytest.raises(SystemExit):
            run(folder, f'--part={text}')
        assert 'part' in capsys.readouterr().err


def test_results_can_be_evaluated_together(folder):
    from autofuse_jax.evaluate import main as evaluate

    assert run(folder) == 0
    assert evaluate([f'{folder}/out', f'--out={folder}/scores']) == 0
    assert any((folder / 'scores').iterdir())
    assert nib.load(folder / 'out' / 'one' / 'moved.nii.gz').shape == (10, 11, 12)


def test_pairs_together_come_out_as_one_after_the_other(folder, capsys):
    write_table(folder, *TABLE, 'a.nii.gz,c.nii.gz,a_seg.nii.gz,c_seg.nii.gz,three')
    more = ['--align=translation', '--shrink=1', '--steps=10', '--no-page']
    for name, together in (('apart', '1'), ('together', '2')):
        assert main([f'--pairs={folder}/pairs.csv', f'--out={folder}/{name}', f'--together={together}', *more]) == 0
    for pair in ('one', 'two', 'three'):
        apart, together = (
            json.loads((folder / name / pair / 'report.json').read_text()) for name in ('apart', 'together')
        )
        assert together['scores']['dsc_after'] == pytest.approx(apart['scores']['dsc_after'], abs=1e-3)
        assert apart['scores']['dsc_after'] > apart['scores']['dsc_before']
        stages = [[stage['name'] for stage in report['stages']] for report in (apart, together)]
        assert stages[0] == stages[1]
        fields = [nib.load(folder / name / pair / 'forward_itk.nii.gz').get_fdata() for name in ('apart', 'together')]
        np.testing.assert_allclose(*fields, atol=0.02)
    # The same results, so that nothing is done again.
    capsys.readouterr()
    assert main([f'--pairs={folder}/pairs.csv', f'--out={folder}/together', *more]) == 0
    assert '3 pairs, 3 of them registered already' in capsys.readouterr().err


def test_together_needs_pairs_and_a_number(folder, capsys):
    assert run(folder, '--together=0') == 2
    assert 'together' in capsys.readouterr().err
    assert main([f'--fixed={folder}/a.nii.gz', f'--moving={folder}/b.nii.gz', f'--out={folder}/o', '--together=2']) == 2
    assert '--together is given without --pairs' in capsys.readouterr().err
