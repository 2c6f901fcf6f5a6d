"""Every trainable method learns one pair: two spheres of different radius.

    python -m experiments.comparison.overfit --out=experiments/results/overfit.json

Small versions of the methods (experiments/tiny_methods.py) are trained by Adam on that pair until the overlap exceeds
0.95, at most 500 steps: a method that cannot do that is wrong somewhere. What is done is kept in --out: the same
command goes on where it was interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autofuse_jax.errors import run_command
from autofuse_jax.files import json_types, write_json
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.registry import METHODS, make_method
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.metrics.warping import warp_labels
from autofuse_jax.provenance import provenance
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.state import create_train_state
from autofuse_jax.training.step import make_train_step
from experiments.comparison.tiny_methods import tiny_options
from experiments.record_parser import record_parser

SIZE = 32
# In a cube of 32 voxels; other cubes have them in proportion.
FIXED_RADIUS, MOVING_RADIUS = 10.0, 7.0
# Voxels over which the spheres' edges fade: a similarity of sharp edges has no slope to follow.
EDGE = 1.5
CONTRAST, TEXTURE = 0.8, 0.1
GOAL = 0.95
LARGEST_STEPS = 500
STEPS_PER_LOOK = 20
LEARNING_RATE = 3e-3
# Share of the steps of the first phase, in which some methods train a part of their networks.
FIRST_PHASE = 0.2
FIRST, SECOND = 'phase_1', 'phase_2'


class Look(NamedTuple):
    """The state of a training at one moment: steps done, overlap of the labels, sum of the losses of the last step."""

    steps: int
    dsc: float
    loss: float


def sphere(radius: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return image and label map of a sphere in the middle of a cube, with a faint texture inside.

    Args:
        radius: In voxels.
        size: Of the cube, voxels.

    Returns:
        float32 in [0, 1] and int32, (size, size, size).
    """
    positions = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing='ij'), -1) - (size - 1) / 2
    distance = np.linalg.norm(positions, axis=-1)
    # The texture grows with the sphere, so that what is inside can be matched too.
    texture = TEXTURE * np.cos(2.0 * np.pi * positions / radius).mean(axis=-1)
    image = (CONTRAST + texture) / (1.0 + np.exp((distance - radius) / (EDGE / 2)))
    return image.astype(np.float32), (distance < radius).astype(np.int32)


def sphere_batch(size: int = SIZE) -> dict[str, jax.Array]:
    """Return the pair as a batch of one, both images labelled."""
    radii = (radius * size / SIZE for radius in (FIXED_RADIUS, MOVING_RADIUS))
    batch = {}
    for role, radius in zip(('fixed', 'moving'), radii, strict=True):
        image, labels = sphere(radius, size)
        batch[role] = jnp.asarray(image)[None, ..., None]
        batch[f'{role}_labels'] = jnp.asarray(labels)[None]
        batch[f'{role}_has_labels'] = jnp.ones(1, jnp.float32)
    return batch


def overfit(
    method: Method,
    steps: int,
    key: jax.Array,
    *,
    size: int = SIZE,
    learning_rate: float = LEARNING_RATE,
    look_every: int = STEPS_PER_LOOK,
    jit: Callable[[Callable], Callable] = jax.jit,
) -> Iterator[Look]:
    """Train a method on the pair and look at it from time to time.

    Args:
        method: The method.
        steps: At most so many; the first fifth of them in the first phase.
        key: Random key of parameters and draws.
        size: Of the cube, voxels.
        learning_rate: Of Adam.
        look_every: Steps between two looks.
        jit: Compiles a function.

    Yields:
        A look before the first step, which has no loss, after every `look_every` steps and at the end of each phase.
    """
    batch, optimizer = sphere_batch(size), optax.adam(learning_rate)
    state = jit(lambda key: create_train_state(method, optimizer, (FIRST, SECOND), (size,) * 3, key))(key)
    predict = jit(lambda params: method.predict(params, batch['fixed'], batch['moving'], key).displacement)

    def dsc() -> float:
        warped = warp_labels(np.asarray(batch['moving_labels'][0]), np.asarray(predict(state.params)[0]))
        return mean_over_structures(dice_per_label(np.asarray(batch['fixed_labels'][0]), warped, [1]))

    done, compiled = 0, {}
    yield Look(0, dsc(), float('nan'))
    for phase, end in ((FIRST, round(FIRST_PHASE * steps)), (SECOND, steps)):
        objectives = method.objectives(phase)
        if objectives not in compiled:
            compiled[objectives] = jit(make_train_step(objectives, optimizer))
        while done < end:
            state, metrics = compiled[objectives](state, batch)
            done += 1
            if done % look_every == 0 or done == end:
                loss = sum(float(v) for name, v in metrics.items() if name == 'loss' or name.endswith('/loss'))
                yield Look(done, dsc(), loss)


def run(name: str, steps: int = LARGEST_STEPS) -> dict[str, Any]:
    """Train the small version of a method until the goal and return what is recorded of it.

    Args:
        name: A key of `METHODS`.
        steps: At most so many.
    """
    started = time.perf_counter()
    method = make_method(name, *tiny_options(name, SIZE))
    # A first stage may train what does not register; most methods have no stages.
    staged = method.objectives(FIRST) != method.objectives(SECOND)
    least = FIRST_PHASE * steps if staged else 0
    looks = []
    for look in overfit(method, steps, jax.random.key(0)):
        looks.append(look)
        if look.dsc > GOAL and look.steps > least:
            break
    return {
        'dsc_before': looks[0].dsc,
        'dsc': looks[-1].dsc,
        'steps': looks[-1].steps,
        'reached': looks[-1].dsc > GOAL,
        'seconds': time.perf_counter() - started,
        'looks': [look._asdict() for look in looks],
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 where a method does not reach the goal."""
    parser = record_parser(__doc__)
    parser.add_argument('--methods', nargs='+', choices=tuple(METHODS), default=list(METHODS))
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    enable_compilation_cache()
    done = json.loads(options.out.read_text(encoding='utf-8'))['methods'] if options.out.is_file() else {}
    for name in options.methods:
        if name not in done:
            done[name] = run(name)
            about = {'goal': GOAL, 'size': SIZE, 'learning_rate': LEARNING_RATE}
            write_json(options.out, json_types(provenance() | about | {'methods': done}))
            jax.clear_caches()
        print(f'{name}: DSC {done[name]["dsc_before"]:.3f} -> {done[name]["dsc"]:.3f}, {done[name]["steps"]} steps')
    return 0 if all(done[name]['reached'] for name in options.methods) else 1


if __name__ == '__main__':
    sys.exit(main())
