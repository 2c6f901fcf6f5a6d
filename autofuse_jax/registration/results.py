"""The folder that a registration leaves: images, transforms for other tools, report."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import AUTO
from autofuse_jax.data.file_kinds import SIMPLE_ITK, writer_of
from autofuse_jax.data.itk_images import check_right_angles, require_itk
from autofuse_jax.data.volumes import Volume, write_image, write_labels
from autofuse_jax.files import json_types, listed_files, write_json
from autofuse_jax.registration.companions import Companion, move_companion
from autofuse_jax.registration.gate_maps import GateMap, write_gate_maps
from autofuse_jax.registration.guide_files import guide_record, guide_sentence
from autofuse_jax.registration.measures import Measures, measure_result
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.spread import spread_record, spread_sentence
from autofuse_jax.registration.transform_files import SUFFIX, deforms_first, itk_remark, write_transforms
from autofuse_jax.reports.registration_page import registration_page
from autofuse_jax.storage.swaps import replacing_folder
from autofuse_jax.transforms.grids import ImageGrid

REPORT_NAME = 'report.json'
PAGE_NAME = 'report.html'


def write_results(
    folder: str | os.PathLike,
    result: RegistrationResult,
    *,
    about: Mapping[str, Any],
    classes: Mapping[int, str] | None = None,
    companions: Sequence[Companion] = (),
    background: float | str = AUTO,
    page: bool = True,
    suffix: str = SUFFIX,
    composite: bool = False,
    gates: Sequence[GateMap] = (),
) -> dict[str, Any]:
    """Score a registration and write everything that belongs to it.

    Args:
        folder: Folder of the results; complete once `report.json` is there.
        result: The registration.
        about: Further content of the report: files, checks, settings, command, versions, machine.
        classes: Label id to name; ids without a name are called by their number.
        companions: Further images that are moved with it.
        background: Value of those where they do not reach, see `choose_background`.
        page: Whether `report.html` is drawn.
        suffix: Format of the moved images and labels; default '.nii.gz'. Everything else is NIfTI.
        composite: Whether both directions are written as composite transforms of ITK, too; default False.
        gates: Maps of a network's fusion gates; default none.

    Returns:
        The report, as in `report.json`.

    Raises:
        OSError: Something cannot be written; the folder is then as it was.
    """
    measures = measure_result(result)
    report = _report(result, measures, about, classes or {})
    folder, affine = Path(folder), result.fixed.affine
    # What only the replaced results had would pass for a part of these.
    with replacing_folder(folder, REPORT_NAME, earlier=listed_files(folder / REPORT_NAME)) as temporary:
        _write_images(temporary, result, suffix)
        report['moving_images'] = _write_companions(temporary, result, companions, background, suffix)
        report['checks'] += report['moving_images']
        if result.spread is not None:
            write_image(temporary / f'spread_mm{SUFFIX}', result.spread, affine)
        determinant = full_grid(measures.determinant, result.fixed.grid.shape)
        write_image(temporary / f'jacobian{SUFFIX}', determinant, affine)
        write_transforms(temporary, result, about, composite)
        if gates:
            report['gates'] = write_gate_maps(temporary, gates)
        if page:
            _write_page(temporary / PAGE_NAME, result, measures, report)
        report['files'] = sorted([path.name for path in temporary.iterdir()] + [REPORT_NAME])
        write_json(temporary / REPORT_NAME, report)
    return report


def _report(
    result: RegistrationResult, measures: Measures, about: Mapping[str, Any], classes: Mapping[int, str]
) -> dict[str, Any]:
    """The report, but for the files that are written."""
    guide = guide_record(result.guide, result.fixed, result.moving, result.transform)
    spread = _spread_record(result, about)
    return json_types(
        {
            **about,
            'checks': _checks(result, about.get('checks', ()), guide, spread),
            'stages': list(result.stages),
            'guide': guide,
            'initial': list(result.initial.names) if result.initial else None,
            'initial_checks': list(result.initial.sentences) if result.initial else [],
            'background': dataclasses.asdict(result.background) | {'sentence': result.background.sentence},
            'scores': measures.scores,
            'evidence': measures.evidence,
            'similarity': result.similarity,
            'verdict': measures.verdict.record(),
            'spread': spread,
            'classes': dict(classes),
            'seconds': round(result.seconds, 3),
        }
    )


def _checks(
    result: RegistrationResult,
    before: Iterable[str],
    guide: dict[str, Any] | None,
    spread: dict[str, Any] | None,
) -> list[str]:
    """Sentences on what was found in the files and what was done about it; before: those that were said already."""
    volumes = (result.fixed, result.moving)
    checks = [*before, *_missing_values(*volumes)]
    remark = itk_remark((volume.name, volume.grid, volume.notes.itk_obstacle) for volume in volumes)
    # The command that registers files has said so before.
    checks += [remark] if remark and remark not in checks else []
    checks += result.initial.sentences if result.initial else ()
    if deforms_first(result):
        checks.append('the initial transform is a deformation: no affine_itk.txt is written')
    if guide is not None:
        checks.append(guide_sentence(guide))
    if spread is not None:
        checks.append(spread_sentence(spread))
    return checks


def _write_page(path: Path, result: RegistrationResult, measures: Measures, report: dict[str, Any]) -> None:
    registration_page(
        path,
        fixed=known_values(result.fixed.image),
        moving_before=known_values(measures.before.image),
        moved=known_values(result.moved),
        displacement=result.transform.displacement,
        jacobian=measures.determinant,
        affine=result.fixed.affine,
        report=report,
        fixed_labels=result.fixed.labels,
        moving_labels_before=measures.before.labels,
        moved_labels=result.moved_labels,
        verdict=measures.verdict,
    )


def known_values(image: np.ndarray) -> np.ndarray:
    """Return an image for a picture: missing values are as dark as the darkest that is known."""
    known = np.isfinite(image)
    return image if known.all() else np.where(known, image, image[known].min() if known.any() else 0.0)


def _missing_values(*volumes: Volume) -> list[str]:
    """Say of each image with missing values how many there are."""
    counts = [(volume.name, int(np.count_nonzero(~np.isfinite(volume.image)))) for volume in volumes]
    return [f'{count} voxels of {name} hold no number and do not count' for name, count in counts if count]


def _spread_record(result: RegistrationResult, about: Mapping[str, Any]) -> dict[str, Any] | None:
    if result.spread is None:
        return None
    settings = about['settings']
    source = 'draws from the variance of the network' if settings['instance'] is None else 'perturbed restarts'
    return spread_record(result.spread, settings['samples'], source, result.fixed.mask)


def _write_images(folder: Path, result: RegistrationResult, suffix: str) -> None:
    affine = result.fixed.affine
    write_image(folder / f'moved{suffix}', result.moved, affine, result.moving.notes)
    if result.moved_labels is not None:
        write_labels(folder / f'moved_labels{suffix}', result.moved_labels, affine)


def _write_companions(
    folder: Path, result: RegistrationResult, companions: Sequence[Companion], background: float | str, suffix: str
) -> list[str]:
    """Move and write the images that ride along, and return what is to be said of them."""
    sentences = []
    for companion in companions:
        moved, said = move_companion(companion, result.fixed.grid, result.transform, background)
        sentences += said
        if moved is not None:
            write_image(folder / f'moved_{companion.name}{suffix}', moved.image, moved.affine, moved.notes)
    return sentences


def full_grid(determinant: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return a determinant of (D-1, H-1, W-1) on (D, H, W): the last voxel along each axis repeats its neighbour."""
    missing = [(0, size - given) for size, given in zip(shape, determinant.shape, strict=True)]
    return np.pad(determinant, missing, mode='edge').astype(np.float32)


def check_suffix(suffix: str, fixed: ImageGrid) -> None:
    """Check before any work that moved images can be written in a format.

    Args:
        suffix: Suffix of the moved images.
        fixed: Grid of the fixed image.

    Raises:
        UserError: The package that writes it is missing, or it cannot hold the grid.
    """
    if writer_of(suffix) == SIMPLE_ITK:
        require_itk(f'writing {suffix[1:]} files')
        check_right_angles(f'moved{suffix}', fixed.affine)
