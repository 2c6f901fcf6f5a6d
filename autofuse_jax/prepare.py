"""Prepare a data set for training: `python -m autofuse_jax.prepare --dataset=acdc --source=DIR --out=DIR`.

Every volume is resampled to one voxel size, cropped or padded to one shape and scaled to [0, 1]. The output folder
holds one npz file per frame and manifest.json. An interrupted run continues where it stopped.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.data.acdc import find_acdc
from autofuse_jax.data.manifests import MANIFEST_NAME, SPLITS, Manifest, write_manifest
from autofuse_jax.data.preparation import Job, Outcome, prepare_subject
from autofuse_jax.data.prepared import Grid
from autofuse_jax.data.processes import run_in_processes
from autofuse_jax.data.sources import Problem, Source
from autofuse_jax.errors import USER_ERROR_STATUS, UserError, run_command
from autofuse_jax.files import write_json
from autofuse_jax.version import __version__

SETTINGS_NAME = 'settings.json'
# Raised whenever the same settings would give other frames, so that old frames are not mixed with new ones.
FRAMES_VERSION = 1
# Temporary files of `files.replacing` that a killed run could not remove.
LEFTOVERS = '*/.writing-*'


@dataclasses.dataclass(frozen=True)
class Dataset:
    """How one data set is found, and the grid it is prepared for unless the user names another.

    Attributes:
        find: Lists the subjects of a source folder, given the folder and a splits file or None.
        grid: The default grid.
    """

    find: Callable[[Path, Path | None], Source]
    grid: Grid


DATASETS = {
    # The voxel size and shape at which cardiac results are published.
    'acdc': Dataset(find_acdc, Grid((128, 128, 32), (1.5, 1.5, 3.15))),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line tool.

    Args:
        argv: Arguments without the program name; None takes those of the process.

    Returns:
        The exit status: 0, 2 after bad input (the good subjects are prepared nevertheless), 130 after an interrupt.
    """
    options = _parser().parse_args(argv)
    return run_command(lambda: _prepare(options))


def _parser() -> argparse.ArgumentParser:
    program = 'python -m autofuse_jax.prepare'
    parser = argparse.ArgumentParser(prog=program, description='Prepare a data set for training.')
    parser.add_argument('--dataset', required=True, choices=sorted(DATASETS), help='which data set the source is')
    parser.add_argument('--source', required=True, type=Path, metavar='DIR', help='the data set as it was downloaded')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='where the prepared data goes')
    parser.add_argument('--splits', type=Path, metavar='FILE', help='JSON file with the subjects of each split')
    parser.add_argument('--workers', type=_positive(int), default=os.cpu_count() or 1, metavar='N', help='processes')
    parser.add_argument('--shape', type=_three(int), metavar='D,H,W', help='voxels of the prepared grid')
    parser.add_argument('--spacing', type=_three(float), metavar='D,H,W', help='voxel size of that grid in millimetres')
    parser.add_argument('--overwrite', action='store_true', help='replace frames prepared with other settings')
    return parser


def _prepare(options: argparse.Namespace) -> int:
    dataset = DATASETS[options.dataset]
    grid = Grid(options.shape or dataset.grid.shape, options.spacing or dataset.grid.spacing)
    source = dataset.find(options.source, options.splits)
    if options.out.resolve() == options.source.resolve():
        raise UserError('--out is the same folder as --source', fix='prepare into a folder of its own')
    settings = {
        'spacing_mm': list(grid.spacing),
        'shape': list(grid.shape),
        'image_interpolation': 'trilinear, first voxel centre kept, clamped at the edge',
        'label_interpolation': 'nearest neighbour on the same grid',
        'fit': 'centred crop or zero padding',
        'normalisation': 'min-max to [0, 1] per volume over the cropped image; padding is 0 and does not count',
        'source_layout': source.layout,
        'labels': source.label_convention,
        'frames_version': FRAMES_VERSION,
    }
    _claim_folder(options.out, {'dataset': source.dataset, **settings}, options.overwrite)
    jobs = [Job(subject, grid, tuple(source.classes), settings, options.out) for subject in source.subjects]
    outcomes = []
    progress = _Progress(len(jobs))
    with contextlib.closing(run_in_processes(prepare_subject, jobs, options.workers)) as finished:
        for outcome in finished:
            outcomes.append(outcome)
            progress.step(sum(len(done.problems) for done in outcomes))
    problems = [*source.problems, *(problem for outcome in outcomes for problem in outcome.problems)]
    good = sorted((done.subject for done in outcomes if done.subject is not None), key=lambda subject: subject.id)
    if good:
        left_out = sorted({problem.subject for problem in problems})
        recorded = settings | {'split_rule': source.split_rule, 'left_out': left_out, 'package_version': __version__}
        manifest = Manifest(
            options.out, source.dataset, grid.shape, grid.spacing, source.classes, tuple(good), recorded
        )
        write_manifest(manifest)
        _print_summary(manifest, outcomes, source.unused)
    return _report(problems, bool(good))


