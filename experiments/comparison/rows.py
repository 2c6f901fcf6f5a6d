"""The rows of a comparison: what each complete run gives, rows of an earlier record, and tests against AutoFuse."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.rows import ROWS
from ml_collections import ConfigDict

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.comparison import compare
from autofuse_jax.training.config_checks import differing_fields
from autofuse_jax.training.final_report import RESULT_NAME
from autofuse_jax.training.loop import CONFIG_NAME

PAIRS_NAME = 'pairs.json'
# What each row is compared with.
REFERENCES = {False: 'autofuse', True: 'autofuse_semi'}
# What is tested, pair by pair.
TESTED = ('dsc_after', 'njd_percent')
DIGITS = 6
# Rows whose settings differ in these only are the same run.
FREE_FIELDS = (
    'data.cache_gib',
    'data.threads',
    'training.depth_devices',
    'training.check_memory',
    'training.compilation_cache',
    'training.log_every',
)
# Where the same data lies on another machine says nothing about a run.
PLACES = ('data.root',)
# What rows of two records must have in common, besides their configs.
BUDGET = ('task', 'split', 'steps')


def is_done(folder: Path, config: ConfigDict) -> bool:
    """Tell whether a row has been trained and evaluated with this config.

    Raises:
        UserError: The folder holds a run with another config.
    """
    if not (folder / CONFIG_NAME).is_file():
        return False
    before = json.loads((folder / CONFIG_NAME).read_text(encoding='utf-8'))
    now = json.loads(config.to_json_best_effort())
    differences = [one for one in differing_fields(before, now) if one.field not in FREE_FIELDS]
    if differences:
        raise UserError(
            f'{folder} holds a run with another config: {"; ".join(map(str, differences[:3]))}',
            fix='use another --workdir, or delete that folder',
        )
    return (_evaluation(folder, config) / RESULT_NAME).is_file()


def fingerprint(config: ConfigDict) -> str:
    """Return what is the same for two configs of the same run, wherever its data lies."""
    fields = differing_fields({}, json.loads(config.to_json_best_effort()))
    # As lines, so that rows of earlier records are found again.
    kept = [str(one) for one in fields if one.field not in (*FREE_FIELDS, *PLACES)]
    return hashlib.sha256('\n'.join(kept).encode()).hexdigest()[:16]


def row_of(name: str, config: ConfigDict, workdir: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the row of a complete run, and its pairs by name and subject.

    Args:
        name: Of the row.
        config: Of the run.
        workdir: Folder with a folder for each row.

    Returns:
        Title, method, parameters, steps, training minutes, means and deviations, median seconds a pair (the first pair,
        which compiles, left out), and for each pair what is tested.
    """
    folder = _evaluation(workdir / name, config)
    result = json.loads((folder / RESULT_NAME).read_text(encoding='utf-8'))
    pairs = json.loads((folder / PAIRS_NAME).read_text(encoding='utf-8'))['pairs']
    row = {
        'title': ROWS[name].title,
        'method': config.method,
        'semi': ROWS[name].semi,
        'config': fingerprint(config),
        'learning_rate': config.optimizer.learning_rate,
        **{key: result[key] for key in ('parameters', 'training_minutes', 'scores', 'commit', 'machine', 'date')},
        'best_step': result['steps'],
        'seconds_a_pair': _median(pair['seconds'] for pair in pairs if not pair['first_call']),
        **{quantity: [round(pair[quantity], DIGITS) for pair in pairs] for quantity in TESTED},
    }
    return row, [{key: pair[key] for key in ('pair', 'subject')} for pair in pairs]


def earlier_rows(path: Path, configs: Mapping[str, ConfigDict], budget: Mapping[str, Any]) -> dict[str, Any]:
    """Read the record of an earlier comparison, of another machine perhaps.

    Args:
        path: A record of `compare_methods`.
        configs: Of the rows that are wanted.
        budget: The fields `BUDGET` of this comparison.

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
    other = {key: (record.get(key), budget[key]) for key in BUDGET if record.get(key) != budget[key]}
    if other:
        differences = ', '.join(f'{key} {was} instead of {now}' for key, (was, now) in other.items())
        raise UserError(f'{path} was made under another budget: {differences}', fix='leave --earlier out')
    rows = {name: rows[name] for name in configs if name in rows}
    changed = [name for name, row in rows.items() if row['config'] != fingerprint(configs[name])]
    if changed:
        raise UserError(
            f'{path} holds {", ".join(changed)} with other settings',
            expected='the same configs, learning rate and schedule',
            fix='leave --earlier out, or correct the settings',
        )
    return {'rows': rows, 'pairs': pairs}


def with_tests(rows: dict[str, Any], pairs: list[dict[str, str]]) -> dict[str, Any]:
    """Add P values against AutoFuse, of the rows that were trained in the same way, where it is among them."""
    rows = {name: {key: v for key, v in row.items() if not key.startswith('p_')} for name, row in rows.items()}
    for semi, reference in REFERENCES.items():
        family = {
            name: [
                pair | dict(zip(TESTED, values, strict=True))
                for pair, *values in zip(pairs, *(row[quantity] for quantity in TESTED), strict=True)
            ]
            for name, row in rows.items()
            if row['semi'] == semi
        }
        if reference in family:
            for found in compare(family, reference, {}):
                if found.label is None and found.quantity in TESTED:
                    rows[found.run][f'p_{found.quantity}'] = found.p_holm
    return rows


def _evaluation(folder: Path, config: ConfigDict) -> Path:
    return folder / f'evaluation_{config.evaluation.split}'


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float('nan')
