"""Score registrations under a protocol and compare runs: `python -m autofuse_jax.evaluate RUN [RUN ...] --out=DIR`.

A RUN is a folder of results of `register` (of one pair or of many), a folder of Learn2Reg displacement fields, a
training folder or released weights (with --data), or the folder of an earlier evaluation. Two or more runs are compared
on the pairs that all of them have.
"""

import argparse
import datetime
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.data.manifests import SPLITS
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.evaluation.open_run import open_run, run_names
from autofuse_jax.evaluation.output import MARKER_NAME, write_evaluation
from autofuse_jax.evaluation.pair_scores import score_pair
from autofuse_jax.evaluation.protocol import PROTOCOLS, Protocol, read_protocol
from autofuse_jax.evaluation.runs import Run, Sources, common_pairs
from autofuse_jax.files import claim_folder
from autofuse_jax.version import __version__

DEFAULT_OUT = 'evaluation'
Records = list[dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line tool.

    Args:
        argv: Arguments without the program name; None takes those of the process.

    Returns:
        The exit status: 0, 2 after bad input, 130 after an interrupt.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    return run_command(lambda: _evaluate(options, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m autofuse_jax.evaluate',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='what to score; name runs before options')
    parser.add_argument('--out', type=Path, default=Path(DEFAULT_OUT), metavar='DIR', help='where tables go')
    parser.add_argument(
        '--protocol',
        nargs='+',
        action='extend',
        metavar='NAME|FILE',
        help=f'{", ".join(PROTOCOLS)}, or a JSON file; several show the same pairs side by side',
    )
    parser.add_argument('--data', type=Path, metavar='DIR', help='images and labels, or prepared data for a network')
    parser.add_argument('--dataset-json', type=Path, metavar='FILE', help='data set of Learn2Reg fields')
    parser.add_argument('--split', choices=SPLITS, help='split of prepared data to register with a network')
    parser.add_argument('--names', nargs='+', metavar='NAME', help='what tables call the runs')
    parser.add_argument('--reference', metavar='NAME', help='the run that others are compared with; default the first')
    parser.add_argument('--overwrite', action='store_true', help='replace an earlier evaluation in --out')
    return parser


def _evaluate(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    claim_folder(options.out, overwrite=options.overwrite, record=MARKER_NAME)
    protocols = _protocols(options.protocol or ['default'])
    names = run_names(options.runs, options.names)
    reference = options.reference or names[0]
    if reference not in names:
        raise UserError(f'--reference {reference} is no run', expected=f'one of {", ".join(names)}', fix='correct it')
    for path in (options.data, options.dataset_json):
        if path is not None and not path.exists():
            raise UserError(f'there is no {path}', fix='correct --data or --dataset-json')
    sources = Sources(options.data, options.dataset_json, options.split)
    runs = [open_run(path, name, sources) for path, name in zip(options.runs, names, strict=True)]
    if len(runs) > 1:
        common_pairs({run.name: _pair_names(run) for run in runs})
    scored = {protocol.name: {} for protocol in protocols}
    for run in runs:
        for protocol, records in _score(run, protocols).items():
            scored[protocol][run.name] = records
    facts = {
        'command': ' '.join(['python -m autofuse_jax.evaluate', *arguments]),
        'autofuse_jax': __version__,
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }
    print(write_evaluation(options.out, runs, protocols, scored, reference, facts))


def _protocols(given: Sequence[str]) -> list[Protocol]:
    protocols = [read_protocol(name) for name in given]
    names = [protocol.name for protocol in protocols]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f'two protocols are called {twice[0]}', fix='change the name in one of the files')
    return protocols


def _pair_names(run: Run) -> list[Mapping[str, Any]]:
    return list(run.records) if run.records is not None else [{'pair': case.name} for case in run.cases]


def _score(run: Run, protocols: Sequence[Protocol]) -> dict[str, Records]:
    """Score every pair of a run under every protocol; each pair is read once."""
    if run.records is not None:
        return {protocol.name: list(run.records) for protocol in protocols}
    scored: dict[str, Records] = {protocol.name: [] for protocol in protocols}
    progress = _Progress(run.name, len(run.cases))
    for number, case in enumerate(run.cases, start=1):
        pair = case.load()
        for protocol in protocols:
            scores = score_pair(pair, protocol)
            scored[protocol.name].append({'pair': case.name, 'subject': case.group, **case.facts, **scores})
        progress.show(number)
    return scored


class _Progress:
    """A line on standard error with the count and the remaining time."""

    # Seconds between lines where the output is a file: enough to follow, not enough to fill it.
    FILE_INTERVAL = 10.0

    def __init__(self, name: str, total: int):
        self.name, self.total = name, total
        self.start = self.last = time.monotonic()

    def show(self, done: int) -> None:
        now = time.monotonic()
        left = (now - self.start) / done * (self.total - done)
        text = f'{self.name}: scored {done}/{self.total} pairs, about {left:.0f} s left'
        finished = done == self.total
        if sys.stderr.isatty():
            print(f'\r{text:<78}', end='\n' if finished else '', file=sys.stderr, flush=True)
        elif finished or now - self.last >= self.FILE_INTERVAL:
            self.last = now
            print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
