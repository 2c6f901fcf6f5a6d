"""Register without training, beside ANTs SyN with cross-correlation, and with a network where there are weights.

A network that segments also guides instance optimisation, by its own segmentations alone.

    python -m experiments.comparison.compare_with_syn --task=acdc --data=prepared/acdc \\
        --weights=runs/cardiac_unsup.npz --syn-pairs=6 --work=runs/syn_acdc.json \\
        --out=experiments/results/instance_acdc.json
    python -m experiments.comparison.compare_with_syn --task=brains --data=MALC2012 --label-map=labels35_map.json \\
        --syn-pairs=2 --syn-iterations=100,70,50,0 --work=runs/syn_brains.json \\
        --out=experiments/results/instance_brains.json
    python -m experiments.comparison.compare_with_syn --task=acdc --data=prepared/acdc \\
        --weights=runs/cardiac_unsup.npz --methods before --budgets 6,4,2 15,10,5 30,20,10 \\
        --work=runs/budgets_acdc.json --out=experiments/results/budgets_acdc.json

Each pair is registered by all methods in turn, so that their times are taken under the same conditions. What is done is
kept in --work: the same command goes on where it was interrupted, and one with other weights or settings is refused.
SyN needs the extra `syn`.
"""

import argparse
import dataclasses
import functools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import NETWORK as GUIDE_OF_NETWORK
from autofuse_jax.classical.syn import SynSettings, register_with_syn
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume, read_image, read_labels
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import json_types, write_json
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent, sdlogj
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.preparation.splits import read_splits
from autofuse_jax.provenance import provenance
from autofuse_jax.records.forms import Anything, Table
from autofuse_jax.records.reading import read_json
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.scores import inverse_consistency
from autofuse_jax.reports.summary import spread
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.weights.pretrained import load_model
from autofuse_jax.weights.released import file_hash
from autofuse_jax.weights.shipped import weights_file
from experiments.record_parser import record_parser

KIB_PER_GIB = 1 << 20
# Of all runs that filled the work file; SyN included where it was run in the same process.
PEAK = 'peak_memory_gib'
# Entry of the work file beside the pairs: settings, and hashes of what the routes need.
MADE_WITH = 'made_with'
BEFORE, AFFINE, INSTANCE, NETWORK, BOTH, GUIDED, SYN = (
    'before',
    'affine',
    'affine + instance',
    'affine + network',
    'affine + network + instance',
    'affine + network + guided instance',
    'SyN',
)
# Between a route and the number of its steps, where that is not the default.
WITH_STEPS = ', '


@dataclasses.dataclass(frozen=True)
class Pair:
    """A named pair with labels on both sides, loaded on demand.

    Attributes:
        name: Unique.
        load: Returns fixed and moving volume.
        structures: Label ids to score.
    """

    name: str
    load: Callable[[], tuple[Volume, Volume]]
    structures: tuple[int, ...]


def acdc_pairs(root: Path, split: str) -> Iterator[Pair]:
    """ED to ES and ES to ED of every patient of a split of the prepared data."""
    manifest = read_manifest(root)
    structures = tuple(label for label in manifest.classes if label)
    for subject in manifest.subjects_of(split):
        frames = {phase: subject.frame_of_phase(phase) for phase in ('ED', 'ES')}
        for moving, fixed in (('ED', 'ES'), ('ES', 'ED')):

            def load(fixed=frames[fixed], moving=frames[moving]) -> tuple[Volume, Volume]:
                return load_frame(manifest, fixed), load_frame(manifest, moving)

            yield Pair(f'{subject.id}_{moving}_to_{fixed}', load, structures)


def brain_pairs(root: Path, label_map: Path, split: str) -> Iterator[Pair]:
    """All ordered pairs of the subjects of a split, in native space, their labels merged to the 35 structures."""
    merged = {
        int(k): v for k, v in json.loads(label_map.read_text(encoding='utf-8'))['neuromorphometrics_to_35'].items()
    }
    split_of = read_splits(root.parent / 'splits.json', root.name)
    subjects = [name for name, part in split_of.items() if part == split]

    def read(subject: str) -> Volume:
        image = read_image(root / subject / 't1.nii.gz')
        labels, _ = read_labels(root / subject / 'seg.nii.gz')
        table = np.zeros(max(merged) + 1, np.int32)
        table[list(merged)] = list(merged.values())
        inside = (labels >= 0) & (labels < table.size)
        return Volume(image.image, np.where(inside, table[np.where(inside, labels, 0)], 0), image.affine, subject)

    structures = tuple(sorted(set(merged.values()) - {0}))
    for fixed in subjects:
        for moving in subjects:
            if fixed != moving:
                load = lambda fixed=fixed, moving=moving: (read(fixed), read(moving))  # noqa: E731
                yield Pair(f'{moving}_to_{fixed}', load, structures)


