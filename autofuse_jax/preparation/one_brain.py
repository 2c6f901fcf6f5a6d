"""Preparing one brain: read, extract, align to the template, resample once, measure what is cut off, write."""

import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import NONE
from autofuse_jax.data.inputs import open_volume
from autofuse_jax.data.manifests import Frame, Subject
from autofuse_jax.data.prepared import ORIGINAL_LABELS_KEY, Grid, origin_of, read_finished, write_frame
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_extraction import extract_brain
from autofuse_jax.preparation.brain_fit import LARGEST_CUT, fit_into
from autofuse_jax.preparation.brain_labels import LabelTable
from autofuse_jax.preparation.brain_resampling import brain_mask, centred_grid, cut_fraction, prepare_brain
from autofuse_jax.preparation.found_brains import FoundBrain
from autofuse_jax.preparation.label_overlap import label_overlap
from autofuse_jax.preparation.label_values import looks_like_labels
from autofuse_jax.preparation.mni import brain_window, load_template
from autofuse_jax.preparation.sources import Problem
from autofuse_jax.records.forms import Entries, Fields, Number
from autofuse_jax.records.reading import parse_json
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image

# From the world of the prepared grid to that of the source image.
MATRIX_KEY = 'to_source'
# What is measured on a subject, as JSON text, so that a later run need not measure it again.
REPORT_KEY = 'report'
REPORT = Fields(
    {'cut_percent': Number(), 'brain_ml': Number(), 'seconds': Number()},
    {'template_overlap': Number(), 'fit_scale': Entries(Number(), 3, 3), 'fit_shift_mm': Entries(Number(), 3, 3)},
)
# Of the template's brain and an adult's: outside it the image probably still has its skull, or lost part of the brain.
USUAL_BRAIN_ML = (700.0, 2300.0)
# Overlap of the aligned brain and the template's; well aligned brains are above 0.9.
USUAL_OVERLAP = 0.85


@dataclasses.dataclass(frozen=True)
class BrainJob:
    """Everything a process needs to prepare one brain.

    Attributes:
        brain: Its files.
        split: 'train', 'validation' or 'test'.
        grid: The prepared grid.
        table: Meaning of its label ids.
        template: File of the template; None for the MNI-152 template.
        alignment: 'affine', 'rigid' or 'none' (crop around the centre, no interpolation at the wanted voxel size).
        similarity: Similarity of the alignment, 'ncc' or 'mi'.
        extraction: 'none' or the brain extraction program.
        fit: Whether a brain of which more than 0.1 % would be cut off is fitted into the grid.
        keep_values: Whether grey values that are in [0, 1] already stay as they are.
        settings: Settings that determine the result; frames made with other settings are made again.
        out: Folder of the prepared data set.
    """

    brain: FoundBrain
    split: str
    grid: Grid
    table: LabelTable
    template: Path | None
    alignment: str
    similarity: str
    extraction: str
    fit: bool
    keep_values: bool
    settings: dict[str, Any]
    out: Path


@dataclasses.dataclass(frozen=True)
class BrainOutcome:
    """What became of one brain.

    Attributes:
        id: Its name.
        subject: Its entry for the manifest, or None where something was wrong with it.
        problems: Problems, none where all went well.
        reused: Whether an earlier run had finished it.
        ids: Original label ids that occur in the prepared label map.
        report: Measurements: cut_percent, brain_ml, and with an alignment cut_percent_before_fit, fit_scale,
            fit_shift_mm, template_overlap, start, seconds.
    """

    id: str
    subject: Subject | None
    problems: tuple[Problem, ...]
    reused: bool
    ids: tuple[int, ...]
    report: dict[str, Any]


def prepare_brain_subject(job: BrainJob) -> BrainOutcome:
    """Prepare one brain; one finished by an earlier run is kept.

    Args:
        job: The task.

    Returns:
        The outcome. Bad source files are reported in it, not raised, so that the other subjects go on.

    Raises:
        OSError: The output cannot be written.
    """
    name, file = job.brain.id, f'{job.brain.id}/frame_01.npz'
    made_of = job.settings, (job.brain.image, job.brain.labels)
    # Before the files are read: whoever changes them meanwhile finds a frame of another origin.
    try:
        origin = origin_of(*made_of)
    except UserError as error:
        return BrainOutcome(name, None, (Problem(name, str(error)),), False, (), {})
    arrays = read_finished(job.out / file, *made_of)
    reused = arrays is not None
    if not reused:
        try:
            volume, arrays = _make(job)
        except UserError as error:
            return BrainOutcome(name, None, (Problem(name, str(error)),), False, (), {})
        write_frame(job.out / file, volume, origin, arrays)
    original = arrays.get(ORIGINAL_LABELS_KEY)
    ids = () if original is None else tuple(np.unique(original).tolist())
    subject = Subject(name, job.split, '', (Frame(1, '', file, original is not None),))
    return BrainOutcome(name, subject, (), reused, ids, _report_in(arrays, job.out / file))


def _report_in(arrays: dict[str, np.ndarray], path: Path) -> dict[str, Any]:
    text = str(arrays.get(REPORT_KEY, ''))
    return parse_json(text, f'the report in {path}', REPORT, fix='remove that file and prepare the data again')


