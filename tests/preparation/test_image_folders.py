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
