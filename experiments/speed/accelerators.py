"""Compile AutoFuse for accelerators that are not at hand, and read the memory that their compilers give it.

    python -m experiments.speed.accelerators --out=experiments/results/accelerators.json
    python -m experiments.speed.accelerators --targets=h100 --official=networks.py --class=AutoFuse --out=...
    python -m experiments.speed.accelerators --targets=v5e --sizes=128x128x32 --plain --out=...

For one pair: forward pass and training step in the default precision and in bfloat16, with blocks computed again in
the reverse pass, and with 2 and 4 devices that share the volume. Nothing is run, and no accelerator is needed, only
its compiler (`pip install 'jax[tpu]'`, `pip install 'jax[cuda12]'`); that for GPUs takes half a minute for a program,
that for TPUs several. What a compiler refuses for want of memory is kept with what it says. Scratch memory of
convolutions is not in the figures for GPUs (see `accelerator_targets`).

--official is your copy of the authors' networks.py (or a file with a network of the same layout); it is executed, so
use one you trust. Beside ours stands what PyTorch keeps at the end of its forward pass for the reverse pass, by its own
hooks and without computing anything: less than the most that a step takes. What is done is kept in --out: the same
command goes on where it was interrupted.
"""

import argparse
import dataclasses
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.sharding import DATA_AXIS, DEPTH_AXIS, replicated, volumes_sharded
from autofuse_jax.training.memory import filling, kept_by_compiler, step_bytes
from autofuse_jax.training.optimizers import make_optimizer
from autofuse_jax.training.precision import BFLOAT16, DEFAULT, compute_dtype
from autofuse_jax.training.state import create_train_state
from autofuse_jax.training.step import compile_train_step
from experiments.record_parser import record_parser
from experiments.speed.accelerator_targets import TARGETS, Target, devices_of
from experiments.speed.complexity import SIZES, parse_sizes, text_of
from experiments.speed.memory_and_time import GIB

FORWARD, STEP = 'forward', 'training step'
PHASE = 'phase_1'
Size = tuple[int, int, int]
# How the TPU compiler says that a program does not fit: 'Used 20.10G of 15.75G hbm'.
USED = re.compile(r'Used ([\d.]+)G of ([\d.]+)G')


@dataclasses.dataclass(frozen=True)
class Variant:
    """A program to compile.

    Attributes:
        program: `FORWARD` or `STEP`.
        precision: See `autofuse_jax.training.precision`.
        remat: What the reverse pass computes again, see `model.remat`.
        depth: Devices that share the volume.
    """

    program: str
    precision: str = DEFAULT
    remat: str = 'none'
    depth: int = 1


# Of the variants, the first are the plain ones.
PLAIN = 2
VARIANTS = (
    Variant(FORWARD),
    Variant(STEP),
    Variant(STEP, precision=BFLOAT16),
    Variant(STEP, remat='activations'),
    Variant(STEP, remat='all'),
    Variant(STEP, precision=BFLOAT16, remat='all'),
    Variant(STEP, depth=2),
    Variant(STEP, depth=4),
)


def examine(target: Target, size: Size, variant: Variant) -> dict[str, Any]:
    """Compile a program for an accelerator, and read its memory."""
    devices = np.asarray(devices_of(target, variant.depth)).reshape(1, -1)
    mesh = Mesh(devices, (DATA_AXIS, DEPTH_AXIS), axis_types=(AxisType.Auto, AxisType.Auto))

    def make(remat: str) -> Method:
        return make_method('autofuse', {'remat': remat}, {}, compute_dtype=compute_dtype(variant.precision))

    method = make(variant.remat)
    optimizer = make_optimizer(lambda step: 1e-4, clip_norm=0.0)
    state = jax.eval_shape(lambda key: create_train_state(method, optimizer, (PHASE,), size, key), jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32, sharding=volumes_sharded(mesh))
    batch = {'fixed': image, 'moving': image}

    def predict(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        return method.predict(params, batch['fixed'], batch['moving'], jax.random.key(0)).displacement

    result: dict[str, Any] = {}
    if variant.program == STEP:
        function = compile_train_step(method.objectives(PHASE), optimizer, mesh)
        platform = devices.flat[0].platform
        objectives = make(kept_by_compiler(variant.remat, platform)).objectives(PHASE)
        result['estimate_gib'] = filling(platform) * step_bytes(objectives, state, batch, variant.depth) / GIB
    else:
        function, state = jax.jit(predict, in_shardings=(replicated(mesh), None)), state.params
    started = time.perf_counter()
    with jax.set_mesh(mesh):
        lowered = function.lower(state, batch)
        try:
            memory = lowered.compile(target.options).memory_analysis()
        except jax.errors.JaxRuntimeError as error:
            overflow = USED.search(str(error))
            if overflow is None:
                raise
            return result | {'does_not_fit': f'{overflow[1]} of {overflow[2]} GiB', 'gib': float(overflow[1])}
    total = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    return result | {
        'compile_seconds': time.perf_counter() - started,
        'gib': (total - memory.alias_size_in_bytes) / GIB,
    }


def official_kept(options: argparse.Namespace, size: Size) -> float:
    """Return what PyTorch keeps of a training step for its reverse pass, GiB."""
    from experiments.speed.benchmark_programs import official_network
    from experiments.speed.benchmark_torch import kept_bytes

    return kept_bytes(lambda: official_network(options), size) / GIB


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--targets', default=','.join(TARGETS), help=f'default {",".join(TARGETS)}')
    parser.add_argument('--sizes', default=SIZES, help=f'default {SIZES}')
    parser.add_argument('--plain', action='store_true', help='forward pass and training step without variants')
    parser.add_argument('--official', type=Path, help="your copy of the authors' networks.py")
    parser.add_argument('--class', dest='class_name', default='AutoFuse', help='its class; default AutoFuse')
    parser.add_argument('--arguments', default='{}', help='arguments of the class as JSON; default its own')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    names = options.targets.split(',')
    if unknown := set(names) - set(TARGETS):
        raise UserError(f'--targets holds {", ".join(sorted(unknown))}', expected=f'some of {", ".join(TARGETS)}')
    # The processor traces; accelerators that happen to be here are left alone.
    jax.config.update('jax_platforms', 'cpu')
    sizes = parse_sizes(options.sizes)
    earlier = json.loads(options.out.read_text(encoding='utf-8')) if options.out.is_file() else {}
    lists = {name: earlier.get(name, []) for name in ('programs', 'official')}

    def keep(name: str, result: dict[str, Any]) -> None:
        about = provenance()
        # Programs that take long may be of an earlier commit than the others.
        lists[name].append(result | {'commit': about['commit']})
        write_json(options.out, about | lists)
        print(result, flush=True)

    for size in sizes:
        if options.official and not any(tuple(result['size']) == size for result in lists['official']):
            keep('official', {'size': list(size), 'kept_gib': official_kept(options, size)})
    for name in names:
        for size in sizes:
            for variant in VARIANTS[:PLAIN] if options.plain else VARIANTS:
                what = {'target': name, 'size': list(size)} | dataclasses.asdict(variant)
                if any(what.items() <= result.items() for result in lists['programs']):
                    continue
                print(f'compiling {variant.program} of {text_of(size)} for {TARGETS[name].name}', file=sys.stderr)
                keep('programs', what | examine(TARGETS[name], size, variant))
                jax.clear_caches()
    return 0


if __name__ == '__main__':
    sys.exit(main())
