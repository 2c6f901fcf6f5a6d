"""The command `prepare` for brains, from the folder to the manifest; the alignment itself is replaced."""

import json

import numpy as np
import pytest

from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.prepared import load_frame, load_original_labels
from autofuse_jax.preparation import one_brain as brain_preparation
from autofuse_jax.prepare import main
from tests.preparation.brain_trees import (
    image,
    labels,
    make_authors,
    make_folder,
    make_learn2reg,
    make_oasis,
    make_template,
    save,
)
from tests.preparation.test_one_brain import centres_aligned

# A block of 12 x 14 x 10 voxels fits with two voxels to spare.
SHAPE = '--shape=16,18,14'


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.setattr(brain_preparation, 'align_to_template', centres_aligned)
    template = make_template(tmp_path / 'template.nii.gz')

    def run(dataset, source, *more, out='out'):
        return main(
            [f'--dataset={dataset}', f'--source={source}', f'--out={tmp_path / out}', f'--template={template}', SHAPE]
            + list(more)
        )

    return run


def test_oasis_from_folder_to_manifest(prepare, tmp_path, capsys):
    assert prepare('oasis', make_oasis(tmp_path / 'oasis', 5)) == 0
    manifest = read_manifest(tmp_path / 'out')
    assert manifest.dataset == 'oasis' and len(manifest.classes) == 20 and len(manifest.subjects) == 5
    assert manifest.original_classes == {
        1: 'Left-Cerebral-White-Matter',
        14: 'Left-Hippocampus',
        20: 'Right-Cerebral-White-Matter',
        30: 'Right-Hippocampus',
    }
    frame = manifest.subjects[0].frames[0]
    volume = load_frame(manifest, frame)
    assert set(np.unique(volume.labels)) == {0, 1, 14}
    assert set(np.unique(load_original_labels(manifest, frame))) == {0, 1, 14, 20, 30}
    settings = manifest.settings
    assert settings['alignment'] == 'affine' and settings['template'].startswith('template.nii.gz, sha256 ')
    assert settings['measured']['OASIS_OAS1_0001_MR1']['cut_percent'] == 0
    assert settings['split_rule'] == '4 train, 0 validation, 1 test, drawn with seed 2023'
    assert str(tmp_path) not in (tmp_path / 'out' / 'manifest.json').read_text()
    report = capsys.readouterr()
    assert 'neurite-OASIS folders; 5 images, 5 of them in a split, 5 labelled' in report.out
    assert '19 classes for training, 4 original structures to score' in report.out
    assert 'OASIS_OAS1_0003_MR1: 0.0000 % of 2 ml outside' in report.out
    assert '5/5 subjects, 0 problems' in report.err
    assert 'warning: OASIS_OAS1_0003_MR1: 2 ml count as brain' in report.err


def test_many_warnings_are_counted_and_kept_in_the_manifest(prepare, tmp_path, capsys):
    assert prepare('folder', make_folder(tmp_path / 'mine', [f's{number:02d}' for number in range(5)])) == 0
    assert capsys.readouterr().err.count('warning: s') == 5
    source = make_folder(tmp_path / 'more', [f's{number:02d}' for number in range(6)])
    for number in range(6, 15):
        save(source / f's{number:02d}' / 't1.nii.gz', image(number))
    assert prepare('folder', source, out='more_out') == 0
    report = capsys.readouterr().err
    assert report.count('warning: s') == 12 and 'warning: 3 more like these, see manifest.json' in report
    measured = read_manifest(tmp_path / 'more_out').settings['measured']
    assert all('ml count as brain' in entry['warnings'][0] for entry in measured.values()) and len(measured) == 15