def run_ours(
    fixed: Volume,
    moving: Volume,
    structures: tuple[int, ...],
    settings: PipelineSettings,
    model: Any,
    guide: str | None = None,
) -> dict[str, Any]:
    """Register, and return what is recorded of it."""
    started, used = time.perf_counter(), time.process_time()
    result = register_volumes(fixed, moving, settings, model=model, guide=guide)
    seconds = {'seconds': time.perf_counter() - started, 'processor_seconds': time.process_time() - used}
    record = _scores(fixed, result.moved_labels, result.transform.displacement, structures)
    consistency = inverse_consistency(result.transform, result.inverse)
    return record | seconds | {'inverse_consistency_mm': consistency['mean'], 'stages': list(result.stages)}


def run_before(fixed: Volume, moving: Volume, structures: tuple[int, ...]) -> dict[str, Any]:
    """Score what the headers alone give."""
    labels = move_volume(moving, fixed.grid).labels
    return {'dsc': mean_over_structures(dice_per_label(fixed.labels, labels, structures))}


def run_syn(fixed: Volume, moving: Volume, structures: tuple[int, ...], settings: SynSettings) -> dict[str, Any]:
    """Register with SyN, and return what is recorded of it."""
    labels, displacement, seconds = register_with_syn(fixed, moving, settings)
    return _scores(fixed, labels, displacement, structures) | seconds


def _scores(
    fixed: Volume, moved_labels: np.ndarray, displacement: np.ndarray, structures: tuple[int, ...]
) -> dict[str, Any]:
    determinant = jacobian_determinant(displacement)
    dice = dice_per_label(fixed.labels, moved_labels, structures)
    return {
        'dsc': mean_over_structures(dice),
        'dsc_per_label': dice,
        'njd_percent': njd_percent(determinant),
        'sdlogj': sdlogj(determinant),
    }


