"""The cells of a feature map keep their features and know their places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers.decoding.image_memory import image_memory


def test_cells_stand_row_by_row_with_their_places():
    maps = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    memory = jax.jit(image_memory)(maps)
    assert memory.shape == (2, 12, 7)
    for row in range(3):
        for column in range(4):
            cell = memory[1, 4 * row + column]
            np.testing.assert_array_equal(cell[:5], maps[1, row, column])
            np.testing.assert_allclose(cell[5:], [row - 1, 2 * column / 3 - 1], atol=1e-6)


def test_a_single_line_has_the_place_0():
    assert image_memory(jnp.ones((1, 2, 1))).tolist() == [[1, 0, -1], [1, 0, 1]]


@pytest.mark.parametrize(
    ("shape", "dtype", "error"), [((2, 3), "f4", ValueError), ((2, 3, 4), "i4", TypeError)]
)
def test_other_maps_are_refused(shape, dtype, error):
    with pytest.raises(error, match="maps: got"):
        image_memory(jnp.zeros(shape, dtype))
