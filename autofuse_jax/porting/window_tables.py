"""From the tables of relative biases in a state dict to the attention window that they belong to."""

import itertools

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.models.windows import relative_index

BIAS_TABLE_SUFFIX = '.relative_position_bias_table'
INDEX_SUFFIX = '.relative_position_index'


def table_rows(window: tuple[int, ...]) -> int:
    """Return the rows of a window's table, (2d - 1)(2h - 1)(2w - 1)."""
    return int(np.prod([2 * size - 1 for size in window]))


def cubic_window(rows: int) -> tuple[int, ...]:
    """Return the cubic window whose table has, or comes closest to, a number of rows."""
    return ((round(rows ** (1 / 3)) + 1) // 2,) * 3


def window_of_table(rows: int, index: np.ndarray | None) -> tuple[int, ...]:
    """Return the window of a table, of whatever form.

    The rows alone fit several windows: 891 are those of 5 x 6 x 5, 5 x 5 x 6 and others. The buffer tells them apart,
    unless the window is one token long along an axis: 3 x 3 x 1 and 1 x 3 x 3 have the same.

    Args:
        rows: Number of rows of the table.
        index: The integer buffer beside it, (tokens, tokens); None where there is none.

    Returns:
        (d, h, w).

    Raises:
        UserError: No window or more than one fits.
    """
    lengths = [(size + 1) // 2 for size in range(1, rows + 1, 2) if rows % size == 0]
    fitting = [window for window in itertools.product(lengths, repeat=3) if table_rows(window) == rows]
    if index is not None:
        fitting = [w for w in fitting if np.prod(w) == len(index) and np.array_equal(relative_index(w), index)]
    if len(fitting) != 1:
        beside = 'no integer buffer beside them' if index is None else 'the integer buffer beside them'
        raise UserError(
            f'{rows} rows of relative biases and {beside} fit {len(fitting)} attention windows',
            expected=f'one; the buffer ...{INDEX_SUFFIX} tells which',
            fix='use a state dict with all its buffers, as model.state_dict() has them',
        )
    return fitting[0]
