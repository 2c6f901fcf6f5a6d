from pathlib import Path

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_layouts import BRAIN_FINDERS, find_brains
from tests.preparation.brain_trees import make_authors, make_learn2reg, make_oasis


def touch(root, *names):
    """Make empty files: the finders do not open them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def listed(found, root):
    def relative(path):
        return None if path is None else path.relative_to(root).as_posix()

    return {brain.id: (relative(brain.image), relative(brain.labels)) for brain in found.brains}


def test_oasis(tmp_path):
    names = [f'OASIS_OAS1_000{number}_MR1' for number in (1, 2, 3)]
    touch(tmp_path, *(f'data/{name}/aligned_norm.nii.gz' for name in names[:2]), f'data/{names[2]}/orig.nii.gz')
    touch(tmp_path, f'data/{names[0]}/aligned_seg35.nii.gz', f'data/{names[0]}/aligned_seg4.nii.gz')
    found = find_brains('oasis', tmp_path)
    first, second = (f'data/{name}/aligned_norm.nii.gz' for name in names[:2])
    assert listed(found, tmp_path) == {
        names[0]: (first, f'data/{names[0]}/aligned_seg35.nii.gz'),
        names[1]: (second, None),
    }
    assert [problem.subject for problem in found.problems] == [names[2]]
    assert 'aligned_norm.nii.gz' in found.problems[0].reason


def test_mindboggle_prefers_native_space_and_labels_with_aseg(tmp_path):
    touch(
        tmp_path,
        'MMRR-21_volumes/MMRR-21-1/t1weighted_brain.nii.gz',
        'MMRR-21_volumes/MMRR-21-1/t1weighted_brain.MNI152.nii.gz',
        'MMRR-21_volumes/MMRR-21-1/labels.DKT31.manual.nii.gz',
        'MMRR-21_volumes/MMRR-21-1/labels.DKT31.manual+aseg.nii.gz',
        'MMRR-21_volumes/MMRR-21-1/labels.DKT31.manual+aseg.MNI152.nii.gz',
        'NKI/NKI-1/t1weighted_brain.nii.gz',
        'NKI/NKI-1/t1weighted_brain.MNI152.nii.gz',
        'NKI/NKI-1/labels.DKT31.manual.MNI152.nii.gz',
        'NKI/NKI-2/t1weighted_brain.nii.gz',
        'NKI/NKI-2/t1weighted.nii.gz',
    )
    found = find_brains('mindboggle', tmp_path)
    assert listed(found, tmp_path) == {
        'MMRR-21-1': (
            'MMRR-21_volumes/MMRR-21-1/t1weighted_brain.nii.gz',
            'MMRR-21_volumes/MMRR-21-1/labels.DKT31.manual+aseg.nii.gz',
        ),
        # The image and the labels of one space, even where the other space has an image too.
        'NKI-1': ('NKI/NKI-1/t1weighted_brain.MNI152.nii.gz', 'NKI/NKI-1/labels.DKT31.manual.MNI152.nii.gz'),
    }
    assert [problem.subject for problem in found.problems] == ['NKI-2']


def test_hidden_folders_are_left_out(tmp_path):
    hidden = '.git/annex/objects/Fx/3k/MD5E-s7--9a0364b9e99bb480dd25e1f0284c8555.nii.gz'
    touch(tmp_path, 'p1/scan.nii.gz', f'{hidden}/{Path(hidden).name}', 'p1/.snapshot/hourly.0/scan.nii.gz')
    assert listed(find_brains('adni', tmp_path), tmp_path) == {'scan': ('p1/scan.nii.gz', None)}
    touch(tmp_path, '004/mri/norm.mgz', '.snapshot/daily/004/mri/norm.mgz')
    assert listed(find_brains('buckner', tmp_path), tmp_path) == {'004': ('004/mri/norm.mgz', None)}
    name = 'OASIS_OAS1_0001_MR1/aligned_norm.nii.gz'
    touch(tmp_path, name, f'.snapshot/daily/{name}')
    assert listed(find_brains('oasis', tmp_path), tmp_path) == {Path(name).parent.name: (name, None)}


def test_links_that_are_left_out_are_told(tmp_path):
    root, archive = tmp_path / 'data', tmp_path / 'archive'
    touch(root, 'sub-01/anat/sub-01_T1w.nii.gz')
    for name in ('sub-01/anat/sub-01_dseg.nii.gz', 'sub-02/anat/sub-02_T1w.nii.gz', '.hidden/a.nii.gz'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to('../../.git/annex/objects/content.nii.gz')
    (root / 'sub-03').symlink_to(touch(archive, 'anat/sub-03_T1w.nii.gz'))
    found = find_brains('folder', root)
    assert listed(found, root) == {'sub-01_T1w': ('sub-01/anat/sub-01_T1w.nii.gz', None)}
    assert found.remarks == (
        'links that lead nowhere were left out, fetch their content: sub-01/anat/sub-01_dseg.nii.gz, '
        'sub-02/anat/sub-02_T1w.nii.gz',
        'links to folders were not entered: sub-03',
    )
    (root / 'sub-01/anat/sub-01_T1w.nii.gz').unlink()
    with pytest.raises(UserError, match='holds no images.*lead nowhere.*not entered: sub-03.*'):
        find_brains('folder', root)
    # One that is entered is none of them.
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'images').symlink_to(touch(archive, 'scans/a.nii.gz') / 'scans')
    assert listed(find_brains('folder', other), other) == {'a': ('images/a.nii.gz', None)}
    assert not find_brains('folder', other).remarks


def test_hidden_folders_of_one_s_own_are_left_out(tmp_path):
    touch(tmp_path, 's1/t1.nii.gz', '.snapshot/daily/s1/t1.nii.gz')
    assert listed(find_brains('folder', tmp_path), tmp_path) == {'s1': ('s1/t1.nii.gz', None)}


def test_buckner_and_other_freesurfer_folders(tmp_path):
    touch(
        tmp_path,
        '004/mri/norm.mgz',
        '004/mri/brain.mgz',
        '004/mri/aseg.mgz',
        '004/mri/aparc+aseg.mgz',
        '008/mri/brain.mgz',
        '008/mri/aseg.mgz',
        '017/mri/orig.mgz',
    )
    found = find_brains('buckner', tmp_path)
    assert listed(found, tmp_path) == {
        '004': ('004/mri/norm.mgz', '004/mri/aparc+aseg.mgz'),
        '008': ('008/mri/brain.mgz', '008/mri/aseg.mgz'),
    }
    assert [problem.subject for problem in found.problems] == ['017']


def test_ixi_takes_t1_only(tmp_path):
    touch(tmp_path, 'IXI002-Guys-0828-T1.nii.gz', 'IXI002-Guys-0828-T2.nii.gz', 'more/IXI012-HH-1211-T1.nii.gz')
    assert listed(find_brains('ixi', tmp_path), tmp_path) == {
        'IXI002-Guys-0828': ('IXI002-Guys-0828-T1.nii.gz', None),
        'IXI012-HH-1211': ('more/IXI012-HH-1211-T1.nii.gz', None),
    }


def test_trees_of_t1w_images_leave_out_everything_else(tmp_path):
    touch(
        tmp_path,
        'KKI/1018959/session_1/anat_1/mprage.nii.gz',
        'KKI/1018959/session_1/rest_1/rest.nii.gz',
        'KKI/1019436/session_1/anat_1/mprage.nii.gz',
        'KKI/1019436/session_1/anat_1/mprage_mask.nii.gz',
        'sub-3/anat/sub-3_T1w.nii.gz',
        'sub-3/anat/sub-3_T2w.nii.gz',
        'sub-3/anat/.hidden_T1w.nii.gz',
    )
    assert list(listed(find_brains('adhd', tmp_path), tmp_path)) == [
        'KKI-1018959-session_1-anat_1-mprage',
        'KKI-1019436-session_1-anat_1-mprage',
        'sub-3_T1w',
    ]


def test_prepared_frames_below_a_tree_are_no_images_of_it(tmp_path):
    touch(tmp_path, 's1/anat/mprage.nii.gz', 'prepared/s1-anat-mprage/frame_01.npz')
    assert [brain.image.name for brain in find_brains('adni', tmp_path).brains] == ['mprage.nii.gz']


def test_trees_without_words_take_every_image(tmp_path):
    touch(tmp_path, 'a.nii.gz', 'b.nii', 'c.txt')
    found = find_brains('abide', tmp_path)
    assert list(listed(found, tmp_path)) == ['a', 'b'] and 'all images' in found.layout


@pytest.mark.parametrize('dataset', BRAIN_FINDERS)
def test_learn2reg_and_authors_are_recognised_under_every_name(tmp_path, dataset):
    assert 'Learn2Reg' in find_brains(dataset, make_learn2reg(tmp_path / 'l2r')).layout
    assert find_brains(dataset, make_authors(tmp_path / 'npz')).prepared


def test_a_description_without_images_leaves_the_folder_to_the_layout(tmp_path):
    touch(tmp_path, 'imagesTr/h_1_0000.nii.gz', 'labelsTr/h_1.nii.gz')
    (tmp_path / 'dataset.json').write_text('{"channel_names": {"0": "MR"}, "labels": {"background": 0}}')
    np.save(tmp_path / 'pairs.npy', np.zeros((0, 2), 'U4'))
    assert listed(find_brains('folder', tmp_path), tmp_path) == {
        'h_1_0000': ('imagesTr/h_1_0000.nii.gz', 'labelsTr/h_1.nii.gz')
    }


@pytest.mark.parametrize('dataset', BRAIN_FINDERS)
def test_empty_folder_says_what_is_expected(tmp_path, dataset):
    with pytest.raises(UserError, match=f'no images of the layout {dataset!r}.*Expected: .+') as raised:
        find_brains(dataset, tmp_path)
    assert BRAIN_FINDERS[dataset][1] in str(raised.value)


def test_absent_folder(tmp_path):
    with pytest.raises(UserError, match='there is no folder'):
        find_brains('oasis', tmp_path / 'none')


def test_equal_names_are_told(tmp_path):
    touch(tmp_path, 'one/IXI002-T1.nii.gz', 'two/IXI002-T1.nii.gz')
    with pytest.raises(UserError, match='two images of the name IXI002'):
        find_brains('ixi', tmp_path)


def test_one_subject_folder_given_as_source(tmp_path):
    root = make_oasis(tmp_path, 1) / 'OASIS_OAS1_0001_MR1'
    assert list(listed(find_brains('oasis', root), root)) == ['OASIS_OAS1_0001_MR1']
