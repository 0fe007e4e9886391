"""Streams: a recurrent layer that continues where the previous batch ended."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.data.batch import STREAMS
from dlcore.layers.recurrent.carry import Carry, describe_carry
from dlcore.layers.recurrent.deep import DeepRecurrent
from dlcore.layers.recurrent.layer import Recurrent
from dlcore.layers.recurrent.scan import check_inputs
from dlcore.ops.arrays import check_array, expand_to_rank
from dlcore.utils.checks import check_instance


class Stateful(nn.Module):
    """Truncated BPTT over streams: each row of a batch continues where the same row of the previous batch ended.

    The state is a variable of the collection ``carry``. It is thus part of an experiment's model state and of its
    checkpoints. No gradient passes from a batch to the previous one. If the collection is not mutable, as in an
    evaluation of batches without ``resets``, every call starts from the initial carry. An evaluation of batches with
    ``resets`` carries a state of its own, see `data.StreamEvaluation`.

    Attributes:
        layer: a `Recurrent` or `DeepRecurrent` that runs forward.

    Raises:
        TypeError: the layer is of another kind.
        ValueError: it runs in another direction.

    >>> from dlcore.layers.recurrent.cells import GRUCell
    >>> layer, stream = Stateful(Recurrent(GRUCell(features=4))), jax.random.normal(jax.random.key(0), (2, 6, 3))
    >>> variables = jax.jit(layer.init)(jax.random.key(0), stream)
    >>> import functools
    >>> apply = jax.jit(functools.partial(layer.apply, mutable=["carry"]))
    >>> (_, first), state = apply(variables, stream[:, :3])
    >>> (_, second), state = apply({**variables, **state}, stream[:, 3:])
    >>> _, whole = jax.jit(layer.apply)(variables, stream)
    >>> bool(jnp.allclose(whole, jnp.concatenate([first, second], axis=1)))
    True
    """

    layer: Recurrent | DeepRecurrent

    def __post_init__(self) -> None:
        check_instance("layer", self.layer, (Recurrent, DeepRecurrent), "a Recurrent or DeepRecurrent")
        if self.layer.reverse or getattr(self.layer, "bidirectional", False):
            raise ValueError(
                f"layer: got {type(self.layer).__name__} with another direction, expected a Recurrent or "
                "DeepRecurrent that goes forward: a stream has no end to begin from"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        inputs: jax.Array,
        lengths: jax.Array | None = None,
        resets: jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """Runs the layer from the state that the previous call left.

        Args:
            inputs: ``[B, T, F]``, the next T steps of each row's stream.
            lengths: ``[B]`` integers, the number of valid steps of each row; the next batch continues after the last
                of them. None if all steps are valid.
            resets: ``[B]`` booleans; True where a row starts a new stream from the initial carry. None resets no row.
            mask: as in the layer; the next batch continues after each row's last valid step.
            train: as in the layer.

        Returns:
            The layer's carry after this batch, and its outputs ``[B, T, H]``.

        Raises:
            ValueError: resets have another shape than ``[B]``, or the number of rows changed; or as in the layer.
            TypeError: resets are not booleans; or as in the layer.
        """
        check_inputs(self.layer.cell, inputs)
        initial = self.layer.initialize_carry(inputs.shape)
        state = self.variable(STREAMS, "state", lambda: initial)
        continues = self.is_mutable_collection(STREAMS) and not self.is_initializing()
        if continues:
            _check_rows(state.value, initial, inputs.shape)
        before = lax.stop_gradient(state.value) if continues else initial
        if resets is not None:
            before = self._reset(resets, initial, before, inputs.shape)
        carry, outputs = self.layer(inputs, lengths, before, mask=mask, train=train)
        if continues:
            state.value = carry
        return carry, outputs

    @nn.nowrap
    def _reset(self, resets: jax.Array, initial: Carry, before: Carry, input_shape: tuple[int, ...]) -> Carry:
        features = self.layer.cell.num_feature_axes
        batch = input_shape[: -features - 1]
        check_array("resets", resets, numbers="booleans")
        if resets.dtype != bool:
            raise TypeError(f"resets: got {resets.dtype}, expected booleans; resets.astype(bool)")
        if resets.shape != batch:
            raise ValueError(f"resets: got shape {resets.shape}, expected one for each row, {batch}")
        fresh = expand_to_rank(resets, resets.ndim + features)
        return jax.tree.map(lambda new, old: jnp.where(fresh, new, old), initial, before)


def _check_rows(state: Carry, initial: Carry, input_shape: tuple[int, ...]) -> None:
    """Checks that the state is one of as many rows as the batch has."""
    got, expected = describe_carry(initial), describe_carry(state)
    if got != expected:
        raise ValueError(
            f"inputs: got shape {input_shape}, whose state is {got}, expected the rows of the previous batch, whose "
            f"state is {expected}; each row continues its own stream, so that batch_size must not change and "
            "micro_batches must be 1"
        )
