import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autofuse_jax.data import prepared
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.preparation import one_cine as preparation
from autofuse_jax.preparation.label_overlap import label_overlap
from autofuse_jax.prepare import main
from autofuse_jax.storage.contents import content_hash
from autofuse_jax.storage.owners import this_process
from tests.preparation.acdc_trees import image, labels, make_flat, make_official, save

# Small enough that one frame takes a few milliseconds.
GRID = ('--shape=16,16,8', '--spacing=1.5,1.5,3.15')


def prepare(source, out, *more, workers=1):
    return main([f'--source={source}', f'--out={out}', '--dataset=acdc', f'--workers={workers}', *GRID, *more])


def modified(out):
    return {path: path.stat().st_mtime_ns for path in sorted(Path(out).glob('*/*.npz'))}


def interrupt_writing(monkeypatch):
    """Interrupt the preparation at its fourth frame."""
    write, calls = preparation.write_frame, []

    def interrupted_write(path, volume, origin):
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        write(path, volume, origin)

    monkeypatch.setattr(preparation, 'write_frame', interrupted_write)


def test_flat_layout(tmp_path, capsys):
    assert prepare(make_flat(tmp_path / 'acdc'), tmp_path / 'out') == 0
    manifest = read_manifest(tmp_path / 'out')
    assert manifest.shape == (16, 16, 8) and manifest.spacing == (1.5, 1.5, 3.15)
    assert [subject.split for subject in manifest.subjects] == ['train', 'train', 'validation']
    assert [subject.group for subject in manifest.subjects] == ['DCM', 'HCM', 'MINF']
    frames = manifest.subjects[0].frames
    assert [(frame.index, frame.phase, frame.file) for frame in frames] == [
        (1, 'ED', 'patient001/frame_01.npz'),
        (7, 'ES', 'patient001/frame_07.npz'),
    ]
    volume = load_frame(manifest, frames[0])
    assert volume.image.min() == 0 and volume.image.max() == 1 and set(np.unique(volume.labels)) == {0, 1, 2, 3}
    report = capsys.readouterr()
    # The boxes are 6 voxels long and shifted by 3, so half of each overlaps: Dice 50 %.
    assert 'train: 2 subjects, 4 frames (4 labelled), mean Dice between ED and ES before' in report.out
    assert '50.0 %' in report.out and '3/3 subjects, 0 problems' in report.err


def test_official_tree_keeps_all_frames(tmp_path):
    source = make_official(tmp_path / 'acdc', training=2, testing=1, frames=4)
    assert prepare(source, tmp_path / 'out') == 0
    manifest = read_manifest(tmp_path / 'out')
    assert [subject.split for subject in manifest.subjects].count('test') == 1
    for subject in manifest.subjects:
        assert [(frame.index, frame.phase, frame.has_labels) for frame in subject.frames] == [
            (1, 'ED', True),
            (2, '', False),
            (3, 'ES', True),
            (4, '', False),
        ]
    # The fourth frame of the series, not another one: identity spacing and a grid that only crops and pads.
    assert prepare(source, tmp_path / 'same', '--spacing=1.5,1.5,6.3', '--shape=20,18,5') == 0
    same = read_manifest(tmp_path / 'same')
    found = load_frame(same, same.subjects[0].frames[3]).image
    wanted = image(103).astype(np.float32)
    np.testing.assert_allclose(found, (wanted - wanted.min()) / (wanted.max() - wanted.min()), atol=1e-6)
    np.testing.assert_array_equal(load_frame(same, same.subjects[0].frames[2]).labels, labels(3))


def test_settings_are_recorded_without_the_folders_of_this_computer(tmp_path):
    prepare(make_flat(tmp_path / 'acdc'), tmp_path / 'out')
    text = (tmp_path / 'out' / 'manifest.json').read_text()
    assert str(tmp_path) not in text
    settings = json.loads(text)['settings']
    assert settings['spacing_mm'] == [1.5, 1.5, 3.15] and settings['shape'] == [16, 16, 8]
    assert 'splits.json' in settings['split_rule'] and settings['left_out'] == []
    for key in (
        'image_interpolation',
        'label_interpolation',
        'normalisation',
        'source_layout',
        'labels',
        'package_version',
    ):
        assert settings[key]


