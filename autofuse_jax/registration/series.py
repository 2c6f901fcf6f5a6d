"""Registering every frame of a 4-D series to one of them, and the curves that follow from it."""

import argparse
import csv
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import AUTO
from autofuse_jax.data.background import Background, choose_background
from autofuse_jax.data.headers import read_header
from autofuse_jax.data.inputs import open_volume, read_classes
from autofuse_jax.data.volumes import Volume, write_image, write_labels
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.files import json_types, listed_files, replacing, write_json
from autofuse_jax.metrics.cine import cine_curves
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent
from autofuse_jax.metrics.strain import RADIAL, strain_curves
from autofuse_jax.metrics.structures import label_ids, structure_names
from autofuse_jax.registration.device import open_network
from autofuse_jax.registration.guide_files import guide_record, guide_sentence
from autofuse_jax.registration.pipeline import RegistrationResult, register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.results import (
    PAGE_NAME,
    REPORT_NAME,
    SUFFIX,
    check_suffix,
    full_grid,
    measure_result,
)
from autofuse_jax.registration.scores import correlation, inverse_consistency
from autofuse_jax.registration.step_progress import StepProgress
from autofuse_jax.reports.cine import STRAINS, cine_plot, cine_section
from autofuse_jax.reports.registration_page import registration_page
from autofuse_jax.reports.verdict import Verdict, verdict_line, verdict_of_series
from autofuse_jax.storage.swaps import replacing_folder
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_labels
from autofuse_jax.weights.pretrained import RegistrationModel


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesResult:
    """A registered series.

    Attributes:
        reference: Number of the frame that all others are registered to, from 0.
        frames: One registration a frame, the reference as the fixed image; the reference itself gets the identity.
        curves: 'volume_ml' (of the reference labels brought to each frame) and 'jacobian_mean' (volume in the frame
            over volume in the reference frame, voxel by voxel), and where there is a wall around a cavity
            'radial_strain_percent' and 'circumferential_strain_percent': name of a structure to one number a frame.
    """

    reference: int
    frames: tuple[RegistrationResult, ...]
    curves: dict[str, dict[str, list[float]]]


def register_series(
    series: Volume,
    reference: int,
    settings: PipelineSettings,
    *,
    classes: Mapping[int, str] | None = None,
    model: RegistrationModel | RuntimeModel | None = None,
    guide: str | None = AUTO,
    quiet: bool = False,
) -> SeriesResult:
    """Register every frame of a series to one of them.

    Args:
        series: (D, H, W, T), with labels and mask of the reference frame or without.
        reference: Number of the fixed frame, from 0.
        settings: Steps of the registration, the same for all frames.
        classes: Label id to name.
        model: A trained network, or None.
        guide: What guides beside the images: 'auto': the network where it segments; 'network': the network, or an
            error; None: nothing.
        quiet: Whether progress is kept off standard error.

    Returns:
        The result.

    Raises:
        UserError: It is no series of two frames or more, or has no such frame.
    """
    if series.image.ndim != 4 or series.image.shape[3] == 1:
        raise UserError(
            f'{series.name} has shape {series.image.shape}',
            expected='a series (D, H, W, T) of two frames or more',
            fix='leave out --reference-frame and name the two images with --fixed and --moving',
        )
    count = series.image.shape[3]
    if not 0 <= reference < count:
        raise UserError(
            f'the reference frame is {reference}', expected=f'0 to {count - 1}, the frames of {series.name}'
        )
    _check_contrast(series)
    volumes = [
        Volume(
            np.ascontiguousarray(series.image[..., frame]),
            None,
            series.affine,
            f'{series.name} frame {frame}',
            notes=series.notes,
        )
        for frame in range(count)
    ]
    fixed = dataclasses.replace(volumes[reference], labels=series.labels, mask=series.mask)
    # One value for all frames.
    background = choose_background(series.image, settings.background)
    settings = dataclasses.replace(settings, background=background.value)
    results = []
    for frame, moving in enumerate(volumes):
        if frame == reference:
            results.append(_identity(fixed, background))
            continue
        progress = None if quiet else StepProgress(prefix=f'frame {frame + 1}/{count}, ')
        results.append(register_volumes(fixed, moving, settings, model=model, guide=guide, on_progress=progress))
    return SeriesResult(reference, tuple(results), _curves(fixed, results, classes or {}))


def _check_contrast(series: Volume) -> None:
    """Check before any work that there is something to register in each frame."""
    blank = [frame for frame in range(series.image.shape[3]) if _is_blank(series.image[..., frame])]
    if blank:
        numbers = ', '.join(map(str, blank))
        raise UserError(
            f'of {series.name} frame {numbers} holds the same value everywhere'
            if len(blank) == 1
            else f'of {series.name} the frames {numbers} hold the same value everywhere each',
            expected='an image in every frame, which are counted from 0',
            fix='leave these frames out of the series',
        )


