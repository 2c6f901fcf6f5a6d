"""What a training step of AutoFuse will need, by what is recomputed and in which precision, from shapes alone.

    python -m experiments.speed.step_memory --out=experiments/results/step_memory.json

The estimate is that of `autofuse_jax.training.memory.step_bytes`, which refuses steps that cannot fit before they are
compiled; nothing is compiled or run here.
"""

import argparse
import sys
from typing import Any

import jax
import jax.numpy as jnp

from autofuse_jax.errors import run_command
from autofuse_jax.files import write_json
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.markdown import markdown_table
from autofuse_jax.training.memory import GIB, step_bytes
from autofuse_jax.training.optimizers import make_optimizer
from autofuse_jax.training.precision import BFLOAT16, DEFAULT, compute_dtype
from autofuse_jax.training.state import create_train_state
from experiments.record_parser import record_parser
from experiments.speed.complexity import SIZES, parse_sizes, text_of

REMATS = ('none', 'full_resolution', 'activations', 'activations,full_resolution', 'all')
PRECISIONS = (DEFAULT, BFLOAT16)
PHASE = 'phase_1'


def estimate(size: tuple[int, int, int], remat: str, precision: str) -> float:
    """Return the estimate for one pair in GiB."""
    method = make_method('autofuse', {'remat': remat}, {}, compute_dtype=compute_dtype(precision))
    optimizer = make_optimizer(lambda step: 1e-4, clip_norm=0.0)
    state = jax.eval_shape(lambda key: create_train_state(method, optimizer, (PHASE,), size, key), jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    return step_bytes(method.objectives(PHASE), state, {'fixed': image, 'moving': image}) / GIB


def table(record: dict[str, Any]) -> str:
    """Return the estimates in Markdown."""
    gib_of = {(tuple(e['size']), e['remat'], e['precision']): e['gib'] for e in record['estimates']}
    sizes = list(dict.fromkeys(size for size, _, _ in gib_of))
    columns = [(size, precision) for size in sizes for precision in PRECISIONS]
    titles = [text_of(size, ' x ') + ('' if p == DEFAULT else f', {p}') for size, p in columns]
    rows = [[f"`'{remat}'`", *(f'{gib_of[size, remat, p]:.1f}' for size, p in columns)] for remat in REMATS]
    return markdown_table(['`model.remat`', *titles], rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--sizes', default=SIZES, help=f'default {SIZES}')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    record = provenance()
    record['estimates'] = [
        {'size': list(size), 'remat': remat, 'precision': precision, 'gib': estimate(size, remat, precision)}
        for size in parse_sizes(options.sizes)
        for remat in REMATS
        for precision in PRECISIONS
    ]
    write_json(options.out, record)
    print(table(record))
    return 0


if __name__ == '__main__':
    sys.exit(main())
