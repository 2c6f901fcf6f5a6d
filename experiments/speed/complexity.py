"""Parameters, work, time and memory of every method: the table of runtimes and parameters.

    python -m experiments.speed.complexity --out=experiments/results/complexity_cpu.json
    python -m experiments.speed.complexity --out=runs/complexity.json --no-time --methods=autofuse,transmorph \\
        --sizes=128x128x32

Of each method the program is taken that predicts the displacement of one pair; parts that only training needs, such as
segmentations, may be left out of it by the compiler, and all parameters count. Options that follow from the size (the
window of TransMorph and TransMatch, the size of DTN) are set; all others are the defaults.

- Parameters come from shapes alone.
- GFLOPs are the compiler's own count (`cost_analysis`) of the program before it is compiled for a machine, so that they
  are the same everywhere: a multiplication and an addition are two, padded zeros do not count, and a loop counts once,
  so that the seven squarings of a velocity count as one. The count of the compiled program is in the record too
  (`gflop`); it differs a little where the compiler of a CPU computes things twice or not at all, and may leave out
  what is handed to a library, as on GPU.
- Seconds are the median of runs after a first one that is not counted; compilation is recorded apart.
- Peak memory is what the compiled program asks for (`memory_analysis`): arguments, outputs and temporary buffers.

Beside the record a Markdown table of the same name is written. The same command goes on where it was interrupted; what
other sources or another machine gave is made anew.
"""

import argparse
import concurrent.futures
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from autofuse_jax.configs.comparison.presets import WINDOWED, attention_window
from flax.errors import FlaxError

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json, write_text
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.registry import METHODS, make_method, section_options
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.markdown import MISSING, markdown_table
from autofuse_jax.training.memory import device_bytes
from experiments.record_parser import record_parser
from experiments.speed.memory_and_time import GIB, analyse, program
from experiments.speed.time_steps import measure

Size = tuple[int, int, int]

SIZES = '128x128x32,144x192x160'
# An objective that compares labels must know of how many classes; no prediction depends on it.
NUM_CLASSES = 4
# What networks refuse sizes with, and what the backend says where memory is too small.
REFUSALS = (ValueError, TypeError, FlaxError, jax.errors.JaxRuntimeError)
# What a result depends on, besides the method and the size.
ORIGIN = ('commit', 'versions', 'machine')
HEAD = ['method', 'parameters (M)', 'GFLOPs', 'forward s', 'peak GiB']


def options_for(name: str, size: Size) -> dict[str, dict[str, Any]]:
    """Return the options of a method, by section, that are not the defaults at a size."""
    options: dict[str, dict[str, Any]] = {'model': {}, 'loss': {}}
    if 'size' in section_options(name, 'model'):
        options['model']['size'] = size
    if name in WINDOWED:
        options['model']['window'] = attention_window(size)
    if 'num_classes' in section_options(name, 'loss'):
        options['loss']['num_classes'] = NUM_CLASSES
    return options


def count_parameters(method: Method, size: Size) -> int:
    """Count the parameters of a method without making them."""
    shapes = jax.eval_shape(lambda key: method.init(key, size), jax.random.key(0))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


def prepare(name: str, size: Size) -> tuple[dict[str, Any], Callable[[], Any] | None]:
    """Count and compile one method at one size.

    Args:
        name: A key of `METHODS`.
        size: (D, H, W).

    Returns:
        What was found, and something to time; None where it cannot be run: 'cannot_run' says why.
    """
    options = options_for(name, size)
    record: dict[str, Any] = {'method': name, 'size': list(size), 'options': options}
    try:
        method = make_method(name, options['model'], options['loss'])
        record['parameters'] = count_parameters(method, size)
        function, arguments = program('forward', method, size)
        compiled, costs = analyse(function, arguments)
    except REFUSALS as error:
        return record | {'cannot_run': _reason(error)}, None
    values: list[Any] = []

    def run() -> Any:
        if not values:
            values.extend(jax.jit(arguments)())
        return compiled(*values)

    return record | costs, run


def timed(record: dict[str, Any], run: Callable[[], Any] | None, repeats: int) -> dict[str, Any]:
    """Add 'seconds' to what `prepare` found, or 'not_timed', which says why there are none."""
    if run is None or not repeats:
        return record
    if record['total_gib'] > memory_gib():
        return record | {'not_timed': f'needs {record["total_gib"]} GiB, the machine has {memory_gib():.1f}'}
    try:
        return record | {'seconds': measure(run, repeats)}
    except REFUSALS as error:
        return record | {'not_timed': _reason(error)}


def _reason(error: Exception) -> str:
    return ' '.join(str(error).split()) or type(error).__name__


def memory_gib() -> float:
    """Return the memory of the device or, on CPU, of the machine; limits of a container are not known."""
    return device_bytes() / GIB


def table(results: list[dict[str, Any]]) -> str:
    """Return the tables of all sizes, and below each why something is missing."""
    parts = []
    for size in dict.fromkeys(tuple(result['size']) for result in results):
        of_size = [result for result in results if tuple(result['size']) == size]
        parts.append(f'## {text_of(size, " x ")}\n\n{markdown_table(HEAD, [_row(result) for result in of_size])}')
        for result in of_size:
            reason = result.get('cannot_run') or result.get('not_timed')
            if reason:
                parts.append(
                    f'- {result["method"]} {"cannot run" if "cannot_run" in result else "not timed"}: {reason}'
                )
    return '\n\n'.join(parts)


