"""One small model in every library, and what must be true of each: outputs = readout(dropout(norm(linear(x))))."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dlcore as dl
from dlcore.training.precision import with_precision
from dlcore.utils.jaxprs import nested_programs

MOMENTUM, EPSILON, RATE = 0.9, 1e-5, 0.5


def arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(5)
    inputs = generator.normal(size=(32, 8)).astype(np.float32)
    return {"inputs": inputs, "targets": inputs[:, :2] - 1}


DATA: dict[str, Any] = {
    "loss": dl.losses.regression,
    "train_data": dl.data.ShuffledBatches(arrays(), 8, seed=0),
    "eval_data": dl.data.PaddedBatches(arrays(), 16),
    "best": "loss",
    "lower_is_better": True,
}
BATCH = dict(DATA["train_data"][0])


def flax() -> dl.Experiment:
    from flax import linen as nn

    class Model(nn.Module):
        @nn.compact
        def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
            hidden = nn.Dense(8, name="linear")(inputs)
            norm = nn.BatchNorm(
                use_running_average=not train, momentum=MOMENTUM, epsilon=EPSILON, name="norm"
            )
            hidden = nn.Dropout(RATE, deterministic=not train)(norm(hidden))
            return nn.Dense(2, name="readout")(hidden)

    return dl.Experiment.from_flax(Model(), **DATA)


def nnx() -> dl.Experiment:
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs):
            self.layers = nnx.List([nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)])
            self.norm = nnx.BatchNorm(8, momentum=MOMENTUM, epsilon=EPSILON, rngs=rngs)
            self.dropout = nnx.Dropout(RATE, rngs=rngs)

        def __call__(self, inputs: jax.Array) -> jax.Array:
            linear, readout = self.layers
            return readout(self.dropout(self.norm(linear(inputs))))

    return dl.Experiment.from_nnx(Model, **DATA)


def equinox() -> dl.Experiment:
    import equinox as eqx

    class Model(eqx.Module):
        layers: list[eqx.nn.Linear]
        norm: eqx.nn.BatchNorm
        dropout: eqx.nn.Dropout

        def __init__(self, *, key: jax.Array):
            first, second = jax.random.split(key)
            self.layers = [eqx.nn.Linear(8, 8, key=first), eqx.nn.Linear(8, 2, key=second)]
            self.norm = eqx.nn.BatchNorm(8, "batch", EPSILON, momentum=MOMENTUM, mode="batch")
            self.dropout = eqx.nn.Dropout(RATE)

        def __call__(self, inputs: jax.Array, state: Any, *, key: jax.Array) -> tuple[jax.Array, Any]:
            linear, readout = self.layers
            hidden, state = self.norm(linear(inputs), state)
            return readout(self.dropout(hidden, key=key)), state

    return dl.Experiment.from_equinox(eqx.nn.make_with_state(Model), **DATA)


def functions() -> dl.Experiment:
    import haiku as hk

    def network(inputs: jax.Array, train: bool) -> jax.Array:
        hidden = hk.BatchNorm(True, True, MOMENTUM, EPSILON, name="norm")(hk.Linear(8)(inputs), train)
        if train:
            hidden = hk.dropout(hk.next_rng_key(), RATE, hidden)
        return hk.Linear(2, name="readout")(hidden)

    model = hk.transform_with_state(network)
    return dl.Experiment.from_functions(
        lambda rng, batch: model.init(rng, batch["inputs"], True),
        lambda params, state, batch, rng, train: model.apply(params, state, rng, batch["inputs"], train),
        **DATA,
    )


def product_types(experiment: dl.Experiment, precision: str) -> list[str]:
    """The types of the operands of the two layers' products in training; what training keeps has float32."""
    key = jax.random.key(0)
    params, state = jax.eval_shape(experiment.init, key, BATCH)
    loss = functools.partial(with_precision(experiment.loss, precision), train=True)
    traced, returned = jax.make_jaxpr(loss, return_shape=True)(params, state, BATCH, key)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(returned)} <= {"float32", "int32"}
    return list(operand_types(traced.jaxpr))


def operand_types(program: Any) -> Iterator[str]:
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            yield from (str(operand.aval.dtype) for operand in equation.invars)
        for inner in nested_programs(equation.params):
            yield from operand_types(inner)


def reference(weights: dict[str, Any]) -> np.ndarray:
    """The model's outputs in evaluation, in float64."""
    w = {name: np.asarray(array, float) for name, array in weights.items()}
    hidden = BATCH["inputs"] @ w["kernel"] + w["bias"]
    hidden = (hidden - w["mean"]) / np.sqrt(w["var"] + EPSILON) * w["scale"] + w["shift"]
    return hidden @ w["readout_kernel"] + w["readout_bias"]


def check_behavior(experiment: dl.Experiment, read: Any, share: float) -> None:
    """The model state, dropout and the evaluation, against NumPy.

    Args:
        experiment: the model.
        read: ``read(params, model_state)`` returns the weights by the names in `reference`.
        share: the share of the first batch's mean in the mean that the next evaluation uses.
    """

    @jax.jit
    def run(keys: jax.Array) -> Any:
        params, state = jax.lax.map(lambda key: experiment.init(key, BATCH), keys[1:])
        first = jax.tree.map(lambda leaf: leaf[0], (params, state))
        train, (states, _) = jax.lax.map(lambda key: experiment.loss(*first, BATCH, key, True), keys)
        moved = jax.tree.map(lambda leaf: leaf[0], states)
        evaluate = lambda key: experiment.loss(first[0], moved, BATCH, key, False)
        evaluated, (kept, _) = jax.lax.map(evaluate, keys[1:])
        return params, first, train, states, evaluated, kept, experiment.predict(*first, BATCH)

    first, second = jax.random.split(jax.random.key(0), 2)
    params, model, train, states, evaluated, kept, outputs = jax.device_get(
        run(jnp.stack([first, first, second]))
    )
    assert any(not np.array_equal(*leaf) for leaf in jax.tree.leaves(params))  # another key, another model
    assert train[0] == train[1] != train[2]  # another key drops other units
    assert evaluated[0] == evaluated[1]
    for leaf, same in zip(jax.tree.leaves(states), jax.tree.leaves(kept), strict=True):
        # The statistics do not depend on dropout, and an evaluation changes none.
        assert len({part.tobytes() for part in (*leaf, *same)}) == 1

    (params, state), moved = model, jax.tree.map(lambda leaf: leaf[0], states)
    np.testing.assert_allclose(outputs, reference(read(params, state)), rtol=1e-4, atol=1e-5)
    moved = read(params, moved)
    mean = (BATCH["inputs"] @ moved["kernel"] + moved["bias"]).mean(0)
    np.testing.assert_allclose(moved["mean"], share * mean, rtol=1e-4, atol=1e-5)
    error = ((reference(moved) - BATCH["targets"]) ** 2).mean()
    np.testing.assert_allclose(evaluated[0], error, rtol=1e-4)
