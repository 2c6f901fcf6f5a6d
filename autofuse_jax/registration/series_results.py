"""The folder that a registered series leaves: 4-D images, curves, plots, report."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.files import json_types, listed_files, replacing, write_json
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent
from autofuse_jax.metrics.strain import RADIAL
from autofuse_jax.registration.guide_files import guide_record
from autofuse_jax.registration.measures import measure_result
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.results import PAGE_NAME, REPORT_NAME, full_grid, known_values
from autofuse_jax.registration.scores import correlation, inverse_consistency
from autofuse_jax.registration.series import SeriesResult, labels_on_frame
from autofuse_jax.registration.transform_files import SUFFIX
from autofuse_jax.reports.cine import STRAINS, cine_plot, cine_section
from autofuse_jax.reports.registration_page import registration_page
from autofuse_jax.reports.verdict import Verdict, verdict_of_series
from autofuse_jax.storage.swaps import replacing_folder


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
            'checks': [*about.get('checks', ()), *_missing_values(frames)],
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


def _missing_values(frames: Sequence[RegistrationResult]) -> list[str]:
    """Say how many voxels hold no number, and in which frames, as the report of a pair does of its images."""
    counts = [int(np.count_nonzero(~np.isfinite(frame.moving.image))) for frame in frames]
    numbers = [str(number) for number, count in enumerate(counts) if count]
    if not numbers:
        return []
    where = f'frame{"s" if len(numbers) > 1 else ""} {", ".join(numbers)}'
    if len(numbers) == len(frames):
        where = f'all {len(frames)} frames'
    return [f'{sum(counts)} voxels of {where} hold no number and do not count']


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
    determinant = jacobian_determinant(frame.transform.displacement)
    # Numbers beside pictures are those of the frame that they show.
    frame_report = {
        **report,
        'fixed': {'file': f'frame {result.reference}'},
        'moving': {'file': f'frame {most}'},
        'scores': {
            **report['scores'],
            'ncc_before': before[most],
            'ncc_after': correlation(fixed.image, frame.moved),
            'njd_percent': njd_percent(determinant),
            'inverse_consistency_mm': inverse_consistency(frame.transform, frame.inverse),
        },
    }
    registration_page(
        path,
        fixed=known_values(fixed.image),
        moving_before=known_values(frame.moving.image),
        moved=known_values(frame.moved),
        displacement=frame.transform.displacement,
        jacobian=determinant,
        affine=fixed.affine,
        report=frame_report,
        fixed_labels=fixed.labels,
        verdict=verdict,
        extra_sections=[cine_section(result.curves, reference_frame=result.reference)],
    )


def _write_curves(path: Path, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    columns = {
        f'{name.replace(" ", "_")}_{kind}': values for kind, names in curves.items() for name, values in names.items()
    }
    with replacing(path) as temporary, temporary.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['frame', *columns])
        for frame, values in enumerate(zip(*columns.values(), strict=True)):
            writer.writerow([frame, *(f'{value:.6g}' for value in values)])
