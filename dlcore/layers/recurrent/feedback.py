"""Indirect feedback: from the uppermost cell of a stack back to the lowest (lecture: recurrent connections)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.recurrent.carry import check_carry, hidden_of
from dlcore.layers.recurrent.noise import train_option
from dlcore.ops.arrays import check_floats
from dlcore.utils.checks import check_bool, check_instance


class FeedbackCell(nn.RNNCellBase):
    """A stack of cells over vectors as one cell. The lowest cell also reads the uppermost cell's previous output:

        h^1_t = cell_1(h^1_{t-1}, [x_t, h^n_{t-1}]),    h^k_t = cell_k(h^k_{t-1}, h^{k-1}_t)

    The carry is a pair: the tuple of the n cells' carries, and h^n. The output is h^n.

    Attributes:
        cells: the n cells from the lowest to the uppermost, at least one.

    Raises:
        ValueError: there is no cell, or one is not over vectors.
        TypeError: an entry of cells is no cell.

    >>> from dlcore.layers.recurrent.cells import GRUCell, RNNCell
    >>> from dlcore.layers.recurrent.layer import Recurrent
    >>> layer = Recurrent(FeedbackCell([RNNCell(features=3), GRUCell(features=4)]))
    >>> (carry, outputs), _ = jax.jit(layer.init_with_output)(jax.random.key(0), jnp.ones((2, 5, 1)))
    >>> outputs.shape
    (2, 5, 4)
    """

    cells: Sequence[nn.RNNCellBase]

    def __post_init__(self) -> None:
        check_instance("cells", self.cells, Sequence, "a sequence of cells such as dl.GRUCell(features=64)")
        if not self.cells:
            raise ValueError("cells: got none, expected at least one, from the lowest to the uppermost")
        for cell in self.cells:
            check_instance("cells", cell, nn.RNNCellBase, "cells such as dl.GRUCell(features=64)")
            if cell.num_feature_axes != 1:
                raise ValueError(f"cells: got a {type(cell).__name__}, expected cells over [..., features]")
        super().__post_init__()

    @property
    def num_feature_axes(self) -> int:
        return 1

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        """The carry before the first step: the cells' own initial carries, and 0 for h^n.

        Args:
            rng: random key.
            input_shape: shape of the inputs of one step, ``[..., F]``.
        """
        carries = [
            cell.initialize_carry(key, input_shape)
            for cell, key in zip(self.cells, jax.random.split(rng, len(self.cells)), strict=True)
        ]
        return tuple(carries), jnp.zeros_like(hidden_of(carries[-1]))

    def __call__(self, carry: Any, inputs: jax.Array, *, train: bool = False) -> tuple[Any, jax.Array]:
        """One step: carry, inputs ``[..., F]`` -> the pair of the new carry and the output h^n ``[..., H]``.

        Raises:
            ValueError: the carry or the inputs have another shape than expected.
            TypeError: the inputs are not floating point numbers.
        """
        check_floats("inputs", inputs, 1, "[..., features]")
        check_carry("carry", carry, self, inputs.shape)
        check_bool("train", train)
        carries, fed_back = carry
        outputs = jnp.concatenate([inputs, fed_back.astype(inputs.dtype)], axis=-1)
        after = []
        for cell, before in zip(self.cells, carries, strict=True):
            state, outputs = cell(before, outputs, **train_option(cell, train))
            after.append(state)
        return (tuple(after), outputs), outputs
