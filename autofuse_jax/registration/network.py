"""The field of a trained network for two images of any grid."""

from typing import NamedTuple

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.registration.guide import ClassMap, Guide
from autofuse_jax.registration.spread import spread_mm
from autofuse_jax.registration.working_grid import on_grid, working_grid
from autofuse_jax.transforms.grids import ImageGrid, canonical_grid, grid_points, resize_grid, to_voxels, to_world
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform, Transform, sample_field
from autofuse_jax.weights.pretrained import RegistrationModel

# Power that probabilities of classes are raised to before they guide. As they are, what a network is unsure of at a
# boundary counts as blurred, which a vague deformation meets best; hard classes lose the fractions of voxels.
SHARPNESS = 3.0
# An alignment that moves nothing further than this, in voxels, leaves an image as it is.
SAME_VOXEL = 0.01


class NetworkField(NamedTuple):
    """What a network says of a pair.

    Attributes:
        transform: Its displacement, from the fixed world to that of the aligned moving image.
        velocity: float32 (d, h, w, 3), the velocity behind it, in voxels of its own grid.
        velocity_grid: Grid of the velocity.
        fixed_probabilities: float32 (D, H, W, C) on the transform's grid, of the classes of the fixed image, background
            first; None where it segments nothing.
        moving_probabilities: float32 (D, H, W, C), likewise of the aligned moving image.
    """

    transform: DenseTransform
    velocity: np.ndarray
    velocity_grid: ImageGrid
    fixed_probabilities: np.ndarray | None = None
    moving_probabilities: np.ndarray | None = None


def network_field(
    model: RegistrationModel | RuntimeModel, fixed: Volume, moving: Volume, alignment: Transform, *, seed: int = 0
) -> NetworkField:
    """Run a network on a pair, in the voxel size and axis order that it was trained with.

    Args:
        model: The network with its weights.
        fixed: The fixed image, any grid.
        moving: The moving image, any grid.
        alignment: Transform from the fixed to the moving world.
        seed: Seed of the draws of a network that samples.

    Returns:
        Displacement and velocity on the network's grid over the fixed field of view.

    Raises:
        UserError: The network predicts a displacement without a velocity.
    """
    grid = _grid_of(model, fixed)
    prediction = model.register(
        on_grid(fixed.image, fixed.affine, grid), on_grid(moving.image, moving.affine, grid, alignment), seed=seed
    )
    if prediction.velocity is None:
        raise UserError(
            f'the weights of {model.description.method} predict a displacement, which has no inverse by construction',
            expected='weights of a network that predicts a velocity',
            fix='use weights whose config has model.output = velocity',
        )
    # The network pads at the far ends; its velocity covers the padded grid.
    multiple = model.method.multiple
    padded = ImageGrid(tuple(size + -size % step for size, step in zip(grid.shape, multiple, strict=True)), grid.affine)
    velocity_grid = resize_grid(padded, prediction.velocity.shape[:3])
    return NetworkField(
        DenseTransform(prediction.displacement, grid.affine),
        prediction.velocity,
        velocity_grid,
        prediction.fixed_probabilities,
        prediction.moving_probabilities,
    )


def network_spread(
    model: RegistrationModel | RuntimeModel, fixed: Volume, moving: Volume, alignment: Transform, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the variance of a network's velocity, and measure how far that moves its deformation.

    Args:
        model: The network with its weights.
        fixed: The fixed image, any grid.
        moving: The moving image, any grid.
        alignment: Transform from the fixed to the moving world.
        samples: Number of draws.

    Returns:
        float32 (D, H, W) in millimetres on the network's grid, see `spread_mm`, and the affine of that grid.

    Raises:
        UserError: The network predicts no variance.
    """
    sampling = model.sampling()
    if sampling is None:
        raise UserError(
            f'--samples with a network alone, and {model.description.method} predicts no variance to draw from',
            expected='instance optimisation, which is restarted, or weights of a network with a variance',
            fix='leave out --no-deform or --samples',
        )
    mean = network_field(model, fixed, moving, alignment).transform
    draws = (
        network_field(sampling, fixed, moving, alignment, seed=seed).transform.displacement
        for seed in range(1, samples + 1)
    )
    return spread_mm(mean.displacement, draws, mean.affine), mean.affine


def network_guide(
    model: RegistrationModel | RuntimeModel, field: NetworkField, moving: Volume, alignment: Transform
) -> Guide | None:
    """Return what a network segments as a guide.

    The moving image is segmented on its own grid, at the price of one more pass through the network, unless the
    alignment leaves it there: turned, stretched and interpolated it is segmented less well.

    Args:
        model: The network.
        field: Result of `network_field` for the pair.
        moving: The moving image.
        alignment: Transform from the fixed to the moving world.

    Returns:
        Its classes on both images; None where it segments nothing.
    """
    if field.fixed_probabilities is None or field.moving_probabilities is None:
        return None
    probabilities, affine = field.moving_probabilities, field.transform.affine
    aligned = _stays(alignment, _grid_of(model, moving), affine, probabilities.shape[:3])
    if not aligned:
        alone = network_field(model, moving, moving, AffineTransform(np.eye(4)))
        probabilities, affine = alone.fixed_probabilities, alone.transform.affine
    method = model.description.method
    fixed, other = (
        _classes(maps, where, f'the {role} segmentation of {method}')
        for role, maps, where in (
            ('fixed', field.fixed_probabilities, field.transform.affine),
            ('moving', probabilities, affine),
        )
    )
    return Guide(fixed, other, source=f'segmentation by {method}', aligned=aligned)


def _classes(probabilities: np.ndarray, affine: np.ndarray, name: str) -> ClassMap:
    """Probabilities, sharper, without the background's."""
    powers = probabilities**SHARPNESS
    sharper = powers / np.sum(powers, axis=-1, keepdims=True)
    return ClassMap(sharper[..., 1:], affine, tuple(range(1, probabilities.shape[-1])), name)


def _grid_of(model: RegistrationModel | RuntimeModel, image: Volume) -> ImageGrid:
    """Grid on which a network sees an image."""
    return working_grid(canonical_grid(image.grid), spacing=model.description.spacing_mm)


def _stays(alignment: Transform, grid: ImageGrid, affine: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Tell whether a grid is that of an affine and a shape, and an alignment leaves its corners where they are."""
    if grid.shape != shape or not np.allclose(grid.affine, affine):
        return False
    corners = to_world(affine, np.indices((2, 2, 2)).reshape(3, -1).T * (np.asarray(shape) - 1))
    moved = to_voxels(affine, alignment.map_points(corners)) - to_voxels(affine, corners)
    return bool(np.abs(moved).max() < SAME_VOXEL)


def velocity_on(grid: ImageGrid, field: NetworkField) -> np.ndarray:
    """Bring a network's velocity to another grid and its voxels.

    Args:
        grid: The wanted grid.
        field: Field of `network_field`.

    Returns:
        float32 (d, h, w, 3), in voxels of `grid`.
    """
    velocity = sample_field(field.velocity, to_voxels(field.velocity_grid.affine, grid_points(grid)))
    change = np.linalg.inv(grid.affine[:3, :3]) @ field.velocity_grid.affine[:3, :3]
    return (velocity @ change.T).astype(np.float32)
