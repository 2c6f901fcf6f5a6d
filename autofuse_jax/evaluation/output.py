"""Writing an evaluation: a folder for every run, a comparison of several, and protocols side by side."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.evaluation.comparison import compare
from autofuse_jax.evaluation.pair_scores import name_structures
from autofuse_jax.evaluation.protocol import Protocol, same_definitions
from autofuse_jax.evaluation.runs import Run, common_pairs
from autofuse_jax.files import json_types, listed_files, write_json, write_text
from autofuse_jax.reports.comparison_tables import (
    ComparisonContent,
    comparison_csv,
    comparison_latex,
    comparison_page,
    protocol_table,
)
from autofuse_jax.reports.evaluation_quantities import Quantity
from autofuse_jax.reports.protocol_words import heading
from autofuse_jax.reports.summary import RunContent, present, spread_of, spread_text
from autofuse_jax.reports.tables import write_tables
from autofuse_jax.storage.swaps import replacing_folder

# Written last: a folder without it was not finished.
MARKER_NAME = 'evaluation.json'
PROTOCOL_NAME = 'protocol.json'
COMPARISON_STEM = 'comparison'
PROTOCOLS_NAME = 'protocols.md'

Records = Sequence[Mapping[str, Any]]


def write_evaluation(
    out: Path,
    runs: Sequence[Run],
    protocols: Sequence[Protocol],
    records_of: Mapping[str, Mapping[str, Records]],
    reference: str,
    facts: Mapping[str, Any],
) -> str:
    """Write all tables.

    Args:
        out: The folder; files of an earlier evaluation in it are there until the new ones are complete.
        runs: Runs that were evaluated.
        protocols: Definitions of the scores.
        records_of: Records by protocol, then by run.
        reference: Name of the run that others are compared with.
        facts: Command, version and date.

    Returns:
        A few lines for the terminal.
    """
    with replacing_folder(out, MARKER_NAME, earlier=listed_files(out / MARKER_NAME)) as temporary:
        lines = _write_all(temporary, runs, protocols, records_of, reference, facts)
    return '\n'.join([*lines, f'tables: {out}'])


def _write_all(
    out: Path,
    runs: Sequence[Run],
    protocols: Sequence[Protocol],
    records_of: Mapping[str, Mapping[str, Records]],
    reference: str,
    facts: Mapping[str, Any],
) -> list[str]:
    """Write all tables into a new folder and return lines for the terminal."""
    files: list[Path] = []
    lines: list[str] = []
    for protocol in protocols:
        folder = out / protocol.name if len(protocols) > 1 else out
        write_json(folder / PROTOCOL_NAME, protocol.as_record())
        files.append(folder / PROTOCOL_NAME)
        if len(protocols) > 1:
            lines.append(f'protocol {protocol.name}')
        for run in runs:
            files += _write_run(folder / run.name, run, records_of[protocol.name][run.name], protocol, facts)
        lines += _terminal_lines(records_of[protocol.name], {run.name: _protocol_of(run, protocol) for run in runs})
        if len(runs) > 1:
            files += _write_comparison(folder, runs, records_of[protocol.name], protocol, reference)
    if len(protocols) > 1:
        records = [protocol.as_record() for protocol in protocols]
        write_text(out / PROTOCOLS_NAME, protocol_table(records_of, records, _taken_as_they_are(runs)))
        files.append(out / PROTOCOLS_NAME)
    marker = {
        **facts,
        'runs': {run.name: {'source': str(run.source), 'kind': run.kind} for run in runs},
        'protocols': [protocol.as_record() for protocol in protocols],
        'files': sorted(str(path.relative_to(out)) for path in files),
    }
    write_json(out / MARKER_NAME, marker)
    return lines


def _write_run(folder: Path, run: Run, records: Records, protocol: Protocol, facts: Mapping[str, Any]) -> list[Path]:
    recorded = _protocol_of(run, protocol)
    name = recorded['name'] if recorded else 'not recorded'
    content = RunContent(
        records,
        name_structures(protocol if run.records is None else Protocol(name), run.classes, records),
        title=f'Evaluation of {run.name}',
        facts={'source': str(run.source), 'kind': run.kind, 'protocol': name, **facts},
        protocol=recorded,
        notes=run.notes,
    )
    return write_tables(folder, content)


def _write_comparison(
    folder: Path, runs: Sequence[Run], records_of: Mapping[str, Records], protocol: Protocol, reference: str
) -> list[Path]:
    common = common_pairs(records_of)
    common_records: dict[str, Records] = {}
    for run, records in records_of.items():
        by_name = {record['pair']: record for record in records}
        common_records[run] = [by_name[name] for name in common]
    classes = dict(item for run in runs for item in run.classes.items())
    classes = name_structures(protocol, classes, [record for records in common_records.values() for record in records])
    rows = [dataclasses.asdict(row) for row in compare(common_records, reference, classes)]
    content = ComparisonContent(
        common_records,
        reference,
        classes,
        rows,
        _remarks(runs, records_of, common, protocol),
        _common_protocol(runs, protocol),
    )
    texts = {
        '.csv': comparison_csv(content),
        '.md': comparison_page(content),
        '.tex': comparison_latex(content),
        '.json': json.dumps(json_types({'pairs': common, 'reference': reference, 'comparisons': rows}), indent=2)
        + '\n',
    }
    paths = [folder / (COMPARISON_STEM + suffix) for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def _protocol_of(run: Run, protocol: Protocol) -> Mapping[str, Any] | None:
    """The protocol that the numbers of a run were made under; None where that is unknown."""
    return protocol.as_record() if run.records is None else run.protocol


def _common_protocol(runs: Sequence[Run], protocol: Protocol) -> Mapping[str, Any]:
    """The protocol whose units head the columns: that of earlier scores where all runs have scores of the same one."""
    first, *others = (_protocol_of(run, protocol) for run in runs)
    same = first is not None and all(same_definitions(first, other) for other in others)
    return first if first is not None and same else protocol.as_record()


def _other_units(run: Run, protocol: Protocol) -> str:
    """Say where earlier scores are in another unit than the protocol's; empty where none are."""
    pairs = [
        (heading(quantity, run.protocol), heading(quantity, protocol.as_record()))
        for quantity in present(run.records or ())
    ]
    other = [mine for mine, asked in pairs if mine != asked]
    return f', and it has {", ".join(other)}' if other else ''


