"""Windows of a volume against loops over their tokens: which voxel a token is, which other tokens it sees, and how."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.windows import (
    MASKED_LOGIT,
    RELATIVE_BIASES,
    Windows,
    fit_windows,
    partition,
    relative_index,
    relative_index_in_part,
    shift_mask,
    shift_regions,
    unpartition,
)

CASES = {
    'whole windows': Windows((4, 2, 6), (2, 2, 3), (0, 0, 0)),
    'whole windows, shifted': Windows((4, 2, 6), (2, 1, 3), (1, 0, 1)),
    'no multiples': Windows((5, 3, 4), (2, 2, 3), (0, 0, 0)),
    'no multiples, shifted': Windows((5, 7, 4), (3, 3, 3), (1, 1, 1)),
    'smaller than the window': Windows((2, 1, 3), (3, 2, 4), (0, 0, 0)),
    'smaller than the window, shifted': Windows((2, 1, 3), (3, 2, 4), (1, 1, 2)),
    'shifted along one axis': Windows((2, 5, 3), (2, 2, 3), (0, 1, 0)),
}
ALL = pytest.mark.parametrize('windows', CASES.values(), ids=CASES)


def places(size):
    return list(itertools.product(*(range(length) for length in size)))


def tokens_of(windows):
    """For each window, the places of its tokens in the padded volume before it was rolled."""

    def before_the_roll(window, token):
        return tuple((np.multiply(window, windows.window) + token + windows.shift) % windows.padded)

    return [[before_the_roll(window, token) for token in places(windows.window)] for window in places(windows.count)]


def random_volume(windows):
    return np.random.default_rng(0).normal(size=(2, *windows.size, 3)).astype(np.float32)


def mask_of(windows, dtype=jnp.float32):
    return shift_mask(shift_regions(windows), dtype)


def rows_by_offset(window):
    """Row of the table for each offset, counted through in the order of the axes."""
    offsets = itertools.product(*(range(1 - length, length) for length in window))
    return {offset: row for row, offset in enumerate(offsets)}


def rows_of(tokens, window):
    rows = rows_by_offset(window)
    return [[rows[tuple(np.subtract(one, other))] for other in tokens] for one in tokens]


def test_sizes_by_hand():
    windows = Windows((5, 4, 1), (2, 2, 3), (0, 0, 0))
    assert windows.padded == (6, 4, 3)
    assert windows.count == (3, 2, 1)


@ALL
def test_each_token_is_the_voxel_of_its_place(windows):
    volume = random_volume(windows)
    padded = np.zeros((2, *windows.padded, 3), np.float32)
    padded[(slice(None), *(slice(length) for length in windows.size))] = volume
    # The windows of one volume lie next to each other.
    wanted = [[sample[place] for place in window] for sample in padded for window in tokens_of(windows)]
    np.testing.assert_array_equal(partition(jnp.asarray(volume), windows), wanted)


@ALL
def test_unpartition_is_the_inverse(windows):
    volume = random_volume(windows)
    np.testing.assert_array_equal(unpartition(partition(jnp.asarray(volume), windows), windows), volume)


@pytest.mark.parametrize('windows', [w for w in CASES.values() if any(w.shift)], ids=[n for n in CASES if 'shift' in n])
def test_tokens_see_each_other_if_the_roll_has_not_brought_them_together(windows):
    # Then they are as far from each other in the volume as in the window.
    inside = places(windows.window)
    wanted = [
        [
            [
                0 if np.array_equal(np.subtract(p, q), np.subtract(a, b)) else MASKED_LOGIT
                for q, b in zip(window, inside, strict=True)
            ]
            for p, a in zip(window, inside, strict=True)
        ]
        for window in tokens_of(windows)
    ]
    np.testing.assert_array_equal(mask_of(windows), wanted)
    # In each case something is hidden.
    assert np.min(wanted) == -100


def test_mask_by_hand():
    # Along the axis of 4, windows hold the voxels (1, 2) and (3, 0).
    apart = np.array([[0, -100], [-100, 0]])
    np.testing.assert_array_equal(mask_of(Windows((4, 1, 1), (2, 1, 1), (1, 0, 0))), [np.zeros((2, 2)), apart])


def test_padded_tokens_are_not_masked():
    padded, whole = (Windows((size, 2, 2), (2, 2, 2), (1, 1, 0)) for size in (3, 4))
    np.testing.assert_array_equal(mask_of(padded), mask_of(whole))


def test_mask_has_the_type_of_the_logits():
    for dtype in (jnp.bfloat16, jnp.float32):
        assert mask_of(CASES['no multiples, shifted'], dtype).dtype == dtype


def test_mask_is_no_constant_of_the_compiled_program():
    # 64 windows of 27 tokens.
    windows = Windows((12, 12, 12), (3, 3, 3), (1, 1, 1))
    program = jax.jit(lambda logits: logits + mask_of(windows)).lower(jnp.zeros((64, 27, 27))).compile().as_text()
    constants = [line for line in program.splitlines() if ' constant(' in line]
    assert any('[64,27]' in line for line in constants)
    assert not any('[64,27,27]' in line for line in constants)


@pytest.mark.parametrize('size', [(4, 4, 4), (3, 5, 1)])
def test_without_shift_there_is_no_mask(size):
    assert shift_regions(Windows(size, (2, 2, 2), (0, 0, 0))) is None


@pytest.mark.parametrize('window', [(1, 1, 1), (2, 3, 4), (5, 5, 5), (5, 6, 5)])
def test_each_offset_has_its_own_row(window):
    index = relative_index(window)
    assert index.dtype == np.int32
    np.testing.assert_array_equal(index, rows_of(places(window), window))
    # All rows of the table are used.
    assert set(index.ravel()) == set(range(np.prod([2 * length - 1 for length in window])))


@pytest.mark.parametrize('part', [(5, 5, 5), (2, 6, 1), (1, 1, 1)])
def test_same_offset_reads_same_row_in_a_part(part):
    window = (5, 6, 5)
    np.testing.assert_array_equal(relative_index_in_part(part, window, 'geometric'), rows_of(places(part), window))


@pytest.mark.parametrize('part', [(5, 5, 5), (2, 6, 1), (1, 1, 1)])
def test_truncated_takes_tokens_of_a_part_for_the_first_of_the_window(part):
    window = (5, 6, 5)
    first = places(window)[: np.prod(part)]
    np.testing.assert_array_equal(relative_index_in_part(part, window, 'truncated'), rows_of(first, window))


def test_when_truncated_and_geometric_differ():
    def same(part):
        one, other = (relative_index_in_part(part, (2, 3, 4), relative_bias) for relative_bias in RELATIVE_BIASES)
        return np.array_equal(one, other)

    assert same((2, 3, 4))
    # The first tokens of the window are those of the part if it is cut along the first axis only.
    assert same((1, 3, 4))
    assert not same((2, 2, 4)) and not same((2, 3, 3))


def test_whole_window_reads_the_whole_table():
    for relative_bias in RELATIVE_BIASES:
        found = relative_index_in_part((2, 3, 4), (2, 3, 4), relative_bias)
        np.testing.assert_array_equal(found, relative_index((2, 3, 4)))


def test_unknown_relative_bias_is_named():
    with pytest.raises(ValueError, match="relative_bias is 'other', expected one of .*'geometric', 'truncated'"):
        relative_index_in_part((2, 2, 2), (3, 3, 3), 'other')


@pytest.mark.parametrize(
    ('size', 'window', 'shift'),
    [
        ((8, 6, 7), (5, 5, 5), (2, 2, 2)),
        # As large as the window: nothing to cut, but shifting would only hide tokens of the one window.
        ((8, 5, 7), (5, 5, 5), (2, 0, 2)),
        ((8, 5, 3), (5, 5, 3), (2, 0, 0)),
        ((1, 2, 4), (1, 2, 4), (0, 0, 0)),
    ],
)
def test_windows_are_cut_to_the_volume(size, window, shift):
    assert fit_windows(size, (5, 5, 5), (2, 2, 2), shrink=True) == Windows(size, window, shift)


@pytest.mark.parametrize('size', [(8, 6, 7), (8, 5, 3), (1, 2, 4)])
def test_windows_that_are_not_cut(size):
    assert fit_windows(size, (5, 5, 5), (2, 2, 2), shrink=False) == Windows(size, (5, 5, 5), (2, 2, 2))
