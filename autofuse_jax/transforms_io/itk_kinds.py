"""What the transforms in files of ITK mean, whatever the file: kind, parameters, fixed parameters.

A linear transform takes a point of the fixed image in LPS millimetres `p -> R (p - c) + t + c`, with the centre c first
among its fixed parameters; ours is the same map in RAS, `F M F` with `F = diag(-1, -1, 1, 1)`. A displacement field has
its grid in the fixed parameters (size, origin, spacing, direction) and millimetres in LPS as parameters, x fastest.
"""

import math
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import LONGEST_MM, affine_fault
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.field_files import finite_field
from autofuse_jax.transforms_io.itk import check_right_angles, millimetres_of, to_displacement

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
COMPOSITE, FIELD, LINEAR = 'CompositeTransform', 'DisplacementFieldTransform', 'AffineTransform'
# What a name of ours gets as the type of its numbers and its dimensions.
NAME_SUFFIX = '_double_3_3'
# What 3D Slicer calls its classes whose parameters lead the other way.
INVERSE_PREFIX = 'Inverse'
SMALLEST_DETERMINANT = 1e-9
# Text of six digits makes the vector part of a quaternion so much too long.
VERSOR_TOLERANCE = 1e-5
# Size, origin, spacing and direction of a grid.
GRID_NUMBERS = 18


class Entry(NamedTuple):
    """One transform as a file of ITK holds it.

    Attributes:
        kind: Name of its class, without the type of its numbers and its dimensions.
        parameters: Parameters, one after the other.
        fixed_parameters: Numbers that an optimisation leaves alone: the centre, or the grid of a field.
    """

    kind: str
    parameters: np.ndarray
    fixed_parameters: np.ndarray


class _Linear(NamedTuple):
    """A linear transform.

    Attributes:
        size: How many parameters it has.
        translation: Which of them are the translation, None for none.
        matrix: Function that returns its 3 x 3 matrix.
        about_centre: Whether it has a centre among its fixed parameters.
    """

    size: int
    translation: slice | None
    matrix: Callable[[np.ndarray], np.ndarray]
    about_centre: bool = True


def entry(name: str, parameters: Sequence[float] | np.ndarray, fixed_parameters: Sequence[float] | np.ndarray) -> Entry:
    """Return the entry of a transform by its full name, such as 'AffineTransform_double_3_3'."""
    numbers = (np.asarray(values, np.float64).ravel() for values in (parameters, fixed_parameters))
    return Entry(name.split('_')[0], *numbers)


def transform_of(path: str | os.PathLike, entries: Sequence[Entry]) -> AffineTransform | DenseTransform | Chain:
    """Return the map that the transforms of a file make together.

    Args:
        path: The file, for messages.
        entries: Transforms in file order: one, or a composite and its parts.

    Returns:
        The map in RAS: affine where all are linear, dense for one field, and otherwise a chain, neighbouring linear
        parts joined. The transform that was added last to a composite is the first that a point goes through, which is
        the order of our chains, too.

    Raises:
        UserError: No transform, several that are no composite, a kind that is not read, wrong numbers, singular matrix.
    """
    parts = list(entries)
    if parts and parts[0].kind == COMPOSITE:
        parts = parts[1:]
    elif len(parts) > 1:
        raise UserError(f'{path} holds {len(parts)} transforms', expected='one, or a composite', fix='split the file')
    if not parts:
        raise UserError(f'{path} holds no transform', fix='fetch it again')
    for part in parts:
        if part.kind.startswith(INVERSE_PREFIX):
            raise UserError(
                f'{path} holds an {part.kind}, by which 3D Slicer means the inverse of its parameters',
                expected=f'one of {", ".join((*LINEAR_KINDS, FIELD))}',
                fix='convert it in 3D Slicer to a displacement field (module Transforms, Convert) and save that',
            )
        _check_numbers(path, part)
    joined: list[AffineTransform | DenseTransform] = []
    for part in parts:
        following = _field(path, part) if part.kind.endswith(FIELD) else AffineTransform(_matrix(path, part))
        if joined and isinstance(joined[-1], AffineTransform) and isinstance(following, AffineTransform):
            joined[-1] = AffineTransform(joined[-1].matrix @ following.matrix)
        else:
            joined.append(following)
    for transform in joined:
        if isinstance(transform, AffineTransform):
            check_matrix(path, transform.matrix)
    return joined[0] if len(joined) == 1 else Chain(tuple(joined))


