"""Means over the pairs of an evaluation, and the Markdown page that shows them."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autofuse_jax.metrics.overlap import BACKGROUND
from autofuse_jax.metrics.statistics import bootstrap_interval

WORST_PAIRS = 5
MISSING = '–'

METHOD_NOTE = """\
- A pair `X_to_Y` registers the moving frame X to the fixed frame Y.
- DSC: the moving integer labels are warped with nearest sampling and compared with the fixed labels, structure by
  structure; mean over structures, then over pairs. Background is not scored. A structure that is in neither map is
  skipped, one that is in only one of them scores 0.
- NJD: percentage of voxels whose Jacobian determinant is 0 or negative; forward differences on the grid of
  (D-1)(H-1)(W-1) voxels, no mask.
- SDlogJ: standard deviation of the logarithm of the Jacobian determinant on the same voxels; determinants below 1e-9
  count as 1e-9.
- `±` is the standard deviation over pairs (divisor n - 1)."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of one quantity over pairs.

    Attributes:
        mean: Mean of the values that are numbers; nan where there is none.
        deviation: Standard deviation with divisor count - 1; nan for fewer than two values.
        count: How many values are numbers.
    """

    mean: float
    deviation: float
    count: int

    def text(self, decimals: int, factor: float = 1.0) -> str:
        """Write 'mean ± deviation', or what there is of it, after multiplying by `factor`."""
        if not self.count:
            return MISSING
        mean = f'{factor * self.mean:.{decimals}f}'
        return mean if math.isnan(self.deviation) else f'{mean} ± {factor * self.deviation:.{decimals}f}'


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and standard deviation of the values that are neither nan nor None.

    Args:
        values: One number per pair.

    Returns:
        The spread.
    """
    numbers = np.array([value for value in values if value is not None and not math.isnan(value)], np.float64)
    return Spread(
        mean=float(numbers.mean()) if numbers.size else math.nan,
        deviation=float(numbers.std(ddof=1)) if numbers.size > 1 else math.nan,
        count=int(numbers.size),
    )


def spread_of(records: Sequence[Mapping[str, Any]], key: str, inner: Any = None) -> Spread:
    """Spread of `record[key]`, or of `record[key][inner]`, over the records that have it."""
    if inner is None:
        return spread(record.get(key) for record in records)
    return spread((record.get(key) or {}).get(inner) for record in records)


def seconds_apart(records: Sequence[Mapping[str, Any]]) -> tuple[float | None, Spread]:
    """Seconds of the first pair, which may include compilation, and the spread of the seconds of all later pairs."""
    return records[0].get('seconds'), spread_of(records[1:], 'seconds')


def structures(classes: Mapping[int, str]) -> dict[int, str]:
    """The classes that are scored: all but the background."""
    return {label: name for label, name in classes.items() if label != BACKGROUND}


def summary_numbers(records: Sequence[Mapping[str, Any]], classes: Mapping[int, str]) -> dict[str, Any]:
    """The means of a report as a plain dictionary, for comparing runs by program.

    Args:
        records: One dictionary per pair, as `write_records` takes them.
        classes: Label id to name.

    Returns:
        Nested dictionary of numbers in the units of the records (DSC in [0, 1], NJD in percent, seconds); nan where
        nothing was measured.
    """
    first, later = seconds_apart(records)
    numbers: dict[str, Any] = {'pairs': len(records)}
    for key in ('dsc_before', 'dsc_after', 'njd_percent', 'sdlogj'):
        numbers[key] = dataclasses.asdict(spread_of(records, key))
    numbers['seconds_first_pair'] = first
    numbers['seconds_later_pairs'] = dataclasses.asdict(later)
    numbers['structures'] = {
        name: {
            key: dataclasses.asdict(spread_of(records, f'{key}_per_label', label))
            for key in ('dsc_before', 'dsc_after', 'segmentation_dsc')
        }
        for label, name in structures(classes).items()
    }
    gates = _gates(records)
    if gates:
        numbers['gate_means'] = {gate: dataclasses.asdict(spread_of(records, 'gate_means', gate)) for gate in gates}
    return numbers


