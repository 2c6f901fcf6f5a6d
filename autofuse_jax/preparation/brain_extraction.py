"""Brain extraction by a program that the user has: FreeSurfer's mri_synthstrip, HD-BET or FSL's bet."""

import dataclasses
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.choices import AUTO, BET, HD_BET, NONE, SYNTHSTRIP
from autofuse_jax.data.volumes import Volume, read_image, write_image
from autofuse_jax.errors import UserError

# Lines of a failed program that the message shows.
SHOWN_LINES = 3


@dataclasses.dataclass(frozen=True)
class Tool:
    """One program.

    Attributes:
        program: Name on the command line.
        arguments: Its arguments, with '{input}' and '{output}' for the two NIfTI files.
        source: Software that it belongs to.
    """

    program: str
    arguments: Sequence[str]
    source: str


# In the order in which 'auto' takes them.
TOOLS = {
    SYNTHSTRIP: Tool('mri_synthstrip', ('-i', '{input}', '-o', '{output}'), 'FreeSurfer 7.3 or later'),
    HD_BET: Tool('hd-bet', ('-i', '{input}', '-o', '{output}'), 'the Python package hd-bet'),
    BET: Tool('bet', ('{input}', '{output}', '-R'), 'FSL'),
}


def choose_tool(choice: str) -> str:
    """Return which program will be used, and make sure that it is there.

    Args:
        choice: 'none', a key of `TOOLS`, or 'auto' for the first of them that is found on PATH.

    Returns:
        'none' or a key of `TOOLS`.

    Raises:
        UserError: The program, or with 'auto' every program, is missing.
    """
    if choice == NONE:
        return NONE
    candidates = list(TOOLS) if choice == AUTO else [choice]
    for name in candidates:
        if shutil.which(TOOLS[name].program):
            return name
    programs = ', '.join(f'{TOOLS[name].program} ({TOOLS[name].source})' for name in candidates)
    raise UserError(
        f'these images need brain extraction, and there is no {programs} on PATH',
        expected='one of these programs',
        fix='install one, or add --brain-extraction=none if the images are skull-stripped already',
    )


def extract_brain(volume: Volume, tool: str) -> Volume:
    """Set everything but the brain to 0.

    The program gets the image as NIfTI; where its result is 0, the image becomes 0. Grey values are kept.

    Args:
        volume: A 3-D image of a head; labels are kept as they are.
        tool: A key of `TOOLS`.

    Returns:
        The volume without skull.

    Raises:
        UserError: The program fails, writes nothing, or finds no brain or nothing but brain.
    """
    with tempfile.TemporaryDirectory(prefix='autofuse-brain-') as folder:
        source, target = Path(folder) / 'head.nii.gz', Path(folder) / 'brain.nii.gz'
        write_image(source, volume.image, volume.affine)
        _run(tool, source, target, volume.name)
        if not target.is_file():
            raise UserError(
                f'{TOOLS[tool].program} wrote nothing for {volume.name}', fix='run it by hand on this image'
            )
        extracted = read_image(target)
    if extracted.image.shape != volume.image.shape:
        raise UserError(
            f'{TOOLS[tool].program} changed the grid of {volume.name} from {volume.image.shape} to '
            f'{extracted.image.shape}',
            fix='run it by hand, and prepare its results with --brain-extraction=none',
        )
    inside = extracted.image > 0
    if inside.all():
        raise UserError(f'{TOOLS[tool].program} removed nothing from {volume.name}', fix='look at this image')
    # Background counts as 0 later on, so brain tissue has to be above it.
    image = np.where(inside, np.maximum(volume.image - volume.image.min(), 0), 0).astype(np.float32)
    return dataclasses.replace(volume, image=image)


def _run(tool: str, source: Path, target: Path, name: str) -> None:
    program = TOOLS[tool].program
    arguments = [argument.format(input=source, output=target) for argument in TOOLS[tool].arguments]
    # FSL chooses its format by this variable alone.
    environment = os.environ | {'FSLOUTPUTTYPE': 'NIFTI_GZ'}
    try:
        process = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, errors='replace', check=False
        )
    except OSError as error:
        raise UserError(f'{program} cannot be started ({error})', fix='check its installation') from error
    if process.returncode:
        lines = [line for line in (process.stdout + process.stderr).splitlines() if line.strip()]
        said = ' / '.join(lines[-SHOWN_LINES:]) or 'nothing said'
        raise UserError(f'{program} failed on {name} with status {process.returncode} ({said})', fix='run it by hand')
