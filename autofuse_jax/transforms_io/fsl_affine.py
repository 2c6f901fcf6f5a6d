"""Matrices of FSL's flirt: text of 4 x 4 numbers that push, from the moving image (-in) to the fixed one (-ref).

They count in FSL's millimetres. With the frames S of `fsl.fsl_frame` and the affines A, our transform is
`A_moving S_moving^-1 F^-1 S_fixed A_fixed^-1`.
"""

import os
from pathlib import Path

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms_io.field_files import check_is_file
from autofuse_jax.transforms_io.fsl import fsl_frame
from autofuse_jax.transforms_io.itk_kinds import check_matrix

# A matrix has a few hundred characters.
LONGEST_TEXT = 10_000


def read_flirt(path: str | os.PathLike, fixed: ImageGrid, moving: ImageGrid) -> AffineTransform:
    """Read a matrix of flirt.

    Args:
        path: The text file.
        fixed: Grid of the reference image (-ref).
        moving: Grid of the input image (-in).

    Returns:
        The transform from the fixed to the moving world.

    Raises:
        UserError: Missing file, no 4 x 4 numbers, a last row that is not 0 0 0 1, or a singular matrix.
    """
    check_is_file(path)
    matrix = matrix_in(path)
    if matrix is None or not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        raise UserError(
            f'{path} is no matrix of FLIRT',
            expected='four lines of four numbers, the last 0 0 0 1',
            fix='fetch it again, or name its real --convention',
        )
    check_matrix(path, matrix)
    push = moving_to_fixed(matrix, fixed, moving)
    return AffineTransform(np.linalg.inv(push))


def moving_to_fixed(matrix: np.ndarray, fixed: ImageGrid, moving: ImageGrid) -> np.ndarray:
    """Return the (4, 4) matrix from the moving to the fixed world, RAS, of a matrix of flirt."""
    there = np.linalg.inv(fsl_frame(fixed)) @ matrix @ fsl_frame(moving)
    return fixed.affine @ there @ np.linalg.inv(moving.affine)


def matrix_in(path: str | os.PathLike) -> np.ndarray | None:
    """Return the 4 x 4 numbers that a text file consists of, None where it is something else.

    Args:
        path: A file that exists.
    """
    if Path(path).stat().st_size > LONGEST_TEXT:
        return None
    try:
        rows = [[float(word) for word in line.split()] for line in Path(path).read_text('ascii').splitlines()]
    except ValueError:
        return None
    rows = [row for row in rows if row]
    return np.array(rows) if [len(row) for row in rows] == [4, 4, 4, 4] else None
