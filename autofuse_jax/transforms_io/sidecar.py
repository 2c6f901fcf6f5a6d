"""The sidecar: a JSON file beside a transform, of the same stem, that says what the transform is."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.formats import stem_of
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.files import write_json
from autofuse_jax.records.reading import read_json
from autofuse_jax.transforms.grids import ImageGrid, affine_fault
from autofuse_jax.transforms_io.conventions import CONVENTIONS, DIRECTION, DISPLACEMENT, KINDS, PULL
from autofuse_jax.version import __version__

SIDECAR_FORMAT = 'autofuse_jax transform'
SIDECAR_VERSION = 1
FORWARD, INVERSE = 'forward', 'inverse'


@dataclasses.dataclass(frozen=True, eq=False)
class ImageRecord:
    """An image that a transform belongs to.

    Attributes:
        file: Its file name.
        grid: The voxels of the image.
        itk_obstacle: Reason in the file why ITK places it elsewhere; empty where it does not, or where only the record
            of a transform is known.
        fsl_obstacle: Reason in the file why FSL counts along its axes in another way, empty where it does not; records
            of transforms keep it.
    """

    file: str
    grid: ImageGrid
    itk_obstacle: str = ''
    fsl_obstacle: str = ''

    @classmethod
    def of(cls, volume: Volume) -> 'ImageRecord':
        """Return what a transform keeps of an image."""
        return cls(volume.name, volume.grid, fsl_obstacle=volume.notes.fsl_obstacle)


@dataclasses.dataclass(frozen=True, eq=False)
class TransformInfo:
    """What a transform file is.

    Every file is described for itself: `fixed` is the image onto whose grid this transform brings `moving`. In the
    file of an inverse, `fixed` is therefore what the registration called moving.

    Attributes:
        kind: 'displacement', 'affine' or 'composite' (several of these one after the other).
        convention: A key of `CONVENTIONS`.
        role: 'forward' or 'inverse', as seen from the registration.
        fixed: The image onto whose grid an image is brought; None where it is not known.
        moving: The image that is brought there; None where it is not known.
        inverse: Name of the file beside it that holds the inverse, or None.
        settings: Settings it was made with, JSON-compatible.
        versions: Versions of what it was made with; empty becomes the version of this package.
    """

    kind: str = DISPLACEMENT
    convention: str = 'itk'
    role: str = FORWARD
    fixed: ImageRecord | None = None
    moving: ImageRecord | None = None
    inverse: str | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)


def sidecar_path(path: str | os.PathLike) -> Path:
    """Return where the sidecar of a transform file is."""
    return Path(path).parent / f'{stem_of(path)}.json'


def write_sidecar(path: str | os.PathLike, info: TransformInfo) -> None:
    """Write the sidecar of a transform file.

    Args:
        path: The transform file.
        info: Description of the transform.

    Raises:
        UserError: A JSON file of something else has that name.
        OSError: The file cannot be written.
    """
    check_replaceable(path)
    convention = CONVENTIONS[info.convention]
    write_json(
        sidecar_path(path),
        {
            'format': SIDECAR_FORMAT,
            'version': SIDECAR_VERSION,
            'suffix': _suffix(path),
            'kind': info.kind,
            'convention': info.convention,
            'units': convention.units,
            'frame': convention.frame,
            'direction': DIRECTION,
            'role': info.role,
            'fixed': _record(info.fixed),
            'moving': _record(info.moving),
            'inverse': info.inverse,
            'settings': info.settings,
            'versions': info.versions or {'autofuse_jax': __version__},
        },
    )


def check_replaceable(path: str | os.PathLike) -> None:
    """Refuse to replace a JSON file that has the name of a sidecar but belongs to something else.

    Args:
        path: The transform file that is to be written.

    Raises:
        UserError: There is such a file.
    """
    beside = sidecar_path(path)
    if beside.exists() and _content(beside, strict=False) is None:
        raise UserError(f'{beside} exists and is no sidecar of a transform', fix='give the transform another name')


def read_sidecar(path: str | os.PathLike) -> TransformInfo | None:
    """Read the sidecar of a transform file.

    Args:
        path: The transform file.

    Returns:
        Its content; None where there is no JSON file of that stem, or one of something else: images have some, too, and
        so may a transform of another suffix.

    Raises:
        UserError: The sidecar is damaged, contradicts itself, or is of another version.
    """
    beside = sidecar_path(path)
    if not beside.is_file():
        return None
    content = _content(beside, strict=True)
    if content is None:
        return None
    if content.get('version') != SIDECAR_VERSION:
        raise UserError(
            f'{beside} has version {content.get("version")!r}',
            expected=f'version {SIDECAR_VERSION}',
            fix='use the version of autofuse_jax that wrote it, or a newer one',
        )
    # Those of earlier versions do not say it.
    if content.get('suffix', _suffix(path)) != _suffix(path):
        return None
    _check_word(beside, content, 'kind', KINDS)
    _check_word(beside, content, 'convention', tuple(CONVENTIONS))
    _check_word(beside, content, 'units', (CONVENTIONS[content['convention']].units,))
    # The wording of frame and direction may change; what the direction is may not.
    if not str(content.get('direction')).startswith(PULL):
        raise _wrong(beside, 'direction', content.get('direction'), DIRECTION)
    _check_word(beside, content, 'role', (FORWARD, INVERSE))
    inverse = content.get('inverse')
    if inverse is not None and (not isinstance(inverse, str) or Path(inverse).name != inverse):
        raise _wrong(beside, 'inverse', inverse, 'the name of a file in the same folder, or null')
    for name in ('settings', 'versions'):
        if not isinstance(content.get(name), dict):
            raise _wrong(beside, name, content.get(name), 'an object')
    return TransformInfo(
        kind=content['kind'],
        convention=content['convention'],
        role=content['role'],
        fixed=_image(beside, content, 'fixed'),
        moving=_image(beside, content, 'moving'),
        inverse=inverse,
        settings=content['settings'],
        versions=content['versions'],
    )


def _suffix(path: str | os.PathLike) -> str:
    """Suffix of a transform file in small letters, compressed or not."""
    return Path(path).name[len(stem_of(path)) :].lower().removesuffix('.gz')


def _record(image: ImageRecord | None) -> dict[str, Any] | None:
    if image is None:
        return None
    affine = np.asarray(image.grid.affine, np.float64).tolist()
    record = {'file': image.file, 'shape': [int(size) for size in image.grid.shape], 'affine': affine}
    return record | ({'fsl_obstacle': image.fsl_obstacle} if image.fsl_obstacle else {})


def _content(beside: Path, *, strict: bool) -> dict[str, Any] | None:
    """Return the content of a JSON file, None where it is no sidecar; damaged ones are errors only where asked."""
    try:
        content = read_json(beside, fix='fetch it again, or move it away and name the --convention')
    except UserError:
        if strict:
            raise
        return None
    ours = isinstance(content, dict) and content.get('format') == SIDECAR_FORMAT
    return content if ours else None


def _check_word(beside: Path, content: dict[str, Any], name: str, allowed: tuple[str, ...]) -> None:
    if content.get(name) not in allowed:
        raise _wrong(beside, name, content.get(name), ' or '.join(repr(word) for word in allowed))


def _image(beside: Path, content: dict[str, Any], name: str) -> ImageRecord | None:
    record = content.get(name)
    if record is None:
        return None
    expected = 'file, shape (three sizes) and affine (4 x 4, not singular) of an image, or null'
    try:
        file, shape = record['file'], tuple(record['shape'])
        affine = np.array(record['affine'], np.float64)
        obstacle = record.get('fsl_obstacle', '')
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise _wrong(beside, name, record, expected) from error
    good_shape = len(shape) == 3 and all(isinstance(size, int) and size > 0 for size in shape)
    if not isinstance(file, str) or not isinstance(obstacle, str) or not good_shape or affine_fault(affine):
        raise _wrong(beside, name, record, expected)
    return ImageRecord(file, ImageGrid(shape, affine), fsl_obstacle=obstacle)


def _wrong(beside: Path, name: str, value: Any, expected: str) -> UserError:
    fix = 'fetch the sidecar again, or move it away and name the --convention'
    return UserError(f'{beside}: {name!r} is {value!r}', expected=expected, fix=fix)
