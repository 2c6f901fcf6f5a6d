"""The preparation of brain data sets, behind `python -m autofuse_jax.prepare --dataset=oasis` and so on."""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.choices import (
    ABIDE,
    ADHD,
    ADNI,
    AFFINE,
    AUTO,
    BUCKNER,
    DKT62,
    FOLDER,
    FREESURFER,
    IDS,
    IXI,
    MINDBOGGLE,
    NONE,
    OASIS,
    OASIS35,
    SPLITS,
)
from autofuse_jax.data.manifests import MANIFEST_NAME, Manifest
from autofuse_jax.data.prepared import Grid
from autofuse_jax.data.volumes import read_labels
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_extraction import choose_tool
from autofuse_jax.preparation.brain_fit import LARGEST_CUT
from autofuse_jax.preparation.brain_labels import LABEL_TABLES, LabelTable, oasis_table, read_label_table, table_of_ids
from autofuse_jax.preparation.brain_layouts import find_brains
from autofuse_jax.preparation.brain_splits import split_brains
from autofuse_jax.preparation.found_brains import FoundBrain, FoundBrains
from autofuse_jax.preparation.mni import fingerprint, load_template
from autofuse_jax.preparation.one_brain import BrainJob, BrainOutcome, prepare_brain_subject, warnings_of
from autofuse_jax.preparation.output_folder import count_subjects, prepared_folder, report_problems
from autofuse_jax.preparation.part_manifests import problems_of_part, write_manifest_of
from autofuse_jax.preparation.persons import persons_in_several
from autofuse_jax.preparation.processes import run_in_processes
from autofuse_jax.preparation.sources import Problem
from autofuse_jax.version import __version__

# The paper's grid: left to right, back to front, bottom to top.
BRAIN_GRID = Grid((144, 192, 160), (1.0, 1.0, 1.0))
# Raised whenever the same settings would give other frames, so that old frames are not mixed with new ones.
BRAINS_VERSION = 1
# An alignment keeps two cores busy and takes about a GiB, so more processes are the user's choice.
DEFAULT_WORKERS = 1
# Data sets of which every label map follows one convention; others hold what their owner put there.
LABELS_OF = {OASIS: OASIS35, MINDBOGGLE: DKT62, BUCKNER: FREESURFER}
# Data sets that are handed out with the skull.
WITH_SKULL = (IXI, ADNI, ABIDE, ADHD)
# More subjects than this are listed in the manifest only.
LISTED_SUBJECTS = 100
# More warnings than these are counted.
SHOWN_WARNINGS = 12


def prepare_brains(options: argparse.Namespace) -> int:
    """Prepare a brain data set.

    Args:
        options: Options of the command `autofuse_jax.prepare`.

    Returns:
        The exit status.

    Raises:
        UserError: The source, the splits, the template or an option is wrong, or a needed program is missing.
    """
    root = options.source
    source = find_brains(options.dataset, root)
    name = root.resolve().name if options.dataset == FOLDER else options.dataset
    split_of, rule = split_brains(source, options.dataset, name, root, options.splits)
    brains = [brain for brain in source.brains if brain.id in split_of]
    labelled = sum(_labels_file(brain) is not None for brain in brains)
    print(
        f'{root}: {source.layout}; {len(source.brains)} images, {len(brains)} of them in a split, {labelled} labelled'
    )
    for remark in (*source.remarks, *_split_remarks(split_of)):
        print(f'note: {remark}', file=sys.stderr)
    alignment = options.align or (NONE if source.prepared else AFFINE)
    table = _label_table(options, brains, labelled)
    skull = options.dataset in WITH_SKULL and not source.prepared
    tool = choose_tool(options.brain_extraction or (AUTO if skull else NONE))
    grid = Grid(options.shape or BRAIN_GRID.shape, options.spacing or BRAIN_GRID.spacing)
    settings = _settings(options, grid, source, table, alignment, tool)
    part = options.part
    claim = {'dataset': name, **settings}
    with prepared_folder(options.out, [root], claim, options.overwrite, part=part) as place:
        jobs = [
            BrainJob(
                brain=brain,
                split=split_of[brain.id],
                grid=grid,
                table=table,
                template=options.template,
                alignment=alignment,
                similarity=options.similarity,
                extraction=tool,
                fit=not options.no_fit,
                keep_values=source.prepared,
                settings=settings,
                out=place,
            )
            for brain in brains
        ]
        outcomes = _run(jobs if part is None else part.of(jobs), options.workers or DEFAULT_WORKERS)
        source_ids = {brain.id for brain in source.brains} | {problem.subject for problem in source.problems}
        problems = [*source.problems]
        problems += [
            Problem(lost, 'it is listed in the splits but not in the source') for lost in set(split_of) - source_ids
        ]
        problems = problems_of_part(problems, part)
        problems += [problem for outcome in outcomes for problem in outcome.problems]
        good = sorted((outcome for outcome in outcomes if outcome.subject is not None), key=lambda outcome: outcome.id)
        if good or part is not None:
            manifest = _manifest(place, name, grid, table, good, source, whole=part is None)
            left_out = sorted({problem.subject for problem in problems})
            recorded = settings | {'split_rule': rule, 'left_out': left_out, 'package_version': __version__}
            recorded['measured'] = {outcome.id: outcome.report | _remarks(outcome) for outcome in good}
            manifest = dataclasses.replace(manifest, settings=recorded)
            write_manifest_of(manifest, part)
            if good:
                _print_summary(options.out, manifest, good, len(source.brains) - len(brains))
        return report_problems(problems, bool(good) or part is not None)


