"""Time the forward pass, the training step, operations on fields and every network, beside PyTorch if asked.

    python -m experiments.speed.benchmark --out=runs/benchmark.json
    python -m experiments.speed.benchmark --official=networks.py --class=AutoFuse --sizes=128x128x32 --out=...
    python -m experiments.speed.benchmark --networks=autofuse,voxelmorph --sizes=48x48x16 --out=...

Of everything: the median and the spread over runs after a first one, the time of compilation apart, the work a second
against the device's measured peak, the bytes a second against its measured copying, and the memory that the compiled
program asks for; what asks for more than the machine has is compiled and not run. Work and bytes are the compiler's own
count, in which a loop counts once.

--official is your copy of the authors' networks.py (or a file with a network of the same layout); it is executed, so
use one you trust. Its eager forward pass, a step of Adam and PyTorch's versions of the operations are then timed in
turn with ours, one run of each after the other, and the ratios are those of neighbouring runs. --compile adds
`torch.compile` where it works. --precisions repeats the network's programs in other precisions, on both sides. Beside
the record a Markdown table is written. Runs on CPU, GPU and TPU alike; what a GPU hands to a library is not in the
count of the compiled program there, so that work is counted before compilation.
"""

import argparse
import concurrent.futures
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json, write_text
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.markdown import MISSING, markdown_table
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.precision import DEFAULT, PRECISIONS, check_precision
from experiments.record_parser import record_parser
from experiments.speed.benchmark_device import peaks
from experiments.speed.benchmark_programs import (
    COMPILED,
    FORWARD,
    Run,
    Size,
    Timed,
    compiled_program,
    deployed,
    in_turn,
    official_network,
    ours,
    ratio,
    spread,
    theirs,
    torch_device,
)
from experiments.speed.complexity import memory_gib, parse_methods, parse_sizes, text_of
from experiments.speed.memory_and_time import GIB

QUICKSTART, CARDIAC, BRAIN = (48, 48, 16), (128, 128, 32), (144, 192, 160)
SIZES = ','.join(text_of(size) for size in (QUICKSTART, CARDIAC, BRAIN))
# Of the memory, alone and beside PyTorch, whose step needs more: who asks for more than there is is killed.
FITTING_SHARE, FITTING_SHARE_BESIDE = 0.8, 0.6
HEAD = [
    'what',
    'seconds',
    'spread',
    'compiled in s',
    'GFLOP/s',
    '% of peak',
    'GB/s',
    'GiB',
    'PyTorch s',
    'ours / PyTorch',
]


