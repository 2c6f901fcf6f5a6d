"""Registering every frame of a 4-D series to one of them, and the curves that follow from it."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from autofuse_jax.choices import AUTO
from autofuse_jax.data.background import Background, choose_background
from autofuse_jax.data.volumes import Volume
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.metrics.cine import WHOLE_IMAGE, cine_curves
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.metrics.strain import strain_curves
from autofuse_jax.metrics.structures import label_ids, structure_names
from autofuse_jax.registration.pipeline import RegistrationResult, register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.step_progress import StepProgress
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_labels
from autofuse_jax.weights.pretrained import RegistrationModel


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesResult:
    """A registered series.

    Attributes:
        reference: Number of the frame that all others are registered to, from 0.
        frames: One registration a frame, the reference as the fixed image; the reference itself gets the identity.
        curves: 'volume_ml' (of the reference labels brought to each frame) and 'jacobian_mean' (volume in the frame
            over volume in the reference frame, voxel by voxel), and where there is a wall around a cavity
            'radial_strain_percent' and 'circumferential_strain_percent': name of a structure to one number a frame.
    """

    reference: int
    frames: tuple[RegistrationResult, ...]
    curves: dict[str, dict[str, list[float]]]


def register_series(
    series: Volume,
    reference: int,
    settings: PipelineSettings,
    *,
    classes: Mapping[int, str] | None = None,
    model: RegistrationModel | RuntimeModel | None = None,
    guide: str | None = AUTO,
    quiet: bool = False,
) -> SeriesResult:
    """Register every frame of a series to one of them.

    Args:
        series: (D, H, W, T), with labels and mask of the reference frame or without.
        reference: Number of the fixed frame, from 0.
        settings: Steps of the registration, the same for all frames.
        classes: Label id to name.
        model: A trained network, or None.
        guide: What guides beside the images: 'auto': the network where it segments; 'network': the network, or an
            error; None: nothing.
        quiet: Whether progress is kept off standard error.

    Returns:
        The result.

    Raises:
        UserError: It is no series of two frames or more, or has no such frame.
    """
    if series.image.ndim != 4 or series.image.shape[3] == 1:
        raise UserError(
            f'{series.name} has shape {series.image.shape}',
            expected='a series (D, H, W, T) of two frames or more',
            fix='leave out --reference-frame and name the two images with --fixed and --moving',
        )
    count = series.image.shape[3]
    if not 0 <= reference < count:
        raise UserError(
            f'the reference frame is {reference}', expected=f'0 to {count - 1}, the frames of {series.name}'
        )
    _check_contrast(series)
    volumes = [
        Volume(
            np.ascontiguousarray(series.image[..., frame]),
            None,
            series.affine,
            f'{series.name} frame {frame}',
            notes=series.notes,
        )
        for frame in range(count)
    ]
    fixed = dataclasses.replace(volumes[reference], labels=series.labels, mask=series.mask)
    # One value for all frames.
    background = choose_background(series.image, settings.background)
    settings = dataclasses.replace(settings, background=background.value)
    results = []
    for frame, moving in enumerate(volumes):
        if frame == reference:
            results.append(_identity(fixed, background))
            continue
        progress = None if quiet else StepProgress(prefix=f'frame {frame + 1}/{count}, ')
        results.append(register_volumes(fixed, moving, settings, model=model, guide=guide, on_progress=progress))
    return SeriesResult(reference, tuple(results), _curves(fixed, results, classes or {}))


def _check_contrast(series: Volume) -> None:
    """Check before any work that there is something to register in each frame."""
    blank = [frame for frame in range(series.image.shape[3]) if _is_blank(series.image[..., frame])]
    if blank:
        numbers = ', '.join(map(str, blank))
        raise UserError(
            f'of {series.name} frame {numbers} holds the same value everywhere'
            if len(blank) == 1
            else f'of {series.name} the frames {numbers} hold the same value everywhere each',
            expected='an image in every frame, which are counted from 0',
            fix='leave these frames out of the series',
        )


def _is_blank(image: np.ndarray) -> bool:
    values = image[np.isfinite(image)]
    return values.size == 0 or bool(values.min() == values.max())


def labels_on_frame(result: RegistrationResult) -> np.ndarray:
    """Return the labels of the fixed frame on the grid of the moving frame.

    Args:
        result: A registration whose fixed volume has labels.

    Returns:
        Integer (D, H, W), nearest.
    """
    positions = moving_positions(result.inverse, result.moving.grid, result.fixed.affine)
    return sample_labels(result.fixed.labels, positions)


def _identity(fixed: Volume, background: Background) -> RegistrationResult:
    nothing = DenseTransform(np.zeros((*fixed.image.shape, 3), np.float32), fixed.affine)
    return RegistrationResult(
        fixed,
        fixed,
        nothing,
        nothing,
        AffineTransform(np.eye(4)),
        fixed.image,
        fixed.labels,
        (),
        0.0,
        background=background,
    )


def _curves(
    fixed: Volume, frames: Sequence[RegistrationResult], classes: Mapping[int, str]
) -> dict[str, dict[str, list[float]]]:
    labels = np.zeros(fixed.image.shape, np.int32) if fixed.labels is None else fixed.labels
    names = structure_names(label_ids(labels), classes, taken=(WHOLE_IMAGE,))
    curves = cine_curves(
        labels,
        (jacobian_determinant(frame.transform.displacement) for frame in frames),
        names,
        fixed.grid.voxel_mm3,
        None if fixed.labels is None else (labels_on_frame(frame) for frame in frames),
    )
    fields = (frame.transform.displacement for frame in frames)
    return curves | strain_curves(labels, fields, names, fixed.grid.spacing)
