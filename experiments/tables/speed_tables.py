"""The tables of docs/speed.md, from the records of `benchmark`, `scaling` and `devices`."""

from collections.abc import Callable
from typing import Any

from autofuse_jax.reports.markdown import MISSING, markdown_table
from autofuse_jax.training.precision import DEFAULT
from experiments.speed.accelerator_targets import TARGETS
from experiments.speed.accelerators import STEP as TRAINING_STEP
from experiments.speed.accelerators import Variant
from experiments.speed.benchmark import peak_of, title_of
from experiments.speed.benchmark_programs import COMPILED
from experiments.speed.benchmark_programs import FORWARD as NETWORK_FORWARD
from experiments.speed.benchmark_programs import STEP as NETWORK_STEP
from experiments.speed.complexity import text_of
from experiments.speed.input_rate import table as input_table
from experiments.speed.large_pair import table as large_pair_table
from experiments.speed.profile_step import table as profile_table
from experiments.speed.scaling import FORWARD, STEP
from experiments.speed.step_memory import table as step_memory_table

ReadRecord = Callable[[str], dict[str, Any]]


# Of the targets of `experiments.speed.accelerators`, the GPU.
GPU = 'h100'
# Quick starts in different precisions.
PRECISION_RECORDS = ('quickstart.json', 'quickstart_bfloat16.json')


def speed_tables(read_record: ReadRecord) -> dict[str, Callable[[], str]]:
    """Return the functions that make the tables, by name.

    Args:
        read_record: Reads a record of experiments/results/.
    """
    return {
        'benchmark': lambda: benchmark_table(read_record('benchmark_cpu.json')),
        'benchmark brain': lambda: benchmark_table(read_record('benchmark_brain_fields_cpu.json')),
        'benchmark avx512': lambda: benchmark_table(networks_only(read_record('benchmark_avx512_cpu.json'))),
        'benchmark large': lambda: benchmark_table(read_record('benchmark_large_cpu.json')),
        'profile': lambda: profile_table(read_record('profile_cpu.json')),
        'idle': lambda: idle_table(read_record('profile_cpu.json')),
        'input': lambda: input_table(read_record('input_rate_cpu.json')),
        'precision': lambda: precision_table({name: read_record(name) for name in PRECISION_RECORDS}),
        'step memory': lambda: step_memory_table(read_record('step_memory.json')),
        'scaling': lambda: scaling_table(read_record('scaling_cpu.json')),
        'devices': lambda: devices_table(read_record('devices_cpu.json')),
        'accelerators': lambda: accelerators_table(read_record('accelerators.json')),
        'devices memory': lambda: devices_memory_table(read_record('devices_cpu.json')),
        'large pair': lambda: large_pair_table(read_record('large_pair_cpu.json')),
    }


