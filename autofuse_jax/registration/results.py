"""The folder that a registration leaves: images, transforms for other tools, report."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume, write_image, write_labels
from autofuse_jax.files import collecting, json_types, listed_files, write_json
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.registration.evidence import covered_voxels, evidence_of
from autofuse_jax.registration.guide_files import guide_record, guide_sentence
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.scores import score_registration
from autofuse_jax.registration.spread import spread_record, spread_sentence
from autofuse_jax.reports.registration_page import registration_page
from autofuse_jax.reports.verdict import judge
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.itk import fits_itk
from autofuse_jax.transforms_io.sidecar import FORWARD, INVERSE, ImageRecord, TransformInfo

REPORT_NAME = 'report.json'
PAGE_NAME = 'report.html'
SUFFIX = '.nii.gz'
CONVENTIONS_WRITTEN = ('itk', 'voxel')


@dataclasses.dataclass(frozen=True)
class Companion:
    """Another image of the moving side that rides along.

    Attributes:
        name: Its part of the file name: `moved_NAME.nii.gz`.
        volume: The image, in the world of the moving image, on any grid.
    """

    name: str
    volume: Volume


def write_results(
    folder: str | os.PathLike,
    result: RegistrationResult,
    *,
    about: Mapping[str, Any],
    classes: Mapping[int, str] | None = None,
    companions: Sequence[Companion] = (),
    page: bool = True,
) -> dict[str, Any]:
    """Score a registration and write everything that belongs to it.

    Args:
        folder: Folder of the results; complete once `report.json` is there.
        result: The registration.
        about: Further content of the report: files, checks, settings, command, versions, machine.
        classes: Label id to name; ids without a name are called by their number.
        companions: Further images that are moved with it.
        page: Whether `report.html` is drawn.

    Returns:
        The report, as in `report.json`.

    Raises:
        OSError: Something cannot be written; nothing is left that looks complete.
    """
    fixed, moving = result.fixed, result.moving
    before = move_volume(moving, fixed.grid)
    determinant = jacobian_determinant(result.transform.displacement)
    covered = covered_voxels(fixed, moving, result.transform)
    scores = score_registration(
        fixed,
        result.transform,
        result.inverse,
        moving_before=before.image,
        moved=result.moved,
        labels_before=before.labels,
        moved_labels=result.moved_labels,
        covered=covered,
    )
    evidence = None
    if result.alignment_record is not None:
        evidence = evidence_of(fixed, moving, result.transform, result.alignment_record, covered, determinant)
    verdict = judge(
        scores,
        moving_before=before.image,
        moved=result.moved,
        displacement=result.transform.displacement,
        jacobian=determinant,
        smallest_spacing=min(fixed.grid.spacing),
        evidence=evidence,
    )
    checks = list(about.get('checks', ()))
    if not _both_fit_itk(result):
        checks.append(
            'an affine has axes that are not at right angles, which ITK cannot hold: no *_itk.nii.gz is written'
        )
    guide = guide_record(result.guide, fixed, moving)
    if guide is not None:
        checks.append(guide_sentence(guide))
    spread = _spread_record(result, about)
    if spread is not None:
        checks.append(spread_sentence(spread))
    report = json_types(
        {
            **about,
            'checks': checks,
            'stages': list(result.stages),
            'guide': guide,
            'scores': scores,
            'evidence': evidence,
            'similarity': result.similarity,
            'verdict': {'level': verdict.level, 'headline': verdict.headline, 'reasons': list(verdict.warnings)},
            'spread': spread,
            'classes': dict(classes or {}),
            'seconds': round(result.seconds, 3),
        }
    )
    folder = Path(folder)
    stale = listed_files(folder / REPORT_NAME)
    with collecting(folder, REPORT_NAME) as temporary:
        _write_images(temporary, result, companions)
        if result.spread is not None:
            write_image(temporary / f'spread_mm{SUFFIX}', result.spread, fixed.affine)
        write_image(temporary / f'jacobian{SUFFIX}', full_grid(determinant), fixed.affine)
        _write_transforms(temporary, result, about)
        if page:
            registration_page(
                temporary / PAGE_NAME,
                fixed=fixed.image,
                moving_before=before.image,
                moved=result.moved,
                displacement=result.transform.displacement,
                jacobian=determinant,
                affine=fixed.affine,
                report=report,
                fixed_labels=fixed.labels,
                moving_labels_before=before.labels,
                moved_labels=result.moved_labels,
                verdict=verdict,
            )
        report['files'] = sorted([path.name for path in temporary.iterdir()] + [REPORT_NAME])
        write_json(temporary / REPORT_NAME, report)
    # What only the replaced results had would pass for a part of these.
    for path in stale - {folder / name for name in report['files']}:
        path.unlink(missing_ok=True)
    return report


def _spread_record(result: RegistrationResult, about: Mapping[str, Any]) -> dict[str, Any] | None:
    if result.spread is None:
        return None
    settings = about['settings']
    source = 'draws from the variance of the network' if settings['instance'] is None else 'perturbed restarts'
    return spread_record(result.spread, settings['samples'], source, result.fixed.mask)


def _write_images(folder: Path, result: RegistrationResult, companions: Sequence[Companion]) -> None:
    affine = result.fixed.affine
    write_image(folder / f'moved{SUFFIX}', result.moved, affine)
    if result.moved_labels is not None:
        write_labels(folder / f'moved_labels{SUFFIX}', result.moved_labels, affine)
    for companion in companions:
        warped = move_volume(companion.volume, result.fixed.grid, result.transform)
        write_image(folder / f'moved_{companion.name}{SUFFIX}', warped.image, affine)


def full_grid(determinant: np.ndarray) -> np.ndarray:
    """Return a determinant of (D-1, H-1, W-1) on (D, H, W): the last voxel along each axis repeats its neighbour."""
    return np.pad(determinant, (0, 1), mode='edge').astype(np.float32)


def _both_fit_itk(result: RegistrationResult) -> bool:
    """ITK holds axes at right angles only; a sheared grid gets no field for it, and the report says so."""
    return fits_itk(result.transform.grid) and fits_itk(result.inverse.grid)


def _write_transforms(folder: Path, result: RegistrationResult, about: Mapping[str, Any]) -> None:
    """Both directions in ITK and voxel convention, and the linear part alone."""
    fixed, moving = (ImageRecord(volume.name, volume.grid) for volume in (result.fixed, result.moving))
    common = {'settings': json_types(about.get('settings', {})), 'versions': dict(about.get('versions', {}))}
    for convention in CONVENTIONS_WRITTEN:
        if convention == 'itk' and not _both_fit_itk(result):
            continue
        names = {role: f'{role}_{convention}{SUFFIX}' for role in (FORWARD, INVERSE)}
        forward = TransformInfo(role=FORWARD, fixed=fixed, moving=moving, inverse=names[INVERSE], **common)
        backward = TransformInfo(role=INVERSE, fixed=moving, moving=fixed, inverse=names[FORWARD], **common)
        write_transform(folder / names[FORWARD], result.transform, convention, forward)
        write_transform(folder / names[INVERSE], result.inverse, convention, backward)
    linear = TransformInfo(role=FORWARD, fixed=fixed, moving=moving, **common)
    write_transform(folder / 'affine_itk.txt', result.alignment, 'itk', linear)
