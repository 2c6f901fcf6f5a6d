"""What `prepare` does: bring the subjects of a data set onto one grid, or join prepared data sets."""

import argparse
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.choices import ACDC, JOINED, SPLITS
from autofuse_jax.data.manifests import Manifest, write_manifest
from autofuse_jax.data.prepared import Grid
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.acdc import find_acdc
from autofuse_jax.preparation.brain_layouts import BRAIN_FINDERS
from autofuse_jax.preparation.brains import prepare_brains
from autofuse_jax.preparation.joining import join_data_sets
from autofuse_jax.preparation.one_cine import Job, Outcome, prepare_subject
from autofuse_jax.preparation.output_folder import count_subjects, prepared_folder, report_problems
from autofuse_jax.preparation.part_manifests import problems_of_part, write_manifest_of
from autofuse_jax.preparation.processes import run_in_processes
from autofuse_jax.preparation.sources import Source
from autofuse_jax.runtime import available_cores
from autofuse_jax.version import __version__

# Raised whenever the same settings would give other frames, so that old frames are not mixed with new ones.
FRAMES_VERSION = 1
# Options that only brains have.
BRAIN_OPTIONS = ('template', 'labels', 'label_table', 'brain_extraction', 'align', 'no_fit')


@dataclasses.dataclass(frozen=True)
class Dataset:
    """How one data set is found, and the grid it is prepared for unless the user names another.

    Attributes:
        find: Function that lists the subjects of a source folder, from the folder and a splits file or None.
        grid: The default grid.
    """

    find: Callable[[Path, Path | None], Source]
    grid: Grid


DATASETS = {
    # The voxel size and shape at which cardiac results are published.
    ACDC: Dataset(find_acdc, Grid((128, 128, 32), (1.5, 1.5, 3.15))),
}


def run(options: argparse.Namespace) -> int:
    """Prepare a data set, or join prepared ones.

    Args:
        options: Options of `autofuse_jax.prepare`.

    Returns:
        The exit status: 2 where subjects were left out.

    Raises:
        UserError: The source or an option is wrong.
    """
    if options.dataset == JOINED:
        if options.part is not None:
            raise UserError('--part is given, and joining has no parts', fix='leave out --part')
        return _join(options)
    if len(options.source) > 1:
        raise UserError(f'--source is given {len(options.source)} times', expected='once', fix='prepare one by one')
    options.source = options.source[0]
    return prepare_brains(options) if options.dataset in BRAIN_FINDERS else _prepare_cine(options)


def _join(options: argparse.Namespace) -> int:
    manifest = join_data_sets(options.source, options.out)
    with prepared_folder(options.out, options.source, {'dataset': manifest.dataset}, options.overwrite) as place:
        write_manifest(dataclasses.replace(manifest, root=place))
    counts = ', '.join(f'{len(manifest.subjects_of(split))} {split}' for split in SPLITS)
    print(f'{manifest.dataset}: {len(manifest.subjects)} subjects ({counts}) in {manifest.root}')
    return 0


def _prepare_cine(options: argparse.Namespace) -> int:
    brain_options = [name for name in BRAIN_OPTIONS if getattr(options, name)]
    if brain_options:
        flags = ', '.join('--' + name.replace('_', '-') for name in brain_options)
        raise UserError(f'{flags} is for brains, not for {options.dataset}', fix='leave it out')
    dataset = DATASETS[options.dataset]
    grid = Grid(options.shape or dataset.grid.shape, options.spacing or dataset.grid.spacing)
    source = dataset.find(options.source, options.splits)
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
    recorded = {'dataset': source.dataset, **settings}
    with prepared_folder(options.out, [options.source], recorded, options.overwrite, part=options.part) as place:
        return _prepare_frames(options, source, grid, settings, place)


def _prepare_frames(
    options: argparse.Namespace, source: Source, grid: Grid, settings: dict[str, Any], place: Path
) -> int:
    jobs = [Job(subject, grid, tuple(source.classes), settings, place) for subject in source.subjects]
    jobs = jobs if options.part is None else options.part.of(jobs)
    with contextlib.closing(run_in_processes(prepare_subject, jobs, options.workers or available_cores())) as finished:
        outcomes = count_subjects(finished, len(jobs), restored=_was_there)
    problems = [*problems_of_part(source.problems, options.part)]
    problems += [problem for outcome in outcomes for problem in outcome.problems]
    good = sorted(
        (outcome.subject for outcome in outcomes if outcome.subject is not None), key=lambda subject: subject.id
    )
    if good or options.part is not None:
        left_out = sorted({problem.subject for problem in problems})
        recorded = settings | {'split_rule': source.split_rule, 'left_out': left_out, 'package_version': __version__}
        manifest = Manifest(place, source.dataset, grid.shape, grid.spacing, source.classes, tuple(good), recorded)
        write_manifest_of(manifest, options.part)
        _print_summary(options.out, manifest, outcomes, source.unused)
    return report_problems(problems, bool(good) or options.part is not None)


def _was_there(outcome: Outcome) -> bool:
    return outcome.subject is not None and outcome.reused == len(outcome.subject.frames)


def _print_summary(out: Path, manifest: Manifest, outcomes: Sequence[Outcome], unused: int) -> None:
    dice_of = {outcome.subject.id: outcome.dice_before for outcome in outcomes if outcome.subject is not None}
    print(f'{manifest.dataset}: {len(manifest.subjects)} subjects in {out}')
    for split in SPLITS:
        subjects = manifest.subjects_of(split)
        if not subjects:
            continue
        frames = [frame for subject in subjects for frame in subject.frames]
        labelled = sum(frame.has_labels for frame in frames)
        scores = [score for subject in subjects if (score := dice_of[subject.id]) is not None]
        dice = f'{100 * sum(scores) / len(scores):.1f} %' if scores else 'no labelled ED and ES pair'
        print(
            f'  {split}: {len(subjects)} subjects, {len(frames)} frames ({labelled} labelled), '
            f'mean Dice between ED and ES before registration: {dice}'
        )
    if unused:
        print(f'  {unused} subjects of the source are in no split and were left out')
    reused = sum(outcome.reused for outcome in outcomes)
    if reused:
        print(f'  {reused} frames were there already from an earlier run')