def entries_of(path: str | os.PathLike, transform: AffineTransform | DenseTransform | Chain) -> list[Entry]:
    """Return the transforms of ITK that make a map, in file order: one, or a composite and its parts.

    Args:
        path: The file, for messages.
        transform: The map; a chain of affine and dense ones.

    Raises:
        UserError: A matrix is singular or not finite, or a grid has axes that are not at right angles.
    """
    if isinstance(transform, Chain):
        parts = [part for inner in transform.transforms for part in entries_of(path, inner)]  # type: ignore[arg-type]
        # ITK has no place for a composite in another one; its parts in a row are the same map.
        parts = [part for part in parts if part.kind != COMPOSITE]
        return [Entry(COMPOSITE, np.zeros(0), np.zeros(0)), *parts]
    if isinstance(transform, AffineTransform):
        check_matrix(path, transform.matrix)
        matrix = LPS_FROM_RAS @ transform.matrix @ LPS_FROM_RAS
        return [Entry(LINEAR, np.concatenate([matrix[:3, :3].ravel(), matrix[:3, 3]]), np.zeros(3))]
    check_right_angles(path, transform.grid)
    affine = LPS_FROM_RAS @ transform.affine
    spacing = np.asarray(transform.grid.spacing)
    grid = [*transform.grid.shape, *affine[:3, 3], *spacing, *(affine[:3, :3] / spacing).ravel()]
    return [Entry(FIELD, np.moveaxis(millimetres_of(transform), (0, 1, 2), (2, 1, 0)).ravel(), np.array(grid))]


def check_matrix(path: str | os.PathLike, matrix: np.ndarray) -> None:
    """Check that an affine transform can be inverted.

    Args:
        path: Its file, for the message.
        matrix: (4, 4).

    Raises:
        UserError: It is singular or not finite.
    """
    if affine_fault(matrix) or abs(np.linalg.det(matrix[:3, :3])) < SMALLEST_DETERMINANT:
        raise UserError(
            f'the affine transform {path} is singular or not finite: {np.asarray(matrix).tolist()}',
            expected='a matrix that can be inverted',
            fix='make the transform again',
        )


def _check_numbers(path: str | os.PathLike, part: Entry) -> None:
    for numbers in (part.parameters, part.fixed_parameters):
        wrong = numbers[~(np.abs(numbers) <= LONGEST_MM)]
        if wrong.size:
            raise UserError(
                f'{path}: {part.kind} has the parameter {wrong[0]:g}',
                expected=f'finite numbers up to {LONGEST_MM:g}',
                fix='make the transform again',
            )


def _field(path: str | os.PathLike, part: Entry) -> DenseTransform:
    numbers = part.fixed_parameters
    sizes = numbers[:3]
    if (
        numbers.size != GRID_NUMBERS
        or (sizes < 1).any()
        or (sizes % 1 != 0).any()
        or part.parameters.size != 3 * sizes.prod()
    ):
        raise UserError(
            f'{path}: {part.kind} has {part.parameters.size} parameters and {numbers.size} fixed ones',
            expected=f'three for each voxel, and {GRID_NUMBERS} for a grid in 3-D',
            fix='fetch the file again',
        )
    affine = np.eye(4)
    affine[:3, :3] = numbers[9:].reshape(3, 3) * numbers[6:9]
    affine[:3, 3] = numbers[3:6]
    affine = LPS_FROM_RAS @ affine
    fault = affine_fault(affine)
    if fault:
        raise UserError(f'{path}: the grid of its {part.kind} {fault}', fix='make the transform again')
    shape = tuple(int(size) for size in sizes)
    millimetres = np.moveaxis(part.parameters.reshape(*shape[::-1], 3), (0, 1, 2), (2, 1, 0))
    return to_displacement(finite_field(path, millimetres), affine)


