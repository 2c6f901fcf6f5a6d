"""The rows of a comparison: what each complete run gives, rows of an earlier record, and tests against AutoFuse."""

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.rows import find_row
from ml_collections import ConfigDict

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.comparison import compare
from autofuse_jax.training.final_report import RESULT_NAME
from experiments.comparison.curve import read_curve
from experiments.comparison.recipe import recipe_differences
from experiments.comparison.row_runs import RowRun, is_run_of
from experiments.comparison.run_identity import fingerprint

PAIRS_NAME = 'pairs.json'
# What each row is compared with.
REFERENCES = {False: 'autofuse', True: 'autofuse_semi'}
# What is tested, pair by pair.
TESTED = ('dsc_after', 'njd_percent', 'sdlogj')
DIGITS = 6
# What rows of two records must have in common, besides their configs.
BUDGET = ('task', 'split', 'steps', 'grid', 'warmup_steps', 'clip_norm')


def row_of(run: RowRun) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the row of a complete run, and its pairs by name and subject.

    Args:
        run: The run that counts for the row.

    Returns:
        Title, method, learning rate, what diverged before, parameters, steps, training minutes, means and deviations
        (of gates too), median seconds a pair (the first pair, which compiles, left out), the curve of validation, and
        for each pair what is tested.
    """
    result = json.loads((run.evaluation / RESULT_NAME).read_text(encoding='utf-8'))
    pairs = json.loads((run.evaluation / PAIRS_NAME).read_text(encoding='utf-8'))['pairs']
    row = {
        'title': find_row(run.name).title,
        'method': run.config.method,
        'semi': find_row(run.name).semi,
        'config': fingerprint(run.config),
        'learning_rate': run.config.optimizer.learning_rate,
        'diverged_before': run.divergence,
        **{key: result[key] for key in ('parameters', 'training_minutes', 'scores', 'commit', 'machine', 'date')},
        'best_step': result['steps'],
        'seconds_a_pair': seconds_a_pair(pairs),
        'validation': read_curve(run.folder),
        **{quantity: [round(pair[quantity], DIGITS) for pair in pairs] for quantity in TESTED},
    }
    return row, [{key: pair[key] for key in ('pair', 'subject')} for pair in pairs]


def earlier_rows(
    path: Path, configs: Mapping[str, ConfigDict], budget: Mapping[str, Any], *, fix: str = 'leave --earlier out'
) -> dict[str, Any]:
    """Read the record of an earlier comparison, of another machine perhaps.

    Args:
        path: A record of `compare_methods`.
        configs: Of the rows that are wanted.
        budget: The fields `BUDGET` of this comparison.
        fix: Advice where they differ.

    Returns:
        'rows' by name, those that are wanted, and the 'pairs' that all were scored on.

    Raises:
        UserError: It is no such record, or was made under another budget or with other settings.
    """
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        rows, pairs = record['rows'], record['pairs']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is no record of a comparison ({error})', fix='correct --earlier') from error
    differences = recipe_differences(record, {key: budget[key] for key in BUDGET})
    if differences:
        raise UserError(f'{path} was made under another budget: {differences}', fix=fix)
    rows = {name: rows[name] for name in configs if name in rows}
    changed = [name for name, row in rows.items() if not is_run_of(row, name, configs[name])]
    if changed:
        raise UserError(
            f'{path} holds {", ".join(changed)} with other settings',
            expected='the same configs, learning rate and schedule',
            fix=f'{fix}, or correct the settings',
        )
    return {'rows': rows, 'pairs': pairs}


def with_tests(rows: dict[str, Any], pairs: list[dict[str, str]]) -> dict[str, Any]:
    """Add P values against AutoFuse, of the rows that were trained in the same way, where it is among them.

    A quantity is tested where all these rows have its numbers; rows of old records lack some.
    """
    rows = {name: {key: v for key, v in row.items() if not key.startswith('p_')} for name, row in rows.items()}
    for semi, reference in REFERENCES.items():
        family = {name: row for name, row in rows.items() if row['semi'] == semi}
        tested = [quantity for quantity in TESTED if all(quantity in row for row in family.values())]
        records = {
            name: [
                pair | dict(zip(tested, values, strict=True))
                for pair, *values in zip(pairs, *(row[quantity] for quantity in tested), strict=True)
            ]
            for name, row in family.items()
        }
        if reference in records:
            for one in compare(records, reference, {}):
                if one.label is None and one.quantity in tested:
                    rows[one.run][f'p_{one.quantity}'] = one.p_holm
    return rows


def seconds_a_pair(pairs: Iterable[Mapping[str, Any]]) -> float:
    """Return the median seconds of the pairs but the first, which compiles; nan where there is no other.

    Args:
        pairs: Records with 'seconds' and 'first_call'.
    """
    seconds = [pair['seconds'] for pair in pairs if not pair['first_call']]
    return statistics.median(seconds) if seconds else float('nan')