def summary_table(record: dict[str, Any]) -> str:
    """Return one table of a record, all sizes beside each other."""
    sizes = list(dict.fromkeys(tuple(result['size']) for result in record['results']))
    by_case = {(result['method'], tuple(result['size'])): result for result in record['results']}
    rows = []
    for name in dict.fromkeys(result['method'] for result in record['results']):
        several = [_row(by_case[name, size])[1:] for size in sizes]
        rows.append([name, several[0][0], *(cell for cells in several for cell in cells[1:])])
    heads = [f'{head}, {text_of(size, " x ")}' for size in sizes for head in HEAD[2:]]
    return markdown_table([*HEAD[:2], *heads], rows)


def _row(result: dict[str, Any]) -> list[str]:
    def cell(value: float | None, pattern: str) -> str:
        return MISSING if value is None else format(value, pattern)

    parameters = result.get('parameters')
    return [
        result['method'],
        cell(parameters and parameters / 1e6, '.3f'),
        cell(result.get('gflop_lowered'), ',.1f'),
        cell(result.get('seconds', {}).get('median'), '.2g'),
        cell(result.get('total_gib'), '.2f'),
    ]


def text_of(size: Size, between: str = 'x') -> str:
    """Return a size in words."""
    return between.join(map(str, size))


def parse_sizes(text: str) -> list[Size]:
    """Read sizes such as 128x128x32,144x192x160.

    Raises:
        UserError: One is not of that form.
    """
    sizes = []
    for part in text.split(','):
        lengths = part.strip().split('x')
        if len(lengths) != 3 or not all(length.isdecimal() and int(length) for length in lengths):
            raise UserError(f'--sizes holds {part!r}', expected='sizes such as 128x128x32, apart by commas')
        sizes.append(tuple(map(int, lengths)))
    return sizes


def parse_methods(text: str | None) -> list[str]:
    """Read names of methods, apart by commas; None is all.

    Raises:
        UserError: There is no such method.
    """
    names = list(METHODS) if text is None else [name.strip() for name in text.split(',')]
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise UserError(
            f'unknown method {", ".join(unknown)}', expected=f'among {", ".join(METHODS)}', fix='correct --methods'
        )
    return names


def earlier_results(path: Path, origin: dict[str, Any]) -> dict[tuple[str, Size], dict[str, Any]]:
    """Return what an earlier run of the same sources on the same machine has found, by method and size."""
    if not path.is_file():
        return {}
    record = json.loads(path.read_text(encoding='utf-8'))
    if any(record.get(key) != origin[key] for key in ORIGIN):
        return {}
    return {
        (result['method'], tuple(result['size'])): result for result in record['results'] if result['method'] in METHODS
    }


def is_complete(result: dict[str, Any], timed: bool) -> bool:
    """Tell whether a result holds all that is wanted, or why it cannot."""
    enough = ('seconds', 'not_timed', 'cannot_run') if timed else ('total_gib', 'cannot_run')
    return any(key in result for key in enough)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__, beside='the table')
    parser.add_argument('--methods', help='names apart by commas; default all')
    parser.add_argument('--sizes', default=SIZES, help=f'default {SIZES}')
    parser.add_argument('--repeats', type=int, default=5, help='timed runs; default 5')
    parser.add_argument('--jobs', type=int, default=1, help='programs compiled at a time, before they are timed')
    parser.add_argument('--no-time', action='store_true', help='count and compile only, run nothing')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    names, sizes = parse_methods(options.methods), parse_sizes(options.sizes)
    if options.repeats < 1:
        raise UserError(f'--repeats is {options.repeats}', expected='1 or more', fix='use --no-time to run nothing')
    if options.jobs < 1:
        raise UserError(f'--jobs is {options.jobs}', expected='1 or more')
    record = provenance() | {'backend': jax.default_backend()}
    results = earlier_results(options.out, record)
    repeats = 0 if options.no_time else options.repeats
    cases = [
        (name, size) for size in sizes for name in names if not is_complete(results.get((name, size), {}), repeats > 0)
    ]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for first in range(0, len(cases), options.jobs):
            several = cases[first : first + options.jobs]
            for case, prepared in zip(several, list(pool.map(lambda case: prepare(*case), several)), strict=True):
                results[case] = timed(*prepared, repeats)
                # Results of other methods stay: a list of methods adds to the record.
                write_json(options.out, record | {'results': list(results.values())})
                cells = zip(HEAD, _row(results[case]), strict=True)
                print(f'{text_of(case[1])}, ' + ', '.join(f'{head} {cell}' for head, cell in cells), flush=True)
            # Programs of other sizes would stay in memory beside the next one.
            del prepared
            jax.clear_caches()
    ordered = sorted(results.values(), key=lambda result: (result['size'], list(METHODS).index(result['method'])))
    write_json(options.out, record | {'results': ordered})
    about = f'`{record["command"]}`, commit {record["commit"]}, {record["machine"]["processor"]}, {record["date"]}'
    write_text(options.out.with_suffix('.md'), f'# Complexity of the methods\n\n{about}\n\n{table(ordered)}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
