"""Preparing one subject: the unit of work that the preparation hands to its processes."""

import dataclasses
from pathlib import Path
from typing import Any

from autofuse_jax.data.formats import LABELS_KEY, series_length
from autofuse_jax.data.manifests import Frame, Subject
from autofuse_jax.data.prepared import Grid, origin_of, prepare_volume, read_finished, write_frame
from autofuse_jax.data.volumes import Volume, read_image, read_labels
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.label_overlap import label_overlap
from autofuse_jax.preparation.sources import Problem, SourceFrame, SourceSubject


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything a process needs to prepare one subject.

    Attributes:
        subject: The subject and its files.
        grid: The grid to prepare for.
        classes: The label ids that may occur.
        settings: Further settings that determine the result; frames made with other settings are made again.
        out: Folder of the prepared data set.
    """

    subject: SourceSubject
    grid: Grid
    classes: tuple[int, ...]
    settings: dict[str, Any]
    out: Path


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one subject.

    Attributes:
        subject: Its entry for the manifest, or None where something was wrong with it.
        problems: Problems, one for each bad file.
        dice_before: Mean Dice of the structures between ED and ES labels, in [0, 1]; None where it has not both.
        reused: Number of frames that an earlier run had finished.
    """

    subject: Subject | None
    problems: tuple[Problem, ...]
    dice_before: float | None
    reused: int


def prepare_subject(job: Job) -> Outcome:
    """Prepare all frames of a subject; those finished by an earlier run are kept.

    Args:
        job: The task.

    Returns:
        The outcome. Bad source files are reported in it, not raised, so that the other subjects go on.

    Raises:
        OSError: The output cannot be written.
    """
    source = job.subject
    try:
        frames = _all_frames(source)
    except UserError as error:
        return Outcome(None, (Problem(source.id, str(error)),), None, 0)
    entries, problems, labels_of, reused, series = [], [], {}, 0, None
    for frame in frames:
        file = f'{source.id}/frame_{frame.index:02d}.npz'
        made_of = job.settings, (frame.image, frame.labels), frame.position
        # Before the files are read: whoever changes them meanwhile finds a frame of another origin.
        try:
            origin = origin_of(*made_of)
        except UserError as error:
            problems.append(Problem(source.id, str(error)))
            continue
        finished = read_finished(job.out / file, *made_of)
        if finished is not None:
            reused += 1
            labels = finished.get(LABELS_KEY)
        else:
            try:
                if source.series is not None and series is None:
                    # Read only now: where all frames are finished, nothing needs to be decompressed.
                    series = _read_series(source)
                prepared = prepare_volume(_read_frame(source, frame, series), job.grid, job.classes)
            except UserError as error:
                problems.append(Problem(source.id, str(error)))
                if source.series is not None and series is None:
                    break
                continue
            write_frame(job.out / file, prepared, origin)
            labels = prepared.labels
        if labels is not None and frame.phase:
            labels_of[frame.phase] = labels
        entries.append(Frame(frame.index, frame.phase, file, labels is not None))
    if problems:
        return Outcome(None, tuple(problems), None, reused)
    dice = label_overlap(labels_of['ED'], labels_of['ES'], job.classes) if {'ED', 'ES'} <= set(labels_of) else None
    return Outcome(Subject(source.id, source.split, source.group, tuple(entries)), (), dice, reused)


def _all_frames(source: SourceSubject) -> tuple[SourceFrame, ...]:
    """List every frame of a series; the frames that the source names keep their phase and labels."""
    if source.series is None:
        return source.frames
    count = series_length(source.series)
    frame_at = {frame.position: frame for frame in source.frames}
    beyond = [frame for frame in source.frames if frame.position >= count]
    if beyond:
        raise UserError(
            f'{source.series} has {count} frames, but {beyond[0].phase} is given as frame {beyond[0].index}',
            fix='check Info.cfg, and that the 4-D file was copied completely',
        )
    return tuple(
        frame_at.get(position) or SourceFrame(position + 1, '', source.series, position, None)
        for position in range(count)
    )


def _read_series(source: SourceSubject) -> Volume:
    """Read a series as (D, H, W, T), also where T is 1."""
    volume = read_image(source.series, allow_series=True)
    image = volume.image if volume.image.ndim == 4 else volume.image[..., None]
    return dataclasses.replace(volume, image=image)


def _read_frame(source: SourceSubject, frame: SourceFrame, series: Volume | None) -> Volume:
    name = f'{source.id} frame {frame.index}'
    if series is None:
        volume = read_image(frame.image)
        image, affine = volume.image, volume.affine
    else:
        image, affine = series.image[..., frame.position], series.affine
    labels = None if frame.labels is None else read_labels(frame.labels)[0]
    return Volume(image, labels, affine, name)
