"""Padding with values from inside against `numpy.pad`, whole and row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.borders import pad_borders

MODES = {"CIRCULAR": "wrap", "REFLECT": "reflect", "EDGE": "edge"}
MAPS = np.random.default_rng(0).normal(size=(4, 5, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("border", MODES)
def test_whole_maps_are_padded_as_by_numpy(border):
    got = pad_borders(MAPS, [(2, 1), (0, 2)], border)
    np.testing.assert_array_equal(got, np.pad(MAPS, [(0, 0), (2, 1), (0, 2), (0, 0)], MODES[border]))


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_each_row_is_padded_at_its_own_end_as_by_numpy(border, dtype):
    """Also rows with less places than the padding has."""
    lengths = np.array([5, 0, 1, 3], dtype)
    got = jax.jit(lambda maps, lengths: pad_borders(maps, [(4, 6), (1, 0)], border, lengths))(MAPS, lengths)
    assert got.shape == (4, 15, 4, 2)
    for row, length in enumerate(map(int, lengths)):
        if length:
            edges = [(4, 6), (1, 0), (0, 0)]
            expected = np.pad(MAPS[row, :length], edges, MODES[border])
            np.testing.assert_array_equal(got[row, : length + 10], expected)


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="lengths: got 6 in row 0"):
        pad_borders(jnp.asarray(MAPS), [(1, 1), (0, 0)], "EDGE", jnp.array([6, 1, 1, 1]))
