"""Runs to evaluate: folders of results, opened as lists of pairs that are read one at a time."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_data import PairData

KINDS = (
    'a folder of results of `python -m autofuse_jax.register` (report.json, forward_voxel.nii.gz), '
    'a folder of Learn2Reg fields (disp_*.nii.gz or .npz), a training folder (config.json, checkpoints), '
    'released weights (.npz), or a folder of an earlier evaluation (pairs.json)'
)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One registered pair that can be read.

    Attributes:
        name: Its name; the same pair has the same name in every run.
        group: Name that dependent pairs share: the subject of the fixed image.
        load: Function that reads the pair.
        facts: Further entries of its record, such as the files.
    """

    name: str
    group: str
    load: Callable[[], PairData]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One thing that was named on the command line.

    Attributes:
        name: Name in tables.
        source: File or folder.
        kind: Kind, in words.
        cases: Its pairs; empty where the scores exist already.
        classes: Label id to name, as far as the data tells.
        notes: Sentences about how it was read.
        records: Scores of an earlier evaluation; None where pairs are to be scored.
        protocol: The protocol of those scores as it was recorded; None where unknown or not scored yet.
    """

    name: str
    source: Path
    kind: str
    cases: tuple[Case, ...]
    classes: Mapping[int, str]
    notes: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] | None = None
    protocol: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where else to look, as given on the command line.

    Attributes:
        data: Folder of images and labels, or of prepared data; None where not given.
        dataset_json: Learn2Reg's description of a data set; None where not given.
        split: Split of prepared data to evaluate a checkpoint on; None: that of its config, else 'test'.
    """

    data: Path | None = None
    dataset_json: Path | None = None
    split: str | None = None


def no_pairs(path: Path, expected: str, fix: str) -> UserError:
    """Return the error for a run without pairs."""
    return UserError(f'no pairs were found in {path}', expected=expected, fix=fix)


def common_pairs(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the names of the pairs that every run has, in the order of the first.

    Args:
        runs: Records by the name of the run.

    Returns:
        Names; at least one.

    Raises:
        UserError: There is none, or a run has a pair twice.
    """
    names = {}
    for run, records in runs.items():
        names[run] = [record['pair'] for record in records]
        twice = sorted({name for name in names[run] if names[run].count(name) > 1})
        if twice:
            raise UserError(f'the run {run} has the pair {twice[0]} twice', fix='keep one result of each pair')
    first = next(iter(names.values()))
    common = [name for name in first if all(name in other for other in names.values())]
    if not common:
        examples = '; '.join(f'{run}: {len(pairs)} pairs, such as {pairs[0]}' for run, pairs in names.items())
        raise UserError(
            f'the runs have no pair in common ({examples})',
            expected='the same pairs under the same names in every run',
            fix='register the same pairs, or name the result folders of a pair alike',
        )
    return common
