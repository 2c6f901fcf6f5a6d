"""A registration that is the same in both directions, and what has a direction."""

import json

import pytest

from autofuse_jax.data.volumes import read_image
from autofuse_jax.register import main
from tests.register.calls import CHEAP


def test_exchanged_images_exchange_the_results(files, tmp_path):
    fixed, moving = (f'{files}/{name}.nii.gz' for name in ('fixed', 'moving'))
    transforms = []
    for number, (one, other) in enumerate(((fixed, moving), (moving, fixed))):
        out = tmp_path / str(number)
        assert main([f'--fixed={one}', f'--moving={other}', f'--out={out}', *CHEAP, '--symmetric']) == 0
        report = json.loads((out / 'report.json').read_text())
        assert report['symmetric'] and read_image(out / 'moved.nii.gz').grid.same_as(read_image(one).grid)
        transforms.append({way: (out / f'{way}_voxel.nii.gz').read_bytes() for way in ('forward', 'inverse')})
    assert transforms[0]['forward'] == transforms[1]['inverse'] and transforms[0]['inverse'] == transforms[1]['forward']


@pytest.mark.parametrize(
    'more', [['--samples=2'], ['--initial', 'a.mat'], ['--weights=cardiac'], ['--reference-frame=0']]
)
def test_what_has_a_direction_does_not_go_with_symmetric(files, tmp_path, capsys, more):
    arguments = [] if more == ['--reference-frame=0'] else [f'--fixed={files}/fixed.nii.gz']
    arguments += [f'--moving={files}/moving.nii.gz', f'--out={tmp_path}/out', '--symmetric', *more]
    assert main(arguments) == 2
    assert f'--symmetric together with {more[0].partition("=")[0]}, which has a direction' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
