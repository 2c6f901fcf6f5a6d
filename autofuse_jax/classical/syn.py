"""ANTs SyN with cross-correlation or mutual information, for comparisons (optional package antspyx)."""

import dataclasses
import importlib.util
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from autofuse_jax.choices import CORRELATION, MUTUAL_INFORMATION
from autofuse_jax.classical.interface import check_images
from autofuse_jax.data.volumes import Volume, write_image
from autofuse_jax.errors import COUNT, POSITIVE, WEIGHT, Range, UserError, check_numbers, check_option, check_types

# ITK counts millimetres along LPS.
RAS_FROM_LPS = (-1, -1, 1)
METRICS = {CORRELATION: 'CC', MUTUAL_INFORMATION: 'mattes'}
# As many as ANTs takes unless told otherwise.
HISTOGRAM_BINS = 32


@dataclasses.dataclass(frozen=True)
class SynSettings:
    """Settings of a SyN run. The AutoFuse paper says that it used cross-correlation; all values are our choice.

    Attributes:
        iterations: Largest number at each level, coarse to fine; the finest level is full resolution. Default
            (100, 70, 50); large volumes usually get a fourth level, (100, 70, 50, 20).
        affine: Whether ANTs' own affine stage (Mattes mutual information) comes first, default False.
        threads: Number of threads of ITK, default 2; with 1 the result is the same every time.
        similarity: 'ncc', cross-correlation (default), or 'mi', Mattes' mutual information for other contrasts.
        radius: Radius of the window of the cross-correlation, in voxels; default 4, the window of 9 voxels of the
            correlation that the networks are trained with.
        gradient_step: Length of a step, in voxels; default 0.25.
        flow_sigma: Smoothness of the update, ANTs' variance in voxels; default 3.
        total_sigma: Smoothness of the whole field, likewise; default 0.

    Raises:
        UserError: A value is impossible.
    """

    iterations: tuple[int, ...] = (100, 70, 50)
    affine: bool = False
    threads: int = 2
    similarity: str = CORRELATION
    radius: int = 4
    gradient_step: float = 0.25
    flow_sigma: float = 3
    total_sigma: float = 0

    def __post_init__(self):
        check_types(self)
        check_numbers('iterations', self.iterations, Range(least=0, whole=True))
        check_option('threads', self.threads, COUNT)
        check_option('similarity', self.similarity, METRICS)
        check_option('radius', self.radius, COUNT)
        check_option('gradient_step', self.gradient_step, POSITIVE)
        check_option('flow_sigma', self.flow_sigma, WEIGHT)
        check_option('total_sigma', self.total_sigma, WEIGHT)


def check_ants() -> None:
    """Check that antspyx is installed, without importing it: the import fixes the number of threads.

    Raises:
        UserError: It is not.
    """
    if importlib.util.find_spec('ants') is None:
        raise _no_ants()


def load_ants(threads: int) -> Any:
    """Import antspyx.

    Args:
        threads: Number of threads that ITK may use; read once, at the first import.

    Raises:
        UserError: It is not installed.
    """
    os.environ['ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS'] = str(threads)
    try:
        import ants
    except ImportError as error:
        raise _no_ants() from error
    return ants


def register_with_syn(
    fixed: Volume, moving: Volume, settings: SynSettings
) -> tuple[np.ndarray | None, np.ndarray, dict[str, float]]:
    """Register with ANTs SyN and move the labels.

    Args:
        fixed: The fixed volume.
        moving: The moving volume, with or without labels.
        settings: Levels, threads and smoothness.

    Returns:
        Labels of the moving volume on the fixed grid, or None where it has none; the deformation's displacement
        (D, H, W, 3) in voxels of the fixed grid, pull direction (without the affine part); and seconds of wall and
        processor time of the registration alone.

    Raises:
        UserError: A volume is a series, or antspyx is not installed.

    Reference:
        Avants et al., Symmetric diffeomorphic image registration with cross-correlation, 2008.
    """
    check_images(fixed, moving)
    ants = load_ants(settings.threads)
    with tempfile.TemporaryDirectory() as folder:
        # Through files, so that both programs read the same headers.
        images = {}
        for role, volume in (('fixed', fixed), ('moving', moving)):
            images[role] = _as_ants(ants, Path(folder) / f'{role}.nii.gz', volume.image, volume.affine)
        started, processor_start = time.perf_counter(), time.process_time()
        first = 'Identity'
        if settings.affine:
            linear = ants.registration(
                images['fixed'], images['moving'], type_of_transform='Affine', outprefix=f'{folder}/linear_'
            )
            first = linear['fwdtransforms'][0]
        registration = ants.registration(
            images['fixed'],
            images['moving'],
            type_of_transform='SyNOnly',
            initial_transform=first,
            syn_metric=METRICS[settings.similarity],
            syn_sampling=settings.radius if settings.similarity == CORRELATION else HISTOGRAM_BINS,
            grad_step=settings.gradient_step,
            flow_sigma=settings.flow_sigma,
            total_sigma=settings.total_sigma,
            reg_iterations=tuple(settings.iterations),
            outprefix=f'{folder}/syn_',
        )
        seconds = {'seconds': time.perf_counter() - started, 'processor_seconds': time.process_time() - processor_start}
        labels = None
        if moving.labels is not None:
            warped = ants.apply_transforms(
                images['fixed'],
                _as_ants(ants, Path(folder) / 'labels.nii.gz', moving.labels, moving.affine),
                transformlist=registration['fwdtransforms'],
                interpolator='nearestNeighbor',
            )
            labels = np.rint(warped.numpy()).astype(np.int32)
        warp = next(name for name in registration['fwdtransforms'] if name.endswith('Warp.nii.gz'))
        image: Any = nib.load(warp)
        millimetres = np.asarray(image.dataobj, np.float64)[:, :, :, 0] * RAS_FROM_LPS
    return labels, millimetres @ np.linalg.inv(fixed.affine[:3, :3]).T, seconds


def _as_ants(ants: Any, path: Path, array: np.ndarray, affine: np.ndarray) -> Any:
    write_image(path, array, affine)
    return ants.image_read(str(path))


def _no_ants() -> UserError:
    return UserError('SyN needs the package antspyx, which is not installed', fix='pip install "autofuse_jax[syn]"')
