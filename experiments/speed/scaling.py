"""How time and memory of AutoFuse grow with the volume and with the batch.

    python -m experiments.speed.scaling --out=experiments/results/scaling_cpu.json

Forward pass and training step of one pair of 1, 2, 4 and 8 times the voxels, and of 1, 2, 4 and 8 pairs of the
smallest volume. Beside the record, a picture of both is drawn, on axes on which what is proportional is a straight line
of slope 1.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import jax
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from autofuse_jax.errors import run_command
from autofuse_jax.files import replacing, write_json
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.optimizers import make_optimizer
from autofuse_jax.training.state import create_train_state
from autofuse_jax.training.step import make_train_step
from experiments.record_parser import record_parser
from experiments.speed.benchmark_programs import compiled_program, in_turn, spread
from experiments.speed.complexity import text_of

# 1, 2, 4 and 8 times the voxels of the first.
VOLUMES = ((48, 48, 32), (48, 48, 64), (48, 96, 64), (96, 96, 64))
BATCHES = (1, 2, 4, 8)
PHASE = 'phase_1'
FORWARD, STEP = 'forward', 'training step'
QUANTITIES = {'seconds': 'seconds', 'memory_gib': 'GiB'}
INCHES, DOTS_PER_INCH, GRID_OPACITY = (9.0, 4.0), 100, 0.3


def programs(size: tuple[int, int, int], pairs: int) -> dict[str, tuple[Any, Any, bool]]:
    """Return forward pass and training step of AutoFuse for a batch, as `compiled_program` takes them."""
    method, key = make_method('autofuse', {}, {}), jax.random.key(0)
    optimizer = make_optimizer(lambda step: 1e-4, clip_norm=0.0)

    def images() -> dict[str, jax.Array]:
        keys = jax.random.split(key)
        return {
            role: jax.random.uniform(k, (pairs, *size, 1)) for role, k in zip(('fixed', 'moving'), keys, strict=True)
        }

    def predict(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        return method.predict(params, batch['fixed'], batch['moving'], key).displacement

    step = jax.jit(make_train_step(method.objectives(PHASE), optimizer), donate_argnums=0)
    return {
        FORWARD: (jax.jit(predict), lambda: (method.init(key, size), images()), False),
        STEP: (step, lambda: (create_train_state(method, optimizer, (PHASE,), size, key), images()), True),
    }


def picture(path: Path, results: list[dict[str, Any]]) -> None:
    """Draw time and memory against what was made larger."""
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout='constrained')
    for panel, (quantity, unit) in zip(figure.subplots(1, len(QUANTITIES)), QUANTITIES.items(), strict=True):
        for series, what in (('volume', 'voxels'), ('batch', 'pairs')):
            for program, style in ((FORWARD, '--'), (STEP, '-')):
                rows = [row for row in results if row['series'] == series and row['program'] == program]
                values = [value_of(row, quantity) for row in rows]
                panel.loglog(
                    [row['factor'] for row in rows], values, style, base=2, marker='o', label=f'{program}, {what}'
                )
        panel.yaxis.set_major_formatter('{x:g}')
        panel.grid(alpha=GRID_OPACITY)
        panel.set_xlabel('times as many voxels or pairs')
        panel.set_ylabel(unit)
        panel.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        panel.minorticks_off()
        panel.legend(fontsize='small')
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def value_of(row: dict[str, Any], quantity: str) -> float:
    """Return the median of a time, or another quantity as it is."""
    value = row[quantity]
    return value['median'] if isinstance(value, dict) else value


def growth(results: list[dict[str, Any]], series: str, program: str, quantity: str) -> float:
    """Return the exponent e of `quantity ~ factor^e` between the smallest and the largest."""
    rows = [row for row in results if row['series'] == series and row['program'] == program]
    first, last = rows[0], rows[-1]
    ratio = value_of(last, quantity) / value_of(first, quantity)
    return math.log(ratio) / math.log(last['factor'] / first['factor'])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__, beside='the picture')
    parser.add_argument('--repeats', type=int, default=3, help='timed runs of each; default 3')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    enable_compilation_cache()
    cases = [('volume', 2**n, size, 1) for n, size in enumerate(VOLUMES)]
    cases += [('batch', pairs, VOLUMES[0], pairs) for pairs in BATCHES]
    record = provenance() | {'results': []}
    for series, factor, size, pairs in cases:
        for name, (function, arguments, donates) in programs(size, pairs).items():
            run, about = compiled_program(function, arguments, donates)
            seconds = spread(in_turn({name: run}, options.repeats)[name])
            case = {'series': series, 'factor': factor, 'size': list(size), 'pairs': pairs, 'program': name}
            record['results'].append(case | about | {'seconds': seconds})
            write_json(options.out, record)
            print(f'{text_of(size)}, {pairs} pairs, {name}: {seconds["median"]:.3g} s', flush=True)
            del run
            jax.clear_caches()
    record['exponents'] = {
        f'{program}, {series}, {quantity}': growth(record['results'], series, program, quantity)
        for program in (FORWARD, STEP)
        for series in ('volume', 'batch')
        for quantity in QUANTITIES
    }
    write_json(options.out, record)
    picture(options.out.with_suffix('.png'), record['results'])
    print(record['exponents'])
    return 0


if __name__ == '__main__':
    sys.exit(main())
