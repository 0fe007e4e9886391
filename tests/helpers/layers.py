"""Every layer and every cell with its options, once, for the tests of JAX's transformations.

A case is a function of its differentiable arguments: parameters, inputs, and the carry before the first step. NumPy
draws all arrays in float64, so that nothing has to be compiled. Use them within ``jax.enable_x64(True)``.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.ops.arrays import where_rows

KEY = jax.random.key(0)
ROWS, STEPS, FEATURES = 3, 4, 2
LENGTHS = np.array([4, 0, 3], np.int32)
MASK = np.array([[0, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0]], bool)
SIZE = 4  # of every spatial dimension


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A layer, the shape of its inputs, and its options.

    Attributes:
        layer: a module; None if ``function`` stands alone.
        shape: shape of the inputs.
        lengths: the rows' lengths, or None.
        options: keywords of the layer's call.
        memory: shape of an attention's memory, or None.
        truncate: if given, ``layer`` is run in windows of so many steps by a plain loop that stops the gradient.
        function: ``arguments -> outputs`` in place of the layer's call.
    """

    layer: nn.Module | None
    shape: tuple[int, ...] = (ROWS, STEPS, FEATURES)
    lengths: np.ndarray | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    memory: tuple[int, ...] | None = None
    truncate: int | None = None
    function: Callable[[Any], Any] | None = None

    def arguments(self, seed: int = 0) -> dict[str, Any]:
        """Parameters, inputs, and the carry and memory if there are any, a tree of float64 arrays."""
        random = np.random.default_rng(seed)
        draw = lambda leaf: random.normal(scale=0.5, size=leaf.shape)
        arguments: dict[str, Any] = {"inputs": random.normal(size=self.shape)}
        if self.memory is not None:
            arguments["memory"] = random.normal(size=self.memory)
        if self.layer is None:
            return arguments
        arguments["params"] = jax.tree.map(draw, self._shapes().get("params", {}))
        if isinstance(self.layer, nn.RNNCellBase):
            shape = self.shape
            arguments["carry"] = jax.tree.map(
                draw, jax.eval_shape(lambda: self.layer.initialize_carry(KEY, shape))
            )
        elif hasattr(self.layer, "initialize_carry"):
            arguments["carry"] = jax.tree.map(
                draw, jax.eval_shape(lambda: self.layer.initialize_carry(self.shape))
            )
        return arguments

    def run(self, arguments: dict[str, Any]) -> Any:
        """The outputs of the layer, and its carry or new state if there is one."""
        if self.function is not None:
            return self.function(arguments)
        if self.truncate is not None:
            return self._run_truncated(arguments)
        return self._apply(arguments)

    @functools.cache  # noqa: B019  the cases live as long as the process
    def _shapes(self) -> Any:
        arrays = [jax.ShapeDtypeStruct(self.shape, jnp.float64)]
        if self.memory is not None:
            arrays.append(jax.ShapeDtypeStruct(self.memory, jnp.float64))
        if isinstance(self.layer, nn.RNNCellBase):
            arrays.insert(0, jax.eval_shape(lambda: self.layer.initialize_carry(KEY, self.shape)))
        given = {name: value for name, value in self.options.items() if isinstance(value, np.ndarray)}
        return jax.eval_shape(functools.partial(self.layer.init, **given), KEY, *arrays)

    def _apply(self, arguments: dict[str, Any]) -> Any:
        others = {name: tree for name, tree in self._shapes().items() if name != "params"}
        variables = {
            "params": arguments["params"],
            **jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5), others),
        }
        apply = functools.partial(
            self.layer.apply,
            variables,
            rngs={"dropout": jax.random.key(1)},
            mutable=[*others],
            **self.options,
        )
        inputs, carry = arguments["inputs"], arguments.get("carry")
        if isinstance(self.layer, nn.RNNCellBase):
            return apply(carry, inputs)
        if self.memory is not None:
            return apply(inputs, arguments["memory"], self.lengths, None, carry)
        if carry is not None:
            return apply(inputs, self.lengths, carry)
        return apply(inputs) if self.lengths is None else apply(inputs, self.lengths)

    def _run_truncated(self, arguments: dict[str, Any]) -> Any:
        """Window after window in reading order; the gradient stops where a row enters a window but its first."""
        reverse, steps = self.layer.reverse, self.shape[1]
        starts = range(0, steps, self.truncate)
        carry, outputs = arguments["carry"], {}
        ends = np.full(self.shape[0], steps) if self.lengths is None else self.lengths
        for start in reversed(starts) if reverse else starts:
            cut = start + self.truncate < ends if reverse else (start > 0) & (start < ends)
            stop = lambda leaf, cut=cut: where_rows(cut, jax.lax.stop_gradient(leaf), leaf)
            carry = jax.tree.map(stop, carry)
            inputs = arguments["inputs"][:, start : start + self.truncate]
            lengths = None if self.lengths is None else np.clip(self.lengths - start, 0, inputs.shape[1])
            carry, outputs[start] = self.layer.apply({"params": arguments["params"]}, inputs, lengths, carry)
        return (carry, jnp.concatenate([outputs[start] for start in starts], axis=1)), {}


