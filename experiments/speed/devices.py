"""Whether loss and gradients depend on the number of devices, and how the memory of each falls with it.

    python -m experiments.speed.devices --out=experiments/results/devices_cpu.json

The devices are simulated on CPU. Loss and gradients are those of a small AutoFuse on meshes of 1, 2, 4 and 8 devices:
batch shared (axis `data`), volumes shared (axis `depth`) and both. Memory is what the compiled training step of the
full AutoFuse asks for on each device at --memory-size, whose volumes 1, 2 and 4 devices share; nothing is run there.
What is done is kept in --out: the same command goes on where it was interrupted.
"""

import argparse
import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.errors import run_command
from autofuse_jax.files import write_json
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.sharding import make_mesh, put_batch, replicated, volumes_sharded
from autofuse_jax.training.optimizers import make_optimizer
from autofuse_jax.training.state import create_train_state
from autofuse_jax.training.step import compile_train_step
from experiments.record_parser import record_parser
from experiments.speed.complexity import parse_sizes, text_of
from experiments.speed.memory_and_time import GIB

DEVICES = 8
# (devices, of which share a volume)
MESHES = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 4), (4, 2), (8, 1), (8, 8), (8, 4))
SHARES = (1, 2, 4)
SMALL = (32, 32, 32)
BATCH = 8
SMALL_CHANNELS = 2
PHASE = 'phase_1'
Size = tuple[int, int, int]


def small_batch(size: Size, pairs: int) -> dict[str, np.ndarray]:
    """Return smooth random images, so that correlations are far from rounding."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(0, 2 * np.pi, length) for length in size], indexing='ij')

    def image() -> np.ndarray:
        waves = sum(rng.normal() * np.sin(rng.integers(1, 4) * axis + rng.normal()) for axis in axes for _ in range(3))
        return ((waves - waves.min()) / np.ptp(waves)).astype(np.float32)[..., None]

    return {role: np.stack([image() for _ in range(pairs)]) for role in ('fixed', 'moving')}


def loss_and_gradients(method: Method, params: Any, batch: dict[str, np.ndarray], mesh: Any) -> tuple[float, Any]:
    """Return loss and gradients of an unsupervised method on a mesh."""
    (objective,) = method.objectives(PHASE)
    key = jax.random.key(1)
    function = jax.jit(
        jax.value_and_grad(lambda params, batch: objective.loss(params, batch, key)[0]), out_shardings=replicated(mesh)
    )
    with jax.set_mesh(mesh):
        value, gradient = function(jax.device_put(params, replicated(mesh)), put_batch(batch, mesh))
    return float(value), jax.device_get(gradient)


def equality(keep: Any) -> None:
    """Compare loss and gradients on all meshes with those on one device."""
    method = make_method('autofuse', {'base_channels': SMALL_CHANNELS}, {})
    params = jax.jit(lambda key: method.init(key, SMALL))(jax.random.key(0))
    batch = small_batch(SMALL, BATCH)
    reference = None
    for devices, depth in MESHES:
        value, gradient = loss_and_gradients(method, params, batch, make_mesh(devices, depth))
        if reference is None:
            reference = value, gradient
        keep(
            {
                'devices': devices,
                'depth': depth,
                'loss': value,
                'loss_relative': abs(value - reference[0]) / abs(reference[0]),
                'gradient_relative': _distance(gradient, reference[1]),
            }
        )
        jax.clear_caches()


def _distance(one: Any, other: Any) -> float:
    """Return the distance of two trees over the length of the second."""
    squares = [
        (float(np.sum((a - b) ** 2, dtype=np.float64)), float(np.sum(b**2, dtype=np.float64)))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    ]
    return float(np.sqrt(sum(a for a, _ in squares) / sum(b for _, b in squares)))


def memory(size: Size, depth: int) -> dict[str, Any]:
    """Compile the training step of AutoFuse for one pair whose volumes some devices share, and read its memory."""
    method, mesh = make_method('autofuse', {}, {}), make_mesh(depth, depth)
    optimizer = make_optimizer(lambda step: 1e-4, clip_norm=0.0)
    state = jax.eval_shape(lambda key: create_train_state(method, optimizer, (PHASE,), size, key), jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32, sharding=volumes_sharded(mesh))
    started = time.perf_counter()
    step = compile_train_step(method.objectives(PHASE), optimizer, mesh)
    with jax.set_mesh(mesh):
        analysis = step.lower(state, {'fixed': image, 'moving': image}).compile().memory_analysis()
    return {
        'depth': depth,
        'size': list(size),
        'compile_seconds': time.perf_counter() - started,
        'temporary_gib': analysis.temp_size_in_bytes / GIB,
        'total_gib': (analysis.temp_size_in_bytes + analysis.argument_size_in_bytes) / GIB,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--memory-size', default='144x192x160', help='default 144x192x160; empty: no memory')
    parser.add_argument('--no-equality', action='store_true', help='memory only')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    jax.config.update('jax_num_cpu_devices', DEVICES)
    enable_compilation_cache()
    earlier = json.loads(options.out.read_text(encoding='utf-8')) if options.out.is_file() else {}
    lists = {name: earlier.get(name, []) for name in ('meshes', 'memory')}

    def keep(name: str, result: dict[str, Any]) -> None:
        lists[name].append(result)
        write_json(options.out, provenance() | lists)
        print(result, flush=True)

    if options.memory_size:
        (size,) = parse_sizes(options.memory_size)
        for depth in SHARES:
            if not any((k['depth'], tuple(k['size'])) == (depth, size) for k in lists['memory']):
                print(f'compiling {text_of(size)} for {depth} devices', file=sys.stderr)
                keep('memory', memory(size, depth))
    if not options.no_equality and len(lists['meshes']) < len(MESHES):
        lists['meshes'] = []
        equality(lambda result: keep('meshes', result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
