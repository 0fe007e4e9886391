"""Applies any module to every time step."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.fields import check_fields
from dlcore.ops.arrays import check_array
from dlcore.ops.lengths import check_lengths, zero_padding


class TimeDistributed(nn.Module):
    """A module that is applied to every time step separately: ``[B, T, ...]`` -> ``[B, T, ...]``.

    With ``lengths`` the module gets zeros in place of padding, and outputs after a row's last step are 0.

    Attributes:
        module: the module; it is called once, with inputs ``[B * T, ...]``.

    Raises:
        TypeError: the module is no linen module.

    >>> layer = TimeDistributed(nn.Dense(4))
    >>> layer.init_with_output(jax.random.key(0), jax.numpy.ones((2, 3, 5)))[0].shape
    (2, 3, 4)
    """

    module: nn.Module

    def __post_init__(self) -> None:
        check_fields(self)
        super().__post_init__()

    def __call__(self, inputs: jax.Array, lengths: jax.Array | None = None, **options: Any) -> jax.Array:
        """Applies the module to all time steps: ``[B, T, ...]``, where the last dimensions are those of its outputs.

        Args:
            inputs: ``[B, T, ...]``.
            lengths: ``[B]`` integers, the number of valid steps of each row; None if all steps are valid.
            **options: keywords of the module's call, such as ``train``.

        Raises:
            ValueError: the inputs have fewer than 3 dimensions, the lengths do not fit, or the module's output has not
                one row for each step.
            TypeError: the inputs or the module's output are not an array, or the lengths are not one of integers.
        """
        check_array("inputs", inputs, rank=3, layout="[B, T, ...]")
        inputs = jnp.asarray(inputs)
        if lengths is not None:
            lengths = check_lengths(lengths, inputs.shape)
            inputs = zero_padding(inputs, lengths)
        batch, steps, *features = inputs.shape
        outputs = self.module(inputs.reshape(batch * steps, *features), **options)
        check_array("module's output", outputs, rank=1, layout="[B * T, ...]")
        if len(outputs) != batch * steps:
            raise ValueError(
                f"module's output: got shape {outputs.shape}, expected {batch * steps} rows, B * T"
            )
        outputs = outputs.reshape(batch, steps, *outputs.shape[1:])
        return outputs if lengths is None else zero_padding(outputs, lengths)