def networks_only(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of the benchmark without the operations on fields."""
    return record | {
        'results': [result for result in record['results'] if result['name'] in (NETWORK_FORWARD, NETWORK_STEP)]
    }


def benchmark_table(record: dict[str, Any]) -> str:
    """Return times beside PyTorch's, and the share of the measured peak."""
    rows = []
    for result in record['results']:
        title = f'{title_of(result)}, {text_of(result["size"], " x ")}'
        memory, compiled = f'{result["memory_gib"]:.2f}', f'{result["compile_seconds"]:.0f}'
        if 'not_timed' in result:
            rows.append([title, *[MISSING] * 4, memory, compiled])
            continue
        peak = peak_of(record, result)
        seconds, torch = result['seconds'], result.get('pytorch')
        speed = result['gflop'] / seconds['median']
        theirs = [MISSING] * 2
        if torch:
            theirs = [f'{torch["seconds"]["median"]:.3g}', _with_spread(torch['ours_to_theirs'])]
        after = _compiled_rows(result, seconds['median'])
        if 'openvino' in result:
            runtime = result['openvino']
            cells = [f'{runtime["seconds"]["median"]:.3g}', *theirs]
            if torch:
                cells[2] = _with_spread(runtime['to_pytorch'])
            deployed = f'{title_of(result)} in OpenVINO, {text_of(result["size"], " x ")}'
            after.insert(0, [deployed, *cells, MISSING, MISSING, MISSING])
        rows.append(
            [
                title,
                f'{seconds["median"]:.3g}',
                *theirs,
                f'{speed:,.0f} ({100 * speed / peak:.0f} %)',
                memory,
                compiled,
            ]
        )
        rows += after
    head = ['what', 'ours s', 'PyTorch s', 'ours / PyTorch (spread)', 'GFLOP/s (of peak)', 'GiB', 'compiled in s']
    return markdown_table(head, rows)


def _with_spread(ratio: dict[str, Any]) -> str:
    return f'{ratio["median"]:.2f} ({ratio["minimum"]:.2f} to {ratio["maximum"]:.2f})'


def _compiled_rows(result: dict[str, Any], ours: float) -> list[list[str]]:
    """Return a row beside `torch.compile`, where it was asked for."""
    theirs = result.get(f'pytorch{COMPILED}')
    if theirs is None:
        return []
    cells = [MISSING, 'cannot be compiled']
    if 'seconds' in theirs:
        cells = [f'{theirs["seconds"]["median"]:.3g}', _with_spread(theirs['ours_to_theirs'])]
    title = f'{title_of(result)} beside `torch.compile`, {text_of(result["size"], " x ")}'
    return [[title, f'{ours:.3g}', *cells, *[MISSING] * 3]]


def idle_table(record: dict[str, Any]) -> str:
    """Return how long the device of a profile waited for batches."""
    loop = record['loop']
    row = [f'`{loop["config"]}`', f'{loop["seconds_a_step"]:.3f}', f'{100 * loop["idle_share"]:.1f}']
    return markdown_table(['config', 'seconds a step', 'time in which the device ran nothing %'], [row])


def precision_table(records: dict[str, dict[str, Any]]) -> str:
    """Return the scores of runs in different precisions."""
    rows = []
    for record in records.values():
        dsc = record['scores']['dsc_after']
        precision = record['config']['training'].get('precision', DEFAULT)
        scores = f'{100 * dsc["mean"]:.1f} ± {100 * dsc["deviation"]:.1f}'
        njd = f'{record["scores"]["njd_percent"]["mean"]:.3f}'
        rows.append([precision, record['machine']['devices'], scores, njd])
    return markdown_table(['precision', 'device', 'DSC after %', 'NJD %'], rows)


def scaling_table(record: dict[str, Any]) -> str:
    """Return time and memory by volume and batch, and their growth."""
    rows = []
    for series in ('volume', 'batch'):
        series_rows = [row for row in record['results'] if row['series'] == series]
        for factor in dict.fromkeys(row['factor'] for row in series_rows):
            both = {row['program']: row for row in series_rows if row['factor'] == factor}
            one = both[FORWARD]
            cells = [f'{row["seconds"]["median"]:.2f}' for row in (one, both[STEP])]
            cells += [f'{row["memory_gib"]:.2f}' for row in (one, both[STEP])]
            rows.append([f'{one["pairs"]} of {text_of(one["size"], " x ")}', *cells])
        exponents = record['exponents']
        names = [
            f'{program}, {series}, {quantity}' for quantity in ('seconds', 'memory_gib') for program in (FORWARD, STEP)
        ]
        rows.append([f'growth with the {series}: exponent', *(f'{exponents[name]:.2f}' for name in names)])
    return markdown_table(['pairs', 'forward s', 'training step s', 'forward GiB', 'training step GiB'], rows)


def devices_table(record: dict[str, Any]) -> str:
    """Return how far loss and gradients on several devices are from those on one."""
    rows = [
        [
            f'{mesh["devices"]}, of which {mesh["depth"]} share a volume',
            f'{mesh["loss_relative"]:.1e}',
            f'{mesh["gradient_relative"]:.1e}',
        ]
        for mesh in record['meshes']
    ]
    return markdown_table(['devices', 'loss, relative difference', 'gradients, relative distance'], rows)


def devices_memory_table(record: dict[str, Any]) -> str:
    """Return the memory of each device when several share a volume."""
    whole = record['memory'][0]['total_gib']
    rows = [
        [str(share['depth']), f'{share["total_gib"]:.1f}', f'{whole / share["total_gib"]:.2f}']
        for share in record['memory']
    ]
    return markdown_table(['devices that share a volume', 'GiB on each', 'times less'], rows)


def accelerators_table(record: dict[str, Any]) -> str:
    """Return the memory of programs compiled for accelerators, beside the estimate and what PyTorch keeps, GiB."""
    theirs_by_size = {tuple(result['size']): result['kept_gib'] for result in record['official']}
    targets = list(dict.fromkeys(result['target'] for result in record['programs']))
    by_title: dict[str, dict[str, Any]] = {}
    for result in record['programs']:
        by_title.setdefault(_variant_title(result), {})[result['target']] = result
    rows = []
    for title, of_targets in by_title.items():
        one = next(iter(of_targets.values()))
        is_default = Variant(TRAINING_STEP) == Variant(**{name: one[name] for name in Variant.__dataclass_fields__})
        theirs = theirs_by_size.get(tuple(one['size'])) if is_default else None
        estimate = of_targets.get(GPU, {}).get('estimate_gib')
        cells = [MISSING if value is None else f'{value:.2f}' for value in (theirs, estimate)]
        rows.append([title, *cells, *(_memory_cell(of_targets.get(target)) for target in targets)])
    names = (TARGETS[name].name for name in targets)
    return markdown_table(['program', 'PyTorch, more than', 'estimate for GPUs', *names], rows)


def _memory_cell(result: dict[str, Any] | None) -> str:
    if result is None:
        return MISSING
    return f'{result["gib"]:.2f}' + (' (too much)' if 'does_not_fit' in result else '')


def _variant_title(result: dict[str, Any]) -> str:
    parts = [result['program'], text_of(result['size'], ' x ')]
    if result['precision'] != DEFAULT:
        parts.append(result['precision'])
    if result['remat'] != 'none':
        parts.append(f"`model.remat='{result['remat']}'`")
    if result['depth'] > 1:
        parts.append(f'on each of {result["depth"]} devices')
    return ', '.join(parts)
