"""What a registration is given beside its images: label maps and points that guide it, a transform to start from."""

import json

import numpy as np

from autofuse_jax.data.volumes import read_image
from autofuse_jax.register import main
from autofuse_jax.transforms_io.files import read_transform
from tests.register.calls import FIXED_GRID, TURN, command
from tests.registration.scenes import world_difference
from tests.transforms_io.foreign import write_matlab


def test_a_transform_of_another_program_is_the_start_or_the_whole(files, tmp_path, capsys):
    matrix = np.diag([-1.0, -1, 1, 1]) @ TURN @ np.diag([-1.0, -1, 1, 1])
    numbers = [*matrix[:3, :3].ravel(), *matrix[:3, 3]]
    write_matlab(tmp_path / '0GenericAffine.mat', 'AffineTransform_double_3_3', numbers, [0, 0, 0])
    cheap = ['--align=none', '--no-deform', '--no-page', '--initial', str(tmp_path / '0GenericAffine.mat')]
    assert main(command(files, tmp_path / 'a', *cheap)) == 0
    assert 'initial transform: affine, 0GenericAffine.mat' in capsys.readouterr().out
    report = json.loads((tmp_path / 'a' / 'report.json').read_text())
    assert report['initial'] == cheap[-1:] and report['stages'][0]['name'] == 'start: initial transform'
    assert 'initial transform: affine, 0GenericAffine.mat' in report['checks']
    forward, _ = read_transform(tmp_path / 'a' / 'forward_itk.nii.gz')
    assert world_difference(forward, TURN, FIXED_GRID) < 1e-3
    # What was written is an initial transform of the next registration, a deformation to it.
    again = ['--initial', str(tmp_path / 'a' / 'forward_itk.nii.gz')]
    assert main(command(files, tmp_path / 'b', *cheap[:3], *again)) == 0
    np.testing.assert_allclose(
        read_image(tmp_path / 'b' / 'moved.nii.gz').image, read_image(tmp_path / 'a' / 'moved.nii.gz').image, atol=0.05
    )
    report = json.loads((tmp_path / 'b' / 'report.json').read_text())
    assert not {'affine_itk.txt', 'inverse_affine_itk.txt'} & set(report['files'])
    assert any('no affine_itk.txt' in check for check in report['checks'])


def test_the_weight_of_a_guide_goes_with_a_network_which_may_segment(files, tmp_path, capsys):
    # The weights are looked for, so the options were taken.
    assert main(command(files, tmp_path / 'out', '--guide-weight=2', '--trust=0.3', '--weights=absent.npz')) == 2
    assert 'absent.npz' in capsys.readouterr().err.splitlines()[-1]


def guiding(files, *more):
    return [f'--{role}-guide={files}/{role}_labels.nii.gz' for role in ('fixed', 'moving')] + list(more)


def test_label_maps_and_points_guide_and_the_report_says_so(files, tmp_path, capsys):
    out = tmp_path / 'guided'
    points = [tmp_path / f'{role}.csv' for role in ('fixed', 'moving')]
    for path in points:
        path.write_text('x,y,z\n0,0,0\n10,5,900\n')
    # One level: each is compiled for a long time.
    cheap = ['--guide-weight=2', '--shrink=2', '--steps=10', '--align=none', '--no-page']
    more = guiding(files, '--guide-points', *map(str, points), *cheap)
    assert main(command(files, out, *more)) == 0
    source = 'label map fixed_labels.nii.gz and moving_labels.nii.gz, points fixed.csv and moving.csv'
    sentence = f'guided by {source} (classes 1, 2, 3 and 2 pairs of points, on average 0.00 mm apart before and '
    assert sentence in (said := capsys.readouterr().out) and ', 1 outside of the moving image).' in said
    report = json.loads((out / 'report.json').read_text())
    # How far apart they are after is a matter of the optimisation.
    after = report['guide']['points_mm'].pop('after')
    assert 0 <= after < 5
    assert report['guide'] == {
        'source': source,
        'classes': [1, 2, 3],
        'points': 2,
        'points_outside': {'fixed': 1, 'moving': 1},
        'points_mm': {'before': 0},
        'scored': False,
        'seen': [],
    }
    assert report['verdict']['level'] != 'good' and any('(2 outside)' in text for text in report['verdict']['reasons'])
    assert report['settings']['instance']['guide'] == 2 and any(sentence in check for check in report['checks'])


def test_guides_that_make_no_sense_are_refused(files, tmp_path, capsys):
    scored = [f'--{role}-labels={files}/{role}_labels.nii.gz' for role in ('fixed', 'moving')]
    for more, words in (
        (guiding(files, *scored), 'of the labels that are scored on'),
        (guiding(files)[:1], 'a guide for the fixed image only'),
        (guiding(files, '--no-deform'), 'a guide together with --no-deform'),
        (guiding(files, '--guide=none'), 'files that guide together with --guide=none'),
        (['--guide=network'], 'the guide is a network, and there is none'),
        (guiding(files, '--guide-weight=-1'), 'guide is -1'),
    ):
        assert main(command(files, tmp_path / 'out', *more)) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith('error: ') and words in error
    assert not (tmp_path / 'out').exists()