def modules_in(layer: Any) -> Iterator[nn.Module]:
    """The layer and all modules in its attributes."""
    yield layer
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, nn.Module) and field.name != "parent":
                yield from modules_in(part)


def of_images(layer: nn.Module, channels: int = FEATURES, **settings: Any) -> Case:
    """A case over rows of SIZE x SIZE pixels."""
    return Case(layer, (ROWS, SIZE, SIZE, channels), **settings)


def of_films(layer: nn.Module, **settings: Any) -> Case:
    """A case over sequences of lines of SIZE pixels."""
    return Case(layer, (ROWS, STEPS, SIZE, FEATURES), **settings)


def pools(arguments: dict[str, Any]) -> list[jax.Array]:
    """All pools of images, with and without lengths."""
    maps, lengths = arguments["inputs"], LENGTHS
    return [
        dl.max_pool(maps, 2, padding=1, lengths=lengths),
        dl.max_pool(maps, 3, 1, ties="split"),
        dl.avg_pool(maps, 2, padding=1),
        dl.avg_pool(maps, 2, lengths=lengths),
        dl.global_max_pool(maps, lengths),
        dl.global_max_pool(maps, ties="split"),
        dl.global_avg_pool(maps, lengths),
        dl.channel_pool(maps, 2),
        dl.channel_pool(maps, 2, "average"),
    ]


def over_time(arguments: dict[str, Any]) -> list[jax.Array]:
    """All reductions over the valid steps, and the plain products with a kernel."""
    inputs = arguments["inputs"]
    signal, kernel = inputs[0, :, 0], inputs[1, :3, 0]
    return [
        *(reduce(inputs, LENGTHS) for reduce in (dl.last_over_time, dl.max_over_time, dl.mean_over_time)),
        dl.convolve(signal, kernel),
        dl.correlate(signal, kernel, method="fft"),
    ]


def attention(arguments: dict[str, Any]) -> Any:
    query = arguments["inputs"][:, 0]
    scores = jnp.einsum("bh,bsh->bs", query, arguments["memory"][..., :FEATURES])
    return dl.attend(scores, arguments["memory"], LENGTHS)


def recurrent(cell: nn.RNNCellBase, **settings: Any) -> dl.Recurrent:
    """A layer in chunks of two steps, with as little as possible to compile."""
    return dl.Recurrent(cell, **{"time_chunk": 2, "unroll": 1, **settings})


