"""What a registration network returns: one structure with named fields."""

import flax.struct
import jax


@flax.struct.dataclass
class RegistrationOutput:
    """The result of one forward pass.

    Attributes:
        displacement: (B, D, H, W, 3), voxels of the fixed grid, pull direction.
        warped: (B, D, H, W, 1), the moving image sampled at x + u(x), zero outside.
        velocity_mean: (B, d, h, w, 3), mean velocity in voxels of its own grid; for a network that predicts a
            displacement at half resolution, that displacement; None for one that predicts it at full resolution.
        inverse_displacement: (B, D, H, W, 3), the inverse map on the moving grid: the negative velocity integrated, or
            predicted by a network that has two fields. None otherwise.
        log_variance: (B, d, h, w, 3), logarithm of the velocity's variance, or None.
        fixed_segmentation: (B, D, H, W, C), class probabilities of the fixed image, or None.
        moving_segmentation: (B, D, H, W, C), class probabilities of the moving image, or None.
        gate_weights: Weight w_fuse of each fusion gate by name ('gate_2' .. 'gate_8'), (B, d', h', w', C') in [0, 1].
    """

    displacement: jax.Array
    warped: jax.Array
    velocity_mean: jax.Array | None = None
    inverse_displacement: jax.Array | None = None
    log_variance: jax.Array | None = None
    fixed_segmentation: jax.Array | None = None
    moving_segmentation: jax.Array | None = None
    gate_weights: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
