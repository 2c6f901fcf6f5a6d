"""What the benchmark times: programs of ours, PyTorch's and OpenVINO's versions of them, and how they take turns."""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.configs import cardiac_unsup
from autofuse_jax.fields import integrate_velocity, warp_linear
from autofuse_jax.losses.similarity import local_ncc
from autofuse_jax.methods.registry import make_method
from autofuse_jax.training.precision import DEFAULT, compute_dtype, products_in
from experiments.speed.benchmark_device import GIGA
from experiments.speed.complexity import options_for
from experiments.speed.memory_and_time import GIB, program

FORWARD, STEP, COMPILED = 'AutoFuse, forward', 'AutoFuse, training step', ', torch.compile'
Size = tuple[int, int, int]
Run = Callable[[], Any]


def in_turn(runs: dict[str, Run], repeats: int) -> dict[str, list[float]]:
    """Time functions one after the other, again and again, so that a busy moment of the machine meets all of them.

    Args:
        runs: By name; each waits for its own result.
        repeats: Timed rounds, after one that does not count.

    Returns:
        Seconds of each round by name.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - started)
    return times


def spread(values: list[float]) -> dict[str, Any]:
    """Return median, least and largest of some numbers."""
    return {'median': statistics.median(values), 'minimum': min(values), 'maximum': max(values), 'repeats': len(values)}


def ratio(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Return median and spread of the ratios of neighbouring runs."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def compiled_program(
    function: Callable, arguments: Callable[[], tuple], donates: bool, precision: str = DEFAULT
) -> tuple[Run, dict[str, Any]]:
    """Compile a function and return it as something to time, and what the compiler says of it.

    Args:
        function: Compiled by `jax.jit`.
        arguments: Makes its arguments.
        donates: Whether it takes its first argument for good and returns what takes its place, as a training step does.
        precision: In which it multiplies.
    """
    started = time.perf_counter()
    with products_in(precision):
        lowered = function.lower(*jax.eval_shape(arguments))
        compiled = lowered.compile()
    seconds = time.perf_counter() - started
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    # Some backends count nothing before they compile, others (GPU) leave out what they hand to a library.
    work = cost if jax.default_backend() == 'cpu' else lowered.cost_analysis() or cost
    total = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    about = {
        'compile_seconds': seconds,
        'gflop': work.get('flops', 0.0) / GIGA,
        'gbytes': cost.get('bytes accessed', 0.0) / GIGA,
        # What is given away and what is written over it share memory.
        'memory_gib': (total - memory.alias_size_in_bytes) / GIB,
    }
    values: list[Any] = []

    def run() -> None:
        if not values:
            # Made at the first run, which does not count: before, other programs may need the memory.
            values.extend(jax.jit(arguments)())
        result = jax.block_until_ready(compiled(*values))
        if donates:
            values[0] = result[0]

    return run, about


def field_operations(size: Size) -> dict[str, tuple[Callable, Callable[[], tuple]]]:
    """Return the operations on images and fields of a size, each with a function that makes its arguments."""
    half = tuple(length // 2 for length in size)
    keys = jax.random.split(jax.random.key(0), 4)

    def images() -> tuple:
        return tuple(jax.random.uniform(key, (*size, 1)) for key in keys[:2])

    def warping() -> tuple:
        return jax.random.uniform(keys[0], (*size, 1)), jax.random.normal(keys[2], (*size, 3))

    def velocity() -> tuple:
        return (jax.random.normal(keys[3], (*half, 3)),)

    def slope(function: Callable, argument: int = 0) -> Callable:
        return jax.grad(lambda *values: jnp.sum(function(*values)), argument)

    return {
        'warp': (warp_linear, warping),
        'warp, with derivative': (slope(warp_linear, 1), warping),
        'scaling and squaring': (integrate_velocity, velocity),
        'scaling and squaring, with derivative': (slope(integrate_velocity), velocity),
        'NCC': (local_ncc, images),
        'NCC, with derivative': (slope(local_ncc, 1), images),
    }


@dataclasses.dataclass(frozen=True)
class Timed:
    """Something of ours that is timed.

    Attributes:
        name: What it does.
        function: To be compiled.
        arguments: Makes its arguments.
        donates: See `compiled_program`.
        precision: In which it multiplies.
    """

    name: str
    function: Callable
    arguments: Callable[[], tuple]
    donates: bool = False
    precision: str = DEFAULT


def ours(size: Size, networks: list[str], precisions: list[str]) -> list[Timed]:
    """Return everything of ours that is timed at a size."""
    config, timed = cardiac_unsup.get_config(), []
    for precision in precisions:
        sections = config.model.to_dict(), config.loss.to_dict()
        method = make_method(config.method, *sections, compute_dtype=compute_dtype(precision))
        timed.append(Timed(FORWARD, *program('forward', method, size), precision=precision))
        timed.append(Timed(STEP, *program('step', method, size), donates=True, precision=precision))
    timed += [Timed(name, jax.jit(f), arguments) for name, (f, arguments) in field_operations(size).items()]
    for name in networks:
        options = options_for(name, size)
        other = make_method(name, options['model'], options['loss'])
        timed.append(Timed(f'{name}, forward', *program('forward', other, size)))
    return timed


def official_network(options: argparse.Namespace) -> Any:
    """Return the user's PyTorch network."""
    from experiments.agreement.compare_with_pytorch import build

    arguments = argparse.Namespace(
        networks=options.official, class_name=options.class_name, arguments=options.arguments
    )
    return build(arguments)[0]


def theirs(size: Size, options: argparse.Namespace, precision: str) -> dict[str, Run]:
    """Return what PyTorch does at a size, under the same names."""
    import torch

    from experiments.speed import benchmark_torch

    device = torch_device()
    benchmark_torch.set_precision(precision)
    network = official_network(options).to(device)
    fixed, moving = (torch.rand(1, 1, *size, device=device) for _ in range(2))
    forms = {'': network} | ({COMPILED: torch.compile(network)} if options.compile and precision == DEFAULT else {})
    runs = {}
    for form, network in forms.items():
        runs[FORWARD + form] = benchmark_torch.forward_pass(network, fixed, moving, precision)
        runs[STEP + form] = benchmark_torch.training_step(network, fixed, moving, precision)
    return runs | benchmark_torch.operations(size, device)


def torch_device() -> Any:
    """Return the device of PyTorch that is JAX's."""
    import torch

    return torch.device('cuda' if jax.default_backend() == 'gpu' else 'cpu')


def deployed(size: Size) -> Run:
    """Return the forward pass of AutoFuse in OpenVINO."""
    from autofuse_jax.deployment.runtime import compiled, network_graph

    method = make_method('autofuse', {}, {})
    params = jax.jit(lambda key: method.init(key, size))(jax.random.key(0))
    run = compiled(network_graph(method, params, size))
    images = [np.random.default_rng(seed).random((1, *size, 1), np.float32) for seed in (1, 2)]
    return lambda: run(*images)