def _taken_as_they_are(runs: Sequence[Run]) -> list[str]:
    """Sentences on runs whose numbers are the same under every protocol, because they were scored before."""
    return [
        f'The scores of {run.name} were taken as they are, made under '
        f'{"the protocol " + run.protocol["name"] if run.protocol else "an unrecorded protocol"}; no other was applied.'
        for run in runs
        if run.records is not None
    ]


def _remarks(
    runs: Sequence[Run], records_of: Mapping[str, Records], common: Sequence[str], protocol: Protocol
) -> list[str]:
    counts = {run: len(records) - len(common) for run, records in records_of.items()}
    left_out = [f'{count} of {run}' for run, count in counts.items() if count]
    text = f'{len(common)} pairs are in every run'
    remarks = [f'{text}; left out because another run lacks them: {", ".join(left_out)}.' if left_out else f'{text}.']
    for run in runs:
        if run.records is None:
            continue
        if not same_definitions(run.protocol, protocol.as_record()):
            name = f'the protocol {run.protocol["name"]}' if run.protocol else 'an unrecorded protocol'
            remarks.append(
                f'{run.name} was scored under {name}, not under {protocol.name}: its numbers may differ for that '
                f'reason{_other_units(run, protocol)}.'
            )
    return remarks


def _terminal_lines(records_of: Mapping[str, Records], protocols: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    lines = []
    for run, records in records_of.items():
        parts = [
            f'{heading(q, protocols[run])} {spread_text(records, q, q.key)}{_share(records, q)}'
            for q in present(records)
        ]
        lines.append(f'{run}: {len(records)} {"pair" if len(records) == 1 else "pairs"}, {", ".join(parts)}')
    return lines


def _share(records: Records, quantity: Quantity) -> str:
    """How many pairs a mean is over, where some have no number."""
    count = spread_of(records, quantity.key).count
    return f' ({count} of {len(records)} pairs)' if count < len(records) else ''
