import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.preparation.image_folders import find_folder
from tests.preparation.brain_trees import make_folder
from tests.preparation.test_brain_layouts import listed, touch


def test_folder_of_subjects(tmp_path):
    found = find_folder(make_folder(tmp_path, unlabelled=('s2',)))
    assert listed(found, tmp_path) == {
        's1': ('s1/t1.nii.gz', 's1/seg.nii.gz'),
        's2': ('s2/t1.nii.gz', None),
        's3': ('s3/t1.nii.gz', 's3/seg.nii.gz'),
    }


def test_folder_of_images_and_labels(tmp_path):
    touch(tmp_path, 'images/a.nii.gz', 'images/b.nii', 'labels/a.nii.gz', 'labels/c.nii.gz', 'images/notes.txt')
    found = find_folder(tmp_path)
    assert listed(found, tmp_path) == {'a': ('images/a.nii.gz', 'labels/a.nii.gz'), 'b': ('images/b.nii', None)}
    assert [problem.subject for problem in found.problems] == ['c']


def test_files_side_by_side(tmp_path):
    touch(tmp_path, 'a.nii.gz', 'a_seg.nii.gz', 'b.mgz', 'b-labels.mgz', 'c.npz', 'd_label.nii')
    found = find_folder(tmp_path)
    assert listed(found, tmp_path) == {
        'a': ('a.nii.gz', 'a_seg.nii.gz'),
        'b': ('b.mgz', 'b-labels.mgz'),
        'c': ('c.npz', None),
    }
    assert [problem.subject for problem in found.problems] == ['d']


def test_freesurfer_subjects_in_a_folder_and_labels_without_image(tmp_path):
    touch(tmp_path, 'bert/mri/norm.mgz', 'bert/mri/aseg.mgz', 'ernie/seg.nii.gz')
    found = find_folder(tmp_path)
    assert listed(found, tmp_path) == {'bert': ('bert/mri/norm.mgz', 'bert/mri/aseg.mgz')}
    assert [problem.subject for problem in found.problems] == ['ernie']


@pytest.mark.parametrize(
    ('image', 'label_map'),
    [
        ('p1_frame01', 'p1_frame01_gt'),
        ('p1', 'p1_mask'),
        ('sub-1_T1w', 'sub-1_dseg'),
        ('p1', 'P1_Manual'),
        ('img7', 'lab7'),
        ('mr_train_1001_image', 'mr_train_1001_label'),
        ('a b 0', 'seg-a b 0'),
        ('image', 'truth'),
    ],
)
def test_label_maps_side_by_side_are_known_by_many_words(tmp_path, image, label_map):
    touch(tmp_path, f'{image}.nii.gz', f'{label_map}.nii.gz')
    found = find_folder(tmp_path)
    assert listed(found, tmp_path) == {image: (f'{image}.nii.gz', f'{label_map}.nii.gz')}
    assert found.problems == found.remarks == ()


def test_words_inside_of_names_are_no_label_words(tmp_path):
    touch(tmp_path, 'p0_gt_removed.nii.gz', 'masked.nii.gz', 'lab.nii.gz')
    found = find_folder(tmp_path)
    assert list(listed(found, tmp_path)) == ['masked', 'p0_gt_removed']
    assert len(found.problems) == 1


@pytest.mark.parametrize('label_map', ['s0', 's0_seg', 's0_mask', 'seg_s0'])
@pytest.mark.parametrize('image', ['s0', 's0_0000'])
def test_label_folders_may_name_what_is_in_them(tmp_path, image, label_map):
    touch(tmp_path, f'images/{image}.nii.gz', f'labels/{label_map}.nii.gz')
    found = find_folder(tmp_path)
    assert listed(found, tmp_path) == {image: (f'images/{image}.nii.gz', f'labels/{label_map}.nii.gz')}
    assert found.problems == ()


def test_further_channels_of_an_image_are_no_subjects(tmp_path):
    touch(tmp_path, *(f'imagesTr/h_{subject}_000{channel}.nii.gz' for subject in (1, 2) for channel in (0, 1, 2)))
    touch(tmp_path, 'labelsTr/h_1.nii.gz', 'labelsTr/h_2.nii.gz')
    found = find_folder(tmp_path)
    assert list(listed(found, tmp_path)) == ['h_1_0000', 'h_2_0000'] and found.problems == ()
    names = 'h_1_0001, h_1_0002, h_2_0001, h_2_0002'
    assert found.remarks == (f'not used, because they are further channels of images: {names}',)