def examine(size: Size, options: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> None:
    """Time everything at a size, and hand over each result as soon as it is there."""
    others = {p: theirs(size, options, p) for p in options.precisions} if options.official else {}
    programs = [
        timed
        for timed in ours(size, options.networks, options.precisions)
        if not options.only or timed.name.startswith(tuple(options.only))
    ]
    most = memory_gib() * (FITTING_SHARE_BESIDE if others else FITTING_SHARE)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        # Not all at once: what has been compiled stays in memory until it has been timed.
        for first in range(0, len(programs), options.jobs):
            several = programs[first : first + options.jobs]
            runs = pool.map(lambda t: compiled_program(t.function, t.arguments, t.donates, t.precision), several)
            for timed, (run, about) in zip(several, list(runs), strict=True):
                if about['memory_gib'] > most:
                    keep(identity_of(timed, size) | about | {'not_timed': f'the machine has {memory_gib():.1f} GiB'})
                else:
                    keep(time_in_turn(timed, run, size, others.get(timed.precision, {}), options) | about)
                # Programs and values of one would stay in memory beside the next.
                del run
            jax.clear_caches()


def identity_of(timed: Timed, size: Size) -> dict[str, Any]:
    """Return what a result begins with."""
    return {'name': timed.name, 'precision': timed.precision, 'size': list(size)}


def time_in_turn(
    timed: Timed, run: Run, size: Size, other: dict[str, Run], options: argparse.Namespace
) -> dict[str, Any]:
    """Time one thing of ours in turn with PyTorch's version of it, where there is one, and OpenVINO's."""
    name = timed.name
    runs = {'ours': run} | {
        f'pytorch{key.removeprefix(name)}': o for key, o in other.items() if key in (name, f'{name}{COMPILED}')
    }
    result: dict[str, Any] = identity_of(timed, size)
    if other:
        from experiments.speed import benchmark_torch

        benchmark_torch.set_precision(timed.precision)
        for key in [key for key in runs if key.startswith('pytorch')]:
            try:
                # Whatever fails does so here, on CPU too, where nobody counts memory.
                runs[key]()
                peak = benchmark_torch.peak_bytes(runs[key], torch_device())
            except Exception as error:
                # Its compiler does not hold every network, and says so in many ways.
                if not key.endswith(COMPILED):
                    raise
                result[key] = {'cannot_run': f'{type(error).__name__}: {error}'.splitlines()[0]}
                del runs[key]
                continue
            result[key] = {} if peak is None else {'memory_gib': peak / GIB}
    if options.deployed and name == FORWARD and timed.precision == DEFAULT:
        runs['openvino'], result['openvino'] = deployed(size), {}
    times = in_turn(runs, options.repeats)
    result['seconds'] = spread(times['ours'])
    for key in list(runs)[1:]:
        result[key] |= {'seconds': spread(times[key]), 'ours_to_theirs': ratio(times['ours'], times[key])}
    if 'openvino' in runs and 'pytorch' in runs:
        result['openvino']['to_pytorch'] = ratio(times['openvino'], times['pytorch'])
    return result


def table(record: dict[str, Any]) -> str:
    """Return the tables of all sizes in Markdown."""
    parts = []
    for size in dict.fromkeys(tuple(result['size']) for result in record['results']):
        rows = [_row(result, peak_of(record, result)) for result in record['results'] if tuple(result['size']) == size]
        parts.append(f'## {text_of(size, " x ")}\n\n{markdown_table(HEAD, rows)}')
    return '\n\n'.join(parts)


def peak_of(record: dict[str, Any], result: dict[str, Any]) -> float:
    """Return what the device can do in the precision of a result, 1e9 operations a second."""
    peak = record['peaks'][result['precision']]
    return max(peak['matmul_gflops'], peak['conv2d_gflops'])


def title_of(result: dict[str, Any]) -> str:
    """Return what was timed, with its precision where that is not the default."""
    return result['name'] if result['precision'] == DEFAULT else f'{result["name"]}, {result["precision"]}'


def _row(result: dict[str, Any], peak: float) -> list[str]:
    compiled, memory, torch = f'{result["compile_seconds"]:.1f}', f'{result["memory_gib"]:.2f}', result.get('pytorch')
    if 'not_timed' in result:
        return [title_of(result), MISSING, MISSING, compiled, MISSING, MISSING, MISSING, memory, MISSING, MISSING]
    seconds = result['seconds']
    speed = result['gflop'] / seconds['median']
    row = [
        title_of(result),
        f'{seconds["median"]:.4g}',
        f'{seconds["minimum"]:.4g} to {seconds["maximum"]:.4g}',
        compiled,
        f'{speed:,.1f}',
        f'{100 * speed / peak:.0f}',
        f'{result["gbytes"] / seconds["median"]:.1f}',
        memory,
    ]
    if torch is None:
        return [*row, MISSING, MISSING]
    return [*row, f'{torch["seconds"]["median"]:.4g}', f'{torch["ours_to_theirs"]["median"]:.2f}']


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__, beside='the table')
    parser.add_argument('--sizes', default=SIZES, help=f'default {SIZES}')
    parser.add_argument('--networks', default='', help='forward passes of other methods, apart by commas, or all')
    parser.add_argument('--precisions', default=DEFAULT, help=f'among {", ".join(PRECISIONS)}; default {DEFAULT}')
    parser.add_argument('--jobs', type=int, default=1, help='programs compiled at a time, before they are timed')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='what begins with one of these names; default all')
    parser.add_argument('--repeats', type=int, default=5, help='timed runs of each; default 5')
    parser.add_argument('--official', type=Path, help="your copy of the authors' networks.py, to time beside ours")
    parser.add_argument('--class', dest='class_name', default='AutoFuse', help='its class; default AutoFuse')
    parser.add_argument('--arguments', default='{}', help='arguments of the class as JSON; default its own')
    parser.add_argument('--compile', action='store_true', help='torch.compile too, in the default precision')
    parser.add_argument('--deployed', action='store_true', help='the forward pass in OpenVINO too (extra deploy)')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    for name in ('repeats', 'jobs'):
        if getattr(options, name) < 1:
            raise UserError(f'--{name} is {getattr(options, name)}', expected='1 or more')
    options.precisions = options.precisions.split(',')
    if unknown := set(options.precisions) - set(PRECISIONS):
        raise UserError(f'--precisions holds {", ".join(unknown)}', expected=f'some of {", ".join(PRECISIONS)}')
    for precision in options.precisions:
        check_precision(precision, jax.devices()[0])
    sizes = parse_sizes(options.sizes)
    networks = None if options.networks == 'all' else options.networks
    options.networks = [] if networks == '' else parse_methods(networks)
    enable_compilation_cache()
    if options.official:
        official_network(options)  # Whether it can be had is known before anything is timed.
    record = provenance() | {
        'backend': jax.default_backend(),
        # Operations on fields are always timed in the default precision.
        'peaks': {p: peaks(options.repeats, p) for p in dict.fromkeys([DEFAULT, *options.precisions])},
        'results': [],
    }

    def keep(result: dict[str, Any]) -> None:
        record['results'].append(result)
        write_json(options.out, record)
        cells = _row(result, peak_of(record, result))
        print(', '.join(f'{head} {cell}' for head, cell in zip(HEAD, cells, strict=True)), flush=True)

    for size in sizes:
        examine(size, options, keep)
    about = f'`{record["command"]}`, commit {record["commit"]}, {record["machine"]["processor"]}, {record["date"]}'
    write_text(options.out.with_suffix('.md'), f'# Benchmark\n\n{about}\n\n{table(record)}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
