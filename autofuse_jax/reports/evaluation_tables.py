"""The files of one evaluated run: per pair, per structure, and a page with the means."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.files import json_types, write_json, write_text
from autofuse_jax.metrics.landmarks import ROBUST_PERCENTILE
from autofuse_jax.metrics.statistics import bootstrap_interval
from autofuse_jax.reports.evaluation_quantities import QUANTITIES, Quantity
from autofuse_jax.reports.latex import latex_table
from autofuse_jax.reports.summary import markdown_table, spread_of

CSV_NAME, STRUCTURES_NAME, JSON_NAME = 'pairs.csv', 'structures.csv', 'pairs.json'
MARKDOWN_NAME, LATEX_NAME = 'summary.md', 'summary.tex'
PER_LABEL = '_per_label'
MILLIMETRES, VOXELS = ' mm', ' voxels'

Records = Sequence[Mapping[str, Any]]


def write_run(
    folder: Path,
    records: Records,
    classes: Mapping[int, str],
    *,
    title: str,
    facts: Mapping[str, Any],
    protocol: Mapping[str, Any] | None,
    notes: Sequence[str],
) -> list[Path]:
    """Write pairs.csv, structures.csv, pairs.json, summary.md and summary.tex.

    Args:
        folder: Where to write.
        records: One dictionary a pair, with 'pair', 'subject' and the scores of `evaluation.pair_scores`.
        classes: Names of the scored structures by label id.
        title: Heading of the page.
        facts: What was evaluated, shown as a list and stored.
        protocol: The protocol of the scores; None where unknown.
        notes: Sentences about how the pairs were read.

    Returns:
        The files.
    """
    paths = [folder / name for name in (CSV_NAME, STRUCTURES_NAME, JSON_NAME, MARKDOWN_NAME, LATEX_NAME)]
    write_text(paths[0], csv_text([_pair_row(record) for record in records]))
    write_text(paths[1], csv_text(_structure_rows(records, classes)))
    content = {'header': {'title': title, **facts}, 'classes': classes, 'protocol': protocol}
    write_json(
        paths[2], json_types(content | {'notes': list(notes), 'summary': _summary(records, classes), 'pairs': records})
    )
    write_text(paths[3], _page(records, classes, title, facts, protocol, notes))
    write_text(paths[4], _latex(records, classes, title, protocol))
    return paths


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; columns in order of first appearance, missing numbers as empty fields."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval='', lineterminator='\n')
    writer.writeheader()
    for row in rows:
        cells = json_types(row)
        writer.writerow({column: '' if value is None else value for column, value in cells.items()})
    return buffer.getvalue()


def present(records: Records) -> list[Quantity]:
    """Return the quantities that any record has a number of."""
    return [quantity for quantity in QUANTITIES if spread_of(records, quantity.key).count]


def heading(quantity: Quantity, protocol: Mapping[str, Any] | None) -> str:
    """Title with the unit; where the protocol sets all voxel sizes to 1, distances are in voxels."""
    section = {'HD95': 'surface', 'TRE': 'tre'}.get(quantity.title)
    in_voxels = bool(protocol) and section is not None and protocol[section]['spacing'] == 'unit'
    return quantity.heading.replace(MILLIMETRES, VOXELS) if in_voxels else quantity.heading


def structure_rows(records: Records, classes: Mapping[int, str]) -> list[list[str]]:
    """Rows of name, then before and after of every quantity that structures have; the mean over structures last."""
    rows = []
    for label, name in [*classes.items(), (None, 'mean')]:
        row = [name]
        for quantity in _labelled(records):
            suffix = '' if label is None else PER_LABEL
            for key in (quantity.before, quantity.key):
                row.append(spread_of(records, key + suffix, label).text(quantity.decimals, quantity.factor))
        rows.append(row)
    return rows


def _labelled(records: Records) -> list[Quantity]:
    return [quantity for quantity in present(records) if quantity.per_label]


def _latex(records: Records, classes: Mapping[int, str], title: str, protocol: Mapping[str, Any] | None) -> str:
    caption = f'{title}: mean and standard deviation over {len(records)} pairs, before and after registration.'
    quantities = present(records)
    tables = [latex_table(['', *(heading(q, protocol) for q in quantities)], _mean_rows(records, quantities), caption)]
    if classes:
        head = [f'{heading(q, protocol)} {when}' for q in _labelled(records) for when in ('before', 'after')]
        tables.append(latex_table(['structure', *head], structure_rows(records, classes), caption))
    return '\n'.join(tables)


def _mean_rows(records: Records, quantities: Sequence[Quantity]) -> list[list[str]]:
    return [
        ['before', *(_text(records, q, q.before) for q in quantities)],
        ['after', *(_text(records, q, q.key) for q in quantities)],
    ]


def _pair_row(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if not isinstance(value, Mapping)}


def _structure_rows(records: Records, classes: Mapping[int, str]) -> list[dict[str, Any]]:
    keys = [key for quantity in _labelled(records) for key in (quantity.before, quantity.key)]
    return [
        {'pair': record['pair'], 'label': label, 'structure': name}
        | {key: (record.get(key + PER_LABEL) or {}).get(label, math.nan) for key in keys}
        for record in records
        for label, name in classes.items()
    ]


def _summary(records: Records, classes: Mapping[int, str]) -> dict[str, Any]:
    """Means, standard deviations, medians and 30th percentiles over pairs, in the units of the records."""
    numbers: dict[str, Any] = {'pairs': len(records)}
    for quantity in present(records):
        for key in filter(None, (quantity.before, quantity.key)):
            spread = spread_of(records, key)
            known = [record[key] for record in records if not math.isnan(record.get(key, math.nan))]
            numbers[key] = {
                'mean': spread.mean,
                'deviation': spread.deviation,
                'median': float(np.median(known)) if known else math.nan,
                f'p{ROBUST_PERCENTILE}': float(np.percentile(known, ROBUST_PERCENTILE)) if known else math.nan,
                'count': spread.count,
            }
    numbers['structures'] = {
        name: {
            key: spread_of(records, key + PER_LABEL, label).mean
            for quantity in _labelled(records)
            for key in (quantity.before, quantity.key)
        }
        for label, name in classes.items()
    }
    return numbers


def _page(
    records: Records,
    classes: Mapping[int, str],
    title: str,
    facts: Mapping[str, Any],
    protocol: Mapping[str, Any] | None,
    notes: Sequence[str],
) -> str:
    parts = [f'# {title}', '\n'.join(f'- {key}: {value}' for key, value in {**facts, 'pairs': len(records)}.items())]
    quantities = present(records)
    rows = _mean_rows(records, quantities)
    parts += [
        '## Means over pairs',
        markdown_table(['registration', *(heading(q, protocol) for q in quantities)], rows),
    ]
    parts += _remarks(records, quantities)
    if classes:
        head = [f'{heading(q, protocol)} {when}' for q in _labelled(records) for when in ('before', 'after')]
        parts += ['## Structures', markdown_table(['structure', *head], structure_rows(records, classes))]
    rows = [
        [record['pair'], *(q.write(record.get(key)) for q in quantities for key in filter(None, (q.before, q.key)))]
        for record in records
    ]
    head = [
        heading(q, protocol) + (f' {when}' if q.before else '')
        for q in quantities
        for when in (('before', 'after') if q.before else ('',))
    ]
    parts += ['## Pairs', markdown_table(['pair', *head], rows)]
    parts += ['## How the numbers were made', '\n'.join(f'- {line}' for line in [*notes, *protocol_words(protocol)])]
    return '\n\n'.join(parts) + '\n'


def _text(records: Records, quantity: Quantity, key: str) -> str:
    return spread_of(records, key).text(quantity.decimals, quantity.factor) if key else '–'


def _remarks(records: Records, quantities: Sequence[Quantity]) -> list[str]:
    remarks = []
    for quantity in quantities[:1]:
        groups = [record.get('subject', record['pair']) for record in records]
        values = [record.get(quantity.key, math.nan) for record in records]
        if len(set(groups)) > 1:
            lower, upper = bootstrap_interval(values, groups=groups)
            remarks.append(
                f'The 95 % bootstrap interval of the mean {quantity.title} after registration is '
                f'{quantity.write(lower)} to {quantity.write(upper)} {quantity.unit} ({len(set(groups))} fixed '
                'subjects resampled).'
            )
    missing = sum(
        1
        for record in records
        for label, score in (record.get('dsc_after_per_label') or {}).items()
        if score == 0 and math.isnan((record.get('hd95_mm_after_per_label') or {}).get(label, 0.0))
    )
    if missing:
        remarks.append(
            f'{missing} {"structure is" if missing == 1 else "structures are"} in only one of the two label maps of a '
            'pair after registration: DSC 0 and no HD95.'
        )
    return remarks


def protocol_words(protocol: Mapping[str, Any] | None) -> list[str]:
    """Say in sentences what a protocol means."""
    if protocol is None:
        return ['The protocol of these scores was not recorded.']
    folding, surface, tre = protocol['folding'], protocol['surface'], protocol['tre']
    missing = {
        'zero': 'a structure in only one of the two maps scores DSC 0 and has no HD95',
        'skip': 'a structure that the fixed or the unwarped moving map lacks is not scored',
        'nan': 'a pair in which a structure is in only one of the two maps has no mean',
    }[protocol['missing_structures']]
    structures = 'those listed' if protocol['labels'] else 'those of the data set, else all in a label map of the pair'
    edge = (
        'half a voxel beyond its outermost centres'
        if protocol['outside'] == 'voxel_edges'
        else 'at its outermost centres'
    )
    voxels = {'all': 'all voxels', 'interior': 'the voxels two away from the border', 'labelled': 'labelled voxels'}
    logarithm = 'max(det J, 1e-9)' if folding['sdlogj'] == 'plain' else 'clip(det J + 3, 1e-9, 1e9)'
    weight = 'surface voxels' if surface['elements'] == 'voxels' else 'surface elements weighted by area'
    return [
        f'Protocol {protocol["name"]}. {protocol["description"]}',
        f'Structures: {structures}, background left out; {missing}. A mean is over structures, then over pairs.',
        f'Moving labels are warped with {protocol["label_interpolation"]} sampling; the moving map ends {edge}.',
        f'HD95: {surface["percentile"]:g}th percentile of the distances between {weight}, '
        + ('the larger of both directions' if surface['combine'] == 'max' else 'both directions together')
        + (', in millimetres.' if surface['spacing'] == 'file' else ', with voxels of size 1.'),
        f'NJD: percentage of voxels whose Jacobian determinant is at most {folding["threshold"]:g}; '
        f'{folding["differences"]} differences, {voxels[folding["voxels"]]}. SDlogJ: standard deviation of '
        f'log({logarithm}) on the same voxels.',
        *(['NDV: non-diffeomorphic volume, in percent of the interior voxels.'] if folding.get('ndv') else []),
        f'TRE: {tre["interpolation"]} sampling of the displacement at the fixed landmarks, '
        + ('in voxels.' if tre['spacing'] == 'unit' else f'in millimetres of the {tre["spacing"]} image.'),
        '`±` is the standard deviation over pairs (divisor n - 1).',
    ]
