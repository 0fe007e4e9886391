"""The same recurrent layer in dlcore and in its peers: ``build(problem)`` -> a step that computes a gradient.

Every step maps inputs ``[B, T, F]`` to outputs ``[B, T, H]`` (``[B, T, 2H]`` in two directions) and the carry. It
computes the gradients of ``sum(outputs * arriving)`` by all parameters and by the inputs.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import dlcore as dl

Step: TypeAlias = Callable[[], tuple[Any, Any]]
"""Returns the gradients of the parameters and of the inputs, once they are computed."""


class Problem(NamedTuple):
    """A layer and its data.

    Attributes:
        family: family of cells, a key of `GATES`.
        features: number of hidden units, H.
        inputs: ``[B, T, F]``.
        lengths: ``[B]``, the number of valid steps of each row; None: all steps are valid.
        arriving: gradient of the outputs, with their shape.
        bidirectional: True for a layer in two directions.
    """

    family: str
    features: int
    inputs: np.ndarray
    lengths: np.ndarray | None
    arriving: np.ndarray
    bidirectional: bool


GATES = {"lstm": 4, "gru": 3, "rnn": 1}
EVERYWHERE, BY_ROW = PartitionSpec(), PartitionSpec("batch")


class UnsupportedError(Exception):
    """Raised if the peer has no such layer."""


def directions(problem: Problem) -> list[bool]:
    """Returns for each direction whether it goes back in time."""
    return [False, True] if problem.bidirectional else [False]


def device_mesh(problem: Problem) -> Mesh:
    """Returns a mesh of all devices if they divide the batch evenly, otherwise of one."""
    devices = jax.devices()
    shared = len(problem.inputs) % len(devices) == 0
    return Mesh(devices if shared else devices[:1], ("batch",), axis_types=(AxisType.Auto,))


def place(problem: Problem, params: Any, *data: Any) -> Any:
    """Puts the parameters on every device, and on each device its rows of the data."""
    everywhere, by_row = (NamedSharding(device_mesh(problem), spec) for spec in (EVERYWHERE, BY_ROW))
    return jax.device_put(params, everywhere), *jax.device_put(data, by_row)


def _jax_step(apply: Callable[..., Any], params: Any, problem: Problem) -> Step:
    """Makes the step of ``apply(params, inputs, lengths) -> carry, outputs``."""

    def loss(params: Any, inputs: Any, lengths: Any, arriving: Any) -> Any:
        carry, outputs = apply(params, inputs, lengths)
        return jnp.sum(outputs * arriving), carry

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    arguments = place(problem, params, problem.inputs, problem.lengths, problem.arriving)
    return lambda: jax.block_until_ready(compiled(*arguments))[1]


def _of_linen(model: nn.Module, problem: Problem, apply: Callable[..., Any] | None = None) -> Step:
    params = jax.jit(model.init)(jax.random.key(0), problem.inputs)
    return _jax_step(apply or model.apply, params, problem)


def dlcore(problem: Problem, **options: Any) -> Step:
    family: Any = {"lstm": dl.LSTMCell, "gru": dl.GRUCell, "rnn": dl.RNNCell}[problem.family]
    cell = functools.partial(family, problem.features, **options)
    return _of_linen(
        dl.Bidirectional(cell(), cell()) if problem.bidirectional else dl.Recurrent(cell()), problem
    )


def linen(problem: Problem, optimized: bool = False) -> Step:
    layers = [nn.RNN(_flax_cell(nn, problem, optimized)(problem.features)) for _ in directions(problem)]
    model: Any = nn.Bidirectional(*layers) if problem.bidirectional else layers[0]  # type: ignore[arg-type]

    def apply(params: Any, inputs: Any, lengths: Any) -> Any:
        return model.apply(params, inputs, seq_lengths=lengths, return_carry=True)

    return _of_linen(model, problem, apply)


def nnx(problem: Problem, optimized: bool = False) -> Step:
    from flax import nnx

    sizes, rngs = (problem.inputs.shape[-1], problem.features), nnx.Rngs(0)
    cell = _flax_cell(nnx, problem, optimized)
    layers = [nnx.RNN(cell(*sizes, rngs=rngs)) for _ in directions(problem)]
    model: Any = nnx.Bidirectional(*layers) if problem.bidirectional else layers[0]
    split: Any = nnx.split(model, nnx.Param, ...)
    graph, params, rest = split

    def apply(params: Any, inputs: Any, lengths: Any) -> Any:
        # A copy, because the layer counts the random numbers that it draws, and each trace must start its own count.
        model: Any = nnx.merge(graph, params, rest, copy=True)
        return model(inputs, seq_lengths=lengths, return_carry=True)

    return _jax_step(apply, params, problem)


def _flax_cell(flax: Any, problem: Problem, optimized: bool) -> Any:
    if optimized and problem.family != "lstm":
        raise UnsupportedError("only the LSTM has an optimized cell")
    lstm = "OptimizedLSTMCell" if optimized else "LSTMCell"
    return getattr(flax, {"lstm": lstm, "gru": "GRUCell", "rnn": "SimpleCell"}[problem.family])


def haiku(problem: Problem) -> Step:
    """Builds the layer in haiku, whose RNN has a ReLU where all others have tanh."""
    import haiku as hk

    if problem.lengths is not None:
        raise UnsupportedError("has no lengths")
    family: Any = {"lstm": hk.LSTM, "gru": hk.GRU, "rnn": functools.partial(hk.VanillaRNN, double_bias=False)}

    def unroll(inputs: jax.Array, reverse: bool) -> Any:
        core = family[problem.family](problem.features)
        state = core.initial_state(len(inputs))
        return hk.dynamic_unroll(core, inputs, state, time_major=False, reverse=reverse)

    def forward(inputs: jax.Array) -> Any:
        outputs, states = zip(*(unroll(inputs, reverse) for reverse in directions(problem)), strict=True)
        return states, jnp.concatenate(outputs, -1)

    model: Any = hk.without_apply_rng(hk.transform(forward))
    params = jax.jit(model.init)(jax.random.key(0), problem.inputs)
    return _jax_step(lambda params, inputs, _: model.apply(params, inputs), params, problem)


def keras(problem: Problem) -> Step:
    import keras

    family = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
    layer = family[problem.family](problem.features, return_sequences=True, return_state=True)
    if problem.bidirectional:
        layer = keras.layers.Bidirectional(layer)
    layer.build(problem.inputs.shape)
    params, fixed = (
        [variable.value for variable in variables]
        for variables in (layer.trainable_variables, layer.non_trainable_variables)
    )

    def apply(params: Any, inputs: Any, lengths: Any) -> Any:
        mask = None if lengths is None else jnp.arange(inputs.shape[1]) < lengths[:, None]
        (outputs, *carry), _ = layer.stateless_call(params, fixed, inputs, mask=mask)
        return carry, outputs

    return _jax_step(apply, params, problem)


def equinox(problem: Problem) -> Step:
    """Builds the layer in equinox: the loop over one sequence from its documentation, and a vmap over the batch."""
    import equinox as eqx

    class RNNCell(eqx.Module):
        """The plain RNN cell, which equinox does not have."""

        dense: eqx.nn.Linear
        recurrent: eqx.nn.Linear

        def __init__(self, inputs: int, hidden: int, *, key: jax.Array) -> None:
            self.dense = eqx.nn.Linear(inputs, hidden, key=key)
            self.recurrent = eqx.nn.Linear(hidden, hidden, use_bias=False, key=jax.random.fold_in(key, 1))

        def __call__(self, inputs: jax.Array, hidden: jax.Array) -> jax.Array:
            return jnp.tanh(self.dense(inputs) + self.recurrent(hidden))

    def unroll(cell: Any, inputs: jax.Array, length: Any, reverse: bool) -> Any:
        def body(carry: Any, step: Any) -> Any:
            inputs, t = step
            after = cell(inputs, carry)
            hidden = after[0] if problem.family == "lstm" else after
            valid = length is None or t < length
            after = jax.tree.map(functools.partial(jnp.where, valid), after, carry)
            return after, jnp.where(valid, hidden, 0)

        zeros = jnp.zeros(problem.features)
        carry = (zeros, zeros) if problem.family == "lstm" else zeros
        return jax.lax.scan(body, carry, (inputs, jnp.arange(len(inputs))), reverse=reverse)

    family: Any = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell, "rnn": RNNCell}[problem.family]
    keys = jax.random.split(jax.random.key(0), 2)
    cells = [
        family(problem.inputs.shape[-1], problem.features, key=keys[int(way)]) for way in directions(problem)
    ]

    def sequence(cells: Any, inputs: jax.Array, length: Any) -> Any:
        ways = zip(cells, directions(problem), strict=True)
        carries, outputs = zip(
            *(unroll(cell, inputs, length, reverse) for cell, reverse in ways), strict=True
        )
        return carries, jnp.concatenate(outputs, -1)

    params, static = eqx.partition(cells, eqx.is_array)
    apply = lambda params, *data: jax.vmap(sequence, (None, 0, 0))(eqx.combine(params, static), *data)
    return _jax_step(apply, params, problem)


def torch(problem: Problem) -> Step:
    import torch
    from torch.nn.utils import rnn

    torch.set_num_threads(os.cpu_count() or 1)
    family: Any = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[problem.family]
    steps, features = problem.inputs.shape[1:]
    model = family(features, problem.features, batch_first=True, bidirectional=problem.bidirectional)
    params = list(model.parameters())
    inputs, arriving = torch.tensor(problem.inputs, requires_grad=True), torch.tensor(problem.arriving)
    lengths = None if problem.lengths is None else torch.tensor(problem.lengths)

    def forward() -> Any:
        if lengths is None:
            return model(inputs)[0]
        packed = rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        return rnn.pad_packed_sequence(model(packed)[0], batch_first=True, total_length=steps)[0]

    def step() -> tuple[Any, Any]:
        model.zero_grad()
        inputs.grad = None
        (forward() * arriving).sum().backward()
        return [param.grad for param in params], inputs.grad

    return step


PEERS: dict[str, Callable[[Problem], Step]] = {
    "linen": linen,
    "linen_optimized": functools.partial(linen, optimized=True),
    "nnx": nnx,
    "nnx_optimized": functools.partial(nnx, optimized=True),
    "haiku": haiku,
    "keras": keras,
    "equinox": equinox,
    "torch": torch,
}
