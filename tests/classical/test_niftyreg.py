"""NiftyReg's adapter with a stand-in for its programs: what they are told, what is read, and what can go wrong."""

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.classical import CLASSICAL, NiftyRegSettings, register_with_niftyreg
from autofuse_jax.classical.niftyreg import FOLDER_VARIABLE, TOOLS
from autofuse_jax.data.volumes import Volume, write_labels
from autofuse_jax.errors import UserError

SHAPE = (5, 6, 4)
# Axis 0 goes to the back in steps of 2 mm, axis 1 to the right of 3 mm, axis 2 up of 0.5 mm.
AFFINE = np.array([[0, 3, 0, 10], [-2, 0, 0, -20], [0, 0, 0.5, 30], [0, 0, 0, 1.0]])
# Keeps its arguments and inputs beside itself, and hands out the files it finds there.
STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
here=$(dirname "$0")
while [ $# -gt 0 ]; do
    case "$1" in
        -cpp) echo control points > "$2" ;;
        -ref) cp "$2" "$here/seen_fixed.nii" ;;
        -flo) cp "$2" "$0.seen_moving.nii" ;;
        -disp) grep -q 'control points' "$2" && cp "$here/displacement.nii" "$3" ;;
        -res) cp "$here/labels.nii" "$2" ;;
    esac
    shift
