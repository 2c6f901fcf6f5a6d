"""Transforms in ITK's text files (.txt, .tfm), as ITK, ANTs, SimpleITK and 3D Slicer read and write them."""

import os
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.errors import UserError
from autofuse_jax.files import write_text
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.field_files import check_is_file
from autofuse_jax.transforms_io.itk_kinds import NAME_SUFFIX, Entry, entries_of, entry, transform_of

HEADER = '#Insight Transform File V1.0'
TEXT_SUFFIXES = ('.txt', '.tfm')


def write_itk_text(path: str | os.PathLike, transform: AffineTransform) -> None:
    """Write an affine transform for ITK.

    Args:
        path: Ends in .txt or .tfm.
        transform: The transform.

    Raises:
        UserError: The matrix is singular or not finite.
        OSError: The file cannot be written.
    """
    (only,) = entries_of(path, transform)
    # 17 digits bring every float64 back as it was.
    parameters = ' '.join(f'{value:.17g}' for value in only.parameters)
    lines = [HEADER, '#Transform 0', f'Transform: {only.kind}{NAME_SUFFIX}', f'Parameters: {parameters}']
    write_text(path, '\n'.join([*lines, 'FixedParameters: 0 0 0', '']))


def read_itk_text(path: str | os.PathLike) -> AffineTransform | DenseTransform | Chain:
    """Read a transform of ITK.

    Args:
        path: The text file: a linear transform, a displacement field, or a composite of such.

    Returns:
        The transform, in RAS.

    Raises:
        UserError: Missing file, no transform file of ITK, another kind of transform, wrong numbers, singular matrix.
    """
    path = Path(path)
    check_is_file(path)
    lines = [line.strip() for line in path.read_text(encoding='utf-8', errors='replace').splitlines()]
    if not lines or not lines[0].startswith('#Insight Transform File'):
        raise UserError(
            f'{path} is no transform file of ITK',
            expected=f'a text file that begins with {HEADER!r}',
            fix='name --convention fsl for a matrix of FLIRT; convert others with ConvertTransformFile (ANTs), '
            'lta_convert (FreeSurfer) or c3d_affine_tool (FSL)',
        )
    return transform_of(path, _entries(path, lines))


def _entries(path: Path, lines: Sequence[str]) -> list[Entry]:
    names: list[str] = []
    numbers: list[dict[str, list[float]]] = []
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.partition(':')
        name = name.strip()
        if name == 'Transform':
            names.append(rest.strip())
            numbers.append({'Parameters': [], 'FixedParameters': []})
        elif name in ('Parameters', 'FixedParameters') and numbers:
            try:
                numbers[-1][name] += [float(word) for word in rest.split()]
            except ValueError as error:
                raise UserError(f'{path}, line {number}: {error}', expected='numbers', fix='repair the file') from error
    return [entry(name, *values.values()) for name, values in zip(names, numbers, strict=True)]