NOISE = {"input_dropout": 0.3, "recurrent_dropout": 0.3, "zoneout": 0.2}
DRAWS = {"train": True}
MEMORY = (ROWS, 4, 3)
LSTM, GRU = dl.LSTMCell(FEATURES), dl.GRUCell(FEATURES)
CASES = {
    "rnn": Case(dl.Recurrent(dl.RNNCell(3))),
    "rnn, softmax": Case(recurrent(dl.RNNCell(3, activation=jax.nn.softmax)), lengths=LENGTHS),
    "rnn, direct": Case(recurrent(dl.RNNCell(3, connections="direct"), truncate=STEPS), lengths=LENGTHS),
    "rnn, lateral": Case(recurrent(dl.RNNCell(3, connections="lateral"), truncate=9)),
    "identity": Case(recurrent(dl.IdentityRNNCell(3)), lengths=LENGTHS),
    "residual": Case(recurrent(dl.ResidualRNNCell(3), reverse=True)),
    "residual with feedback": Case(recurrent(dl.ResidualRNNCell(3, feedback=True), time_chunk=STEPS)),
    "lstm": Case(dl.Recurrent(LSTM)),
    "lstm, chunks": Case(dl.Recurrent(LSTM, time_chunk=3), lengths=LENGTHS),
    "lstm, reverse": Case(recurrent(LSTM, reverse=True), lengths=LENGTHS),
    "lstm, truncate all": Case(dl.Recurrent(LSTM, truncate=STEPS, time_chunk=None)),
    "lstm, truncated": Case(recurrent(LSTM, truncate=2, time_chunk=None)),
    "lstm, truncated in chunks": Case(
        recurrent(LSTM, truncate=2, time_chunk=1, reverse=True), lengths=LENGTHS
    ),
    "lstm, input dropout": Case(recurrent(LSTM.clone(input_dropout=0.3)), options=DRAWS),
    "lstm, noise": Case(recurrent(LSTM.clone(variational=False, **NOISE), reverse=True), options=DRAWS),
    "peephole lstm": Case(recurrent(dl.PeepholeLSTMCell(2)), lengths=LENGTHS),
    "projected lstm": Case(recurrent(dl.ProjectedLSTMCell(3, projection=2), reverse=True), lengths=LENGTHS),
    "masked": Case(dl.Bidirectional(GRU, LSTM, unroll=1), options={"mask": MASK}),
    "gru": Case(recurrent(GRU), lengths=LENGTHS),
    "gru, after": Case(recurrent(dl.GRUCell(2, reset="after"), reverse=True)),
    "gru, zoneout": Case(recurrent(dl.GRUCell(2, **NOISE), time_chunk=None), lengths=LENGTHS),
    "layer norm lstm": Case(recurrent(dl.LayerNormLSTMCell(4)), lengths=LENGTHS),
    "layer norm gru": Case(recurrent(dl.LayerNormGRUCell(4, **NOISE), time_chunk=None), options=DRAWS),
    "conv lstm": of_films(recurrent(dl.ConvLSTMCell(2, (3,))), lengths=LENGTHS),
    "conv gru": of_films(recurrent(dl.ConvGRUCell(2, (2,)), time_chunk=None, reverse=True), lengths=LENGTHS),
    "feedback": Case(recurrent(dl.FeedbackCell([GRU, LSTM])), lengths=LENGTHS),
    "flax": Case(recurrent(nn.OptimizedLSTMCell(2)), lengths=LENGTHS),
    "bidirectional": Case(
        dl.Bidirectional(dl.RNNCell(2), GRU, "product", time_chunk=2, unroll=1), lengths=LENGTHS
    ),
    "deep": Case(
        dl.DeepRecurrent(dl.GRUCell(4), layers=3, norm="layer", residual=True, time_chunk=2, unroll=1)
    ),
    "deep, both ways": Case(
        dl.DeepRecurrent(dl.RNNCell(2), layers=2, bidirectional=True, norm="batch", dropout=0.3, unroll=1),
        lengths=LENGTHS,
        options=DRAWS,
    ),
    "stateful": Case(dl.Stateful(recurrent(GRU)), lengths=LENGTHS),
    "a step of an lstm": Case(LSTM, (ROWS, FEATURES)),
    "a step of a gru": Case(dl.GRUCell(2, reset="after"), (ROWS, FEATURES)),
    "additive attention": Case(
        dl.AttentionDecoder(GRU, dl.BahdanauAttention(2), time_chunk=2, unroll=1),
        lengths=LENGTHS,
        memory=MEMORY,
    ),
    "multiplicative attention": Case(
        dl.AttentionDecoder(dl.RNNCell(2), dl.LuongAttention("general"), unroll=1),
        lengths=LENGTHS,
        memory=MEMORY,
    ),
    "conv": of_images(dl.Conv(4, 2, 2, groups=2, flip=True), lengths=LENGTHS),
    "conv, one channel": of_images(dl.Conv(27, 3), channels=1),
    "conv, circular": of_images(dl.Conv(2, 3, padding="CIRCULAR"), lengths=LENGTHS),
    "conv transpose": of_images(dl.ConvTranspose(4, 2, 2, groups=2), lengths=LENGTHS),
    "conv, long": Case(dl.Conv(2, (40,), padding="SAME"), (2, 60, 1)),
    "waveform encoder": Case(
        dl.WaveformEncoder(samples=4, filters=4, taps=(3, 5), channel_pool=2),
        (2, 24, 1),
        lengths=np.array([24, 12]),
    ),
    "conv stack": of_images(
        dl.ConvStack([dl.ConvBlock(2, norm="batch", residual=True, dropout=0.3)]), options=DRAWS
    ),
    "chain head": Case(
        dl.ChainHead(2, 3, features=4, embedding=2),
        (ROWS, FEATURES),
        options={"frames": np.array([[0, 2], [1, 0], [2, 2]])},
    ),
    "time distributed": Case(dl.TimeDistributed(nn.Dense(2)), lengths=LENGTHS),
    "pools": of_images(None, function=pools),
    "over time": Case(None, function=over_time),
    "attend": Case(None, memory=MEMORY, function=attention),
}
REFERENCES = {
    "lstm, truncated": Case(dl.Recurrent(LSTM), truncate=2),
    "lstm, truncated in chunks": Case(dl.Recurrent(LSTM, reverse=True), lengths=LENGTHS, truncate=2),
}
"""For cases whose gradient is not that of their value: a plain loop that stops the gradient at the same places."""