def test_several_processes_write_the_same_bytes(tmp_path):
    source = make_flat(tmp_path / 'acdc')
    assert prepare(source, tmp_path / 'one') == prepare(source, tmp_path / 'two', workers=2) == 0
    files = sorted(path.relative_to(tmp_path / 'one') for path in (tmp_path / 'one').rglob('*') if path.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / 'one' / file).read_bytes() == (tmp_path / 'two' / file).read_bytes()


def test_parts_make_the_manifest_of_the_whole(tmp_path, capsys):
    source = make_flat(tmp_path / 'acdc')
    (source / 'patient002' / 'image_ES.nii.gz').write_bytes(b'nothing')
    assert prepare(source, tmp_path / 'whole') == 2
    whole = (tmp_path / 'whole' / 'manifest.json').read_bytes()
    out = tmp_path / 'parts'
    # A process of another part may be writing.
    (out / 'patient009').mkdir(parents=True)
    (out / 'patient009' / '.writing-x').touch()
    assert [prepare(source, out, f'--part={number}/4') for number in (3, 1, 4)] == [0, 0, 0]
    assert not (out / 'manifest.json').exists()
    assert 'follows after the parts 2' in capsys.readouterr().out
    assert prepare(source, out, '--part=2/4') == 2
    assert (out / 'manifest.json').read_bytes() == whole
    assert 'the last part; all parts: 1 train, 1 validation' in capsys.readouterr().out
    assert (out / 'patient009' / '.writing-x').exists()


def test_parts_of_other_settings_are_not_joined(tmp_path, capsys):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    assert prepare(source, out, '--part=1/2') == 0
    assert prepare(source, out, '--part=2/2', '--spacing=2,2,3.15', '--overwrite') == 0
    assert not (out / 'manifest.json').exists() and 'follows after the parts 1' in capsys.readouterr().out


def test_interrupt_and_continue(tmp_path, monkeypatch, capsys):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    interrupt_writing(monkeypatch)
    assert prepare(source, out) == 130
    monkeypatch.undo()
    assert 'continue' in capsys.readouterr().err and not (out / 'manifest.json').exists()
    first = modified(out)
    assert len(first) == 3
    own = this_process()
    leftover = out / 'patient001' / f'.writing-{own.machine}-{own.process}-{own.started}1-abc-frame_01.npz'
    leftover.write_bytes(b'half')
    assert prepare(source, out) == 0
    assert '3 frames were there already' in capsys.readouterr().out
    second = modified(out)
    assert len(second) == 6 and all(second[path] == time for path, time in first.items())
    assert not leftover.exists()


def test_damaged_and_outdated_frames_are_made_again(tmp_path, capsys):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    prepare(source, out)
    damaged = out / 'patient001' / 'frame_01.npz'
    wanted = damaged.read_bytes()
    damaged.write_bytes(wanted[:-300])
    save(source / 'patient002' / 'image_ED.nii.gz', image(5)[:, ::-1] * 2)
    capsys.readouterr()
    assert prepare(source, out) == 0
    assert damaged.read_bytes() == wanted
    assert '4 frames were there already' in capsys.readouterr().out


def test_other_settings_need_another_folder_or_overwrite(tmp_path, capsys):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    prepare(source, out)
    before = modified(out)
    assert prepare(source, out, '--shape=16,16,4') == 2
    message = capsys.readouterr().err
    assert '[16, 16, 8] there, [16, 16, 4] now' in message and '--overwrite' in message and '--out' in message
    assert modified(out) == before
    assert prepare(source, out, '--shape=16,16,4', '--overwrite') == 0
    manifest = read_manifest(out)
    assert load_frame(manifest, manifest.subjects[2].frames[1]).image.shape == (16, 16, 4)
    (out / 'settings.json').write_text('[')
    assert prepare(source, out) == 2


