"""The summary of many registrations: a page and a CSV with one row a pair, the worst verdict first."""

import csv
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autofuse_jax.files import replacing, write_text
from autofuse_jax.reports.doubts import FAILED, GOOD, LOOK
from autofuse_jax.reports.html import DASH, Html, document, is_number, number, section, table, tag
from autofuse_jax.reports.summary import spread
from autofuse_jax.reports.verdict import WORDS

SUMMARY_PAGE, SUMMARY_TABLE = 'summary.html', 'summary.csv'
PAIR_PAGE = 'report.html'
# What becomes of a pair that has no report: it ended with an error, or its turn has not come.
ERROR, OPEN = 'error', 'not yet registered'
# Worst first; what is open says nothing yet and comes last.
ORDER = (ERROR, FAILED, LOOK, GOOD, OPEN)
SCORES = ('dsc_before', 'dsc_after', 'hd95_mm_before', 'hd95_mm_after', 'ncc_before', 'ncc_after', 'njd_percent')
TIMES = ('import_seconds', 'compile_seconds', 'compute_seconds', 'programs')


@dataclasses.dataclass(frozen=True)
class PairOutcome:
    """What became of a pair.

    Attributes:
        name: Name of the pair and of its folder.
        files: Column of the table to the file.
        report: Content of its report.json; None where it is not registered.
        error: Reason in one line where it failed; empty otherwise.
    """

    name: str
    files: Mapping[str, str]
    report: Mapping[str, Any] | None = None
    error: str = ''

    @property
    def level(self) -> str:
        """One of `ORDER`."""
        if self.error:
            return ERROR
        if self.report is None:
            return OPEN
        # A report of another version has no verdict, or one that is not known here.
        level = self.verdict.get('level')
        return level if level in ORDER else LOOK

    @property
    def verdict(self) -> Mapping[str, Any]:
        """Verdict of the report: level, headline, reasons."""
        return (self.report or {}).get('verdict') or {}

    def score(self, key: str) -> Any:
        """Return a score of the report, None where there is none."""
        return ((self.report or {}).get('scores') or {}).get(key)

    def reason(self) -> str:
        """Return in one line what is wrong, or how good it is."""
        if self.error:
            return self.error
        return ' '.join([*self.verdict.get('reasons', ())]) or str(self.verdict.get('headline', ''))


def write_summary(folder: Path, outcomes: Sequence[PairOutcome], *, command: str) -> None:
    """Write the page and the CSV of a run over many pairs.

    Args:
        folder: Folder that holds the folders of the pairs.
        outcomes: One for each pair, in any order.
        command: The command line.

    Raises:
        OSError: The folder cannot be written.
    """
    ordered = worst_first(outcomes)
    head = ['name', 'verdict', 'reason', *SCORES, 'inverse_consistency_mm', 'seconds', *TIMES]
    columns = list(dict.fromkeys(column for outcome in ordered for column in outcome.files))
    with replacing(folder / SUMMARY_TABLE) as temporary, temporary.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow([*head, *columns])
        for outcome in ordered:
            report = outcome.report or {}
            times = report.get('times') or {}
            numbers = [outcome.score(key) for key in SCORES]
            numbers += [_inverse_mm(outcome), report.get('seconds'), *(times.get(key) for key in TIMES)]
            cells = [f'{value:.6g}' if is_number(value) else '' for value in numbers]
            writer.writerow(
                [outcome.name, outcome.level, outcome.reason(), *cells, *(outcome.files.get(c, '') for c in columns)]
            )
    write_text(folder / SUMMARY_PAGE, summary_of_pairs(ordered, command=command))


def worst_first(outcomes: Sequence[PairOutcome]) -> list[PairOutcome]:
    """Return outcomes by their verdict, the worst first; within one by overlap, or else by similarity, the least first.

    Args:
        outcomes: Outcomes in any order.
    """

    def key(outcome: PairOutcome) -> tuple:
        measured = [outcome.score(name) for name in ('dsc_after', 'ncc_after')]
        return ORDER.index(outcome.level), *(value if is_number(value) else 1.0 for value in measured), outcome.name

    return sorted(outcomes, key=key)


def counts_sentence(outcomes: Sequence[PairOutcome]) -> str:
    """Return how many pairs there are of each verdict: '20 pairs: 1 error, 2 look at it, 17 good'."""
    counts = Counter(outcome.level for outcome in outcomes)
    noun = 'pair' if len(outcomes) == 1 else 'pairs'
    return f'{len(outcomes)} {noun}: ' + ', '.join(
        f'{counts[level]} {words_of(level)}' for level in ORDER if counts[level]
    )


def words_of(level: str) -> str:
    """Return a level of `ORDER` in words."""
    return WORDS.get(level, level)


def summary_of_pairs(outcomes: Sequence[PairOutcome], *, command: str) -> Html:
    """Return the page of a run over many pairs.

    Args:
        outcomes: Outcomes in the order of the page.
        command: The command line.
    """
    title = counts_sentence(outcomes)
    header = ['pair', 'verdict', 'why', 'DSC % before', 'after', 'NCC before', 'after', 'NJD %', 'inverse mm', 's']
    return document(
        title,
        tag('h1', title),
        tag('p', 'The worst first. Names lead to the page of each pair.', class_='soft'),
        _means(outcomes),
        section('Pairs', table(header, [_row(outcome) for outcome in outcomes], text_columns=(0, 1, 2))),
        section('How it was made', tag('pre', command)),
    )


def _row(outcome: PairOutcome) -> list[Any]:
    page = PAIR_PAGE in ((outcome.report or {}).get('files') or ()) and not outcome.error
    name = tag('a', outcome.name, href=f'{quote(outcome.name)}/{PAIR_PAGE}') if page else outcome.name
    level = outcome.level
    return [
        name,
        tag('td', words_of(level), class_='worse') if level in (ERROR, FAILED) else words_of(level),
        outcome.reason(),
        *(number(outcome.score(f'dsc_{when}'), 1, 100) for when in ('before', 'after')),
        *(number(outcome.score(f'ncc_{when}'), 3) for when in ('before', 'after')),
        number(outcome.score('njd_percent'), 4),
        number(_inverse_mm(outcome), 3),
        number((outcome.report or {}).get('seconds'), 1),
    ]


def _means(outcomes: Sequence[PairOutcome]) -> Html | None:
    """Means and deviations over the pairs that have a number, of what is compared over those that have both."""
    tiles = []
    for key, name, decimals, factor, unit in (
        ('dsc', 'DSC', 1, 100.0, ' %'),
        ('hd95_mm', 'HD95', 1, 1.0, ' mm'),
        ('ncc', 'NCC', 3, 1.0, ''),
    ):
        scores = [[outcome.score(f'{key}_{when}') for when in ('before', 'after')] for outcome in outcomes]
        both = [score for score in scores if all(map(is_number, score))]
        if both:
            pair = [spread(values) for values in zip(*both, strict=True)]
            tiles.append((f'{name} before → after', ' → '.join(one.text(decimals, factor) for one in pair) + unit))
    folded = spread(outcome.score('njd_percent') for outcome in outcomes)
    if folded.count:
        tiles.append(('folded voxels (NJD)', f'{folded.text(4)} %'))
    boxes = [tag('div', tag('span', name), tag('b', value), class_='tile') for name, value in tiles if value != DASH]
    return tag('div', boxes, class_='tiles') if boxes else None


def _inverse_mm(outcome: PairOutcome) -> float | None:
    score = outcome.score('inverse_consistency_mm')
    return score.get('mean') if isinstance(score, Mapping) else score
