"""Registering two images from Python: files, arrays or volumes in, a result out."""

import os
from typing import Any

from autofuse_jax.registration.alignment import OnProgress
from autofuse_jax.registration.inputs import ImageLike, as_volume, read_mask, with_labels
from autofuse_jax.registration.pipeline import PipelineSettings, RegistrationResult, register_volumes
from autofuse_jax.weights.pretrained import RegistrationModel, load_model


def register_images(
    fixed: ImageLike,
    moving: ImageLike,
    settings: PipelineSettings | None = None,
    *,
    fixed_labels: Any = None,
    moving_labels: Any = None,
    fixed_mask: Any = None,
    moving_mask: Any = None,
    model: RegistrationModel | str | os.PathLike | None = None,
    on_progress: OnProgress | None = None,
) -> RegistrationResult:
    """Register two images from Python.

    Args:
        fixed: A file, an array (D, H, W) of 1 mm voxels, or a `Volume`.
        moving: Likewise; the two may differ in size, spacing and orientation.
        settings: Which steps; default affine alignment and instance optimisation.
        fixed_labels: File or integer array on the grid of the fixed image, or None.
        moving_labels: Likewise of the moving image; they are moved too.
        fixed_mask: File or array, not zero where the fixed image counts, or None.
        moving_mask: Likewise of the moving image.
        model: A network with weights, or the npz of one; None: no network.
        on_progress: Called with the step's name, steps done, steps at most and the loss.

    Returns:
        The result: `moved`, `transform`, `inverse` and more, as NumPy arrays.

    Raises:
        UserError: Something is wrong with the images, labels, masks or weights.

    Example:
        >>> import numpy as np
        >>> from autofuse_jax import AlignmentSettings, InstanceSettings, PipelineSettings, register_images
        >>> fixed = np.zeros((16, 16, 16), np.float32)
        >>> fixed[4:12, 5:12, 4:11] = 1.0
        >>> moving = np.roll(fixed, 1, axis=0)
        >>> settings = PipelineSettings(
        ...     AlignmentSettings(kind='translation', start='header', spacings=(1.0,), steps=(20,)),
        ...     InstanceSettings(shrink=(1,), steps=(5,)),
        ... )
        >>> result = register_images(fixed, moving, settings)
        >>> result.moved.shape, result.transform.displacement.shape
        ((16, 16, 16), (16, 16, 16, 3))
        >>> bool(np.abs(result.moved - fixed).mean() < 0.5 * np.abs(moving - fixed).mean())
        True
    """
    target = with_labels(as_volume(fixed, 'fixed'), fixed_labels)
    source = with_labels(as_volume(moving, 'moving'), moving_labels)
    if isinstance(model, str | os.PathLike):
        model = load_model(os.fspath(model))
    return register_volumes(
        target,
        source,
        settings,
        model=model,
        fixed_mask=read_mask(target, fixed_mask),
        moving_mask=read_mask(source, moving_mask),
        on_progress=on_progress,
    )