def test_folder_without_a_convention_keeps_every_id(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine', ids=(5, 900, 7, 5))
    (source / 'splits.json').write_text(json.dumps({'train': ['s1', 's3'], 'validation': ['s2']}))
    assert prepare('folder', source) == 0
    manifest = read_manifest(tmp_path / 'out')
    assert manifest.dataset == 'mine'
    assert [subject.split for subject in manifest.subjects] == ['train', 'validation', 'train']
    assert manifest.classes == {0: 'background', 1: 'label 5', 2: 'label 7', 3: 'label 900'}
    assert manifest.original_classes == {5: 'label 5', 7: 'label 7', 900: 'label 900'}
    assert load_original_labels(manifest, manifest.subjects[0].frames[0]).dtype == np.uint16
    assert 'no --labels given: the 3 ids' in capsys.readouterr().out


def test_ids_below_0_are_told_and_never_stored_as_others(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine', ids=(5, 9, 12, 300))
    strange = labels((5, 9, 12, 300))
    strange[0, 0, 0] = -1
    save(source / 's2' / 'seg.nii.gz', strange)
    assert prepare('folder', source) == 2
    report = capsys.readouterr()
    assert 's2: the labels of s2 hold the unknown ids [-1]' in report.err and 'the 4 ids that occur' in report.out
    manifest = read_manifest(tmp_path / 'out')
    assert list(manifest.classes.values()) == ['background', 'label 5', 'label 9', 'label 12', 'label 300']
    assert [subject.id for subject in manifest.subjects] == ['s1', 's3']


def test_named_convention_and_table(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine', ids=(48, 47, 101, 54))
    assert prepare('folder', source, '--labels=neuromorphometrics') == 0
    manifest = read_manifest(tmp_path / 'out')
    # 54, a lesion, is neither trained on nor scored.
    assert list(manifest.original_classes) == [47, 48, 101] and len(manifest.classes) == 20
    assert 'ids that the label table does not score: 54' in capsys.readouterr().out
    table = tmp_path / 'table.json'
    entries = {'48': {'name': 'left', 'class': 'both'}, '47': {'name': 'right', 'class': 'both'}, '101': 'cortex'}
    table.write_text(json.dumps(entries | {'54': {'name': 'lesion', 'class': None}}))
    assert prepare('folder', source, f'--label-table={table}', out='table') == 0
    manifest = read_manifest(tmp_path / 'table')
    assert manifest.classes == {0: 'background', 1: 'both', 2: 'cortex'}
    assert manifest.original_classes == {47: 'right', 48: 'left', 54: 'lesion', 101: 'cortex'}
    assert prepare('folder', source, f'--label-table={table}', '--labels=ids') == 2
    assert '--labels and --label-table' in capsys.readouterr().err


def test_authors_data_is_taken_as_it_is_with_its_pairs(prepare, tmp_path):
    assert prepare('oasis', make_authors(tmp_path / 'npz')) == 0
    manifest = read_manifest(tmp_path / 'out')
    assert manifest.pairs == (('brain_1', 'brain_2'), ('brain_2', 'brain_1'), ('brain_3', 'brain_4'))
    assert manifest.settings['alignment'] == 'none' and manifest.settings['template'] == 'none'
    volume = load_frame(manifest, manifest.subjects[0].frames[0])
    with np.load(tmp_path / 'npz' / 'brain_1.npz') as source:
        np.testing.assert_array_equal(volume.image, source['vol'][4:20, 5:23, 6:20])
        np.testing.assert_array_equal(
            load_original_labels(manifest, manifest.subjects[0].frames[0]), source['seg'][4:20, 5:23, 6:20]
        )


def test_parts_make_the_manifest_of_the_whole(prepare, tmp_path):
    source = make_authors(tmp_path / 'npz')
    assert prepare('oasis', source) == prepare('oasis', source, '--part=2/2', out='parts') == 0
    assert not (tmp_path / 'parts' / 'manifest.json').exists()
    assert prepare('oasis', source, '--part=1/2', out='parts') == 0
    # Pairs of subjects of different parts are there, too.
    whole, parts = (json.loads((tmp_path / out / 'manifest.json').read_text()) for out in ('out', 'parts'))
    for manifest in (whole, parts):
        for facts in manifest['settings']['measured'].values():
            del facts['seconds']
    assert parts == whole and len(whole['pairs']) == 3


def test_learn2reg(prepare, tmp_path):
    assert prepare('folder', make_learn2reg(tmp_path / 'l2r'), '--labels=oasis35') == 0
    manifest = read_manifest(tmp_path / 'out')
    assert [subject.split for subject in manifest.subjects] == ['train', 'validation', 'validation', 'train']
    assert manifest.pairs == (('OASIS_0002_0000', 'OASIS_0003_0000'),)
    assert [subject.frames[0].has_labels for subject in manifest.subjects] == [True, True, True, False]


def test_one_bad_subject_is_named_and_the_others_are_prepared(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine', [f's{number}' for number in range(1, 7)])
    (source / 's2' / 't1.nii.gz').write_bytes(b'half')
    save(source / 's3' / 'seg.nii.gz', labels()[:-1])
    (source / 's4' / 't1.nii.gz').unlink()
    assert prepare('folder', source, '--labels=oasis35') == 2
    report = capsys.readouterr().err
    lines = [line.strip() for line in report.splitlines() if line.startswith('  s')]
    assert [line.split(':')[0] for line in lines] == ['s2', 's3', 's4']
    for line, words in zip(lines, ('cannot be read', 'another grid', 'no image beside it'), strict=True):
        assert words in line
    manifest = read_manifest(tmp_path / 'out')
    assert [subject.id for subject in manifest.subjects] == ['s1', 's5', 's6']
    assert manifest.settings['left_out'] == ['s2', 's3', 's4']


def test_a_damaged_npz_is_named_and_the_others_are_prepared(prepare, tmp_path, capsys):
    source = make_authors(tmp_path / 'authors')
    path = source / 'brain_5.npz'
    path.write_bytes(path.read_bytes()[:200])
    assert prepare('folder', source) == 2
    assert 'brain_5: ' in capsys.readouterr().err
    assert [subject.id for subject in read_manifest(tmp_path / 'out').subjects] == [f'brain_{n}' for n in (1, 2, 3, 4)]


def test_a_label_map_is_no_image_whatever_its_name(prepare, tmp_path, capsys):
    source = tmp_path / 'mine'
    for number, name in enumerate(('s1', 's2')):
        save(source / f'{name}.nii.gz', image(number))
        save(source / f'{name}-structures.nii.gz', labels())
    assert prepare('folder', source, '--labels=oasis35', '--align=none') == 2
    report = capsys.readouterr().err
    assert 'error: 2 problems; left out were:' in report
    assert report.count('holds a few whole numbers over whole areas') == 2 and 's1-structures' in report
    assert [subject.id for subject in read_manifest(tmp_path / 'out').subjects] == ['s1', 's2']


def test_what_is_prepared_without_its_label_map_is_named(prepare, tmp_path, capsys):
    source = tmp_path / 'mine'
    save(source / 'images' / 's1.nii.gz', image(1))
    save(source / 'labels' / 'one.nii.gz', labels())
    assert prepare('folder', source, '--align=none') == 2
    report = capsys.readouterr().err
    assert 'note: prepared without labels, because no label map has their name: s1' in report
    assert 'error: 1 problem; left out were:' in report and 'one.nii.gz has no image of that name' in report


def test_a_person_in_two_splits_is_named(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine', ['anna_visit1', 'anna_visit2', 'bert'])
    (source / 'splits.json').write_text(
        json.dumps({'train': ['anna_visit1', 'bert'], 'test': ['anna_visit2']}), encoding='utf-8'
    )
    assert prepare('folder', source) == 0
    assert 'note: anna has images in the training split and in another one' in capsys.readouterr().err


def test_subjects_of_the_splits_that_are_not_there(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine')
    splits = tmp_path / 'which.json'
    splits.write_text(json.dumps({'train': ['s1', 's9']}))
    assert prepare('folder', source, f'--splits={splits}') == 2
    report = capsys.readouterr()
    assert 's9: it is listed in the splits but not in the source' in report.err
    assert '2 subjects of the source are in no split' in report.out


def test_interrupted_run_continues(prepare, tmp_path, monkeypatch, capsys):
    source, calls = make_folder(tmp_path / 'mine'), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return centres_aligned(*arguments)

    monkeypatch.setattr(brain_preparation, 'align_to_template', interrupted)
    assert prepare('folder', source) == 130
    assert len(list((tmp_path / 'out').glob('*/*.npz'))) == 2 and not (tmp_path / 'out' / 'manifest.json').exists()
    assert prepare('folder', source) == 0
    assert len(calls) == 4 and '2 subjects were there already' in capsys.readouterr().out
    assert len(read_manifest(tmp_path / 'out').subjects) == 3


def test_other_settings_need_another_folder_or_overwrite(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine')
    assert prepare('folder', source) == 0
    assert prepare('folder', source, '--align=rigid') == 2
    assert 'alignment: affine there, rigid now' in capsys.readouterr().err
    assert prepare('folder', source, '--align=rigid', '--overwrite') == 0
    assert prepare('folder', source, '--labels=oasis35', '--align=rigid') == 2
    assert 'label_table_sha256' in capsys.readouterr().err


def test_heads_need_a_program_and_nothing_is_begun_without(prepare, tmp_path, monkeypatch, capsys):
    source = tmp_path / 'ixi'
    save(source / 'IXI002-Guys-0828-T1.nii.gz', image(0))
    monkeypatch.setenv('PATH', str(tmp_path))
    assert prepare('ixi', source) == 2
    assert 'mri_synthstrip' in capsys.readouterr().err and not (tmp_path / 'out').exists()
    assert prepare('ixi', source, '--brain-extraction=none') == 0
    manifest = read_manifest(tmp_path / 'out')
    # Unlabelled data has the classes of the labelled brain data sets, so that they can be joined.
    assert len(manifest.classes) == 20 and manifest.original_classes == {}
    assert [subject.split for subject in manifest.subjects] == ['train']


def test_wrong_options(prepare, tmp_path, capsys):
    source = make_folder(tmp_path / 'mine')
    assert prepare('folder', source, f'--source={source}') == 2
    assert '--source is given 2 times' in capsys.readouterr().err
    assert prepare('acdc', source, '--labels=ids', '--no-fit') == 2
    assert '--template, --labels, --no-fit is for brains' in capsys.readouterr().err
    assert prepare('folder', tmp_path / 'none') == 2
    assert 'there is no folder' in capsys.readouterr().err
    assert prepare('folder', source, '--template=none.nii.gz') == 2
    assert 'none.nii.gz' in capsys.readouterr().err


def test_joined_data_sets(prepare, tmp_path, capsys):
    assert prepare('oasis', make_oasis(tmp_path / 'a', 2), out='oasis') == 0
    save(tmp_path / 'b' / 'IXI002-Guys-0828-T1.nii.gz', image(0))
    assert prepare('ixi', tmp_path / 'b', '--brain-extraction=none', out='ixi') == 0
    sources = [f'--source={tmp_path / name}' for name in ('oasis', 'ixi')]
    assert main(['--dataset=joined', *sources, f'--out={tmp_path / "all"}']) == 0
    assert 'oasis+ixi: 3 subjects (3 train, 0 validation, 0 test)' in capsys.readouterr().out
    manifest = read_manifest(tmp_path / 'all')
    assert load_frame(manifest, manifest.subjects[2].frames[0]).labels is None
    assert len(manifest.original_classes) == 4
    assert main(['--dataset=joined', sources[0], f'--out={tmp_path / "one"}']) == 2
    assert 'two or more' in capsys.readouterr().err
