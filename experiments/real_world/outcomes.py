"""What a registration of a case comes to, by the code as it is or by a checkout of older code through its command."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from autofuse_jax.classical.syn import SynSettings, register_with_syn
from autofuse_jax.data.volumes import Volume, read_labels, write_image, write_labels
from autofuse_jax.errors import UserError
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.measures import measure_result
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.symmetric import register_symmetrically
from autofuse_jax.transforms.maps import DenseTransform

# Box of the verdict on the page of results: reports of older code have no entry of it.
VERDICT = re.compile(r'class="verdict (\w+)"')
# Of heads of 3 mm, whose full resolution is coarse.
SYN_ITERATIONS = (100, 70, 50)
# Exit status of a registration that was refused.
REFUSED = 2
# Directions in the names of the fields that every version writes.
FORWARD, INVERSE = 'forward', 'inverse'


class Outcome(NamedTuple):
    """What a registration came to.

    Attributes:
        fixed: The fixed image.
        transform: Transform from the fixed to the moving world, on the fixed grid; of SyN the deformation alone.
        inverse: Transform from the moving to the fixed world, on the moving grid; None: unknown.
        moved_labels: Moving labels on the fixed grid; None without labels.
        verdict: Level of the verdict.
        similarity: Name of the similarity; None: unknown.
        start: Name of the first stage; None: unknown.
    """

    fixed: Volume
    transform: DenseTransform
    inverse: DenseTransform | None
    moved_labels: np.ndarray | None
    verdict: str | None
    similarity: str | None = None
    start: str | None = None


class How(NamedTuple):
    """How two images are registered.

    Attributes:
        deform: Whether they are deformed, or aligned only.
        inverse: Weight of the similarity of the inverse map, or 'turns'.
        symmetric: Whether it is the same in both directions.
    """

    deform: bool = True
    inverse: float | str = 0.0
    symmetric: bool = False


# (fixed, moving, how) -> what it came to.
Register = Callable[[Volume, Volume, How], Outcome]


def register_here(fixed: Volume, moving: Volume, how: How) -> Outcome:
    """Register two images with the code as it is, in all else with the default settings.

    Args:
        fixed: The fixed image.
        moving: The moving image.
        how: How they are registered.

    Raises:
        UserError: The registration was refused.
    """
    settings = PipelineSettings(instance=InstanceSettings(inverse=how.inverse) if how.deform else None)
    result = (register_symmetrically if how.symmetric else register_volumes)(fixed, moving, settings)
    return Outcome(
        fixed,
        result.transform,
        result.inverse,
        result.moved_labels,
        measure_result(result).verdict.level,
        result.similarity,
        result.stages[0]['name'] if result.stages else None,
    )


def register_by_syn(similarity: str) -> Register:
    """Return a function that registers two images by ANTs SyN, after its own affine alignment, whatever `How` says.

    Args:
        similarity: See `SynSettings`.
    """

    def register(fixed: Volume, moving: Volume, how: How) -> Outcome:
        settings = SynSettings(iterations=SYN_ITERATIONS, affine=True, similarity=similarity)
        labels, displacement, _ = register_with_syn(fixed, moving, settings)
        deformation = DenseTransform(displacement, fixed.affine)
        return Outcome(fixed, deformation, None, labels, None, similarity)

    return register


def register_with(checkout: Path) -> Register:
    """Return a function that registers two images by the command `register` of a checkout of other code.

    Args:
        checkout: Folder of the checkout; its package must run in this environment.
    """

    def register(fixed: Volume, moving: Volume, how: How) -> Outcome:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            arguments = [f'--out={folder / "out"}', *_options(how)]
            for role, volume in (('fixed', fixed), ('moving', moving)):
                arguments += _write(folder, role, volume)
            command = [sys.executable, '-m', 'autofuse_jax.register', *arguments]
            run = subprocess.run(command, cwd=checkout.resolve(), capture_output=True, text=True, check=False)
            if run.returncode == REFUSED:
                # Where the files lay says nothing.
                raise UserError(run.stderr.strip().splitlines()[-1].replace(f'{folder}{os.sep}', ''))
            # A process that was killed says nothing of the code.
            run.check_returncode()
            return _read(folder / 'out', fixed, moving)

    return register


def _options(how: How) -> list[str]:
    """Return the options of the command that are not their defaults."""
    options = [] if how.deform else ['--no-deform']
    options += [f'--inverse-weight={how.inverse}'] if how.inverse else []
    return options + (['--symmetric'] if how.symmetric else [])


def _write(folder: Path, role: str, volume: Volume) -> list[str]:
    """Write an image with what it has, and return the options that name the files."""
    options = [f'--{role}={folder / role}.nii.gz']
    write_image(folder / f'{role}.nii.gz', volume.image, volume.affine)
    if volume.labels is not None:
        options.append(f'--{role}-labels={folder / role}_labels.nii.gz')
        write_labels(folder / f'{role}_labels.nii.gz', volume.labels, volume.affine)
    if volume.mask is not None:
        options.append(f'--{role}-mask={folder / role}_mask.nii.gz')
        write_image(folder / f'{role}_mask.nii.gz', np.asarray(volume.mask, np.float32), volume.affine)
    return options


def _read(results: Path, fixed: Volume, moving: Volume) -> Outcome:
    """Read what every version of the command leaves."""
    forward, inverse = (
        DenseTransform(np.asarray(nib.load(results / f'{role}_voxel.nii.gz').dataobj, np.float32), volume.affine)
        for role, volume in ((FORWARD, fixed), (INVERSE, moving))
    )
    labels = results / 'moved_labels.nii.gz'
    verdict = VERDICT.search((results / 'report.html').read_text(encoding='utf-8'))
    return Outcome(
        fixed,
        forward,
        inverse,
        read_labels(labels)[0] if labels.is_file() else None,
        verdict.group(1) if verdict else None,
    )
