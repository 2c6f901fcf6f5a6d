"""One pair that any registration method can learn: two spheres of different radius around the same centre."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autofuse_jax.metrics.overlap import dice_per_label, mean_dice
from autofuse_jax.metrics.warping import warp_labels
from autofuse_jax.train_state import create_train_state
from autofuse_jax.train_step import make_train_step

SIZE = 32
FIXED_RADIUS, MOVING_RADIUS = 10.0, 7.0
# Voxels over which the spheres' edges fade: a similarity of sharp edges has no slope to follow.
EDGE = 1.5
PHASES = ('phase_1', 'phase_2')


def sphere(radius: float, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Return image and label map of a sphere in the middle of a cube with a faint texture, which tells where it is."""
    positions = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing='ij'), -1) - (size - 1) / 2
    distance = np.linalg.norm(positions, axis=-1)
    # The texture moves with the sphere, so that what is inside can be matched too.
    texture = 0.1 * np.cos(2.0 * np.pi * positions / radius).sum(axis=-1) / 3
    image = (0.8 + texture) / (1.0 + np.exp((distance - radius) / (EDGE / 2)))
    return image.astype(np.float32), (distance < radius).astype(np.int32)


def sphere_batch(size: int = SIZE) -> dict[str, jax.Array]:
    """Return the pair as a batch of one, both images labelled."""
    scale = size / SIZE
    (fixed, fixed_labels), (moving, moving_labels) = (sphere(r * scale, size) for r in (FIXED_RADIUS, MOVING_RADIUS))
    flag = jnp.ones(1, jnp.float32)
    return {
        'fixed': jnp.asarray(fixed)[None, ..., None],
        'moving': jnp.asarray(moving)[None, ..., None],
        'fixed_labels': jnp.asarray(fixed_labels)[None],
        'moving_labels': jnp.asarray(moving_labels)[None],
        'fixed_has_labels': flag,
        'moving_has_labels': flag,
    }


def overfit(method, steps_of_phases: dict[str, int], *, learning_rate: float, jit, size: int = SIZE):
    """Train a method on the pair; yields (phase, DSC after it, loss before, loss after)."""
    batch, optimizer = sphere_batch(size), optax.adam(learning_rate)
    phases = tuple(steps_of_phases)
    state = jit(lambda key: create_train_state(method, optimizer, phases, (size,) * 3, key))(jax.random.key(0))
    predict = jit(lambda params: method.predict(params, batch['fixed'], batch['moving'], jax.random.key(1)).displacement)
    for phase, steps in steps_of_phases.items():
        step = jit(make_train_step(method.objectives(phase), optimizer))
        losses = []
        for _ in range(steps):
            state, metrics = step(state, batch)
            losses.append(sum(float(value) for name, value in metrics.items() if name.endswith('loss')))
        yield phase, overlap(batch, np.asarray(predict(state.params))[0]), losses[0], losses[-1]


def overlap(batch: dict[str, jax.Array], displacement: np.ndarray) -> float:
    """Return the DSC of warped moving and fixed labels."""
    warped = warp_labels(np.asarray(batch['moving_labels'][0]), displacement)
    return mean_dice(dice_per_label(np.asarray(batch['fixed_labels'][0]), warped, [1]))