done
"""


def random_volume(seed, affine=AFFINE, labelled=True):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 400, SHAPE) if labelled else None
    return Volume(rng.uniform(size=SHAPE).astype(np.float32), labels, affine, f'volume {seed}')


def put_programs(folder, script=STAND_IN):
    folder.mkdir(exist_ok=True)
    for tool in TOOLS:
        (folder / tool).write_text(script)
        (folder / tool).chmod(0o755)
    return folder


@pytest.fixture
def programs(tmp_path):
    """A folder of stand-ins that find a displacement of (6, 4, 1) mm everywhere and labels of 7."""
    folder = put_programs(tmp_path / 'bin')
    millimetres = np.broadcast_to(np.float32([6, 4, 1]), (*SHAPE, 1, 3))
    nib.save(nib.Nifti1Image(millimetres, AFFINE), folder / 'displacement.nii')
    write_labels(folder / 'labels.nii', np.full(SHAPE, 7), AFFINE)
    return folder


def arguments_of(programs, tool):
    """Arguments that a program got, files by their names."""
    lines = (programs / f'{tool}.arguments').read_text().splitlines()
    return ' '.join(line.rsplit('/', 1)[-1] for line in lines)


def test_programs_get_the_published_command(programs):
    settings = NiftyRegSettings(folder=str(programs), threads=3)
    register_with_niftyreg(random_volume(0), random_volume(1), settings)
    assert arguments_of(programs, 'reg_f3d') == (
        '-ref fixed.nii -flo moving.nii -cpp grid.nii -res warped.nii --lncc -5 -be 0.001 -ln 3 -maxit 150 -pad 0 '
        '-omp 3 -voff'
    )
    assert arguments_of(programs, 'reg_transform') == '-ref fixed.nii -disp grid.nii displacement.nii'
    assert arguments_of(programs, 'reg_resample') == (
        '-ref fixed.nii -flo labels.nii -trans grid.nii -res moved_labels.nii -inter 0'
    )


def test_settings_reach_the_command(programs):
    settings = NiftyRegSettings(
        folder=str(programs), correlation_sigma=2.5, bending_energy=0.0006, levels=2, iterations=300
    )
    register_with_niftyreg(random_volume(0), random_volume(1), settings)
    assert '--lncc -2.5 -be 0.0006 -ln 2 -maxit 300' in arguments_of(programs, 'reg_f3d')


def test_displacement_is_in_voxels_of_the_fixed_grid_along_its_axes(programs):
    settings = NiftyRegSettings(folder=str(programs))
    labels, displacement, seconds = register_with_niftyreg(random_volume(0), random_volume(1), settings)
    # 4 mm to the front are -2 voxels of axis 0, 6 mm to the right 2 of axis 1, 1 mm up 2 of axis 2.
    np.testing.assert_allclose(displacement, np.broadcast_to([-2.0, 2.0, 2.0], (*SHAPE, 3)), atol=1e-6)
    assert labels.shape == SHAPE and (labels == 7).all() and labels.dtype == np.int32
    assert set(seconds) == {'seconds', 'processor_seconds'}
    assert 0 < seconds['seconds'] < 60 and 0 <= seconds['processor_seconds'] < 60


def test_images_keep_their_places_in_space(programs):
    fixed, moving = random_volume(0), random_volume(1, affine=np.diag([1.5, 1.5, 4, 1]))
    register_with_niftyreg(fixed, moving, NiftyRegSettings(folder=str(programs)))
    files = ('seen_fixed', fixed.image, fixed), ('reg_f3d.seen_moving', moving.image, moving)
    for name, array, volume in (*files, ('reg_resample.seen_moving', moving.labels, moving)):
        seen = nib.load(programs / f'{name}.nii')
        np.testing.assert_array_equal(np.asarray(seen.dataobj), array)
        for form in (seen.get_sform(coded=True), seen.get_qform(coded=True)):
            np.testing.assert_allclose(form[0], volume.affine, atol=1e-5)
            assert form[1] > 0


def test_without_labels_none_are_moved(programs):
    labels, _, _ = register_with_niftyreg(
        random_volume(0), random_volume(1, labelled=False), NiftyRegSettings(folder=str(programs))
    )
    assert labels is None
    assert not (programs / 'reg_resample.arguments').exists()


def test_given_folder_comes_before_the_variable_and_that_before_path(programs, tmp_path, monkeypatch):
    niftyreg = CLASSICAL['niftyreg']
    empty = tmp_path / 'empty'
    empty.mkdir()
    monkeypatch.setenv('PATH', f'{programs}:/usr/bin:/bin')
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert niftyreg.available()
    monkeypatch.setenv(FOLDER_VARIABLE, str(empty))
    refused = niftyreg.available()
    assert not refused and f'{empty}, the folder that {FOLDER_VARIABLE} names' in refused.reason
    assert niftyreg.available(NiftyRegSettings(folder=str(programs)))
    assert 'given folder' in niftyreg.available(NiftyRegSettings(folder=str(empty))).reason


def test_missing_programs_are_named_with_where_and_what_to_do(programs, monkeypatch):
    (programs / 'reg_resample').chmod(0o644)
    with pytest.raises(UserError, match='looked for reg_resample in the given folder') as caught:
        register_with_niftyreg(random_volume(0), random_volume(1), NiftyRegSettings(folder=str(programs)))
    assert FOLDER_VARIABLE in caught.value.fix and 'KCL-BMEIS/niftyreg' in caught.value.fix
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv('PATH', str(programs / 'nothing'))
    with pytest.raises(UserError, match='looked for reg_f3d, reg_transform, reg_resample on PATH'):
        register_with_niftyreg(random_volume(0), random_volume(1), NiftyRegSettings())


@pytest.mark.parametrize(
    ('script', 'message'),
    [
        ('#!/bin/sh\nfor n in 1 2 3 4 5 6 7 8 9; do echo line $n; done; exit 3\n', 'status 3.*line 2 .* line 9'),
        ('#!/bin/sh\n', 'status 0 but did not write grid.nii.*it said nothing'),
        ('#!/bin/sh\nexec sleep 20\n', 'reg_f3d was stopped after 0.2 seconds'),
        ('not a program', 'cannot be run'),
    ],
)
def test_failing_programs_are_told(tmp_path, script, message):
    folder = put_programs(tmp_path / 'bin', script)
    settings = NiftyRegSettings(folder=str(folder), timeout_seconds=0.2 if 'sleep' in script else 60)
    with pytest.raises(UserError, match=message) as caught:
        register_with_niftyreg(random_volume(0), random_volume(1), settings)
    assert 'line 1 ' not in str(caught.value)


@pytest.mark.parametrize('fill', [np.zeros((*SHAPE, 3)), np.full((*SHAPE, 1, 3), np.nan)])
def test_unusable_displacement_is_refused(programs, fill):
    nib.save(nib.Nifti1Image(np.float32(fill), AFFINE), programs / 'displacement.nii')
    with pytest.raises(UserError, match='reg_transform wrote a displacement'):
        register_with_niftyreg(random_volume(0), random_volume(1), NiftyRegSettings(folder=str(programs)))
