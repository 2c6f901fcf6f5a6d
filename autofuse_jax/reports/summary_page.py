"""The page and the LaTeX tables of one run: means, structures, gates, pairs, and how the numbers were made."""

import math
from collections.abc import Sequence

from autofuse_jax.metrics.statistics import bootstrap_interval
from autofuse_jax.reports.evaluation_quantities import Quantity
from autofuse_jax.reports.latex import latex_table
from autofuse_jax.reports.markdown import MISSING, markdown_text, text_table
from autofuse_jax.reports.protocol_words import heading, protocol_words
from autofuse_jax.reports.summary import (
    RunContent,
    gates_of,
    partial_sentences,
    present,
    seconds_apart,
    spread_of,
    spread_text,
)

SECONDS_DECIMALS, GATE_DECIMALS = 3, 3


def summary_page(content: RunContent) -> str:
    """Return the page of a run, Markdown text.

    Args:
        content: The run.
    """
    facts = [f'- {key}: {markdown_text(value)}' for key, value in content.facts.items()]
    parts = [f'# {markdown_text(content.title)}', '\n'.join([*facts, f'- pairs: {len(content.records)}'])]
    parts += ['## Means over pairs', text_table(*_means(content)), *_remarks(content)]
    if content.classes:
        parts += ['## Structures', text_table(*structure_table(content))]
    gates = gates_of(content.records)
    if gates:
        rows = [
            [gate.rpartition('_')[2], spread_of(content.records, 'gate_means', gate).text(GATE_DECIMALS)]
            for gate in gates
        ]
        parts += [
            '## Fusion gates',
            'Mean weight of the fusion branch; the weight of the two single-image branches is 1 minus it.',
            text_table(['level i', 'w_fuse'], rows),
        ]
    parts += ['## Pairs, the lowest DSC after registration first', text_table(*_pairs(content))]
    lines = [*content.notes, *protocol_words(content.protocol)]
    parts += ['## How the numbers were made', '\n'.join(f'- {markdown_text(line)}' for line in lines)]
    return '\n\n'.join(parts) + '\n'


def summary_latex(content: RunContent) -> str:
    """Return the means and the structures of a run as LaTeX tables.

    Args:
        content: The run.
    """
    count = len(content.records)
    caption = f'{content.title}: mean and standard deviation over {count} pairs, before and after registration.'
    tables = [latex_table(*_means(content), caption)]
    if content.classes:
        tables.append(latex_table(*structure_table(content), caption))
    return '\n'.join(tables)


def structure_table(content: RunContent) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the structures, before and after of every quantity they have; the mean over them last.

    Args:
        content: The run.
    """
    columns = _columns(quantity for quantity in present(content.records) if quantity.per_label)
    head = ['structure', *(_title(content, quantity, key) for quantity, key in columns)]
    rows = [
        [name, *(spread_text(content.records, quantity, key, label) for quantity, key in columns)]
        for label, name in [*content.classes.items(), (None, 'mean')]
    ]
    return head, rows


def _columns(quantities) -> list[tuple[Quantity, str]]:
    """Each quantity with the keys of its states, before first."""
    return [(quantity, key) for quantity in quantities for key in (quantity.before, quantity.key) if key]


def _title(content: RunContent, quantity: Quantity, key: str) -> str:
    when = ('before' if key == quantity.before else 'after') if quantity.before else ''
    return f'{heading(quantity, content.protocol)} {when}'.strip()


def _means(content: RunContent) -> tuple[list[str], list[list[str]]]:
    records, quantities = content.records, present(content.records)
    later = seconds_apart(records)[1]
    timed = [MISSING, later.text(SECONDS_DECIMALS)] if later.count else []
    head = ['registration', *(heading(quantity, content.protocol) for quantity in quantities)]
    rows = [
        ['before', *(spread_text(records, quantity, quantity.before) for quantity in quantities), *timed[:1]],
        ['after', *(spread_text(records, quantity, quantity.key) for quantity in quantities), *timed[1:]],
    ]
    return [*head, *(['s per pair'] if timed else [])], rows


def _pairs(content: RunContent) -> tuple[list[str], list[list[str]]]:
    columns = _columns(present(content.records))
    records = [record for record in content.records if _is_number(record.get('dsc_after'))]
    others = [record for record in content.records if not _is_number(record.get('dsc_after'))]
    rows = [
        [record['pair'], *(quantity.write(record.get(key)) for quantity, key in columns)]
        for record in [*sorted(records, key=lambda record: record['dsc_after']), *others]
    ]
    return ['pair', *(_title(content, quantity, key) for quantity, key in columns)], rows


def _remarks(content: RunContent) -> list[str]:
    records = content.records
    remarks = partial_sentences(records)
    for quantity in present(records)[:1]:
        remarks += _interval(content, quantity)
    both = [r for r in records if _is_number(r.get('dsc_before')) and _is_number(r.get('dsc_after'))]
    if both:
        worse = sum(record['dsc_after'] < record['dsc_before'] for record in both)
        remarks.append(f'Registration lowered the DSC of {worse} of {len(both)} pairs.')
    count = sum(
        1
        for record in records
        for label, score in (record.get('dsc_after_per_label') or {}).items()
        if score == 0 and math.isnan((record.get('hd95_mm_after_per_label') or {}).get(label, 0.0))
    )
    if count:
        remarks.append(
            f'{count} {"structure is" if count == 1 else "structures are"} in only one of the two label maps of a '
            'pair after registration: DSC 0 and no surface distance.'
        )
    first = seconds_apart(records)[0]
    if _is_number(first):
        remarks.append(
            f'The first pair took {first:.{SECONDS_DECIMALS}f} s, which may include compilation; it is not in the '
            'seconds per pair.'
        )
    return remarks


def _interval(content: RunContent, quantity: Quantity) -> Sequence[str]:
    measured = [record for record in content.records if _is_number(record.get(quantity.key))]
    groups = [record.get('subject', record['pair']) for record in measured]
    if len(set(groups)) < 2:
        return ()
    lower, upper = bootstrap_interval([record[quantity.key] for record in measured], groups=groups)
    unit = heading(quantity, content.protocol).removeprefix(quantity.title)
    return (
        f'The 95 % bootstrap interval of the mean {quantity.title} after registration is {quantity.write(lower)} to '
        f'{quantity.write(upper)}{unit} ({len(set(groups))} fixed subjects resampled).',
    )


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
