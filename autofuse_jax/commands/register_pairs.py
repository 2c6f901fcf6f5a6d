"""What `register --pairs` does: every pair of a table into a folder of its own, and a summary of all of them."""

import argparse
import dataclasses
import errno
import functools
import hashlib
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.commands.needs import check_needs
from autofuse_jax.commands.pair_headers import header_problems
from autofuse_jax.commands.register_needs import NEEDS
from autofuse_jax.commands.register_options import (
    check_composite,
    check_gate_maps,
    check_symmetric,
    guide_of,
    open_network_of,
    settings_of,
)
from autofuse_jax.commands.register_pair import gated_model, register_pair
from autofuse_jax.commands.register_words import summary_line
from autofuse_jax.data.inputs import read_classes
from autofuse_jax.data.pair_table import FILE_COLUMNS, PairRow, read_pair_table
from autofuse_jax.errors import COUNT, UserError, check_option
from autofuse_jax.evaluation.register_results import FAILED_NAME, REPORT
from autofuse_jax.files import claim_folder, json_types, listed_files, write_json
from autofuse_jax.records.forms import Anything, Form, Table
from autofuse_jax.records.reading import read_json
from autofuse_jax.registration.device import use_device
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.results import REPORT_NAME
from autofuse_jax.registration.step_progress import StepProgress
from autofuse_jax.registration.turns import do_in_turns
from autofuse_jax.reports.pairs_summary import SUMMARY_PAGE, SUMMARY_TABLE, PairOutcome, counts_sentence, write_summary
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.storage.contents import content_hash
from autofuse_jax.storage.locks import InUseError, locked
from autofuse_jax.storage.swaps import recover_folder
from autofuse_jax.storage.temporary import is_temporary
from autofuse_jax.version import __version__

# What belongs to one pair cannot be said of all.
OPTIONS_OF_ONE_PAIR = (
    *FILE_COLUMNS,
    'moving_images',
    'reference_frame',
    'initial',
    'fixed_guide',
    'moving_guide',
    'guide_points',
)
# What does not change a result, or no more than another device would.
OPTIONS_WITHOUT_EFFECT = (
    'pairs',
    'part',
    'together',
    'out',
    'overwrite',
    'device',
    'command_line',
    'given',
    'import_seconds',
)
SOME_FAILED_STATUS = 1
# A disk that is full fails every pair that follows.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
OBJECT = Table(Anything())


def run_pairs(options: argparse.Namespace) -> int:
    """Register the pairs of a table that are not registered yet.

    Args:
        options: Options of `autofuse_jax.register`, with `pairs`.

    Returns:
        The exit status: 0 when all pairs of the part are registered, 1 when some failed.

    Raises:
        UserError: Something is wrong with the table, its files, the options or the folder; nothing was begun.
    """
    for name in OPTIONS_OF_ONE_PAIR:
        if getattr(options, name) not in (None, []):
            raise UserError(
                f'--{name.replace("_", "-")} does not go with --pairs',
                expected=f'what belongs to one pair in the table, as columns {", ".join(FILE_COLUMNS)}',
                fix='leave out one of the two',
            )
    check_option('--together', options.together, COUNT)
    check_needs(options, NEEDS)
    check_composite(options)
    check_gate_maps(options)
    check_symmetric(options)
    # What each pair would fail by is said once, before any of them.
    guide_of(options)
    read_classes(options.classes)
    settings = settings_of(options)
    claim_folder(options.out, continues=True)
    share = '' if options.part is None else options.part.file_name
    with locked(options.out, share=share):
        return _run_share(options, settings)


def _run_share(options: argparse.Namespace, settings: PipelineSettings) -> int:
    def share_of(rows: Sequence[PairRow]) -> list[PairRow]:
        """The pairs that this process registers."""
        return list(rows if options.part is None else options.part.of(rows))

    rows = read_pair_table(
        options.pairs,
        reserved=(SUMMARY_PAGE, SUMMARY_TABLE),
        check=lambda rows: header_problems(share_of(rows), f'.{options.out_format}'),
    )
    share = share_of(rows)
    for row in share:
        recover_folder(options.out / row.name)
    inputs = {row.name: _inputs(row, options, settings) for row in share}
    missing = _missing(options, share, inputs)
    for name in {row.name for row in share} - {row.name for row in missing}:
        # Left by a run with other options, which failed and was given up.
        (options.out / name / FAILED_NAME).unlink(missing_ok=True)
    print(f'{len(share)} pairs, {len(share) - len(missing)} of them registered already', file=sys.stderr)
    failures = 0
    try:
        if missing:
            failures = _register_all(options, settings, missing, inputs)
    finally:
        # After an interrupt, too, the summary tells what there is.
        outcomes = _summarise(options.out, rows, options.command_line)
    print(counts_sentence(outcomes))
    print(f'summary: {options.out / SUMMARY_PAGE}, {options.out / SUMMARY_TABLE}')
    return SOME_FAILED_STATUS if failures else 0


