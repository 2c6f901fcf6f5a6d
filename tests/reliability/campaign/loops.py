"""Long loops: images of many sizes registered in one process, whose memory is watched."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.reliability.campaign.outcomes import LOST, Trial, trial
from tests.reliability.campaign.processes import ask
from tests.reliability.campaign.stage import Stage

KIND = 'long loops'
# A new size is compiled, which takes a fifth of that on a free machine.
SECONDS_A_SIZE = 60.0
# How many memory maps Linux gives a process.
MOST_MAPS = Path('/proc/sys/vm/max_map_count')


def register_many_sizes(stage: Stage, sizes: int) -> tuple[list[Trial], dict[str, Any]]:
    """Register images of many sizes in one process.

    Args:
        stage: The stage.
        sizes: Number of sizes.

    Returns:
        One trial a size that was reached, and the maps and the memory after each.
    """
    trials: list[Trial] = []
    measured: list[dict[str, Any]] = []
    with trial(trials, KIND, f'{sizes} sizes') as one:
        try:
            measured = ask(long_loops, sizes, log=stage.log(), seconds=sizes * SECONDS_A_SIZE)
        except RuntimeError as error:
            one.expect(False, LOST, str(error))
    return trials, {'sizes': measured, 'most_maps': int(MOST_MAPS.read_text()) if MOST_MAPS.exists() else None}


def long_loops(sizes: int) -> list[dict[str, Any]]:
    """Register a pair of images of each of so many sizes; return shape, maps and memory in MiB after each."""
    from autofuse_jax import register_images

    measured = []
    for number in range(sizes):
        shape = (17 + 3 * number, 19 + 2 * (number % 5), 16 + number)
        fixed, moving = (_image(shape, shift) for shift in (0.0, 1.0))
        result = register_images(fixed, moving)
        if not np.isfinite(result.moved).all():
            raise FloatingPointError(f'the moved image of {shape} voxels is not finite')
        maps = len(Path('/proc/self/maps').read_text().splitlines())
        lines = Path('/proc/self/status').read_text().splitlines()
        memory = next(int(line.split()[1]) for line in lines if line.startswith('VmRSS'))
        measured.append({'shape': list(shape), 'maps': maps, 'memory_mib': memory / 1024})
    return measured


def _image(shape: tuple[int, ...], shift: float) -> np.ndarray:
    axes = list(np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in shape), indexing='ij'))
    axes[0] = axes[0] - 2 * shift / shape[0]
    distance = sum((axis / radius) ** 2 for axis, radius in zip(axes, (0.7, 0.6, 0.8), strict=True))
    return (100 / (1 + np.exp(8 * (distance - 1))) * (1 + 0.3 * np.sin(9 * axes[0]) * np.cos(7 * axes[1]))).astype('f4')