MECHANISMS = [
    "rnn, softmax", "lstm, chunks", "lstm, truncate all", "lstm, truncated in chunks", "lstm, noise", "gru, after",
    "conv lstm", "flax", "conv, one channel", "conv stack", "pools",
]  # fmt: skip
"""Cases that differ in how their derivatives are made."""
FEW = ["rnn, softmax", "lstm, chunks", "lstm, truncated in chunks", "conv lstm", "deep, both ways", "pools"]
"""Cases for transformations that wrap a function whose derivatives are tested."""
FAST = ["lstm, chunks"]
"""The case that the default tests take."""


def loss_of(case: Case) -> Callable[[dict[str, Any]], jax.Array]:
    """A function ``arguments -> number`` to which every floating point output contributes differently."""

    def loss(arguments: dict[str, Any]) -> jax.Array:
        total = 0.0
        for leaf in jax.tree.leaves(case.run(arguments)):
            weights = np.cos(np.arange(leaf.size)).reshape(leaf.shape)
            total = total + (leaf * weights).sum() + (leaf * leaf).sum() / 2
        return total

    return loss


@functools.cache
def gradient_of(name: str) -> Callable[[dict[str, Any]], tuple[jax.Array, Any]]:
    """The compiled function ``arguments -> loss, gradient`` of a case."""
    return jax.jit(jax.value_and_grad(loss_of(CASES[name])))


def moved(arguments: Any, direction: Any, by: float) -> Any:
    return jax.tree.map(lambda leaf, change: leaf + by * change, arguments, direction)


def directions(arguments: Any) -> Any:
    """A direction in which all arguments change, each entry by another amount."""
    random = np.random.default_rng(9)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape), arguments)


def dot(one: Any, other: Any) -> Any:
    return sum((a * b).sum() for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def assert_close(one: Any, other: Any, tolerance: float) -> None:
    """Asserts that two trees are equal, up to ``tolerance`` times the largest entry of the tree."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    scale = max((float(np.abs(leaf).max()) for leaf in jax.tree.leaves(other) if np.size(leaf)), default=0.0)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(scale, 1.0))


def each(names: Any, fast: Any = tuple(FAST)) -> Any:
    """Runs a test for each name; those that are not in ``fast`` are slow."""
    marks = [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]
    return pytest.mark.parametrize("name", marks)