def _matrix(path: str | os.PathLike, part: Entry) -> np.ndarray:
    """Return the (4, 4) matrix in RAS of a linear transform."""
    kind, parameters = part.kind, part.parameters
    if kind not in LINEAR_KINDS:
        raise UserError(
            f'{path} holds a {kind}', expected=f'one of {", ".join((*LINEAR_KINDS, FIELD))}', fix='convert the file'
        )
    form = LINEAR_KINDS[kind]
    if len(parameters) != form.size:
        raise UserError(f'{path}: {kind} has {len(parameters)} parameters', expected=f'{form.size} for 3-D')
    centre = part.fixed_parameters[:3] if form.about_centre else np.zeros(3)
    if centre.size < 3:
        # Without its end, a file turns about another place.
        raise UserError(
            f'{path}: {kind} has {centre.size} fixed parameters',
            expected='3, the centre of rotation (0 0 0 for the origin)',
            fix='check that the file was copied completely',
        )
    if kind == 'Euler3DTransform':
        # The fourth fixed parameter, where there is one, says in which order the rotations follow each other.
        linear = _euler(parameters[:3], zyx=len(part.fixed_parameters) > 3 and part.fixed_parameters[3] != 0)
    else:
        try:
            linear = form.matrix(parameters)
        except ValueError as error:
            raise UserError(f'{path}: {error}', expected='the vector part of a unit quaternion') from error
    if kind == 'CenteredAffineTransform':
        centre = parameters[9:12]
    translation = np.zeros(3) if form.translation is None else parameters[form.translation]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, translation + centre - linear @ centre
    return LPS_FROM_RAS @ matrix @ LPS_FROM_RAS


def _euler(angles: Sequence[float] | np.ndarray, zyx: bool = False) -> np.ndarray:
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


def _versor(parameters: np.ndarray) -> np.ndarray:
    """Return the rotation of a unit quaternion, of which the vector part comes first among the parameters."""
    length = float(np.linalg.norm(parameters[:3]))
    if length > 1 + VERSOR_TOLERANCE:
        raise ValueError('the versor is longer than 1')
    # Of half a turn it is as long as 1, but for the rounding of its digits.
    x, y, z = (parameters[:3] / max(length, 1.0)).tolist()
    return _turn(x, y, z, math.sqrt(max(1 - length**2, 0.0)))


def _quaternion(parameters: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(parameters[:4]))
    if length == 0:
        raise ValueError('the quaternion is 0')
    x, y, z, w = (parameters[:4] / length).tolist()
    return _turn(x, y, z, w)


def _turn(x: float, y: float, z: float, w: float) -> np.ndarray:
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _with_skew(parameters: np.ndarray) -> np.ndarray:
    """Rotation plus what scales and skews add to its elements."""
    addition = np.diag(parameters[6:9] - 1)
    addition[[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]] = parameters[9:15]
    return _versor(parameters) + addition


def _composed(parameters: np.ndarray) -> np.ndarray:
    """Skew, then scales, then rotation."""
    skew = np.eye(3)
    skew[[0, 0, 1], [1, 2, 2]] = parameters[9:12]
    return _versor(parameters) @ np.diag(parameters[6:9]) @ skew


def _elements(parameters: np.ndarray) -> np.ndarray:
    return parameters[:9].reshape(3, 3)


_MIDDLE, _END = slice(3, 6), slice(9, 12)
LINEAR_KINDS = {
    LINEAR: _Linear(12, _END, _elements),
    'MatrixOffsetTransformBase': _Linear(12, _END, _elements),
    'FixedCenterOfRotationAffineTransform': _Linear(12, _END, _elements),
    'CenteredAffineTransform': _Linear(15, slice(12, 15), _elements, about_centre=False),
    'Euler3DTransform': _Linear(6, _MIDDLE, _euler),
    'VersorTransform': _Linear(3, None, _versor),
    'VersorRigid3DTransform': _Linear(6, _MIDDLE, _versor),
    'QuaternionRigidTransform': _Linear(7, slice(4, 7), _quaternion),
    'Similarity3DTransform': _Linear(7, _MIDDLE, lambda parameters: _versor(parameters) * parameters[6]),
    'ScaleVersor3DTransform': _Linear(
        9, _MIDDLE, lambda parameters: _versor(parameters) + np.diag(parameters[6:9] - 1)
    ),
    'ScaleSkewVersor3DTransform': _Linear(15, _MIDDLE, _with_skew),
    'ComposeScaleSkewVersor3DTransform': _Linear(12, _MIDDLE, _composed),
    'ScaleTransform': _Linear(3, None, np.diag),
    'TranslationTransform': _Linear(3, slice(0, 3), lambda parameters: np.eye(3), about_centre=False),
    'IdentityTransform': _Linear(0, None, lambda parameters: np.eye(3), about_centre=False),
}
