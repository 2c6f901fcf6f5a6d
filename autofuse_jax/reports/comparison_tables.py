"""The files of a comparison: every number as CSV, a page in Markdown, tables in LaTeX."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from autofuse_jax.reports.evaluation_quantities import QUANTITIES, Quantity
from autofuse_jax.reports.latex import latex_table
from autofuse_jax.reports.markdown import MISSING, markdown_text, text_table
from autofuse_jax.reports.protocol_words import heading
from autofuse_jax.reports.summary import Spread, partial_sentences, present, seconds_apart, spread_of, spread_text
from autofuse_jax.reports.tables import csv_text

CONFIDENT = 0.05
STAR = '*'
SMALLEST_P = 1e-4
# So that a run that is higher on every pair shows as 1.00.
EFFECT_DECIMALS, P_DECIMALS = 2, 4
# Fields of a protocol that are no settings.
NAMES = ('name', 'description')
BY_KEY = {quantity.key: quantity for quantity in QUANTITIES}

Records = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class ComparisonContent:
    """What a comparison reports.

    Attributes:
        runs: Records of the common pairs by the name of the run.
        reference: Name of the run the others are compared with.
        classes: Names of the structures by label id.
        comparisons: Rows of `evaluation.comparison.compare`, as dictionaries.
        remarks: Sentences that stand above the tables.
        protocol: The protocol; None where unknown.
    """

    runs: Mapping[str, Records]
    reference: str
    classes: Mapping[int, str]
    comparisons: Sequence[Mapping[str, Any]]
    remarks: Sequence[str]
    protocol: Mapping[str, Any] | None


def comparison_csv(content: ComparisonContent) -> str:
    """Return every comparison in the units of the records, one a line."""
    return csv_text(content.comparisons)


def comparison_page(content: ComparisonContent) -> str:
    """Return the page: means of the runs, differences with tests, structures, and how it was done."""
    quantities = _quantities(content)
    parts = [
        f'# Comparison of {len(content.runs)} runs',
        '\n\n'.join(map(markdown_text, content.remarks)),
        '## Means over pairs',
    ]
    parts.append(text_table(_mean_head(content, quantities), _mean_rows(content, quantities)))
    for run, records in content.runs.items():
        parts += [markdown_text(f'{run}, {sentence}') for sentence in partial_sentences(records)]
    parts += [f'## Differences from {markdown_text(content.reference)}', text_table(*_difference_table(content))]
    for quantity in quantities:
        if quantity.per_label and content.classes:
            title = f'## {heading(quantity, content.protocol)} of the structures'
            parts += [title, text_table(_structure_head(content), _structure_rows(content, quantity))]
    parts += ['## How the runs were compared', '\n'.join(f'- {markdown_text(line)}' for line in _method(content))]
    return '\n\n'.join(parts) + '\n'


def comparison_latex(content: ComparisonContent) -> str:
    """Return the means and the structures as LaTeX tables."""
    quantities = _quantities(content)
    count = len(next(iter(content.runs.values())))
    star = f'{STAR}: different from {content.reference} (Wilcoxon signed-rank test, P < {CONFIDENT} after Holm).'
    caption = f'Mean and standard deviation over {count} pairs. {star}'
    parts = [latex_table(_mean_head(content, quantities), _mean_rows(content, quantities, stars=True), caption)]
    for quantity in quantities:
        if quantity.per_label and content.classes:
            caption = f'{heading(quantity, content.protocol)} of the structures over {count} pairs. {star}'
            parts.append(latex_table(_structure_head(content), _structure_rows(content, quantity), caption))
    return '\n'.join(parts)


def protocol_table(
    means: Mapping[str, Mapping[str, Records]], protocols: Sequence[Mapping[str, Any]], remarks: Sequence[str] = ()
) -> str:
    """Return a page that shows the same pairs under several protocols side by side.

    Args:
        means: Records by protocol, then by run.
        protocols: The protocols in JSON types, in that order.
        remarks: Sentences that stand above the table; default none.

    Returns:
        Markdown text.
    """
    names = [protocol['name'] for protocol in protocols]
    first = means[names[0]]
    rows = []
    for quantity in QUANTITIES:
        for run in first:
            if any(spread_of(means[name][run], quantity.key).count for name in names):
                texts = [spread_text(means[name][run], quantity, quantity.key) for name in names]
                rows.append([f'{quantity.heading}, {run}', *texts])
    flat = [_flatten(protocol) for protocol in protocols]
    # Lists of labels hold entries that only some protocols have.
    fields = [field for field in dict.fromkeys(field for record in flat for field in record) if field not in NAMES]
    settings = [[field, *(str(record.get(field, MISSING)) for record in flat)] for field in fields]
    settings = [row for row in settings if len(set(row[1:])) > 1]
    parts = [
        '# The same pairs under several protocols',
        'Mean and standard deviation over pairs, after registration. Distances are in voxels where a protocol sets the '
        'voxel size to 1.',
        *map(markdown_text, remarks),
        text_table(['quantity, run', *names], rows),
        '## Where the protocols differ',
        text_table(['field', *names], settings),
    ]
    return '\n\n'.join(parts) + '\n'


def _flatten(record: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= _flatten(value, f'{prefix}{key}.') if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _quantities(content: ComparisonContent) -> list[Quantity]:
    keys = {quantity.key for records in content.runs.values() for quantity in present(records)}
    return [quantity for quantity in QUANTITIES if quantity.key in keys]


def _seconds(content: ComparisonContent) -> dict[str, Spread]:
    """Seconds a pair by run, without those that may include compilation; empty where no run has any."""
    seconds = {run: seconds_apart(records)[1] for run, records in content.runs.items()}
    return seconds if any(spread.count for spread in seconds.values()) else {}


def _mean_head(content: ComparisonContent, quantities: Sequence[Quantity]) -> list[str]:
    timed = ['s per pair'] if _seconds(content) else []
    return ['run', *(heading(quantity, content.protocol) for quantity in quantities), *timed]


def _mean_rows(content: ComparisonContent, quantities: Sequence[Quantity], *, stars: bool = False) -> list[list[str]]:
    seconds, reference = _seconds(content), content.runs[content.reference]
    before = [spread_text(reference, quantity, quantity.before) for quantity in quantities]
    rows = [['before', *before, *([MISSING] if seconds else [])]]
    for run, records in content.runs.items():
        cells = []
        for quantity in quantities:
            star = STAR if stars and _differs(content, quantity, None, run) else ''
            cells.append(spread_text(records, quantity, quantity.key) + star)
        rows.append([run, *cells, *([seconds[run].text(1)] if seconds else [])])
    return rows


def _difference_table(content: ComparisonContent) -> tuple[list[str], list[list[str]]]:
    head = ['run', 'quantity', 'difference', '95 % interval', 'better', 'effect r', 'P', 'P (Holm)', 'pairs']
    rows = []
    for row in content.comparisons:
        if row['label'] is not None:
            continue
        quantity = BY_KEY[row['quantity']]
        better = row['difference'] > 0 if quantity.higher_is_better else row['difference'] < 0
        rows.append(
            [
                row['run'],
                heading(quantity, content.protocol),
                quantity.write(row['difference'], signed=True),
                _interval(quantity, row['lower'], row['upper']),
                MISSING if row['difference'] == 0 else ('yes' if better else 'no'),
                f'{row["effect"]:+.{EFFECT_DECIMALS}f}',
                p_text(row['p']),
                p_text(row['p_holm']),
                str(row['pairs']),
            ]
        )
    return head, rows


def p_text(p: float) -> str:
    """Write a P value; '< 0.0001' for the smallest."""
    return f'< {SMALLEST_P:.4f}' if p < SMALLEST_P else f'{p:.{P_DECIMALS}f}'


def _interval(quantity: Quantity, lower: float, upper: float) -> str:
    if math.isnan(lower):
        return MISSING
    return f'{quantity.write(lower, signed=True)} to {quantity.write(upper, signed=True)}'


def _structure_head(content: ComparisonContent) -> list[str]:
    return ['structure', 'before', *content.runs]


def _structure_rows(content: ComparisonContent, quantity: Quantity) -> list[list[str]]:
    rows = []
    for label, name in content.classes.items():
        reference = content.runs[content.reference]
        cells = [spread_text(reference, quantity, quantity.before, label)]
        for run, records in content.runs.items():
            text = spread_text(records, quantity, quantity.key, label)
            cells.append(text + (STAR if _differs(content, quantity, label, run) else ''))
        rows.append([name, *cells])
    return rows


def _differs(content: ComparisonContent, quantity: Quantity, label: int | None, run: str) -> bool:
    return any(
        row['quantity'] == quantity.key and row['label'] == label and row['run'] == run and row['p_holm'] < CONFIDENT
        for row in content.comparisons
    )


def _method(content: ComparisonContent) -> list[str]:
    return [
        f'Differences are run minus {content.reference}, over the pairs in which both have a number; "before" is that '
        f'of {content.reference}.',
        'The interval is a percentile bootstrap of the mean difference that resamples whole fixed subjects with all '
        'their pairs; there is none for a single subject.',
        'P: two-sided Wilcoxon signed-rank test over pairs. It takes pairs as independent; where a subject has several '
        'pairs, trust the interval more.',
        'P (Holm): corrected for all runs in the mean of a quantity, and separately for all runs and structures of it. '
        f'{STAR} marks values below {CONFIDENT}.',
        'Effect r: matched-pairs rank-biserial correlation; +1 where the run has the higher number on every pair.',
    ]