def _is_blank(image: np.ndarray) -> bool:
    values = image[np.isfinite(image)]
    return values.size == 0 or bool(values.min() == values.max())


def labels_on_frame(result: RegistrationResult) -> np.ndarray:
    """Return the labels of the fixed frame on the grid of the moving frame.

    Args:
        result: A registration whose fixed volume has labels.

    Returns:
        Integer (D, H, W), nearest.
    """
    positions = moving_positions(result.inverse, result.moving.grid, result.fixed.affine)
    return sample_labels(result.fixed.labels, positions)


def register_series_files(
    options: argparse.Namespace, settings: PipelineSettings, guide: str | None, about: dict[str, Any]
) -> int:
    """Register the series of a command line and write its results.

    Args:
        options: Options of `autofuse_jax.register`.
        settings: Steps of the registration.
        guide: What guides beside the images, see `register_series`.
        about: Content of the report about the run.

    Returns:
        The exit status.

    Raises:
        UserError: Something is wrong with the files, or an option does not go with a series.
    """
    for name in ('fixed', 'moving_labels', 'moving_mask', 'moving_images', 'initial'):
        if getattr(options, name):
            raise UserError(
                f'--{name.replace("_", "-")} does not go with --reference-frame',
                expected='--moving SERIES, and labels and mask of the reference frame as --fixed-labels, --fixed-mask',
            )
    if options.samples:
        raise UserError('--samples does not go with --reference-frame', fix='leave out one of the two')
    header = read_header(options.moving)
    for text in (header.sentence(), *header.remarks):
        print(text, file=sys.stderr)
    check_suffix(f'.{options.out_format}', header.grid)
    series = open_volume(
        options.moving, 'moving', labels=options.fixed_labels, mask=options.fixed_mask, allow_series=True
    )
    classes = read_classes(options.classes)
    result = register_series(
        series,
        options.reference_frame,
        settings,
        classes=classes,
        model=None if options.weights is None else open_network(options.weights, options.device),
        guide=guide,
    )
    about = {
        'moving': {
            'file': str(options.moving.resolve()),
            'shape': list(header.shape),
            'spacing_mm': list(header.spacing),
            'orientation': header.orientation,
        },
        'checks': [header.sentence(), *header.remarks],
    } | about
    report = write_series(options.out, result, about=about, suffix=f'.{options.out_format}', page=options.page)
    if report['guide']:
        print(guide_sentence(report['guide']))
    before, after = report['scores']['ncc_before'], report['scores']['ncc_after']
    print(
        f'{len(result.frames)} frames to frame {result.reference}: mean correlation {before:.3f} -> {after:.3f}, '
        f'largest NJD {report["scores"]["njd_percent"]:.3f} %, {report["seconds"]:.1f} s\nresults: {options.out}'
    )
    print(verdict_line(report['verdict']))
    return 0


def write_series(
    folder: Path, result: SeriesResult, *, about: Mapping[str, Any], suffix: str = SUFFIX, page: bool = True
) -> dict[str, Any]:
    """Write a registered series: 4-D images, curves, plot and report.

    Writes moved_4d, jacobian_4d, displacement_4d (D, H, W, T, 3: voxels of the reference frame, pull) and, with labels,
    labels_4d (the reference labels on every frame) as .nii.gz; curves.csv, cine.png, strain.png where there is a wall,
    report.html and report.json.

    Args:
        folder: Folder of the results; complete once report.json is there.
        result: The series.
        about: Further content of the report.
        suffix: Format of the moved series and its labels; default '.nii.gz'. Everything else is NIfTI.
        page: Whether report.html is written.

    Returns:
        The report.

    Raises:
        OSError: Something cannot be written; the folder is then as it was.
    """
    frames = result.frames
    fixed = frames[0].fixed
    determinants = [jacobian_determinant(frame.transform.displacement) for frame in frames]
    others = [frame for number, frame in enumerate(frames) if number != result.reference]
    # One after the other: measures hold volumes.
    measured = ((number, measure_result(frame)) for number, frame in enumerate(frames) if number != result.reference)
    judged = {number: (one.verdict, one.scores['inverse_consistency_mm']['mean']) for number, one in measured}
    verdicts = {number: verdict for number, (verdict, _) in judged.items()}
    consistency = [mean for _, mean in judged.values()]
    verdict = verdict_of_series(verdicts)
    report = json_types(
        {
            **about,
            'reference_frame': result.reference,
            'frames': [_frame_record(frame, verdicts.get(number)) for number, frame in enumerate(frames)],
            'verdict': verdict.record(),
            'curves': result.curves,
            # The same for every frame; the labels of the reference are brought to the others, not scored.
            'guide': guide_record(others[0].guide, fixed, others[0].moving, others[0].transform),
            'background': dataclasses.asdict(frames[result.reference].background),
            'scores': {
                'ncc_before': float(np.mean([correlation(fixed.image, frame.moving.image) for frame in others])),
                'ncc_after': float(np.mean([correlation(fixed.image, frame.moved) for frame in others])),
                'njd_percent': max(njd_percent(determinant) for determinant in determinants),
                'inverse_consistency_mm': {'mean': float(np.mean(consistency)), 'max_of_means': max(consistency)},
            },
            'seconds': round(sum(frame.seconds for frame in frames), 3),
        }
    )
    with replacing_folder(folder, REPORT_NAME, earlier=listed_files(folder / REPORT_NAME)) as temporary:
        moved = np.stack([frame.moved for frame in frames], -1)
        write_image(temporary / f'moved_4d{suffix}', moved, fixed.affine, fixed.notes)
        jacobians = np.stack([full_grid(determinant, fixed.grid.shape) for determinant in determinants], -1)
        write_image(temporary / 'jacobian_4d.nii.gz', jacobians, fixed.affine, fixed.notes.times)
        fields = np.stack([frame.transform.displacement for frame in frames], -2)
        write_image(temporary / 'displacement_4d.nii.gz', fields, fixed.affine, fixed.notes.times)
        if fixed.labels is not None:
            on_frames = np.stack([labels_on_frame(frame) for frame in frames], -1)
            write_labels(temporary / f'labels_4d{suffix}', on_frames, fixed.affine, fixed.notes.times)
        _write_curves(temporary / 'curves.csv', result.curves)
        cine_plot(temporary / 'cine.png', result.curves, reference_frame=result.reference)
        if RADIAL in result.curves:
            cine_plot(temporary / 'strain.png', result.curves, kinds=STRAINS, reference_frame=result.reference)
        if page:
            _write_page(temporary / PAGE_NAME, result, report, verdict)
        report['files'] = sorted([path.name for path in temporary.iterdir()] + [REPORT_NAME])
        write_json(temporary / REPORT_NAME, report)
    return report