def summarise(records: dict[str, dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return means over pairs by method, and the standard deviation of DSC (divisor n - 1; nan of one pair)."""
    summary = {}
    for method in dict.fromkeys(method for name in names for method in records[name]):
        found = [records[name][method] for name in names if method in records[name]]
        keys = ('dsc', 'njd_percent', 'sdlogj', 'inverse_consistency_mm', 'seconds', 'processor_seconds')
        means = {key: float(np.mean([one[key] for one in found])) for key in keys if key in found[0]}
        deviation = spread(one['dsc'] for one in found).deviation
        summary[method] = {'pairs': len(found), 'dsc_deviation': deviation} | means
    return summary


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--task', choices=('acdc', 'brains'), required=True)
    parser.add_argument('--data', type=Path, required=True, help='prepared ACDC, or the folder malc2012')
    parser.add_argument('--label-map', type=Path, help='JSON with neuromorphometrics_to_35, for brains')
    parser.add_argument('--split', default='validation')
    parser.add_argument('--weights', type=Path, help='npz of a network')
    parser.add_argument('--pairs', type=int, default=None, help='only the first so many pairs')
    parser.add_argument('--syn-pairs', type=int, default=0, help='run SyN on the first so many pairs')
    parser.add_argument(
        '--syn-iterations',
        type=_numbers,
        default=(100, 70, 50),
        help='at each level, the last being full resolution; default 100,70,50',
    )
    parser.add_argument('--methods', nargs='+', help='only these, and those of --budgets; default all')
    parser.add_argument(
        '--budgets',
        nargs='+',
        type=_numbers,
        default=[],
        metavar='N,N,N',
        help='further step budgets of instance optimisation',
    )
    parser.add_argument('--work', type=Path, required=True, help='JSON that keeps what is done')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    enable_compilation_cache()
    pairs = list(
        acdc_pairs(options.data, options.split)
        if options.task == 'acdc'
        else brain_pairs(options.data, options.label_map, options.split)
    )[: options.pairs]
    syn = SynSettings(options.syn_iterations, affine=options.task == 'brains')
    model = None if options.weights is None else load_model(options.weights)
    whole, alone = PipelineSettings(), PipelineSettings(instance=None)
    methods: dict[str, Callable[[Volume, Volume, tuple[int, ...]], dict[str, Any]]] = {
        BEFORE: run_before,
        AFFINE: lambda f, m, s: run_ours(f, m, s, alone, None),
        INSTANCE: lambda f, m, s: run_ours(f, m, s, whole, None),
    }
    if model is not None:
        methods[NETWORK] = lambda f, m, s: run_ours(f, m, s, alone, model)
        methods[BOTH] = lambda f, m, s: run_ours(f, m, s, whole, model)
        if model.description.model.get('num_classes'):
            methods[GUIDED] = lambda f, m, s: run_ours(f, m, s, whole, model, GUIDE_OF_NETWORK)
    further = routes_with_budgets(options.budgets, model)
    methods |= further
    chosen = {*options.methods, *further} if options.methods else None
    made_with = {
        'settings': dataclasses.asdict(whole),
        'weights': None if options.weights is None else file_hash(weights_file(options.weights)),
        'label map': None if options.label_map is None else file_hash(options.label_map),
        'SyN': dataclasses.asdict(syn) if options.syn_pairs else None,
    }
    records, made_with = read_work(options.work, made_with)
    peak = records.pop(PEAK, 0.0)
    for number, pair in enumerate(pairs):
        done = records.setdefault(pair.name, {})
        wanted = methods | ({SYN: lambda f, m, s: run_syn(f, m, s, syn)} if number < options.syn_pairs else {})
        missing = [name for name in wanted if name not in done and name in (chosen or wanted)]
        volumes = pair.load() if missing else None
        for name in missing:
            done[name] = json_types(wanted[name](*volumes, pair.structures))
            peak = max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_GIB)
            write_json(options.work, records | {PEAK: peak, MADE_WITH: made_with})
            print(f'{pair.name}, {name}: ' + json.dumps({k: v for k, v in done[name].items() if k != 'stages'}))
    names = [pair.name for pair in pairs]
    beside = names[: options.syn_pairs]
    record = provenance() | {
        'data': {'task': options.task, 'split': options.split, 'pairs': names},
        'settings': dataclasses.asdict(whole) | {'syn': dataclasses.asdict(syn)},
        'weights': options.weights and options.weights.name,
        'summary': summarise(records, names),
        'summary_of_pairs_with_syn': summarise(records, beside) if beside else None,
        PEAK: peak,
        'records': {name: records[name] for name in names},
    }
    write_json(options.out, json_types(record))
    for method, means in record['summary'].items():
        print(f'{method}: ' + ', '.join(f'{key} {value:.4g}' for key, value in means.items()))
    return 0


def read_work(path: Path, made_with: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what has been done, and what all of it was made with, earlier runs included.

    Args:
        path: The work file; it need not exist. Older ones do not say what they were made with.
        made_with: What this run makes routes with by name; None: it makes none with that.

    Raises:
        UserError: What has been done was made with something else.
    """
    records = read_json(path, Table(Anything())) if path.is_file() else {}
    earlier = records.pop(MADE_WITH, {})
    now = {name: json_types(value) for name, value in made_with.items() if value is not None}
    others = [name for name, value in now.items() if earlier.get(name, value) != value]
    if others:
        raise UserError(
            f'{path} holds routes that were made with other {" and other ".join(others)}',
            expected='what this command goes on with',
            fix='use another --work',
        )
    return records, {**earlier, **now}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(','))


_numbers.__name__ = 'list of whole numbers'


def routes_with_budgets(budgets: Sequence[tuple[int, ...]], model: Any) -> dict[str, Callable[..., dict[str, Any]]]:
    """Return instance optimisation with other numbers of steps, without the network and with it.

    Args:
        budgets: Largest numbers of steps of the levels, such as (6, 4, 2).
        model: The network; None: there is none.

    Returns:
        Functions (fixed, moving, structures) -> record by the name of the route, which says the sum of the steps.
    """
    methods = {}
    for steps in budgets:
        instance = InstanceSettings(steps=steps, steps_of_large=max(steps))
        settings = PipelineSettings(instance=instance)
        for name, network in ((INSTANCE, None), (BOTH, model)):
            if network is not None or name == INSTANCE:
                methods[f'{name}{WITH_STEPS}{sum(steps)} steps'] = functools.partial(
                    run_ours, settings=settings, model=network
                )
    return methods


if __name__ == '__main__':
    sys.exit(main())
