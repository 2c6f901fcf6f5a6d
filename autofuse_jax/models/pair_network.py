"""What every AutoFuse-like network does around its branches: feed a pair through them and turn a velocity into maps."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.errors import Range
from autofuse_jax.fields import upsample_displacement
from autofuse_jax.models.class_probabilities import check_num_classes
from autofuse_jax.models.conv_blocks import Factor, downsample
from autofuse_jax.models.descent import descend
from autofuse_jax.models.field_outputs import (
    SIZE_MULTIPLE,
    check_pair,
    of_displacement,
    of_velocity,
    on_grid_of,
    widened,
)
from autofuse_jax.models.fusion_gate import FUSIONS
from autofuse_jax.models.options import check_network
from autofuse_jax.models.plane_branch import segment_planes
from autofuse_jax.models.refinement import FusionInputs, with_moved
from autofuse_jax.models.remat import check_remat
from autofuse_jax.outputs import RegistrationOutput

# What a single branch gives to the seven levels of fusion: from half resolution to a sixteenth and back.
Features = tuple[jax.Array, ...]
# What a single branch makes of an image: its features, and class probabilities or None.
Perception = tuple[Features, jax.Array | None]

OUTPUTS = ('velocity', 'displacement')
FEEDBACKS = ('softmax', 'argmax')
# The fusion branch works on the images' own grid.
SAME_GRID: Factor = (1, 1, 1)


def of_both(branch: Callable[[jax.Array], Any], fixed: jax.Array, moving: jax.Array) -> tuple[Any, Any]:
    """Run one branch, with one set of weights, on both images at once.

    Args:
        branch: (B, D, H, W, C) to arrays with the batch first, in any structure.
        fixed: (B, D, H, W, C).
        moving: (B, D, H, W, C).

    Returns:
        Outputs for the fixed and for the moving images.
    """
    # Interleaved along the batch, so that a pair stays on its device when the batch is sharded.
    images = jnp.stack([fixed, moving], axis=1).reshape(2 * fixed.shape[0], *fixed.shape[1:])
    outputs = branch(images)
    of_fixed, of_moving = (jax.tree.map(lambda volume, role=role: volume[role::2], outputs) for role in (0, 1))
    return of_fixed, of_moving


def in_compute_dtype(image: jax.Array, dtype: jnp.dtype | None) -> jax.Array:
    """Return an image in the type that a network computes in; None leaves it as it is."""
    return image if dtype is None else image.astype(dtype)


def perceive_with(
    single: Callable[[jax.Array], Perception], planes: Callable[[jax.Array], jax.Array] | None, images: jax.Array
) -> Perception:
    """Return what a network makes of images one by one.

    Args:
        single: Its single branch.
        planes: Its branch that segments plane by plane, see `plane_branch`; None: there is none.
        images: (B, D, H, W, 1).

    Returns:
        Features, and a segmentation, which is the mean of both branches', or None.
    """
    features, segmentation = single(images)
    if planes is None or segmentation is None:
        return features, segmentation
    return features, 0.5 * (segmentation + segment_planes(planes, images))


def exchanged(both: jax.Array) -> jax.Array:
    """Exchange the two images of each pair in a batch (2 B, ...) in which they lie side by side, see `of_both`."""
    return both.reshape(-1, 2, *both.shape[1:])[:, ::-1].reshape(both.shape)


def velocity_of(
    branch: Callable[..., tuple[jax.Array, jax.Array | None, dict[str, jax.Array]]], orders: Sequence[FusionInputs]
) -> tuple[jax.Array, jax.Array | None, dict[str, jax.Array]]:
    """Return what a fusion branch predicts for pairs.

    Args:
        branch: Maps inputs to mean, log-variance or None, and gate weights.
        orders: Its inputs, and those with the images exchanged where both orders count.

    Returns:
        Mean, log-variance and gate weights; of both orders the mean is `(v(fixed, moving) - v(moving, fixed)) / 2`,
        which has no variance of its own, and the weights are those of the first.
    """
    mean, log_variance, gate_weights = branch(*orders[0])
    if len(orders) == 1:
        return mean, log_variance, gate_weights
    exchanged_mean, _, _ = branch(*orders[1])
    return 0.5 * (mean - exchanged_mean), None, gate_weights


def moved_by(orders: Sequence[FusionInputs], velocity: jax.Array) -> list[FusionInputs]:
    """Return inputs with the moving image moved by a velocity; with the images exchanged, by its opposite."""
    return [with_moved(inputs, sign * velocity) for inputs, sign in zip(orders, (1, -1), strict=False)]


class PairNetwork(nn.Module):
    """A single branch applied to each image and a fusion branch for the pair; subclasses say which branches.

    With classes, the single branch segments both images and the segmentations are fed back into the fusion branch.
    `fusion` and `feed_segmentation` take away or weaken what joins the branches; with `large_kernel` False they give
    the rows of Table 7. That their widths are those of AutoFuse, and that feature fusion is a sum there, is inferred.

    Attributes:
        base_channels: Base width c of the single branch.
        num_classes: C, background included; 0 (default) is the unsupervised network.
        fusion: Way of the single branch's features into the fusion branch: 'gate' (default) weighs them, 'sum' adds
            them, 'concat' appends them, 'none' does not use them. Only 'gate' has gate weights.
        feed_segmentation: Whether the segmentations are an input of the fusion branch; default True.
        large_kernel: Whether gates have efficient large kernel blocks; default True.
        output: 'velocity' (default) predicts a stationary velocity field that is integrated; 'displacement' predicts a
            half-resolution displacement (AutoFuse-disp).
        segmentation_feedback: 'softmax' (default) feeds all C probabilities of each image, differentiable; 'argmax'
            feeds `argmax_k S_k / C` as one channel per image, without gradient, as the official code does.
        random_gate_bias: Whether gates start at random biases, see `FusionGate.random_bias`; default False.
        remat: Stages that are recomputed in the reverse pass to save memory, such as 'full_resolution,gates', see
            `check_remat`; default 'none'.
        compute_dtype: Type of activations, such as bfloat16; default None: that of the images. Fields, their
            log-variance and segmentations are float32 at least.

    Raises:
        UserError: An option is unknown or out of its range.
        ValueError: The images' sizes are not multiples of `multiple`.
    """

    base_channels: int = 16
    num_classes: int = 0
    fusion: str = 'gate'
    feed_segmentation: bool = True
    large_kernel: bool = True
    output: str = 'velocity'
    segmentation_feedback: str = 'softmax'
    random_gate_bias: bool = False
    remat: str = 'none'
    compute_dtype: jnp.dtype | None = None

    # Options that are no counts, for subclasses.
    RANGES: ClassVar[dict[str, Range]] = {}

    def __post_init__(self):
        domains = {'fusion': FUSIONS, 'output': OUTPUTS, 'segmentation_feedback': FEEDBACKS}
        check_network(self, num_classes=Range(least=0, whole=True), **domains, **self.RANGES)
        if self.num_classes:
            check_num_classes(self.num_classes)
        check_remat(self.remat)
        super().__post_init__()

    @property
    def pooling(self) -> tuple[int, ...]:
        """Voxels of the images that are averaged into one of the fusion branch; here their grids are the same."""
        return SAME_GRID

    @property
    def feature_pooling(self) -> tuple[int, ...]:
        """Voxels of the single branch's features that are averaged into one of the fusion branch; here as above."""
        return SAME_GRID

    @property
    def multiple(self) -> tuple[int, ...]:
        """What D, H and W of the images must be multiples of."""
        return tuple(SIZE_MULTIPLE * step for step in self.pooling)

    @property
    def noise_factor(self) -> tuple[int, ...]:
        """What the grid of the noise, which is that of the velocity, is coarser by than the images'."""
        return tuple(2 * step for step in self.pooling)

    @nn.nowrap
    def branches(self) -> tuple[nn.Module, nn.Module]:
        """Return the modules named 'single_branch' and 'fusion_branch'.

        The single branch maps (B, D, H, W, 1) to features and class probabilities or None; the fusion branch maps its
        input and the features of both images to mean, log-variance or None, and gate weights by name.
        """
        raise TypeError(f'{type(self).__name__} has no branches.')

    @nn.nowrap
    def refining_branch(self) -> nn.Module | None:
        """Return the module named 'refining_branch', of the kind of the fusion branch, see `refinement`; None: none."""
        return None

    @property
    def descent_steps(self) -> int:
        """How many times `descent_branch` corrects the velocity."""
        return 0

    @nn.nowrap
    def descent_branch(self) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
        """Return the module named 'descent_branch', which corrects the velocity, see `descent`; None: none."""
        return None

    @nn.nowrap
    def plane_branch(self) -> nn.Module | None:
        """Return the module named 'plane_branch', which segments plane by plane, see `plane_branch`; None: none."""
        return None

    @nn.compact
    def __call__(
        self, fixed: jax.Array, moving: jax.Array, noise: jax.Array | None = None, *, symmetric: bool = False
    ) -> RegistrationOutput:
        """Register pairs of images.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of `multiple`.
            moving: (B, D, H, W, 1), intensities in [0, 1].
            noise: (B, d, h, w, 3) standard normal, coarser by `noise_factor`; the velocity is then `mean +
                exp(log_variance / 2) * noise`, as in training. None (default) takes the mean, so that inference is
                deterministic.
            symmetric: Whether the velocity is `(v(fixed, moving) - v(moving, fixed)) / 2`, without a variance; the
                branches that see both images run twice, the single branch once. Only for `output` 'velocity'; default
                False.

        Returns:
            The named output.
        """
        check_pair(fixed, moving, self.multiple)
        (single, fusion), planes = self.branches(), self.plane_branch()
        narrow_fixed, narrow_moving = (in_compute_dtype(image, self.compute_dtype) for image in (fixed, moving))
        of_fixed, of_moving = of_both(lambda images: perceive_with(single, planes, images), narrow_fixed, narrow_moving)
        orders = [self.fusion_inputs(narrow_fixed, narrow_moving, of_fixed, of_moving)]
        if symmetric:
            orders.append(self.fusion_inputs(narrow_moving, narrow_fixed, of_moving, of_fixed))
        mean, log_variance, gate_weights = velocity_of(fusion, orders)
        refining = self.refining_branch()
        if refining is not None:
            correction, log_variance, _ = velocity_of(refining, moved_by(orders, mean))
            mean = mean + correction
        descent = self.descent_branch()
        if descent is not None:
            told = [self.descent_input(narrow_fixed, narrow_moving, of_fixed, of_moving)]
            if symmetric:
                told.append(self.descent_input(narrow_moving, narrow_fixed, of_moving, of_fixed))
            mean = descend(descent, told, mean, self.descent_steps)[-1]
        (_, fixed_segmentation), (_, moving_segmentation) = of_fixed, of_moving
        others = {
            'fixed_segmentation': fixed_segmentation,
            'moving_segmentation': moving_segmentation,
            'gate_weights': gate_weights,
        }
        if self.output == 'velocity':
            return of_velocity(mean, moving, log_variance, noise, **others)
        displacement = on_grid_of(moving, jax.vmap(upsample_displacement)(widened(mean)))
        return of_displacement(displacement, moving, velocity_mean=mean, **others)

    @nn.nowrap
    def descent_input(
        self, fixed: jax.Array, moving: jax.Array, of_fixed: Perception, of_moving: Perception
    ) -> jax.Array:
        """Return what the branch that descends is given: images and segmentations side by side, as fine as they are.

        Args:
            fixed: (B, D, H, W, 1).
            moving: (B, D, H, W, 1).
            of_fixed: As in `fusion_inputs`.
            of_moving: As in `fusion_inputs`.

        Returns:
            (B, D, H, W, 2 + 2 C), see `descent.evidence_of`.
        """
        segmentations = [one.astype(fixed.dtype) for _, one in (of_fixed, of_moving) if one is not None]
        return jnp.concatenate([fixed, moving, *segmentations], axis=-1)

    @nn.nowrap
    def fusion_inputs(
        self, fixed: jax.Array, moving: jax.Array, of_fixed: Perception, of_moving: Perception
    ) -> FusionInputs:
        """Return what the fusion branch is given.

        Args:
            fixed: (B, D, H, W, 1).
            moving: (B, D, H, W, 1).
            of_fixed: What the single branch makes of the fixed images: features, and a segmentation or None.
            of_moving: What it makes of the moving images.

        Returns:
            The images and, where they are fed back, their segmentations side by side, (B, d, h, w, I), and the features
            of the fixed and of the moving images, all on the fusion branch's grids.
        """
        (fixed_features, fixed_segmentation), (moving_features, moving_segmentation) = of_fixed, of_moving
        inputs = [fixed, moving]
        if self.feed_segmentation:
            segmentations = [one for one in (fixed_segmentation, moving_segmentation) if one is not None]
            inputs += [self._feedback(segmentation).astype(fixed.dtype) for segmentation in segmentations]
        if self.pooling != SAME_GRID:
            inputs = [downsample(volume, self.pooling) for volume in inputs]
        if self.feature_pooling != SAME_GRID:
            fixed_features, moving_features = (
                tuple(downsample(feature, self.feature_pooling) for feature in features)
                for features in (fixed_features, moving_features)
            )
        return jnp.concatenate(inputs, axis=-1), fixed_features, moving_features

    @nn.nowrap
    def _feedback(self, segmentation: jax.Array) -> jax.Array:
        if self.segmentation_feedback == 'softmax':
            return segmentation
        index = jnp.argmax(segmentation, axis=-1, keepdims=True)
        return index.astype(segmentation.dtype) / self.num_classes