def test_a_data_set_of_other_settings_is_whole_until_the_new_one_is(tmp_path, monkeypatch, capsys):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    prepare(source, out)
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    change = ('--shape=16,16,4', '--overwrite')
    interrupt_writing(monkeypatch)
    assert prepare(source, out, *change) == 130
    monkeypatch.undo()
    assert all(path.read_bytes() == content for path, content in before.items())
    manifest = read_manifest(out)
    assert load_frame(manifest, manifest.subjects[2].frames[1]).image.shape == (16, 16, 8)
    # Others can be asked for meanwhile: what was begun is not mixed with them.
    assert prepare(source, out) == 0 and (out / '.replacement').is_dir()
    capsys.readouterr()
    assert prepare(source, out, *change) == 0
    printed = capsys.readouterr().out
    assert '3 frames were there already' in printed and f'in {out}\n' in printed
    manifest = read_manifest(out)
    shapes = {load_frame(manifest, frame).image.shape for subject in manifest.subjects for frame in subject.frames}
    assert shapes == {(16, 16, 4)}
    assert {path.relative_to(out) for path in before} == {
        path.relative_to(out) for path in out.rglob('*') if path.is_file()
    }


def test_a_replacement_of_yet_other_settings_begins_anew(tmp_path):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    prepare(source, out)
    (out / '.replacement' / 'patient001').mkdir(parents=True)
    (out / '.replacement' / 'settings.json').write_text('{"dataset": "acdc"}')
    (out / '.replacement' / 'stranger').touch()
    assert prepare(source, out, '--shape=16,16,4', '--overwrite') == 0
    assert not (out / 'stranger').exists() and not (out / '.replacement').exists()
    assert read_manifest(out).shape == (16, 16, 4)


def test_parts_replace_a_data_set_together(tmp_path, capsys):
    source, out = make_flat(tmp_path / 'acdc'), tmp_path / 'out'
    prepare(source, out)
    change = ('--shape=16,16,4', '--overwrite')
    assert prepare(source, out, *change, '--part=1/2') == 0
    assert read_manifest(out).shape == (16, 16, 8)
    assert prepare(source, out, *change, '--part=2/2') == 0
    assert read_manifest(out).shape == (16, 16, 4) and len(read_manifest(out).subjects) == 3
    assert not (out / '.replacement').exists()


def test_folder_of_someone_else_is_left_alone(tmp_path, capsys):
    source = make_flat(tmp_path / 'acdc')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'manifest.json').write_text('{}')
    assert prepare(source, tmp_path / 'out') == 2
    assert (tmp_path / 'out' / 'manifest.json').read_text() == '{}'
    assert prepare(source, source) == 2
    assert prepare(source, source / 'cases.csv') == 2
    messages = capsys.readouterr().err
    for part in ('did not write', 'same folder as --source', 'is a file'):
        assert part in messages


def test_every_bad_file_is_listed_and_the_good_ones_are_prepared(tmp_path, capsys):
    names = [f'patient{number:03d}' for number in range(1, 8)]
    source = make_flat(tmp_path / 'acdc', names)

    def put(name, file, array):
        save(source / name / f'{file}.nii.gz', array)

    unknown, wrong_shape = labels(0), labels(0)[:-1]
    unknown[0, 0, 0] = 4
    put('patient001', 'seg_ED', unknown)
    put('patient002', 'seg_ES', wrong_shape)
    put('patient003', 'image_ED', np.full(image(0).shape, np.nan, np.float32))
    put('patient003', 'image_ES', np.zeros(image(0).shape, np.int16))
    content = (source / 'patient004' / 'image_ED.nii.gz').read_bytes()
    (source / 'patient004' / 'image_ED.nii.gz').write_bytes(content[:500])
    (source / 'patient005' / 'seg_ES.nii.gz').unlink()
    assert prepare(source, tmp_path / 'out') == 2
    report = capsys.readouterr().err
    lines = [line.strip() for line in report.splitlines() if line.startswith('  patient')]
    for line, part in zip(
        lines,
        ['unknown ids [4]', '(19, 18, 5)', 'NaN', 'same value 0', 'cannot be read', 'seg_ES.nii.gz'],
        strict=True,
    ):
        assert part in line
    assert '6 problems' in report
    manifest = read_manifest(tmp_path / 'out')
    assert [subject.id for subject in manifest.subjects] == ['patient006', 'patient007']
    assert manifest.settings['left_out'] == names[:5]