def markdown_summary(
    records: Sequence[Mapping[str, Any]], classes: Mapping[int, str], header: Mapping[str, Any]
) -> str:
    """The report page: headline, structures, gate means, worst pairs, and how the numbers were made.

    Args:
        records: One dictionary per pair, as `write_records` takes them.
        classes: Label id to name.
        header: What was evaluated, shown as a list at the top; 'title' becomes the heading.

    Returns:
        Markdown text.
    """
    title = header.get('title', 'Registration report')
    parts = [f'# {title}']
    facts = [f'- {key}: {value}' for key, value in header.items() if key != 'title']
    parts.append('\n'.join([*facts, f'- pairs: {len(records)}']))
    parts += ['## Registration', _headline(records), *_remarks(records)]
    parts += ['## Structures', _structure_table(records, classes)]
    gates = _gates(records)
    if gates:
        rows = [[gate.rpartition('_')[2], spread_of(records, 'gate_means', gate).text(3)] for gate in gates]
        parts += [
            '## Fusion gates',
            'Mean weight of the fusion branch; the weight of the two single-image branches is 1 minus it.',
            markdown_table(['level i', 'w_fuse'], rows),
        ]
    worst = sorted((record for record in records if _is_number(record.get('dsc_after'))), key=lambda r: r['dsc_after'])
    if worst:
        rows = [_pair_row(record) for record in worst[:WORST_PAIRS]]
        parts += ['## Worst pairs', markdown_table(['pair', 'DSC before %', 'DSC after %', 'NJD %', 'SDlogJ'], rows)]
    parts += ['## How the numbers were made', METHOD_NOTE]
    return '\n\n'.join(parts) + '\n'


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the first column on the left and the others on the right."""
    escape = [[str(cell).replace('|', '\\|') for cell in row] for row in (head, *rows)]
    lines = ['| ' + ' | '.join(row) + ' |' for row in escape]
    lines.insert(1, '|' + '|'.join([':---', *['---:'] * (len(head) - 1)]) + '|')
    return '\n'.join(lines)


def _headline(records: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        ['before', spread_of(records, 'dsc_before').text(1, 100), MISSING, MISSING, MISSING],
        [
            'after',
            spread_of(records, 'dsc_after').text(1, 100),
            spread_of(records, 'njd_percent').text(3),
            spread_of(records, 'sdlogj').text(3),
            seconds_apart(records)[1].text(3),
        ],
    ]
    return markdown_table(['registration', 'DSC %', 'NJD %', 'SDlogJ', 'seconds per pair'], rows)


def _remarks(records: Sequence[Mapping[str, Any]]) -> list[str]:
    remarks = []
    scored = [record for record in records if _is_number(record.get('dsc_after'))]
    if len(scored) > 1:
        people = [record.get('subject', record['pair']) for record in scored]
        lower, upper = bootstrap_interval([record['dsc_after'] for record in scored], groups=people)
        remarks.append(
            f'The 95 % bootstrap interval of the mean DSC after registration is {100 * lower:.1f} to '
            f'{100 * upper:.1f} % ({len(set(people))} subjects resampled).'
        )
    both = [record for record in scored if _is_number(record.get('dsc_before'))]
    if both:
        worse = sum(record['dsc_after'] < record['dsc_before'] for record in both)
        remarks.append(f'Registration lowered the DSC of {worse} of {len(both)} pairs.')
    first = seconds_apart(records)[0]
    if _is_number(first):
        remarks.append(
            f'The first pair took {first:.3f} s, which may include compilation; it is not in the seconds per pair.'
        )
    return remarks


def _structure_table(records: Sequence[Mapping[str, Any]], classes: Mapping[int, str]) -> str:
    columns = {'DSC before %': 'dsc_before_per_label', 'DSC after %': 'dsc_after_per_label'}
    if any(record.get('segmentation_dsc_per_label') for record in records):
        columns['segmentation DSC %'] = 'segmentation_dsc_per_label'
    rows = [
        [name, *(spread_of(records, key, label).text(1, 100) for key in columns.values())]
        for label, name in structures(classes).items()
    ]
    return markdown_table(['structure', *columns], rows)


def _gates(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the gates in any record, by level."""
    names = {gate for record in records for gate in record.get('gate_means') or {}}
    return sorted(names, key=lambda gate: (len(gate), gate))


def _pair_row(record: Mapping[str, Any]) -> list[str]:
    return [
        record['pair'],
        spread([record.get('dsc_before')]).text(1, 100),
        spread([record['dsc_after']]).text(1, 100),
        spread([record.get('njd_percent')]).text(3),
        spread([record.get('sdlogj')]).text(3),
    ]


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
