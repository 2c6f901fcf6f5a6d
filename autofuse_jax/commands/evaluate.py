"""What `evaluate` does: score runs under protocols and compare them on the pairs that all have."""

import argparse
import datetime
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.choices import DEFAULT_PROTOCOL
from autofuse_jax.commands.needs import Need, check_needs
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.case_scores import Record, score_cases
from autofuse_jax.evaluation.open_run import is_network, open_run, run_names
from autofuse_jax.evaluation.output import MARKER_NAME, write_evaluation
from autofuse_jax.evaluation.protocol import Protocol
from autofuse_jax.evaluation.protocol_files import read_protocol
from autofuse_jax.evaluation.runs import Run, Sources, common_pairs
from autofuse_jax.files import results_folder
from autofuse_jax.progress import CountProgress
from autofuse_jax.version import __version__
from autofuse_jax.weights.shipped import known_weights, weights_file

NEEDS = (
    Need(
        ('split',),
        lambda options: any(is_network(_named_weights(path)) for path in options.runs),
        'without a network, and results and scores have no splits',
        'leave it out',
    ),
)


def run(options: argparse.Namespace) -> None:
    """Score runs, compare them and write the evaluation.

    Args:
        options: Options of `autofuse_jax.evaluate`.

    Raises:
        UserError: A run, a protocol or an option is wrong.
    """
    check_needs(options, NEEDS)
    with results_folder(options.out, overwrite=options.overwrite, record=MARKER_NAME):
        _evaluate(options)


def _evaluate(options: argparse.Namespace) -> None:
    protocols = _protocols(options.protocol or [DEFAULT_PROTOCOL])
    names = run_names(options.runs, options.names)
    reference = options.reference or names[0]
    if reference not in names:
        raise UserError(f'--reference {reference} is no run', expected=f'one of {", ".join(names)}', fix='correct it')
    for path in (options.data, options.dataset_json):
        if path is not None and not path.exists():
            raise UserError(f'there is no {path}', fix='correct --data or --dataset-json')
    sources = Sources(options.data, options.dataset_json, options.split)
    runs = [
        open_run(_named_weights(path), name, sources, _open_network)
        for path, name in zip(options.runs, names, strict=True)
    ]
    for run in runs:
        for note in run.notes:
            print(f'{run.name}: {note}', file=sys.stderr)
    if len(runs) > 1:
        common_pairs({run.name: _pair_names(run) for run in runs})
    records_of: dict[str, dict[str, list[Record]]] = {protocol.name: {} for protocol in protocols}
    for run in runs:
        for protocol, records in _score(run, protocols).items():
            records_of[protocol][run.name] = records
    facts = {
        'command': options.command_line,
        'autofuse_jax': __version__,
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }
    print(write_evaluation(options.out, runs, protocols, records_of, reference, facts))


def _named_weights(path: Path) -> Path:
    """Return the file of weights that come with the package where a run is named after them."""
    return weights_file(path) if not path.exists() and str(path) in known_weights() else path


def _protocols(paths: Sequence[str]) -> list[Protocol]:
    protocols = [read_protocol(name) for name in paths]
    names = [protocol.name for protocol in protocols]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f'two protocols are called {twice[0]}', fix='change the name in one of the files')
    return protocols


def _pair_names(run: Run) -> list[Mapping[str, Any]]:
    return list(run.records) if run.records is not None else [{'pair': case.name} for case in run.cases]


def _score(run: Run, protocols: Sequence[Protocol]) -> dict[str, list[Record]]:
    """Score every pair of a run under every protocol; each pair is read once."""
    if run.records is not None:
        return {protocol.name: [dict(record) for record in run.records] for protocol in protocols}
    progress = CountProgress(f'{run.name}: scored', len(run.cases), 'pairs')
    return score_cases(run.cases, protocols, lambda *_: progress.step())


def _open_network(path: Path, name: str, sources: Sources) -> Run:
    # Only networks need jax; everything else should not wait for it.
    from autofuse_jax.training.network_runs import open_network

    return open_network(path, name, sources)
