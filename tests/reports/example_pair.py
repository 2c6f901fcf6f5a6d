"""A small registered pair with labels, in any order of the file's axes, for the tests of the report page."""

import nibabel as nib
import numpy as np

from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.metrics.warping import warp_image, warp_labels
from autofuse_jax.reports.registration_view import RegistrationView, view_registration

SHAPE = (20, 24, 16)
NAMES = {'1': 'ventricle <left>', '2': 'muscle & fat'}


def example_pair() -> dict:
    """Arguments of `registration_page`: two nested boxes that the displacement brings together, 2 mm voxels, RAS."""
    fixed_labels = np.zeros(SHAPE, np.int16)
    fixed_labels[4:13, 5:15, 4:12] = 2
    fixed_labels[6:10, 7:12, 6:10] = 1
    moving_labels = np.roll(fixed_labels, (2, 1), (0, 1))
    displacement = np.zeros((*SHAPE, 3), np.float32)
    displacement[..., 0], displacement[..., 1] = 2.0, 1.0
    # A smooth local part that vanishes at the border.
    x, y, z = (np.sin(np.pi * np.arange(size) / (size - 1)) for size in SHAPE)
    displacement[..., 2] = 0.6 * x[:, None, None] * y[None, :, None] * z[None, None, :]
    moving = 100.0 * moving_labels + np.arange(SHAPE[2])
    moved_labels = warp_labels(moving_labels, displacement)
    fixed = 100.0 * fixed_labels + np.arange(SHAPE[2])
    before = dice_per_label(fixed_labels, moving_labels, (1, 2))
    after = dice_per_label(fixed_labels, moved_labels, (1, 2))
    report = {
        'fixed': {'file': '/data/a/fixed.nii.gz', 'shape': list(SHAPE), 'spacing_mm': [2.0, 2.0, 2.0]},
        'moving': {'file': '/data/b/moving.nii.gz', 'shape': list(SHAPE), 'labels_file': None},
        'checks': ['Both images have the same grid.'],
        'stages': [
            {'name': 'affine', 'seconds': 1.25, 'steps': 40, 'loss_first': -0.5, 'loss_last': -0.75, 'stopped': 'early'}
        ],
        'scores': {
            'ncc_before': 0.4,
            'ncc_after': 0.9,
            'dsc_before': mean_over_structures(before),
            'dsc_after': mean_over_structures(after),
            'dsc_before_per_label': {str(label): score for label, score in before.items()},
            'dsc_after_per_label': {str(label): score for label, score in after.items()},
            'hd95_mm_before': 4.5,
            'hd95_mm_after': 1.25,
            'hd95_mm_before_per_label': {'1': 4.0, '2': 5.0},
            'hd95_mm_after_per_label': {'1': None, '2': 1.25},
            'njd_percent': 0.0,
            'sdlogj': 0.05,
            'inverse_consistency_mm': {'mean': 0.02, 'p95': 0.05, 'max': 0.3},
        },
        'classes': NAMES,
        'settings': {'levels': 3, 'stages': ['affine']},
        'seconds': 12.5,
        'command': 'python -m autofuse_jax.register --fixed "a <b>.nii.gz"',
        'versions': {'autofuse_jax': '9.8.7'},
        'machine': {'processor': 'abacus'},
        'date': '2031-02-03T04:05:06+00:00',
    }
    return {
        'fixed': fixed,
        'moving_before': moving,
        'moved': warp_image(moving, displacement),
        'displacement': displacement,
        'jacobian': jacobian_determinant(displacement),
        'affine': np.diag([2.0, 2.0, 2.0, 1.0]),
        'report': report,
        'fixed_labels': fixed_labels,
        'moving_labels_before': moving_labels,
        'moved_labels': moved_labels,
    }


def view_of(pair: dict) -> RegistrationView:
    """What the pictures of a pair are drawn from."""
    return view_registration(
        fixed=pair['fixed'],
        before=pair['moving_before'],
        after=pair['moved'],
        displacement=pair['displacement'],
        jacobian=pair['jacobian'],
        affine=pair['affine'],
        labels=(pair['fixed_labels'], pair['moving_labels_before'], pair['moved_labels']),
    )


def reordered(pair: dict, codes: str) -> dict:
    """The same pair with all arrays stored along other axes; vectors turn by the affines, not by axis bookkeeping."""
    ornt = nib.orientations.ornt_transform(
        nib.io_orientation(pair['affine']), nib.orientations.axcodes2ornt(tuple(codes))
    )
    affine = nib.Nifti1Image(pair['fixed'], pair['affine']).as_reoriented(ornt).affine
    turned = {
        key: nib.orientations.apply_orientation(value, ornt)
        for key, value in pair.items()
        if isinstance(value, np.ndarray) and key != 'affine'
    }
    between = np.linalg.inv(affine[:3, :3]) @ pair['affine'][:3, :3]
    turned['displacement'] = (turned['displacement'] @ between.T).astype(np.float32)
    return {**pair, **turned, 'affine': affine}