def _frame_record(frame: RegistrationResult, verdict: Verdict | None) -> dict[str, Any]:
    """What the report says of a frame; the reference has no verdict."""
    record = {'seconds': round(frame.seconds, 3), 'stages': list(frame.stages)}
    return record if verdict is None else record | {'verdict': verdict.record()}


def _write_page(path: Path, result: SeriesResult, report: Mapping[str, Any], verdict: Verdict) -> None:
    """Draw the curves, and the pictures of the frame that differs most from the reference."""
    fixed = result.frames[result.reference].fixed
    before = [correlation(fixed.image, frame.moving.image) for frame in result.frames]
    most = int(np.nanargmin(before))
    frame = result.frames[most]
    frame_report = {
        **report,
        'fixed': {'file': f'frame {result.reference}'},
        'moving': {'file': f'frame {most}'},
        'scores': {
            **report['scores'],
            'ncc_before': before[most],
            'ncc_after': correlation(fixed.image, frame.moved),
            'inverse_consistency_mm': inverse_consistency(frame.transform, frame.inverse),
        },
    }
    registration_page(
        path,
        fixed=fixed.image,
        moving_before=frame.moving.image,
        moved=frame.moved,
        displacement=frame.transform.displacement,
        jacobian=jacobian_determinant(frame.transform.displacement),
        affine=fixed.affine,
        report=frame_report,
        fixed_labels=fixed.labels,
        verdict=verdict,
        extra_sections=[cine_section(result.curves, reference_frame=result.reference)],
    )


def _identity(fixed: Volume, background: Background) -> RegistrationResult:
    nothing = DenseTransform(np.zeros((*fixed.image.shape, 3), np.float32), fixed.affine)
    return RegistrationResult(
        fixed,
        fixed,
        nothing,
        nothing,
        AffineTransform(np.eye(4)),
        fixed.image,
        fixed.labels,
        (),
        0.0,
        background=background,
    )


def _curves(
    fixed: Volume, frames: Sequence[RegistrationResult], classes: Mapping[int, str]
) -> dict[str, dict[str, list[float]]]:
    labels = np.zeros(fixed.image.shape, np.int32) if fixed.labels is None else fixed.labels
    names = structure_names(label_ids(labels), classes)
    curves = cine_curves(
        labels,
        (jacobian_determinant(frame.transform.displacement) for frame in frames),
        names,
        fixed.grid.voxel_mm3,
        None if fixed.labels is None else (labels_on_frame(frame) for frame in frames),
    )
    fields = (frame.transform.displacement for frame in frames)
    return curves | strain_curves(labels, fields, names, fixed.grid.spacing)


def _write_curves(path: Path, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    columns = {
        f'{name.replace(" ", "_")}_{kind}': values for kind, names in curves.items() for name, values in names.items()
    }
    with replacing(path) as temporary, temporary.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['frame', *columns])
        for frame, values in enumerate(zip(*columns.values(), strict=True)):
            writer.writerow([frame, *(f'{value:.6g}' for value in values)])
