"""Registering two images from Python: files, arrays or volumes in, a result out."""

import os
from pathlib import Path

from autofuse_jax.choices import AUTO, NETWORK
from autofuse_jax.data.inputs import ImageLike, LabelsLike, open_volume
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.guide import Guide
from autofuse_jax.registration.guide_files import GuideFiles, read_guide
from autofuse_jax.registration.guide_overlap import check_not_scored
from autofuse_jax.registration.initial import InitialLike, open_initial
from autofuse_jax.registration.pair_checks import check_pair
from autofuse_jax.registration.pipeline import RegistrationResult, register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.symmetric import register_symmetrically
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.weights.pretrained import RegistrationModel, load_model


def register_images(
    fixed: ImageLike,
    moving: ImageLike,
    settings: PipelineSettings | None = None,
    *,
    fixed_labels: LabelsLike | None = None,
    moving_labels: LabelsLike | None = None,
    fixed_mask: LabelsLike | None = None,
    moving_mask: LabelsLike | None = None,
    model: RegistrationModel | RuntimeModel | str | os.PathLike | None = None,
    guide: Guide | GuideFiles | str | None = AUTO,
    initial: InitialLike | None = None,
    initial_convention: str | None = None,
    symmetric: bool = False,
    on_progress: OnProgress | None = None,
) -> RegistrationResult:
    """Register two images from Python.

    Compiled programs are kept in `runtime.COMPILATION_CACHE` unless jax has been given another place, and those of
    earlier sizes are dropped before they fill the process, see `runtime.drop_programs_if_many`.

    Args:
        fixed: A file, an array (D, H, W) of 1 mm voxels, or a `Volume`.
        moving: Likewise; the two may differ in size, spacing and orientation.
        settings: Steps of the registration; default affine alignment and instance optimisation.
        fixed_labels: File or integer array on the grid of the fixed image, or None.
        moving_labels: Likewise of the moving image; they are moved too.
        fixed_mask: File or array, not zero where the fixed image counts, or None.
        moving_mask: Likewise of the moving image.
        model: A network with weights, or the npz of one; None: no network.
        guide: Guide of the deformation besides the images: `GuideFiles` with label maps or points of both images, a
            `Guide`, 'auto' (the network's segmentation where it has one), 'network' (that or an error) or None. What
            guides must not be what is scored.
        initial: Transforms of any program to start from, files in the order in which an image passes through them, see
            `open_initial`; None: none.
        initial_convention: Convention of those files where they do not show it.
        symmetric: Whether an exchange of the images must turn the result round and change nothing else, see
            `register_symmetrically`; default False. Neither a network nor initial transforms go with it.
        on_progress: Callback (name of the step, steps done, steps at most, loss).

    Returns:
        The result: `moved`, `transform`, `inverse` and more, as NumPy arrays.

    Raises:
        UserError: Something is wrong with the images, labels, masks, weights, the guide or the initial transforms, the
            guide is one of the label maps that are scored, or options do not fit together.

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
    if symmetric and (model is not None or initial is not None or guide == NETWORK):
        raise UserError(
            'a symmetric registration together with a network or initial transforms',
            expected='images alone, or with a guide: networks and transforms have a direction',
            fix='leave out one of the two',
        )
    enable_compilation_cache()
    volumes = (
        open_volume(fixed, 'fixed', labels=fixed_labels, mask=fixed_mask, allow_series=True),
        open_volume(moving, 'moving', labels=moving_labels, mask=moving_mask, allow_series=True),
    )
    # A series is read, so that it is told what to do with one.
    check_pair(*volumes)
    if isinstance(model, str | os.PathLike):
        model = load_model(Path(model))
    if isinstance(guide, GuideFiles):
        guide = read_guide(guide, *volumes)
    if isinstance(guide, Guide):
        check_not_scored(guide, *volumes)
    if symmetric:
        given = guide if isinstance(guide, Guide) else None
        return register_symmetrically(*volumes, settings, guide=given, on_progress=on_progress)
    start = open_initial(initial, *volumes, initial_convention)
    return register_volumes(*volumes, settings, model=model, guide=guide, initial=start, on_progress=on_progress)