def _claim_folder(out: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Record the settings in the output folder, or refuse a folder that was prepared with other ones."""
    path = out / SETTINGS_NAME
    if out.exists() and not out.is_dir():
        raise UserError(f'{out} is a file', expected='a folder, or a path where one can be made', fix='correct --out')
    if path.is_file() and not overwrite:
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
        except ValueError:
            found = None
        # A damaged record counts as one without any setting.
        found = found if isinstance(found, dict) else {}
        different = sorted(key for key in settings.keys() | found.keys() if settings.get(key) != found.get(key))
        if different:
            changes = '; '.join(f'{key}: {found.get(key)} there, {settings.get(key)} now' for key in different)
            raise UserError(
                f'{out} was prepared with other settings ({changes})',
                fix='name another --out folder, or add --overwrite to replace what is there',
            )
    elif (out / MANIFEST_NAME).is_file() and not path.is_file() and not overwrite:
        raise UserError(
            f'{out} holds a {MANIFEST_NAME} that this program did not write',
            fix='name another --out folder, or add --overwrite to replace it',
        )
    # A manifest of other settings must not outlive the frames it lists.
    if overwrite:
        (out / MANIFEST_NAME).unlink(missing_ok=True)
    for leftover in out.glob(LEFTOVERS):
        leftover.unlink()
    write_json(path, settings)


class _Progress:
    """A line on standard error with the count, the problems so far and the remaining time."""

    # Seconds between lines where the output is a file: enough to follow, not enough to fill it.
    FILE_INTERVAL = 10.0

    def __init__(self, total: int):
        self.total, self.done = total, 0
        self.start = self.last = time.monotonic()
        print(f'preparing {total} subjects', file=sys.stderr, flush=True)

    def step(self, problems: int) -> None:
        self.done += 1
        now = time.monotonic()
        remaining = (now - self.start) / self.done * (self.total - self.done)
        text = f'prepared {self.done}/{self.total} subjects, {problems} problems, about {remaining:.0f} s left'
        finished = self.done == self.total
        if sys.stderr.isatty():
            print(f'\r{text:<78}', end='\n' if finished else '', file=sys.stderr, flush=True)
        elif finished or now - self.last >= self.FILE_INTERVAL:
            self.last = now
            print(text, file=sys.stderr, flush=True)


def _print_summary(manifest: Manifest, outcomes: Sequence[Outcome], unused: int) -> None:
    dice_of = {done.subject.id: done.dice_before for done in outcomes if done.subject is not None}
    print(f'{manifest.dataset}: {len(manifest.subjects)} subjects in {manifest.root}')
    for split in SPLITS:
        subjects = manifest.subjects_of(split)
        if not subjects:
            continue
        frames = [frame for subject in subjects for frame in subject.frames]
        labelled = sum(frame.has_labels for frame in frames)
        scores = [dice_of[subject.id] for subject in subjects if dice_of[subject.id] is not None]
        dice = f'{100 * sum(scores) / len(scores):.1f} %' if scores else 'no labelled ED and ES pair'
        print(
            f'  {split}: {len(subjects)} subjects, {len(frames)} frames ({labelled} labelled), '
            f'mean Dice between ED and ES before registration: {dice}'
        )
    if unused:
        print(f'  {unused} subjects of the source are in no split and were left out')
    reused = sum(done.reused for done in outcomes)
    if reused:
        print(f'  {reused} frames were there already from an earlier run')


def _report(problems: Sequence[Problem], any_good: bool) -> int:
    if not problems:
        return 0
    print(f'error: {len(problems)} problems; these subjects were left out:', file=sys.stderr)
    for problem in sorted(problems, key=lambda problem: problem.subject):
        print(f'  {problem.subject}: {problem.reason}', file=sys.stderr)
    if not any_good:
        print(f'no subject could be prepared, so no {MANIFEST_NAME} was written.', file=sys.stderr)
    return USER_ERROR_STATUS


def _positive(kind: type) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float('inf'):
            raise argparse.ArgumentTypeError(f'{text} is not a positive number')
        return value

    parse.__name__ = kind.__name__
    return parse


def _three(kind: type) -> Callable[[str], tuple]:
    def parse(text: str) -> tuple:
        values = tuple(_positive(kind)(part) for part in text.split(','))
        if len(values) != 3:
            raise argparse.ArgumentTypeError(f'{text} is not three numbers such as 128,128,32')
        return values

    parse.__name__ = f'three {kind.__name__} values'
    return parse


if __name__ == '__main__':
    sys.exit(main())
