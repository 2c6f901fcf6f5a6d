"""Memory and time of AutoFuse and AutoFuse-Trans, forward and training step, from the compiler and from the clock.

    python -m experiments.speed.memory_and_time --out=experiments/results/memory_cpu.json
    python -m experiments.speed.memory_and_time --out=... --run=all

Memory is what the compiled program asks for (`memory_analysis`): arguments, outputs and temporary buffers, for a batch
of one pair. Work is the compiler's own count (`cost_analysis`), in which loops count once. Nothing is allocated for
that; programs are also run and timed where the machine can hold them (--run).
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

from autofuse_jax.configs import cardiac_trans_unsup, cardiac_unsup
from autofuse_jax.errors import run_command
from autofuse_jax.files import write_json
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.training.optimizers import make_optimizer
from autofuse_jax.training.state import create_train_state
from autofuse_jax.training.step import make_train_step
from experiments.record_parser import record_parser
from experiments.speed.time_steps import measure

SIZES = {'128 x 128 x 32': (128, 128, 32), '144 x 192 x 160': (144, 192, 160)}
CONFIGS = {'AutoFuse': cardiac_unsup, 'AutoFuse-Trans': cardiac_trans_unsup}
# Name of a program: what it computes, and which blocks are recomputed in the reverse pass.
PROGRAMS = {
    'forward': ('forward', 'none'),
    'training step': ('step', 'none'),
    'training step, all blocks recomputed': ('step', 'all'),
}
# Which programs are run.
RUNS = ('none', 'forward', 'cardiac', 'all')
GIB = 2**30


def program(kind: str, method: Method, shape: tuple[int, int, int]) -> tuple[Callable, Callable[[], tuple]]:
    """Return a function to compile and a function that makes its arguments."""
    image = (1, *shape, 1)

    def images() -> dict[str, jax.Array]:
        return {name: jax.random.uniform(jax.random.key(n), image) for n, name in enumerate(('fixed', 'moving'))}

    if kind == 'forward':
        key = jax.random.key(0)

        def forward(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
            return method.predict(params, batch['fixed'], batch['moving'], key).displacement

        return jax.jit(forward), lambda: (method.init(jax.random.key(0), shape), images())
    optimizer = make_optimizer(lambda step: 1e-4, clip_norm=0.0)
    step = make_train_step(method.objectives('phase_1'), optimizer)

    def arguments() -> tuple:
        return create_train_state(method, optimizer, ('phase_1',), shape, jax.random.key(0)), images()

    return jax.jit(step, donate_argnums=0), arguments


def analyse(function: Callable, arguments: Callable[[], tuple]) -> tuple[Any, dict[str, Any]]:
    """Compile a program, and read what the compiler says of it; nothing is allocated.

    Args:
        function: As `program` returns it.
        arguments: Likewise.

    Returns:
        The compiled program; and 'total_gib' (arguments, outputs, temporary buffers), 'temporary_gib', 'gflop' (of the
        compiled program), 'gflop_lowered' (of the program before compilation, the same for every machine; both count
        loops once, and padded zeros not at all; None where a backend counts nothing) and 'compile_seconds'.
    """
    started = time.perf_counter()
    lowered = function.lower(*jax.eval_shape(arguments))
    compiled = lowered.compile()
    seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    # Donated arguments and the outputs written over them share memory.
    total = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return compiled, {
        'total_gib': round((total - memory.alias_size_in_bytes) / GIB, 3),
        'temporary_gib': round(memory.temp_size_in_bytes / GIB, 3),
        'gflop': _gflop(compiled.cost_analysis(), 1),
        'gflop_lowered': _gflop(lowered.cost_analysis(), 6),
        'compile_seconds': round(seconds, 1),
    }


def _gflop(cost: dict[str, float] | None, decimals: int) -> float | None:
    return round(cost['flops'] / 1e9, decimals) if cost and 'flops' in cost else None


def examine(network: str, size: str, name: str, run: bool, repeats: int) -> dict[str, Any]:
    """Compile one program, read what the compiler says of it, and run it if asked to."""
    kind, remat = PROGRAMS[name]
    config = CONFIGS[network].get_config()
    config.model.remat = remat
    method = make_method(config.method, config.model.to_dict(), config.loss.to_dict())
    function, arguments = program(kind, method, SIZES[size])
    compiled, costs = analyse(function, arguments)
    record = {'network': network, 'size': size, 'program': name} | costs
    if run:
        values = jax.jit(arguments)()
        if kind == 'forward':
            record['seconds'] = measure(lambda: compiled(*values), repeats)
        else:
            state, batch = values

            def step() -> Any:
                nonlocal state
                state, metrics = compiled(state, batch)
                return metrics

            record['seconds'] = measure(step, repeats)
    return record


def runs(choice: str, size: str, kind: str) -> bool:
    """Tell whether a program is run: none, forward passes, those and training steps of the cardiac size, or all."""
    forward, cardiac = kind == 'forward', size == '128 x 128 x 32'
    return {'none': False, 'forward': forward, 'cardiac': forward or cardiac, 'all': True}[choice]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--run', choices=RUNS, default='forward', help='which programs are also run and timed')
    parser.add_argument('--repeats', type=int, default=3)
    options = parser.parse_args(arguments)

    def command() -> int:
        record = provenance() | {
            'backend': jax.default_backend(),
            'programs': [],
        }
        for network in CONFIGS:
            for size in SIZES:
                for name, (kind, _) in PROGRAMS.items():
                    result = examine(network, size, name, runs(options.run, size, kind), options.repeats)
                    record['programs'].append(result)
                    print(json.dumps(result), flush=True)
                    # Written again each time: a machine that runs out of memory loses one program only.
                    write_json(options.out, record)
        return 0

    return run_command(command)


if __name__ == '__main__':
    sys.exit(main())
