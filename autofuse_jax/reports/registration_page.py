"""report.html: one file on one registration, with verdict, pictures, tables and how it was made."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from autofuse_jax.files import json_types, write_text
from autofuse_jax.metrics.structures import label_ids, structure_names
from autofuse_jax.reports.html import Html, document, number, section, table, tag
from autofuse_jax.reports.picture_sections import (
    checkerboard_section,
    deformation_section,
    difference_section,
    folding_sentence,
    images_section,
)
from autofuse_jax.reports.registration_view import view_registration
from autofuse_jax.reports.structure_table import structures_section
from autofuse_jax.reports.verdict import Verdict, judge, score_tiles
from autofuse_jax.transforms.grids import ImageGrid

# Letters show the nearest side; a grid turned further than this from the body axes deserves a word.
TILT_DEGREES = 5.0


def registration_page(
    path: str | os.PathLike,
    *,
    fixed: np.ndarray,
    moving_before: np.ndarray,
    moved: np.ndarray,
    displacement: np.ndarray,
    jacobian: np.ndarray,
    affine: np.ndarray,
    report: Mapping[str, Any],
    fixed_labels: np.ndarray | None = None,
    moving_labels_before: np.ndarray | None = None,
    moved_labels: np.ndarray | None = None,
    extra_sections: Sequence[Html] = (),
    verdict: Verdict | None = None,
) -> None:
    """Write the page of one registration, a single HTML file that needs no other file, script or network.

    Args:
        path: The HTML file to write; folders are made.
        fixed: Fixed image, (D, H, W), grey values of any range.
        moving_before: Moving image on the fixed grid through the headers only, same shape.
        moved: Moved image, same shape.
        displacement: (D, H, W, 3), in voxels of the fixed grid, last axis along (D, H, W), affine part included.
        jacobian: Its determinant, (D-1, H-1, W-1) or (D, H, W).
        affine: (4, 4) of the fixed grid, from voxel indices to RAS millimetres.
        report: The content of report.json; any entry may be missing or None.
        fixed_labels: Integer label map, (D, H, W), or None.
        moving_labels_before: Moving labels on the fixed grid through the headers only, or None.
        moved_labels: Moved labels, or None.
        extra_sections: Further sections before the table of stages, such as those of a cine.
        verdict: What to tell first; None: what the scores and the evidence in the report say.

    Raises:
        ValueError: The shapes do not agree.
    """
    labels = (fixed_labels, moving_labels_before, moved_labels)
    affine = np.asarray(affine, np.float64)
    scores, fixed_file, moving_file = (_part(report, key) for key in ('scores', 'fixed', 'moving'))
    names = _structures(report, labels)
    registration = view_registration(
        fixed=fixed,
        before=moving_before,
        after=moved,
        displacement=displacement,
        jacobian=jacobian,
        affine=affine,
        labels=labels,
    )
    grid = ImageGrid(fixed.shape, affine)
    verdict = verdict or judge(
        scores,
        moving_before=moving_before,
        moved=moved,
        displacement=displacement,
        jacobian=jacobian,
        smallest_spacing=min(grid.spacing),
        evidence=_part(report, 'evidence'),
    )
    title = f'{_name(moving_file, "moving image")} registered to {_name(fixed_file, "fixed image")}'
    page = document(
        title,
        tag('h1', title),
        tag('p', _byline(report), class_='soft'),
        verdict.html(),
        score_tiles({**scores, 'seconds': report.get('seconds')}, jacobian),
        images_section(registration, names),
        checkerboard_section(registration),
        difference_section(registration),
        deformation_section(registration, folding_sentence(jacobian)) if registration.finite else None,
        structures_section(names, scores, labels, grid.voxel_mm3),
        list(extra_sections),
        _stages(report.get('stages')),
        _checks(report.get('checks'), registration.display.tilt),
        _making(report, fixed_file, moving_file),
    )
    write_text(path, page)


def _part(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An entry that is a dictionary, empty where it is missing or None."""
    return content.get(key) or {}


def _structures(report: Mapping[str, Any], labels: Sequence[np.ndarray | None]) -> dict[int, str]:
    """Names of the structures that are in any of the label maps or have a score, in the order of their ids."""
    classes = {int(label): str(name) for label, name in _part(report, 'classes').items()}
    ids = [int(label) for label in _part(_part(report, 'scores'), 'dsc_after_per_label')]
    return structure_names(sorted({*label_ids(*labels), *ids}), classes)


def _name(entry: Mapping[str, Any], otherwise: str) -> str:
    """Name of an image's file; common names such as image.nii.gz are told apart by their folder."""
    file = entry.get('file')
    return str(PurePath(*PurePath(str(file)).parts[-2:])) if file else otherwise


def _byline(report: Mapping[str, Any]) -> str:
    version = _part(report, 'versions').get('autofuse_jax')
    parts = [f'autofuse_jax {version}' if version else 'autofuse_jax', report.get('date')]
    return ', '.join(str(part) for part in parts if part)


def _stages(stages: Sequence[Mapping[str, Any]] | None) -> Html | None:
    if not stages:
        return None
    rows = [
        [
            stage.get('name', 'stage'),
            number(stage.get('seconds'), 1),
            number(stage.get('steps'), 0),
            number(stage.get('loss_first'), 4),
            number(stage.get('loss_last'), 4),
            stage.get('stopped') or '',
        ]
        for stage in stages
    ]
    header = ['stage', 'seconds', 'steps', 'loss first', 'loss last', 'why it stopped']
    return section('Stages', table(header, rows, text_columns=(0, 5)))


def _checks(checks: Sequence[str] | None, tilt: float) -> Html | None:
    sentences = [str(check) for check in checks or ()]
    if tilt > TILT_DEGREES:
        sentences.append(
            f'The fixed grid is turned by up to {tilt:.0f}° from the body axes; pictures show its own planes, with the '
            'letters of the nearest sides.'
        )
    return section('Checks', tag('ul', [tag('li', text) for text in sentences])) if sentences else None


def _making(report: Mapping[str, Any], fixed_file: Mapping[str, Any], moving_file: Mapping[str, Any]) -> Html:
    """Files, settings, versions and the command, folded away."""
    folded = []
    if fixed_file or moving_file:
        keys = list(dict.fromkeys([*fixed_file, *moving_file]))
        rows = [[key.replace('_', ' '), _value(fixed_file.get(key)), _value(moving_file.get(key))] for key in keys]
        folded.append(_folded('Files and grids', table(['', 'fixed', 'moving'], rows, text_columns=(0, 1, 2))))
    if report.get('command'):
        folded.append(_folded('Command', tag('pre', report['command'])))
    if report.get('settings'):
        folded.append(_folded('Settings', tag('pre', _indented(report['settings']))))
    origin = {
        key: report[key] for key in ('versions', 'commit', 'machine', 'date', 'seconds', 'times') if report.get(key)
    }
    if origin:
        folded.append(_folded('Versions and machine', tag('pre', _indented(origin))))
    return section('How it was made', folded or tag('p', 'Nothing was recorded.'))


def _folded(title: str, content: Html) -> Html:
    return tag('details', tag('summary', title), content)


def _value(value: Any) -> str:
    """Sizes and spacings as 133 x 133 x 10, everything else as it is."""
    if isinstance(value, list | tuple):
        return ' × '.join(f'{item:g}' if isinstance(item, float) else str(item) for item in value)
    return '' if value is None else str(value)


def _indented(value: Any) -> str:
    return json.dumps(json_types(value), indent=2, ensure_ascii=False, default=str)
