"""ANTs SyN with cross-correlation, for comparisons (optional package antspyx)."""

import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from autofuse_jax.data.volumes import Volume, write_image
from autofuse_jax.errors import UserError

# Radius 4 is the window of 9 voxels of the correlation that the network is trained with.
RADIUS = 4
GRADIENT_STEP, FLOW_SIGMA = 0.25, 3


@dataclasses.dataclass(frozen=True)
class SynSettings:
    """Settings of a SyN run.

    Attributes:
        iterations: Largest number at each level, coarse to fine; the finest level is full resolution.
        affine: Whether ANTs' own affine stage (Mattes mutual information) comes first.
        threads: Of ITK.
    """

    iterations: tuple[int, ...] = (100, 70, 50)
    affine: bool = False
    threads: int = 2


def load_ants(threads: int) -> Any:
    """Import antspyx.

    Args:
        threads: That ITK may use; read once, at the first import.

    Raises:
        UserError: It is not installed.
    """
    os.environ['ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS'] = str(threads)
    try:
        import ants
    except ImportError as error:
        raise UserError(
            'SyN needs the package antspyx, which is not installed', fix='pip install "autofuse_jax[syn]"'
        ) from error
    return ants


def register_with_syn(
    fixed: Volume, moving: Volume, settings: SynSettings
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Register with ANTs SyN, cross-correlation of radius 4, and move the labels.

    Args:
        fixed: The fixed volume.
        moving: The moving volume, with labels.
        settings: Levels and threads.

    Returns:
        Moved labels on the fixed grid; the deformation's displacement (D, H, W, 3) in voxels of the fixed grid (without
        the affine part); and seconds of wall and processor time of the registration alone.
    """
    ants = load_ants(settings.threads)
    with tempfile.TemporaryDirectory() as folder:
        # Through files, so that both programs read the same headers.
        paths = {}
        for role, volume in (('fixed', fixed), ('moving', moving)):
            paths[role] = Path(folder) / f'{role}.nii.gz'
            write_image(paths[role], volume.image, volume.affine)
        labels_path = Path(folder) / 'labels.nii.gz'
        write_image(labels_path, moving.labels, moving.affine)
        images = {role: ants.image_read(str(path)) for role, path in paths.items()}
        started, used = time.perf_counter(), time.process_time()
        first = 'Identity'
        if settings.affine:
            linear = ants.registration(
                images['fixed'], images['moving'], type_of_transform='Affine', outprefix=f'{folder}/linear_'
            )
            first = linear['fwdtransforms'][0]
        found = ants.registration(
            images['fixed'],
            images['moving'],
            type_of_transform='SyNOnly',
            initial_transform=first,
            syn_metric='CC',
            syn_sampling=RADIUS,
            grad_step=GRADIENT_STEP,
            flow_sigma=FLOW_SIGMA,
            total_sigma=0,
            reg_iterations=settings.iterations,
            outprefix=f'{folder}/syn_',
        )
        seconds = {'seconds': time.perf_counter() - started, 'processor_seconds': time.process_time() - used}
        moved = ants.apply_transforms(
            images['fixed'],
            ants.image_read(str(labels_path)),
            transformlist=found['fwdtransforms'],
            interpolator='nearestNeighbor',
        ).numpy()
        warp = next(name for name in found['fwdtransforms'] if name.endswith('Warp.nii.gz'))
        # Millimetres in LPS to voxels of the fixed grid.
        millimetres = np.asarray(nib.load(warp).dataobj, np.float64)[:, :, :, 0] * (-1, -1, 1)
    displacement = millimetres @ np.linalg.inv(fixed.affine[:3, :3]).T
    return np.rint(moved).astype(np.int32), displacement, seconds
