"""How tests of `apply_transform` call it, and what it should come to."""

import nibabel as nib
import numpy as np

from autofuse_jax.apply_transform import main
from autofuse_jax.data.background import choose_background
from autofuse_jax.transforms.resampling import moving_positions, sample_known
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import PAIRS, both, inner_points, record

FIXED, MOVING = PAIRS['oblique']
INFO = TransformInfo(fixed=record(FIXED, 'fixed.nii.gz'), moving=record(MOVING, 'moving.nii.gz'))
POINTS = inner_points(FIXED, 6)


def run(data, out, *arguments, transform='forward.nii.gz'):
    """Run with paths of the data folder where an argument names a file there."""
    named = [str(data / word) if (data / word).is_file() else word for word in arguments]
    return main(['--transform', str(data / transform), *named, '--out', str(out)])


def fails(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith('error: ') and captured.count('\n') == 1
    return captured


def moved(path):
    return np.asarray(nib.load(path).dataobj)


def sample(array, positions):
    return sample_known(array, positions, choose_background(array).value)


def positions():
    return moving_positions(both(FIXED), FIXED, MOVING.affine)


def read_csv(path):
    return np.loadtxt(path, delimiter=',', skiprows=1)
