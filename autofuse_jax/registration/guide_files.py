"""A guide from the user's label maps and points, and what a report says of it."""

import dataclasses
import os
from typing import Any

import numpy as np

from autofuse_jax.data.inputs import LabelsLike
from autofuse_jax.data.volumes import Volume, read_labels
from autofuse_jax.errors import UserError
from autofuse_jax.registration.guide import ClassMap, Guide, class_map
from autofuse_jax.registration.guide_overlap import seen_structures
from autofuse_jax.registration.guide_points import point_record, point_sentence
from autofuse_jax.transforms.maps import Transform
from autofuse_jax.transforms_io.points import read_points

PointsLike = str | os.PathLike | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class GuideFiles:
    """Where a guide of the user is to be read from; each part is given for both images or for neither.

    Attributes:
        fixed_labels: Label map of the fixed image, a file on any grid of the same world or an array on the image's
            grid, 0 for the background; or None.
        moving_labels: Label map of the moving image, with the same ids for the same structures, or None.
        fixed_points: File of points in millimetres, or array (N, 3) in RAS millimetres, of the fixed world; or None.
        moving_points: Their counterparts in the moving world, in the same order, or None.
    """

    fixed_labels: LabelsLike | None = None
    moving_labels: LabelsLike | None = None
    fixed_points: PointsLike | None = None
    moving_points: PointsLike | None = None

    @property
    def any_given(self) -> bool:
        """Whether there is anything to read."""
        return any(getattr(self, field.name) is not None for field in dataclasses.fields(self))


def read_guide(files: GuideFiles, fixed: Volume, moving: Volume) -> Guide:
    """Read a guide.

    Args:
        files: Files of the guide.
        fixed: The fixed image; a guide that is an array lies on its grid.
        moving: The moving image, likewise.

    Returns:
        The guide, which `guide.check_guide` has still to accept.

    Raises:
        UserError: A file cannot be read, or a label map is empty.
    """
    names = {
        'label map': _file_name(files.fixed_labels, files.moving_labels),
        'points': _file_name(files.fixed_points, files.moving_points),
    }
    return Guide(
        _classes(files.fixed_labels, fixed, 'fixed'),
        _classes(files.moving_labels, moving, 'moving'),
        _points(files.fixed_points),
        _points(files.moving_points),
        source=', '.join(f'{kind} {name}' for kind, name in names.items() if name),
    )


def guide_record(guide: Guide | None, fixed: Volume, moving: Volume, transform: Transform) -> dict[str, Any] | None:
    """Return what a report says of a guide.

    Args:
        guide: Guide of the registration, or None.
        fixed: The fixed volume.
        moving: The moving volume.
        transform: What was found, from the fixed to the moving world.

    Returns:
        'source', 'classes' that guided, number of 'points' and what `point_record` says of them, whether labels were
        'scored', and which of their structures the guide has 'seen' as one class; None without a guide.
    """
    if guide is None:
        return None
    scored = fixed.labels is not None and moving.labels is not None
    seen = seen_structures(guide, fixed, moving) if scored else []
    return {
        'source': guide.source,
        'classes': list(guide.labels),
        'points': 0 if guide.fixed_points is None else len(guide.fixed_points),
        **point_record(guide, fixed.grid, moving.grid, transform),
        'scored': scored,
        'seen': [{'class': match.whole, 'structures': list(match.parts), 'dsc': match.overlap} for match in seen],
    }


def guide_sentence(record: dict[str, Any]) -> str:
    """Return a guide of a report in words."""
    classes = f'classes {", ".join(map(str, record["classes"]))}' if record['classes'] else ''
    points = f'{record["points"]} pairs of points{point_sentence(record)}' if record['points'] else ''
    what = ' and '.join(part for part in (classes, points) if part)
    return f'The deformation was guided by {record["source"]} ({what}){_scored_text(record)}.'


def _scored_text(record: dict[str, Any]) -> str:
    """What the guide knew of the labels that were scored."""
    if not record['scored']:
        return ''
    if not record['seen']:
        return '; the scored labels are others, which it has not seen'
    unions = [
        f'its class {seen["class"]} is what is scored as {", ".join(map(str, seen["structures"]))} '
        f'(DSC {100 * seen["dsc"]:.1f} %)'
        for seen in record['seen']
    ]
    return f'; {" and ".join(unions)}, so that the scores are not those of labels that it has not seen'


def _classes(labels: LabelsLike | None, volume: Volume, role: str) -> ClassMap | None:
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        array, grid = read_labels(labels)
        return class_map(array, grid.affine, os.path.basename(labels))
    array = np.asarray(labels)
    if array.dtype.kind not in 'biu' or array.shape != volume.image.shape:
        raise UserError(
            f'the guide of the {role} image has type {array.dtype} and shape {array.shape}',
            expected=f'whole numbers on its grid, {volume.image.shape}',
        )
    return class_map(array.astype(np.int32), volume.affine, f'of the {role} image')


def _points(points: PointsLike | None) -> np.ndarray | None:
    if points is None:
        return None
    if isinstance(points, str | os.PathLike):
        return read_points(points).ras_mm
    array = np.asarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise UserError(f'guiding points of shape {array.shape}', expected='finite numbers (N, 3), RAS millimetres')
    return array


def _file_name(*sources: Any) -> str:
    inputs = [source for source in sources if source is not None]
    return ' and '.join(
        os.path.basename(source) if isinstance(source, str | os.PathLike) else 'an array' for source in inputs
    )