def _split_remarks(split_of: Mapping[str, str]) -> list[str]:
    """A sentence about persons whom a network would learn from and be tested on."""
    persons = persons_in_several(split_of)
    if not persons:
        return []
    several = f'{persons[0]} has' if len(persons) == 1 else f'{len(persons)} people, such as {persons[0]}, have'
    return [f'{several} images in the training split and in another one; scores of those are too good']


def _run(jobs: Sequence[BrainJob], workers: int) -> list[BrainOutcome]:
    with contextlib.closing(run_in_processes(prepare_brain_subject, jobs, workers)) as finished:
        return count_subjects(finished, len(jobs), restored=lambda outcome: outcome.reused)


def _label_table(options: argparse.Namespace, brains: Sequence[FoundBrain], labelled: int) -> LabelTable:
    """Return the table that the user names, else that of the data set, else one of the ids that occur."""
    if options.label_table is not None:
        if options.labels is not None:
            raise UserError('--labels and --label-table are both given', fix='leave one of them out')
        return read_label_table(options.label_table)
    kind = options.labels or LABELS_OF.get(options.dataset, IDS)
    if kind != IDS:
        return LABEL_TABLES[kind]()
    if not labelled:
        # The classes of the other brain data sets, so that they can be joined.
        return oasis_table()
    ids: set[int] = set()
    for brain in brains:
        path = _labels_file(brain)
        if path is None:
            continue
        try:
            ids |= set(read_labels(path)[0].ravel().tolist())
        except UserError:
            # The subject is reported as a problem when it is prepared.
            continue
    table = table_of_ids(ids)
    print(f'no --labels given: the {len(table.names)} ids that occur are a class each')
    return table


def _labels_file(brain: FoundBrain) -> Path | None:
    """The file of a label map; None also of a damaged image, which is reported when its subject is prepared."""
    try:
        return brain.labels_file()
    except UserError:
        return None


def _settings(
    options: argparse.Namespace, grid: Grid, source: FoundBrains, table: LabelTable, alignment: str, tool: str
) -> dict[str, Any]:
    """Return everything that determines the frames, in readable form."""
    aligned = alignment != NONE
    described = json.dumps([sorted(table.class_of.items()), sorted(table.classes.items()), table.complete])
    return {
        'spacing_mm': list(grid.spacing),
        'shape': list(grid.shape),
        'orientation': 'RAS: left to right, back to front, bottom to top',
        'template': fingerprint(load_template(options.template)) if aligned else 'none',
        'alignment': alignment,
        'similarity': options.similarity if aligned else 'none',
        'window': 'centred on the brain of the template' if aligned else 'centred on each volume',
        'fit': aligned and not options.no_fit,
        'brain_extraction': tool,
        'image_interpolation': 'linear, once from the source; Gaussian before where the source is finer; 0 outside',
        'label_interpolation': 'nearest neighbour, once from the source',
        'normalisation': 'values kept where in [0, 1]'
        if source.prepared
        else '0 to the 99.9th percentile of the brain, scaled to [0, 1] and clipped',
        'labels': table.convention,
        'label_table_sha256': hashlib.sha256(described.encode()).hexdigest()[:16],
        'source_layout': source.layout,
        'brains_version': BRAINS_VERSION,
    }


