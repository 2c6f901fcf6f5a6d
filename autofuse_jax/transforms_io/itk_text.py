"""Affine transforms in ITK's text files (.txt, .tfm), as ITK, ANTs, SimpleITK and 3D Slicer read and write them.

ITK maps points of the fixed image in LPS millimetres: `p -> R (p - c) + t + c`, with the centre c among the
FixedParameters. Ours is the same map in RAS: `F M F` with `F = diag(-1, -1, 1, 1)`.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.files import write_text
from autofuse_jax.transforms.maps import AffineTransform

HEADER = '#Insight Transform File V1.0'
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TEXT_SUFFIXES = ('.txt', '.tfm')
COMPOSITE = 'CompositeTransform'
# Number of parameters by name of the transform, without the suffix of its number type.
PARAMETERS = {
    'AffineTransform': 12,
    'MatrixOffsetTransformBase': 12,
    'Euler3DTransform': 6,
    'VersorRigid3DTransform': 6,
    'Similarity3DTransform': 7,
    'TranslationTransform': 3,
}
SMALLEST_DETERMINANT = 1e-9


def write_itk_text(path: str | os.PathLike, transform: AffineTransform) -> None:
    """Write an affine transform for ITK.

    Args:
        path: Ends in .txt or .tfm.
        transform: The transform.

    Raises:
        UserError: The matrix is singular or not finite.
        OSError: The file cannot be written.
    """
    _check_matrix(path, transform.matrix)
    matrix = LPS_FROM_RAS @ transform.matrix @ LPS_FROM_RAS
    # 17 digits bring every float64 back as it was.
    parameters = ' '.join(f'{value:.17g}' for value in [*matrix[:3, :3].ravel(), *matrix[:3, 3]])
    lines = [HEADER, '#Transform 0', 'Transform: AffineTransform_double_3_3', f'Parameters: {parameters}']
    write_text(path, '\n'.join([*lines, 'FixedParameters: 0 0 0', '']))


def read_itk_text(path: str | os.PathLike) -> AffineTransform:
    """Read an affine transform of ITK.

    Args:
        path: The text file: an affine, rigid, similarity or translation transform, or a composite of such.

    Returns:
        The transform, in RAS.

    Raises:
        UserError: Missing file, no transform file of ITK, another kind of transform, wrong numbers, singular matrix.
    """
    path = Path(path)
    if not path.is_file():
        problem = f'{path} is a folder' if path.is_dir() else f'there is no file {path}'
        raise UserError(problem, fix='check the path')
    lines = [line.strip() for line in path.read_text(encoding='utf-8', errors='replace').splitlines()]
    if not lines or not lines[0].startswith('#Insight Transform File'):
        raise UserError(
            f'{path} is no transform file of ITK',
            expected=f'a text file that begins with {HEADER!r}',
            fix='convert it with ConvertTransformFile (ANTs), lta_convert (FreeSurfer) or c3d_affine_tool (FSL)',
        )
    kinds, numbers = _entries(path, lines)
    if kinds and kinds[0] == COMPOSITE:
        kinds, numbers = kinds[1:], numbers[1:]
    elif len(kinds) > 1:
        raise UserError(f'{path} holds {len(kinds)} transforms', expected='one, or a composite', fix='split the file')
    if not kinds:
        raise UserError(f'{path} holds no transform', fix='fetch it again')
    matrix = np.eye(4)
    # The transform that was added last to a composite is the first that a point goes through.
    for kind, (parameters, fixed_parameters) in zip(kinds, numbers, strict=True):
        matrix = matrix @ _matrix(path, kind, parameters, fixed_parameters)
    matrix = LPS_FROM_RAS @ matrix @ LPS_FROM_RAS
    _check_matrix(path, matrix)
    return AffineTransform(matrix)


def _entries(path: Path, lines: Sequence[str]) -> tuple[list[str], list[tuple[list[float], list[float]]]]:
    kinds: list[str] = []
    numbers: list[tuple[list[float], list[float]]] = []
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.partition(':')
        if name == 'Transform':
            kinds.append(rest.strip().split('_')[0])
            numbers.append(([], []))
        elif name in ('Parameters', 'FixedParameters') and numbers:
            try:
                values = [float(word) for word in rest.split()]
            except ValueError as error:
                raise UserError(f'{path}, line {number}: {error}', expected='numbers', fix='repair the file') from error
            numbers[-1]['Parameters FixedParameters'.split().index(name)].extend(values)
    return kinds, numbers


def _matrix(path: Path, kind: str, parameters: list[float], fixed_parameters: list[float]) -> np.ndarray:
    """Return the (4, 4) matrix in LPS of one transform."""
    if kind not in PARAMETERS:
        raise UserError(f'{path} holds a {kind}', expected=f'one of {", ".join(PARAMETERS)}', fix='convert the file')
    if len(parameters) != PARAMETERS[kind]:
        raise UserError(f'{path}: {kind} has {len(parameters)} parameters', expected=f'{PARAMETERS[kind]} for 3-D')
    centre = np.array(fixed_parameters[:3] if len(fixed_parameters) >= 3 else [0.0, 0.0, 0.0])
    linear = np.eye(3)
    if kind in ('AffineTransform', 'MatrixOffsetTransformBase'):
        linear = np.array(parameters[:9]).reshape(3, 3)
    elif kind == 'Euler3DTransform':
        # The fourth fixed parameter, where there is one, says in which order the rotations follow each other.
        linear = _euler(parameters[:3], zyx=len(fixed_parameters) > 3 and fixed_parameters[3] != 0)
    elif kind in ('VersorRigid3DTransform', 'Similarity3DTransform'):
        linear = _versor(path, parameters[:3]) * (parameters[6] if kind == 'Similarity3DTransform' else 1)
    translation = np.array(parameters[3:6] if PARAMETERS[kind] in (6, 7) else parameters[-3:])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, translation + centre - linear @ centre
    return matrix


def _euler(angles: Sequence[float], zyx: bool) -> np.ndarray:
    """Return the rotation by three angles in radians: about y, then x, then z, or about x, then y, then z."""
    turns = []
    for axis, angle in enumerate(angles):
        turn, (first, second) = np.eye(3), [(1, 2), (2, 0), (0, 1)][axis]
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[second, first] = math.sin(angle)
        turn[first, second] = -math.sin(angle)
        turns.append(turn)
    about_x, about_y, about_z = turns
    return about_z @ about_y @ about_x if zyx else about_z @ about_x @ about_y


def _versor(path: Path, vector: Sequence[float]) -> np.ndarray:
    """Return the rotation of a unit quaternion, of which the vector part is given."""
    length = float(np.dot(vector, vector))
    if length > 1:
        raise UserError(f'{path}: the versor is longer than 1', expected='the vector part of a unit quaternion')
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * math.sqrt(1 - length) * cross + 2 * cross @ cross


def _check_matrix(path: str | os.PathLike, matrix: np.ndarray) -> None:
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < SMALLEST_DETERMINANT:
        raise UserError(
            f'the affine transform {path} is singular or not finite: {np.asarray(matrix)[:3].tolist()}',
            expected='a matrix that can be inverted',
            fix='make the transform again',
        )