def _register_all(
    options: argparse.Namespace,
    settings: PipelineSettings,
    rows: Sequence[PairRow],
    inputs: Mapping[str, dict[str, Any]],
) -> int:
    """Register pairs, one after the other or several together, and return how many failed."""
    use_device(options.device)
    enable_compilation_cache()
    network = open_network_of(options)
    if options.gate_maps:
        gated_model(network)

    def register_one(number: int, row: PairRow) -> bool:
        """Register a pair and return whether that succeeded."""
        folder = options.out / row.name
        place = f'{row.name} ({number}/{len(rows)})'
        one = argparse.Namespace(**{**vars(options), **dict.fromkeys(FILE_COLUMNS), **row.files, 'out': folder})
        try:
            about = {'pair': {'name': row.name, 'inputs': inputs[row.name]}}
            progress = StepProgress(prefix=f'{place}, ')
            with locked(folder, beside=True):
                report = register_pair(one, settings, progress, network=network, about=about)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise
            # The folder in use is another's.
            if not isinstance(error, InUseError):
                _record_failure(folder, row, error)
            print(f'{place}: failed: {_one_line(error)}', file=sys.stderr, flush=True)
            return False
        (folder / FAILED_NAME).unlink(missing_ok=True)
        print(f'{place}: {summary_line(report)}', flush=True)
        return True

    work = [functools.partial(register_one, number, row) for number, row in enumerate(rows, start=1)]
    return do_in_turns(work, options.together).count(False)


def _record_failure(folder: Path, row: PairRow, error: Exception) -> None:
    """Leave the reason in the pair's folder; of a defect of this package also where it happened."""
    trace = None
    if not isinstance(error, UserError | OSError):
        trace = ''.join(traceback.format_exception(error))
        print(trace, file=sys.stderr)
    files = {column: str(file) for column, file in row.files.items()}
    write_json(folder / FAILED_NAME, {'name': row.name, 'error': _one_line(error), 'files': files, 'trace': trace})


def _one_line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text if isinstance(error, UserError) else f'{type(error).__name__}: {text}'.rstrip(': ')


def _inputs(row: PairRow, options: argparse.Namespace, settings: PipelineSettings) -> dict[str, Any]:
    """What the result of a pair depends on: content of its files, options, settings, version of this package."""
    described = {
        name: _content(value)
        for name, value in vars(options).items()
        if name not in OPTIONS_WITHOUT_EFFECT and name not in FILE_COLUMNS
    }
    described |= {'settings': dataclasses.asdict(settings), 'version': __version__}
    text = json.dumps(json_types(described), sort_keys=True)
    return {
        'options_sha256': hashlib.sha256(text.encode()).hexdigest(),
        'files_sha256': {column: content_hash(file) for column, file in row.files.items()},
    }


def _content(value: Any) -> Any:
    """A value of an option; of a file its content."""
    if isinstance(value, list | tuple):
        return [_content(item) for item in value]
    if isinstance(value, Path):
        # Weights may also be called by a name.
        return content_hash(value) if value.is_file() else str(value)
    return value


def _missing(
    options: argparse.Namespace, rows: Sequence[PairRow], inputs: Mapping[str, dict[str, Any]]
) -> list[PairRow]:
    """Return the pairs that are still to do, or refuse folders that hold something else."""
    missing, others, strange = [], [], []
    for row in rows:
        folder = options.out / row.name
        report = _read(folder / REPORT_NAME)
        same = report is not None and (report.get('pair') or {}).get('inputs') == inputs[row.name]
        if same and all(path.exists() for path in listed_files(folder / REPORT_NAME)):
            continue
        missing.append(row)
        if same:
            print(f'{folder} lacks files that its report lists: {row.name} is registered again', file=sys.stderr)
        elif report is not None:
            others.append(row.name)
        elif folder.exists() and not _of_ours(folder):
            strange.append(row.name)
    if strange:
        raise UserError(
            f'{options.out} holds {_some(strange)}, which this command did not write',
            fix='name another --out folder, or move them away',
        )
    if others and not options.overwrite:
        raise UserError(
            f'{_some(others)} in {options.out} {"was" if len(others) == 1 else "were"} registered from other files, '
            'with other options or by another version',
            fix='name another --out folder, or add --overwrite to replace them',
        )
    return missing


def _of_ours(folder: Path) -> bool:
    """Whether a folder without a report holds only what a failed or a killed run leaves."""
    return folder.is_dir() and all(path.name == FAILED_NAME or is_temporary(path) for path in folder.iterdir())


def _some(names: Sequence[str], shown: int = 8) -> str:
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(names[:shown]) + more


def _read(path: Path, form: Form = OBJECT) -> dict[str, Any] | None:
    """A record, or None where there is none, it is damaged or something else."""
    try:
        return read_json(path, form)
    except UserError:
        return None


def _summarise(out: Path, rows: Sequence[PairRow], command: str) -> list[PairOutcome]:
    """Write the summary of what there is, and again while other parts of the work add to it.

    Whoever writes last has looked after the last pair was finished, so that no lock is needed.
    """
    outcomes = [_outcome(out, row) for row in rows]
    while True:
        write_summary(out, outcomes, command=command)
        now = [_outcome(out, row) for row in rows]
        if now == outcomes:
            return outcomes
        outcomes = now


def _outcome(out: Path, row: PairRow) -> PairOutcome:
    files = {column: str(file) for column, file in row.files.items()}
    failure = _read(out / row.name / FAILED_NAME)
    if failure is not None:
        return PairOutcome(row.name, files, error=str(failure.get('error') or 'no reason is recorded'))
    return PairOutcome(row.name, files, report=_read(out / row.name / REPORT_NAME, REPORT))