def _manifest(
    out: Path,
    name: str,
    grid: Grid,
    table: LabelTable,
    good: Sequence[BrainOutcome],
    source: FoundBrains,
    *,
    whole: bool,
) -> Manifest:
    ids = {label for outcome in good for label in outcome.ids}
    prepared = {outcome.id for outcome in good}
    return Manifest(
        out,
        name,
        grid.shape,
        grid.spacing,
        table.classes,
        tuple(outcome.subject for outcome in good),
        {},
        {label: table.names[label] for label in sorted(ids) if label in table.names},
        # The other subject of a pair may be in another part.
        tuple(pair for pair in source.pairs if set(pair) <= prepared or not whole),
    )


def _remarks(outcome: BrainOutcome) -> dict[str, Any]:
    sentences = warnings_of(outcome)
    return {'warnings': sentences} if sentences else {}


def _print_summary(out: Path, manifest: Manifest, outcomes: Sequence[BrainOutcome], unused: int) -> None:
    print(f'{manifest.dataset}: {len(manifest.subjects)} subjects in {out}')
    for split in SPLITS:
        subjects = manifest.subjects_of(split)
        if subjects:
            labelled = sum(frame.has_labels for subject in subjects for frame in subject.frames)
            print(f'  {split}: {len(subjects)} subjects, {labelled} labelled')
    print(
        f'  labels: {len(manifest.classes) - 1} classes for training, {len(manifest.original_classes)} original '
        'structures to score'
    )
    scored_ids = set(manifest.original_classes) | {0}
    unknown = sorted({label for outcome in outcomes for label in outcome.ids} - scored_ids)
    if unknown:
        print(f'  ids that the label table does not score: {", ".join(map(str, unknown))}')
    cuts = {outcome.id: outcome.report['cut_percent'] for outcome in outcomes}
    worst = max(cuts, key=lambda name: cuts[name])
    limit = 100 * LARGEST_CUT
    print(
        f'  brain voxels outside the grid: mean {sum(cuts.values()) / len(cuts):.4f} %, largest {cuts[worst]:.4f} % '
        f'({worst}); {sum(share > limit for share in cuts.values())} subjects above {limit:g} %'
    )
    if len(outcomes) <= LISTED_SUBJECTS:
        for outcome in outcomes:
            print(f'    {outcome.id}: {_report_text(outcome.report)}')
    if unused:
        print(f'  {unused} subjects of the source are in no split and were left out')
    reused = sum(outcome.reused for outcome in outcomes)
    if reused:
        print(f'  {reused} subjects were there already from an earlier run')
    sentences = [f'{outcome.id}: {sentence}' for outcome in outcomes for sentence in warnings_of(outcome)]
    for sentence in sentences[:SHOWN_WARNINGS]:
        print(f'warning: {sentence}', file=sys.stderr)
    if len(sentences) > SHOWN_WARNINGS:
        print(f'warning: {len(sentences) - SHOWN_WARNINGS} more like these, see {MANIFEST_NAME}', file=sys.stderr)


def _report_text(report: dict[str, Any]) -> str:
    text = f'{report["cut_percent"]:.4f} % of {report["brain_ml"]:.0f} ml outside'
    if 'cut_percent_before_fit' in report:
        scale = ' x '.join(f'{factor:.3f}' for factor in report['fit_scale'])
        shift = ', '.join(f'{length:.1f}' for length in report['fit_shift_mm'])
        text += f' ({report["cut_percent_before_fit"]:.4f} % before it was fitted: scaled {scale}, moved {shift} mm)'
    return f'{text}, {report["seconds"]:.0f} s'
