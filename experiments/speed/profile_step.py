"""Where a training step spends its time, and how long the device waits for the next batch.

    python -m experiments.speed.profile_step --size=128x128x32 --out=runs/profile.json
    python -m experiments.speed.profile_step --size=48x48x16 --loop=configs/quickstart.py --out=runs/profile.json

The profiler of JAX says how long each operation of the compiled step ran; what each belongs to follows from the names
that the compiler keeps. Operations that it has joined count as what comes out of them. On CPU several threads work at
a time, so that the sum is processor time. --loop trains a config for a while, data pipeline and all, and adds the share
of the time in which the device ran nothing. Beside the record a Markdown table is written.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
from absl import flags
from jax.profiler import ProfileData
from ml_collections import ConfigDict, config_flags

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json, write_text
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.markdown import markdown_table
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.loop import Trainer
from autofuse_jax.training.precision import DEFAULT, PRECISIONS, check_precision, compute_dtype, products_in
from experiments.record_parser import record_parser
from experiments.speed.complexity import parse_methods, parse_sizes
from experiments.speed.memory_and_time import program

STEP_MODULE = 'jit_train_step'
NANOSECONDS = 1e9
LOOP_STEPS = 100
# The middle of a loop: its beginning fills queues, its end validates.
WINDOW = (0.2, 0.8)
# Primitive as the compiler names it: what it is called here. The first that an operation's name holds counts.
KINDS = {
    'conv_general_dilated': 'convolutions',
    'dot_general': 'products of matrices',
    'scatter': 'scattering (reverse of warping)',
    'gather': 'gathering (warping)',
    'reduce_window': 'window sums (NCC)',
    'reduce': 'other sums (norms, losses)',
    'transpose': 'copies',
    'copy': 'copies',
    'concatenate': 'copies',
    'pad': 'copies',
}
OTHER = 'elementwise and other'
# What the compiler calls some of them.
PRIMITIVES = {'dot': 'dot_general', 'convolution': 'conv_general_dilated'}
# These run others, which count by themselves.
RUN_OTHERS = ('while', 'call', 'conditional')
# A computation in the text of a program, an operation in it, and what that calls.
COMPUTATION = re.compile(r'^((?:ENTRY )?%?[\w.\-]+) [^\n]*\{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
OPERATION = re.compile(
    r'^\s*(?:ROOT )?%?(?P<name>[\w.\-]+) = (?:\([^=]*?\)|\S+) (?P<opcode>[\w\-]+)\((?P<rest>.*)$', re.MULTILINE
)
CALLED = re.compile(r'calls=%?([\w.\-]+)')
REVERSE, FORWARD, UPDATE = 'reverse pass', 'forward pass', 'optimiser and rest'
Event = tuple[float, float, str]


def traced_events(folder: str, module: str) -> list[Event]:
    """Return (begin, end, name of the operation) of what a compiled module ran, nanoseconds, in order.

    Args:
        folder: Where the profiler wrote.
        module: Name of the compiled program; a suffix after a point does not matter.
    """
    (path,) = Path(folder).glob('plugins/profile/*/*.xplane.pb')
    events = set()
    for plane in ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                if str(stats.get('hlo_module', '')).split('.')[0] == module and 'hlo_op' in stats:
                    events.add((event.start_ns, event.start_ns + event.duration_ns, str(stats['hlo_op'])))
    if not events:
        raise UserError(f'the profiler saw nothing of {module} on {jax.default_backend()}')
    return sorted(events)


def busy(events: Iterable[Event], begin: float, end: float) -> float:
    """Return how long between two moments at least one operation ran."""
    total, until = 0.0, begin
    for start, stop, _ in events:
        start, stop = max(start, until), min(stop, end)
        if stop > start:
            total += stop - start
            until = stop
    return total


def operation_names(text: str) -> dict[str, str]:
    """Return where each operation of a compiled program comes from, by its name in the program.

    The compiler drops the names of some that it changes. Those count to the pass of what is in the same loop, and as
    what they compute.
    """
    lines = {
        heading: [operations.groupdict() for operations in OPERATION.finditer(body)]
        for heading, body in COMPUTATION.findall(text)
    }
    computes = {
        re.sub('^ENTRY ', '', heading).lstrip('%'): operations[-1]['opcode']
        for heading, operations in lines.items()
        if operations
    }
    names = {}
    for heading, operations in lines.items():
        origins = [_origin(operation) for operation in operations]
        passes = [origin.rsplit('/', 1)[0] for origin in origins if origin]
        inside = max(set(passes), key=passes.count) if passes and not heading.startswith('ENTRY') else ''
        for operation, origin in zip(operations, origins, strict=True):
            called = CALLED.search(operation['rest'])
            opcode = computes.get(called[1], operation['opcode']) if called else operation['opcode']
            if origin:
                names[operation['name']] = origin
            elif inside or opcode in PRIMITIVES:
                names[operation['name']] = f'{inside}/{PRIMITIVES.get(opcode, opcode)}'
    return names


def _origin(operation: dict[str, str]) -> str:
    match = re.search('metadata={[^}]*op_name="([^"]*)"', operation['rest'])
    return match[1] if match else ''


def kind_of(origin: str, operation: str) -> tuple[str, str]:
    """Return which pass an operation belongs to, and its kind.

    Args:
        origin: Its name in JAX, such as 'jit(train_step)/transpose(jvp(AutoFuse))/.../conv_general_dilated'.
        operation: Its name in the compiled program, which counts where the compiler has added it.
    """
    which = REVERSE if 'transpose(' in origin else FORWARD if 'jvp(' in origin else UPDATE
    last = origin.rsplit('/', 1)[-1]
    for primitive, kind in KINDS.items():
        if primitive in last or (not origin and primitive in operation):
            return which, kind
    return which, OTHER


def profile_step(method: Any, size: tuple[int, int, int], steps: int, precision: str) -> dict[str, Any]:
    """Profile training steps of a method on random images.

    Returns:
        'seconds' of a step by the clock, 'busy_seconds' in which the device ran something, and 'kinds': of each pass
        and kind the seconds of all operations together, largest first.
    """
    function, arguments = program('step', method, size)
    with products_in(precision):
        compiled = function.lower(*jax.eval_shape(arguments)).compile()
    state, batch = jax.jit(arguments)()
    state, _ = jax.block_until_ready(compiled(state, batch))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            started = time.perf_counter()
            for _ in range(steps):
                state, metrics = compiled(state, batch)
            jax.block_until_ready((state, metrics))
            seconds = time.perf_counter() - started
        events = traced_events(folder, STEP_MODULE)
    names, spent = operation_names(compiled.as_text()), defaultdict(float)
    for begin, end, operation in events:
        if operation.split('.')[0] in RUN_OTHERS:
            continue
        spent[kind_of(names.get(operation, ''), operation)] += (end - begin) / NANOSECONDS / steps
    together = busy(events, events[0][0], max(end for _, end, _ in events))
    return {
        'seconds': seconds / steps,
        'busy_seconds': together / NANOSECONDS / steps,
        'kinds': [
            {'pass': which, 'kind': kind, 'seconds': value}
            for (which, kind), value in sorted(spent.items(), key=lambda item: -item[1])
        ],
    }


def profile_loop(config: ConfigDict) -> dict[str, float]:
    """Train for a while and return 'steps', 'seconds_a_step' and 'idle_share' of the middle of it."""
    config = config.copy_and_resolve_references()
    for number, phase in enumerate(config.phases.values()):
        phase.steps = 0 if number else LOOP_STEPS
    config.training.log_every = config.training.validate_every = config.training.checkpoint_every = LOOP_STEPS
    config.training.devices = 1
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(config, Path(folder) / 'run')
        with experiment.computing():
            trainer = Trainer(experiment)
            with jax.profiler.trace(folder):
                trainer.run()
        events = traced_events(folder, STEP_MODULE)
    first, last = events[0][0], max(end for _, end, _ in events)
    begin, end = (first + share * (last - first) for share in WINDOW)
    return {
        'steps': LOOP_STEPS,
        'seconds_a_step': (last - first) / NANOSECONDS / LOOP_STEPS,
        'idle_share': 1 - busy(events, begin, end) / (end - begin),
    }


def table(record: dict[str, Any]) -> str:
    """Return the kinds in Markdown, with their shares."""
    kinds = record['step']['kinds']
    whole = sum(kind['seconds'] for kind in kinds)
    rows = [
        [kind['pass'], kind['kind'], f'{kind["seconds"]:.4g}', f'{100 * kind["seconds"] / whole:.1f}']
        for kind in kinds
        if kind['seconds'] > 0.001 * whole
    ]
    return markdown_table(['pass', 'what', 'seconds a step', '%'], rows)


def load_config(path: str) -> ConfigDict:
    """Return the config of a file."""
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=['', f'--config={path}'])
    values(['', f'--config={path}'])
    return holder.value


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__, beside='the table')
    parser.add_argument('--size', default='128x128x32', help='default 128x128x32')
    parser.add_argument('--method', default='autofuse', help='default autofuse')
    parser.add_argument('--precision', choices=PRECISIONS, default=DEFAULT, help=f'default {DEFAULT}')
    parser.add_argument('--steps', type=int, default=3, help='profiled; default 3')
    parser.add_argument('--loop', help='a config to train for a while')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    (size,), (name,) = parse_sizes(options.size), parse_methods(options.method)
    check_precision(options.precision, jax.devices()[0])
    enable_compilation_cache()
    method = make_method(name, {}, {}, compute_dtype=compute_dtype(options.precision))
    record = provenance() | {
        'backend': jax.default_backend(),
        'method': name,
        'size': list(size),
        'precision': options.precision,
        'step': profile_step(method, size, options.steps, options.precision),
    }
    if options.loop:
        record['loop'] = {'config': options.loop} | profile_loop(load_config(options.loop))
    write_json(options.out, record)
    about = f'`{record["command"]}`, commit {record["commit"]}, {record["machine"]["devices"]}, {record["date"]}'
    write_text(options.out.with_suffix('.md'), f'# A training step\n\n{about}\n\n{table(record)}\n')
    print(table(record))
    print(record.get('loop', ''))
    return 0


if __name__ == '__main__':
    sys.exit(main())
