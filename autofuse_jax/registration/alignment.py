"""Linear alignment of two images in world space: centres of mass, then rigid, then affine, from coarse to fine."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.choices import (
    AFFINE,
    CORRELATION,
    LINEAR_MAPS,
    MUTUAL_INFORMATION,
    NONE,
    RIGID,
    SIMILARITIES,
    STARTS,
    TRANSLATION,
)
from autofuse_jax.data.intensity import window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import COUNT, POSITIVE, SHARE, UserError, check_numbers, check_option
from autofuse_jax.fields import voxel_grid, warp_linear
from autofuse_jax.losses.mutual_information import mutual_information
from autofuse_jax.losses.similarity import LocalMoments, local_moments, local_ncc
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.linear_maps import free_parameters, linear_map, world_matrix
from autofuse_jax.registration.minimise import Schedule, minimise, say_step
from autofuse_jax.registration.pyramid import Level, make_level

# A start must beat the one by the headers by this share of its similarity, because scanners usually know best.
START_MARGIN = 0.02


@dataclasses.dataclass(frozen=True)
class AlignmentSettings:
    """How to align.

    Attributes:
        kind: 'none', 'translation', 'rigid' or 'affine' (default).
        similarity: 'ncc', local correlation in a window of 9 voxels (default), or 'mi', mutual information, for images
            of different modalities.
        start: 'header' (world positions as the files say), 'centres' (of the grids), 'masses' (centres of the
            intensities), or 'auto' (default): the most similar of the three.
        spacings: Voxel sizes of the levels from coarse to fine, millimetres; default 8, 4 and 2.
        steps: Largest number of steps of each level, 1 or more; default 120, 80 and 40.
        learning_rate: Millimetres a step at the first step of a level, as a share of its voxel size.
        tolerance: Tolerance of `Schedule`.

    Raises:
        UserError: An option is unknown or out of its range, or spacings and steps differ in length.
    """

    kind: str = AFFINE
    similarity: str = 'ncc'
    start: str = 'auto'
    spacings: tuple[float, ...] = (8.0, 4.0, 2.0)
    steps: tuple[int, ...] = (120, 80, 40)
    learning_rate: float = 0.15
    tolerance: float = 0.002

    def __post_init__(self):
        check_option('the kind of the alignment', self.kind, LINEAR_MAPS)
        check_option('the similarity of the alignment', self.similarity, SIMILARITIES)
        check_option('the start of the alignment', self.start, STARTS)
        check_numbers('the spacings of the alignment', self.spacings, POSITIVE)
        check_numbers('the steps of the alignment', self.steps, COUNT)
        if len(self.spacings) != len(self.steps):
            raise UserError(
                f'the alignment has {len(self.spacings)} spacings and {len(self.steps)} numbers of steps',
                expected='one number of steps for each spacing',
                fix='add or remove steps',
            )
        check_option('the learning rate of the alignment', self.learning_rate, POSITIVE)
        check_option('the tolerance of the alignment', self.tolerance, SHARE)


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """A linear map between two images.

    Attributes:
        matrix: float64 (4, 4), from the fixed to the moving world, RAS millimetres (pull).
        start: Start that was taken.
        stages: Records of the stages: name, seconds, steps, loss_first, loss_last, stopped.
    """

    matrix: np.ndarray
    start: str
    stages: tuple[dict[str, Any], ...]


class _Data(NamedTuple):
    """What the loss of a level needs; all arrays, so that levels of equal shape share what is compiled."""

    fixed: jax.Array  # (D, H, W)
    weights: jax.Array  # (D, H, W)
    moving: jax.Array  # (D', H', W', 2): image and inside
    to_world: jax.Array  # (3, 4): fixed voxels to millimetres from the centre
    to_moving: jax.Array  # (3, 4): millimetres from the centre, refined, to voxels of the moving level
    free: jax.Array  # (12,)
    radius: jax.Array
    fixed_moments: LocalMoments | None  # for correlation: the same in every step


def align(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> Alignment:
    """Find the linear map that makes a moving image most similar to a fixed one.

    Each level minimises the negative similarity over the parameters of `linear_map` by Adam, a translation first at the
    coarsest level, then rigid, then what was asked for. The moving image counts as 0 outside its grid for correlation;
    mutual information leaves such voxels out.

    Args:
        fixed: The fixed image, any grid, with a mask or without.
        moving: The moving image, likewise.
        settings: Settings; default `AlignmentSettings()`.
        on_progress: Callback (stage, steps done, steps at most, loss).

    Returns:
        The alignment; the identity in world space for kind 'none' with start 'header'.

    Raises:
        UserError: An image has no contrast, or the loss became infinite.

    Reference:
        Jenkinson and Smith, A global optimisation method for robust affine registration of brain images, Medical Image
        Analysis 5(2), 2001, for the order of coarse to fine and few to many parameters.
    """
    settings = settings or AlignmentSettings()
    say = on_progress or (lambda *_: None)
    volumes = [window_normalise(volume) for volume in (fixed, moving)]
    levels = [[make_level(volume, spacing) for volume in volumes] for spacing in settings.spacings]
    radius = float(np.linalg.norm(np.asarray(fixed.grid.shape) * fixed.spacing) / 4)
    centre = levels[0][0].centre_of_mass_mm()
    start, matrix = _choose_start(settings, levels[0], centre, radius)
    stages = []
    if settings.kind != NONE:
        for number, (level, steps, spacing) in enumerate(zip(levels, settings.steps, settings.spacings, strict=True)):
            for kind in _kinds_of_level(settings.kind, first=number == 0):
                name = f'{kind} at {spacing:g} mm'
                data = _data(level, matrix, centre, radius, kind, settings.similarity)
                size = max(min(level[0].grid.spacing), spacing / 2)
                minimum = minimise(
                    _loss,
                    jnp.zeros(12, jnp.float32),
                    data,
                    settings.similarity,
                    Schedule(steps, settings.learning_rate * size, settings.tolerance),
                    functools.partial(say_step, say, name, steps),
                )
                matrix = world_matrix(np.asarray(minimum.params), radius, centre, matrix)
                stages.append(minimum.stage(name))
    return Alignment(matrix, start, tuple(stages))


def _kinds_of_level(kind: str, *, first: bool) -> Sequence[str]:
    """Few parameters first, where the images may still be far apart."""
    if not first:
        return (kind,)
    order = (TRANSLATION, RIGID, AFFINE)
    return order[: order.index(kind) + 1]


def _loss(params: jax.Array, data: _Data, similarity: str) -> jax.Array:
    matrix, shift = linear_map(params * data.free, data.radius)
    # One affine map from fixed to moving voxels; the sum of positions is what is differentiated.
    with jax.default_matmul_precision('float32'):
        linear = data.to_moving[:, :3] @ matrix
        combined = linear @ data.to_world[:, :3]
        offset = linear @ data.to_world[:, 3] + data.to_moving[:, :3] @ shift + data.to_moving[:, 3]
        displacement = voxel_grid(data.fixed.shape) @ (combined.T - jnp.eye(3)) + offset
    samples = warp_linear(data.moving, displacement)
    warped, inside = samples[..., 0], samples[..., 1]
    if similarity == MUTUAL_INFORMATION:
        weights = (data.weights * inside).reshape(-1)
        return -mutual_information(data.fixed.reshape(-1), warped.reshape(-1), weights)
    return -local_ncc(data.fixed[..., None], warped[..., None], weights=data.weights, fixed_moments=data.fixed_moments)


_evaluate = jax.jit(_loss, static_argnames='similarity')
_moments = jax.jit(local_moments)


def _data(
    level: Sequence[Level], matrix: np.ndarray, centre: np.ndarray, radius: float, kind: str, similarity: str
) -> _Data:
    fixed, moving = level
    from_centre = np.eye(4)
    from_centre[:3, 3] = centre
    world = np.linalg.inv(from_centre) @ fixed.grid.affine
    target = np.linalg.inv(moving.grid.affine) @ matrix @ from_centre
    fixed_image = jnp.asarray(fixed.image)
    return _Data(
        fixed=fixed_image,
        weights=jnp.asarray(fixed.inside),
        moving=jnp.stack([jnp.asarray(moving.image), jnp.asarray(moving.inside)], axis=-1),
        to_world=jnp.asarray(world[:3], jnp.float32),
        to_moving=jnp.asarray(target[:3], jnp.float32),
        free=jnp.asarray(free_parameters(kind)),
        radius=jnp.asarray(radius, jnp.float32),
        fixed_moments=_moments(fixed_image[..., None]) if similarity == CORRELATION else None,
    )


def _choose_start(
    settings: AlignmentSettings, level: Sequence[Level], centre: np.ndarray, radius: float
) -> tuple[str, np.ndarray]:
    """Return the name and the matrix of the start."""
    fixed, moving = level
    candidates = {
        'header': np.zeros(3),
        'centres': moving.grid.centre_mm - fixed.grid.centre_mm,
        'masses': moving.centre_of_mass_mm() - centre,
    }
    matrices = {name: _translation(shift) for name, shift in candidates.items()}
    if settings.start != 'auto':
        return settings.start, matrices[settings.start]
    similarity = {
        name: -float(
            _evaluate(
                jnp.zeros(12),
                _data(level, matrix, centre, radius, TRANSLATION, settings.similarity),
                similarity=settings.similarity,
            )
        )
        for name, matrix in matrices.items()
    }
    best = max(similarity, key=similarity.get)
    if similarity[best] <= similarity['header'] * (1 + START_MARGIN):
        best = 'header'
    return best, matrices[best]


def _translation(shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix
