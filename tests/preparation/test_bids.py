from autofuse_jax.preparation.bids import find_bids
from autofuse_jax.preparation.image_folders import find_folder
from tests.preparation.test_brain_layouts import listed, touch


def test_a_tree_with_label_maps_in_derivatives(tmp_path):
    touch(
        tmp_path,
        'dataset_description.json',
        'sub-01/anat/sub-01_T1w.nii.gz',
        'sub-01/anat/sub-01_T2w.nii.gz',
        'sub-01/func/sub-01_task-rest_bold.nii.gz',
        'sub-02/anat/sub-02_T1w.nii.gz',
        'sourcedata/sub-01/anat/sub-01_T1w.nii.gz',
        'derivatives/fmriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz',
        'derivatives/fmriprep/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz',
        'derivatives/fmriprep/sub-02/anat/sub-02_desc-aseg_dseg.nii.gz',
        'derivatives/fmriprep/sub-01/anat/sub-01_space-MNI152NLin6Asym_dseg.nii.gz',
        'derivatives/fmriprep/sub-01/anat/sub-01_dseg.nii.gz',
    )
    found = find_folder(tmp_path)
    labels = 'derivatives/fmriprep/{0}/anat/{0}_desc-aseg_dseg.nii.gz'
    assert listed(found, tmp_path) == {
        f'{name}_T1w': (f'{name}/anat/{name}_T1w.nii.gz', labels.format(name)) for name in ('sub-01', 'sub-02')
    }
    assert found.layout == 'BIDS tree, images T1w, label maps desc-aseg_dseg'
    assert found.remarks == (
        'images of another kind are not used: T2w (1)',
        'label maps of another kind are not used: dseg (1), space-MNI152NLin6Asym_dseg (1)',
    )


def test_sessions_and_runs_have_label_maps_of_their_own(tmp_path):
    touch(
        tmp_path,
        'sub-a/ses-1/anat/sub-a_ses-1_T1w.nii.gz',
        'sub-a/ses-1/anat/sub-a_ses-1_dseg.nii.gz',
        'sub-a/ses-2/anat/sub-a_ses-2_run-1_T1w.nii.gz',
        'sub-a/ses-2/anat/sub-a_ses-2_run-2_T1w.nii.gz',
        'sub-a/ses-2/anat/sub-a_ses-2_run-2_dseg.nii.gz',
        # Of which run is not said.
        'sub-b/ses-1/anat/sub-b_ses-1_run-1_T1w.nii.gz',
        'sub-b/ses-1/anat/sub-b_ses-1_run-2_T1w.nii.gz',
        'sub-b/ses-1/anat/sub-b_ses-1_dseg.nii.gz',
    )
    labels = {brain.id: brain.labels and brain.labels.name for brain in find_bids(tmp_path).brains}
    assert labels == {
        'sub-a_ses-1_T1w': 'sub-a_ses-1_dseg.nii.gz',
        'sub-a_ses-2_run-1_T1w': None,
        'sub-a_ses-2_run-2_T1w': 'sub-a_ses-2_run-2_dseg.nii.gz',
        'sub-b_ses-1_run-1_T1w': None,
        'sub-b_ses-1_run-2_T1w': None,
    }


def test_files_that_do_not_say_whose_they_are_are_called_after_their_folders(tmp_path):
    touch(tmp_path, *(f'sub-0{number}/{name}.nii.gz' for number in (1, 2) for name in ('T1w', 'seg')))
    assert listed(find_folder(tmp_path), tmp_path) == {
        name: (f'{name}/T1w.nii.gz', f'{name}/seg.nii.gz') for name in ('sub-01', 'sub-02')
    }


def test_folders_that_are_called_like_bids_but_hold_other_files_are_left_to_the_next_layout(tmp_path):
    touch(tmp_path, 'sub-01/t1.nii.gz', 'sub-01/seg.nii.gz')
    assert find_bids(tmp_path) is None
    assert listed(find_folder(tmp_path), tmp_path) == {'sub-01': ('sub-01/t1.nii.gz', 'sub-01/seg.nii.gz')}
