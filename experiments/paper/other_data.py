"""Rows that were trained on one data set, scored on another: the paper's tables on Mindboggle and Buckner."""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from autofuse_jax.configs.comparison.rows import find_row

from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.case_scores import score_cases
from autofuse_jax.evaluation.runs import Sources
from autofuse_jax.files import json_types, write_json
from autofuse_jax.provenance import provenance
from autofuse_jax.records.reading import read_json
from autofuse_jax.reports.summary import RunContent, summary_numbers
from autofuse_jax.training.network_runs import open_workdir
from autofuse_jax.training.validation import training_protocol
from experiments.comparison.row_runs import RowRun, run_of
from experiments.comparison.rows import TESTED, earlier_rows, row_of, seconds_a_pair, with_tests
from experiments.paper.forms import COMPARISON
from experiments.paper.training import NEW_RECORD, data_record, rows_of, scored_split

NO_RECORD = Path('no record')
# Facts of a row about the commit, machine and moment that scored it.
ORIGIN = ('commit', 'machine', 'date')


def score_elsewhere(names: Sequence[str], options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Score rows that were trained already on another data set, and write their record after each.

    Args:
        names: Names that `autofuse_jax.configs.comparison.rows.find_row` knows.
        options: Options of `python -m experiments.paper`, with the recipe of the training.
        path: The record; rows in it are not scored again.

    Returns:
        The record.

    Raises:
        UserError: No row is trained, the data is wrong, or the record is of another recipe or holds other pairs.
    """
    before = read_json(path, COMPARISON) if path.is_file() else None
    # Rows that other items have scored stay in the record.
    names = [*names, *(name for name in (before or {'rows': {}})['rows'] if name not in names)]
    rows = rows_of(names, options, NO_RECORD)
    manifest = read_manifest(options.score)
    split = scored_split(manifest)
    name = options.name or manifest.dataset
    about = {
        **rows.budget,
        'split': split,
        'data': {**data_record(manifest, name), 'trained_on': rows.budget['data']['name']},
    }
    earlier: dict[str, Any] = {'rows': {}, 'pairs': []}
    if before is not None:
        _check_training(path, before, about['data']['trained_on'])
        earlier = earlier_rows(path, rows.configs, about, fix=NEW_RECORD)
    done, pairs = dict(earlier['rows']), list(earlier['pairs'])
    for row_name, config in rows.configs.items():
        run = run_of(row_name, config, rows.workdir)
        if row_name in done or not run.is_done:
            continue
        print(f'{find_row(row_name).title} on {name}', file=sys.stderr)
        done[row_name], scored = _score(run, options.score, split)
        if pairs and scored != pairs:
            raise UserError(
                f'{path} holds rows that were scored on other pairs', fix='give another folder as --records'
            )
        pairs = scored
        content = {'not_done': [one for one in rows.configs if one not in done], 'pairs': pairs}
        record = json_types(provenance() | about | content | {'rows': with_tests(done, pairs)})
        write_json(path, record)
        jax.clear_caches()
    if not done:
        raise UserError(f'no row is trained in {rows.workdir}', fix='run the same command without --score first')
    return read_json(path, COMPARISON)


def _check_training(path: Path, record: Mapping[str, Any], trained_on: str) -> None:
    """Check that the rows of a record were trained on some data; configs do not say on which."""
    earlier = record.get('data', {}).get('trained_on')
    if earlier != trained_on:
        raise UserError(
            f'{path} holds rows that were trained on {earlier or "the data that they are scored on"}',
            expected=f'rows that were trained on {trained_on}',
            fix='give another folder as --records',
        )


def _score(run: RowRun, data: Path, split: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the row of a run with its scores on other data, and the pairs."""
    opened = open_workdir(run.folder, run.name, Sources(data=data, split=split))
    protocol = dataclasses.replace(training_protocol(), name='elsewhere')
    scored = score_cases(opened.cases, (protocol,))['elsewhere']
    content = RunContent(scored, dict(opened.classes), '', {}, None)
    row, _ = row_of(run)
    numbers, about = summary_numbers(content), provenance()
    # Seconds are those of the machine that scored, which need not be the one that trained.
    return row | {
        **{field: about[field] for field in ORIGIN},
        'scores': numbers,
        'seconds_a_pair': seconds_a_pair(scored),
        **{quantity: [one[quantity] for one in scored] for quantity in TESTED},
    }, [{key: one[key] for key in ('pair', 'subject')} for one in scored]
