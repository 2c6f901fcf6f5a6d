"""The preparation on real ACDC data, which is not part of the project; skipped where it is absent."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.data.resample import crop_or_pad, resample_labels
from autofuse_jax.data.volumes import read_labels
from autofuse_jax.preparation.label_overlap import label_overlap
from autofuse_jax.prepare import main

DATA = Path(os.environ.get('AUTOFUSE_JAX_DATA', Path(__file__).parents[3] / 'shared' / 'data'))
real_data = pytest.mark.skipif(
    not (DATA / 'acdc' / 'cases.csv').is_file(), reason='no ACDC data; set AUTOFUSE_JAX_DATA to the folder above acdc/'
)


@real_data
def test_real_patients(tmp_path, capsys):
    splits = tmp_path / 'splits.json'
    splits.write_text(json.dumps({'train': ['patient002', 'patient003'], 'validation': ['patient001']}))
    out = tmp_path / 'out'
    arguments = ['--dataset=acdc', f'--source={DATA / "acdc"}', f'--out={out}', f'--splits={splits}', '--workers=1']
    assert main(arguments) == 0
    assert '77 subjects of the source are in no split' in capsys.readouterr().out
    manifest = read_manifest(out)
    assert manifest.shape == (128, 128, 32) and manifest.spacing == (1.5, 1.5, 3.15)
    assert len(manifest.subjects) == 3
    for subject in manifest.subjects:
        for frame in subject.frames:
            volume = load_frame(manifest, frame)
            assert volume.image.min() == 0 and volume.image.max() == 1 and volume.labels.max() == 3
            np.testing.assert_allclose(volume.spacing, manifest.spacing, rtol=1e-6)
            source = nib.load(DATA / 'acdc' / subject.id / f'seg_{frame.phase}.nii.gz')
            sizes = np.asarray(source.header.get_zooms())
            # Volume of the heart in ml: resampling changes it by less than the outermost slice is thick.
            before = np.count_nonzero(np.asarray(source.dataobj)) * sizes.prod() / 1000
            after = np.count_nonzero(volume.labels) * np.prod(manifest.spacing) / 1000
            assert after == pytest.approx(before, rel=0.1)


@real_data
def test_geometry_equals_that_of_an_independent_preparation():
    other = DATA / 'acdc_preprocessed_reference' / 'patient097'
    if not other.is_dir():
        pytest.skip('no acdc_preprocessed_reference/')
    for phase in ('ED', 'ES'):
        found, grid = read_labels(DATA / 'acdc' / 'patient097' / f'seg_{phase}.nii.gz')
        wanted, _ = read_labels(other / f'seg_{phase}.nii.gz')
        # The other project resampled the whole image; cases.csv tells where our window lies in it.
        whole = crop_or_pad(found, (216, 256, found.shape[2]), (-32, -77, 0))
        result = resample_labels(whole, grid.spacing, (1.5, 1.5, 3.15))
        start = np.argwhere(result).min(0) - np.argwhere(wanted).min(0)
        np.testing.assert_array_equal(crop_or_pad(result, wanted.shape, start), wanted)


@real_data
@pytest.mark.slow
def test_dice_before_registration_of_all_real_patients(tmp_path):
    out = tmp_path / 'out'
    assert main(['--dataset=acdc', f'--source={DATA / "acdc"}', f'--out={out}', '--workers=2']) == 0
    manifest = read_manifest(out)
    for split, count, percent in (('train', 70, 61.7), ('validation', 10, 60.6)):
        subjects = manifest.subjects_of(split)
        assert len(subjects) == count
        pairs = [
            [load_frame(manifest, subject.frame_of_phase(phase)).labels for phase in ('ED', 'ES')]
            for subject in subjects
        ]
        scores = [label_overlap(first, second, tuple(manifest.classes)) for first, second in pairs]
        assert 100 * np.mean(scores) == pytest.approx(percent, abs=0.3)