def warnings_of(outcome: BrainOutcome) -> list[str]:
    """Return what is unusual about a prepared brain, in sentences for the user."""
    report, warnings = outcome.report, []
    if report['cut_percent'] > 100 * LARGEST_CUT:
        warnings.append(f'{report["cut_percent"]:.3f} % of its brain voxels lie outside the grid and were cut off')
    # Without a template the images need not be whole brains.
    aligned = 'template_overlap' in report
    if aligned and not USUAL_BRAIN_ML[0] <= report['brain_ml'] <= USUAL_BRAIN_ML[1]:
        warnings.append(
            f'{report["brain_ml"]:.0f} ml count as brain, which is unusual: is the image skull-stripped, 0 outside '
            'the brain and in millimetres?'
        )
    if aligned and report['template_overlap'] < USUAL_OVERLAP:
        overlap = 100 * report['template_overlap']
        warnings.append(f'it overlaps the template by {overlap:.0f} % only, so the alignment has probably failed')
    return warnings


def read_brain(brain: FoundBrain) -> Volume:
    """Read an image and the label map on the same grid.

    Args:
        brain: Its files; an npz image brings its own labels.

    Returns:
        Image and int32 labels, or None where it has none. Missing values (NaN) are 0, outside of the brain.

    Raises:
        UserError: A file is bad, the image is a label map by its values, or the label map is on another grid.
    """
    volume = open_volume(brain.image, 'image', labels=brain.labels_file())
    if looks_like_labels(volume.image):
        raise UserError(
            f'the image {brain.image} holds a few whole numbers over whole areas, as a label map does',
            expected='grey values',
            fix='give the label map the name of its image with _seg behind, or take the file out of the folder',
        )
    return dataclasses.replace(volume, image=np.nan_to_num(volume.image, nan=0.0), name=brain.id)


def align_to_template(template: Volume, volume: Volume, kind: str, similarity: str) -> tuple[np.ndarray, str]:
    """Align a brain to the template.

    Args:
        template: The template.
        volume: The brain.
        kind: 'affine' or 'rigid'.
        similarity: 'ncc' or 'mi'.

    Returns:
        float64 (4, 4), from the template's world to the brain's, RAS millimetres; and what the alignment started from.
    """
    # JAX starts only where there is something to align: finding finished files again needs none of it.
    from autofuse_jax.registration.alignment import AlignmentSettings, align

    # Labels have no part in it, so that labelled and unlabelled brains are treated alike.
    moving = dataclasses.replace(volume, labels=None)
    alignment = align(template, moving, AlignmentSettings(kind=kind, similarity=similarity))
    return alignment.matrix, alignment.start


def _make(job: BrainJob) -> tuple[Volume, dict[str, np.ndarray]]:
    """Return the prepared volume with training labels, and the other arrays of its file."""
    started = time.perf_counter()
    volume = read_brain(job.brain)
    if volume.labels is not None:
        job.table.check(volume.labels, volume.name)
    if job.extraction != NONE:
        volume = extract_brain(volume, job.extraction)
    brain = brain_mask(volume)
    report: dict[str, Any] = {}
    if job.alignment == NONE:
        grid, matrix = centred_grid(volume.grid, job.grid), np.eye(4)
    else:
        template, grid = _template(job.template, job.grid)
        matrix, report['start'] = align_to_template(template, volume, job.alignment, job.similarity)
        before = cut_fraction(brain, volume.affine, grid, matrix)
        if job.fit and LARGEST_CUT < before < 1:
            fit = fit_into(brain, volume.affine, grid, matrix)
            matrix = fit.matrix
            report |= {
                'cut_percent_before_fit': round(100 * before, 5),
                'fit_scale': [round(scale, 5) for scale in fit.scale],
                'fit_shift_mm': [round(shift, 3) for shift in fit.shift_mm],
            }
    prepared = prepare_brain(volume, grid, matrix, keep_values=job.keep_values)
    if job.alignment != NONE:
        brain = (prepared.image > 0).astype(np.uint8)
        report['template_overlap'] = round(label_overlap(brain, _template_brain(job.template, job.grid), [1]), 4)
    report['cut_percent'] = round(100 * prepared.cut_fraction, 5)
    report['brain_ml'] = round(prepared.brain_ml, 1)
    report['seconds'] = round(time.perf_counter() - started, 2)
    arrays = {MATRIX_KEY: np.asarray(matrix, np.float64), REPORT_KEY: np.array(json.dumps(report))}
    arrays['source_affine'], arrays['source_shape'] = volume.affine, np.array(volume.image.shape)
    labels = None
    if prepared.labels is not None:
        labels = job.table.training_labels(prepared.labels)
        # Ids are checked to be 0 or more, so the type is uint8 or uint16.
        arrays[ORIGINAL_LABELS_KEY] = prepared.labels.astype(np.min_scalar_type(int(prepared.labels.max())))
    return Volume(prepared.image, labels, grid.affine, volume.name), arrays


@functools.cache
def _template(path: Path | None, grid: Grid) -> tuple[Volume, ImageGrid]:
    """Load the template once a process, with the prepared grid on it."""
    template = load_template(path)
    return template, brain_window(template, grid)


@functools.cache
def _template_brain(path: Path | None, grid: Grid) -> np.ndarray:
    template, window = _template(path, grid)
    image = sample_image(template.image, moving_positions(AffineTransform(np.eye(4)), window, template.affine))
    return (image > 0).astype(np.uint8)