def test_numbers_of_images_are_no_channels(tmp_path):
    names = [f'img_000{number}' for number in (0, 1, 2)]
    touch(tmp_path, *(f'images/{name}.nii.gz' for name in names), *(f'labels/{name}.nii.gz' for name in names))
    assert list(listed(find_folder(tmp_path), tmp_path)) == names


@pytest.mark.parametrize('place', ['images', 'labels', '.'])
def test_two_files_of_one_name_are_refused(tmp_path, place):
    name = 'a_seg' if place != 'images' else 'a'
    touch(tmp_path, f'{place}/{name}.nii', f'{place}/{name}.nii.gz', *(['images/a.nii'] if place == 'labels' else []))
    with pytest.raises(UserError, match=f'holds two (images|label maps) of the name {name} .*To fix: rename one'):
        find_folder(tmp_path)


def test_of_a_freesurfer_subject_it_is_the_brain_that_counts(tmp_path):
    touch(tmp_path, *(f's{number}/mri/{name}.mgz' for number in (1, 2) for name in ('T1', 'norm', 'aparc+aseg')))
    assert listed(find_folder(tmp_path), tmp_path)['s2'] == ('s2/mri/norm.mgz', 's2/mri/aparc+aseg.mgz')


def test_folders_without_a_known_name_are_told(tmp_path):
    touch(tmp_path, 'a/t1.nii.gz', 'b/scan1.nii.gz', 'c/d/other.nii.gz')
    found = find_folder(tmp_path)
    assert list(listed(found, tmp_path)) == ['a'] and found.problems == ()
    (remark,) = found.remarks
    assert remark.startswith('not used, because none of their files is called t1, ') and remark.endswith(': b, c/d')


def test_label_maps_among_the_images_are_not_taken_for_images(tmp_path):
    touch(tmp_path, 'images/a.nii.gz', 'images/a_seg.nii.gz')
    assert listed(find_folder(tmp_path), tmp_path) == {'a': ('images/a.nii.gz', 'images/a_seg.nii.gz')}


def test_exact_names_come_first_and_what_could_be_meant_twice_is_not_guessed(tmp_path):
    names = ('a-b', 'a_b', 'img1', 'vol1', 'c')
    labels = ('a-b_seg', 'a_b_seg', 'lab1', 'c_mask', 'c_seg', 'c_label')
    touch(tmp_path, *(f'{name}.nii' for name in (*names, *labels)))
    found = find_folder(tmp_path)
    assert {name: pair[1] for name, pair in listed(found, tmp_path).items()} == {
        'a-b': 'a-b_seg.nii',
        'a_b': 'a_b_seg.nii',
        'img1': None,
        'vol1': None,
        'c': 'c_seg.nii',
    }
    assert [problem.subject for problem in found.problems] == ['lab1']
    assert found.remarks == (
        'not used, because their images have another label map: c_label, c_mask',
        'prepared without labels, because no label map has their name: img1, vol1',
    )


def test_sessions_are_called_after_their_subjects_too_and_capitals_do_not_matter(tmp_path):
    touch(tmp_path, 's1/ses1/T1.NII.GZ', 's2/ses1/t1.nii.gz', 's2/ses1/Seg.nii.gz', 's3/Image.nii.gz')
    assert listed(find_folder(tmp_path), tmp_path) == {
        's1-ses1': ('s1/ses1/T1.NII.GZ', None),
        's2-ses1': ('s2/ses1/t1.nii.gz', 's2/ses1/Seg.nii.gz'),
        's3': ('s3/Image.nii.gz', None),
    }


def test_a_folder_for_images_without_any_hides_nothing(tmp_path):
    touch(tmp_path, 'images/screenshot.png', 's1/t1.nii.gz')
    assert list(listed(find_folder(tmp_path), tmp_path)) == ['s1']


def test_a_visit_that_is_there_once_is_called_after_its_person(tmp_path):
    touch(tmp_path, 'anna/visit1/t1.nii.gz', 'anna/visit2/t1.nii.gz', 'bert/visit1/t1.nii.gz', 'carl/t1.nii.gz')
    assert list(listed(find_folder(tmp_path), tmp_path)) == ['anna-visit1', 'anna-visit2', 'bert-visit1', 'carl']