def test_a_file_that_cannot_be_opened_leaves_its_subject_out(tmp_path, monkeypatch, capsys):
    source = make_flat(tmp_path / 'acdc')
    secret = source / 'patient002' / 'seg_ES.nii.gz'

    def refused(path):
        if path == secret:
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return content_hash(path)

    monkeypatch.setattr(prepared, 'content_hash', refused)
    assert prepare(source, tmp_path / 'out') == 2
    assert f'patient002: {secret} cannot be read (Permission denied)' in capsys.readouterr().err
    assert [subject.id for subject in read_manifest(tmp_path / 'out').subjects] == ['patient001', 'patient003']


def test_bad_official_patients(tmp_path, capsys):
    source = make_official(tmp_path / 'acdc', training=3, testing=1)
    info = source / 'training' / 'patient001' / 'Info.cfg'
    info.write_text(info.read_text().replace('ES: 3', 'ES: 5'))
    (info.parent / 'patient001_frame03_gt.nii.gz').rename(info.parent / 'patient001_frame05_gt.nii.gz')
    series = source / 'training' / 'patient002' / 'patient002_4d.nii.gz'
    series.write_bytes(series.read_bytes()[:-400])
    assert prepare(source, tmp_path / 'out') == 2
    report = capsys.readouterr().err
    assert 'has 4 frames, but ES is given as frame 5' in report
    assert report.count('patient002_4d.nii.gz cannot be read') == 1
    assert [subject.id for subject in read_manifest(tmp_path / 'out').subjects] == ['patient003', 'patient101']


def test_nothing_good_writes_no_manifest(tmp_path, capsys):
    source = make_flat(tmp_path / 'acdc')
    for path in source.glob('*/image_ED.nii.gz'):
        path.write_bytes(b'')
    assert prepare(source, tmp_path / 'out') == 2
    assert 'no manifest.json was written' in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'manifest.json').exists()


def test_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch, capsys):
    def full(file, **arrays):
        file.write(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device', file.name)

    source = make_flat(tmp_path / 'acdc')
    monkeypatch.setattr(np, 'savez_compressed', full)
    assert prepare(source, tmp_path / 'out') == 2
    assert 'No space left on device' in capsys.readouterr().err.splitlines()[-1]
    assert not list((tmp_path / 'out').glob('*/*'))


def test_read_only_output(tmp_path, monkeypatch, capsys):
    def denied(*args, **kwargs):
        raise OSError(errno.EROFS, 'Read-only file system', str(tmp_path / 'out'))

    source = make_flat(tmp_path / 'acdc')
    monkeypatch.setattr('autofuse_jax.files.make_temporary_file', denied)
    assert prepare(source, tmp_path / 'out') == 2
    assert 'Read-only file system' in capsys.readouterr().err


def test_wrong_source_and_arguments(tmp_path, capsys):
    assert prepare(tmp_path, tmp_path / 'out') == 2
    assert 'Info.cfg' in capsys.readouterr().err and not (tmp_path / 'out').exists()
    for bad in (
        '--shape=16,16',
        '--shape=16,16,0',
        '--spacing=1,1,nan',
        '--spacing=a,b,c',
        '--workers=0',
        '--dataset=x',
    ):
        with pytest.raises(SystemExit) as stop:
            prepare(tmp_path, tmp_path / 'out', bad)
        assert stop.value.code == 2
    assert 'three numbers such as 128,128,32' in capsys.readouterr().err


def test_overlap_by_hand():
    first, second = np.array([0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 2, 2, 0])
    # Id 1: 2 * 1 / (2 + 1); id 2: 2 * 2 / (3 + 3); id 3 is in neither.
    assert label_overlap(first, second, (0, 1, 2, 3)) == pytest.approx(2 / 3)
    assert label_overlap(first, second, (0, 1, 2)) == label_overlap(second, first, (0, 1, 2))
    assert np.isnan(label_overlap(first * 0, first * 0, (0, 1)))


def test_command_line_without_loading_jax(tmp_path):
    source = make_flat(tmp_path / 'acdc', names=('patient001', 'patient002'))
    code = (
        'import sys; from autofuse_jax.prepare import main; status = main(sys.argv[1:]); '
        'sys.exit(status or 10 * ("jax" in sys.modules))'
    )
    arguments = ['--dataset=acdc', f'--source={source}', f'--out={tmp_path / "out"}', '--workers=1', *GRID]
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
