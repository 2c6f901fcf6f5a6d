"""Time the registration of several pairs one after the other and together, on the device that is at hand.

    python -m experiments.speed.pairs_together --out=runs/pairs_together.json
    python -m experiments.speed.pairs_together --shape 48 48 16 --pairs=4 --together 1 4 --out=runs/pairs_together.json

Synthetic hearts, end-diastole to end-systole, each another one, by `register_volumes` with its defaults. All pairs are
registered twice; the second time nothing has to be compiled. What `register --pairs --together=N` does besides, reading
and writing, is left out.
"""

import functools
import sys
import time
from typing import Any

import numpy as np

from autofuse_jax.data.phantom import random_phantom, render_frame
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import COUNT, check_numbers, check_option, run_command
from autofuse_jax.files import write_json
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.provenance import provenance
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.turns import do_in_turns
from autofuse_jax.runtime import enable_compilation_cache
from experiments.record_parser import record_parser

SHAPE = (128, 128, 32)
# Field of view of the phantom, millimetres.
EXTENT_MM = (144.0, 144.0, 96.0)
STRUCTURES = (1, 2, 3)
# Number of the end-diastolic frame of a phantom.
DIASTOLE = 1
Pair = tuple[Volume, Volume]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--shape', type=int, nargs=3, default=SHAPE, help='voxels of an image; default 128 128 32')
    parser.add_argument('--pairs', type=int, default=8, help='number of pairs; default 8')
    parser.add_argument('--together', type=int, nargs='+', default=[1, 2, 4, 8], help='numbers of pairs at a time')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: Any) -> int:
    check_option('--pairs', options.pairs, COUNT)
    for name in ('shape', 'together'):
        check_numbers(f'--{name}', getattr(options, name), COUNT)
    enable_compilation_cache()
    pairs = [heart_pair(number, tuple(options.shape)) for number in range(options.pairs)]
    rows = [measure(pairs, together) for together in options.together]
    content = {'shape': list(options.shape), 'pairs': len(pairs), 'rows': rows}
    write_json(options.out, provenance() | content)
    return 0


def heart_pair(seed: int, shape: tuple[int, int, int]) -> Pair:
    """Return the end-systolic (fixed) and the end-diastolic (moving) image of a synthetic heart, with labels.

    Args:
        seed: Seed of the heart.
        shape: Voxels.
    """
    spacing = tuple(extent / size for extent, size in zip(EXTENT_MM, shape, strict=True))
    phantom = random_phantom(np.random.default_rng(seed), frames=2, shape=shape, spacing=spacing)
    affine = np.diag([*spacing, 1.0])
    fixed, moving = (
        Volume(image.astype(np.float32), labels, affine, f'heart {seed}, frame {frame}')
        for frame in (phantom.systole, DIASTOLE)
        for image, labels in [render_frame(phantom, frame)]
    )
    return fixed, moving


def measure(pairs: list[Pair], together: int) -> dict[str, Any]:
    """Register all pairs, so many at a time, twice, and return seconds a pair of both times and the mean DSC.

    Args:
        pairs: Fixed and moving volumes.
        together: Number of pairs at a time.
    """
    work = [functools.partial(register_volumes, *pair) for pair in pairs]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        results = do_in_turns(work, together)
        seconds.append(round((time.perf_counter() - started) / len(pairs), 3))
    overlaps = [
        mean_over_structures(dice_per_label(fixed.labels, result.moved_labels, STRUCTURES))
        for (fixed, _), result in zip(pairs, results, strict=True)
    ]
    return {
        'together': together,
        'first_seconds_a_pair': seconds[0],
        'seconds_a_pair': seconds[1],
        'dsc': float(np.mean(overlaps)),
    }


if __name__ == '__main__':
    sys.exit(main())
