"""One training step: against the same update written by hand, and each of its options against the plain step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.config import TrainConfig
from dlcore.training.engine import Engine
from dlcore.training.evaluation import read_sums
from dlcore.training.metrics import Average
from dlcore.training.state import NONE_BAD
from dlcore.training.step import (
    accumulate_gradients,
    add_sums,
    make_eval_step,
    make_gradient,
    make_train_step,
    moving_average,
    zero_nonfinite,
)
from dlcore.utils.rng import stream_key
from tests.helpers import plain_toy, sequence_toy
from tests.helpers.bits import assert_close
from tests.helpers.plain_toy import make_engine


def start(engine):
    """The jitted step and a state at step 0."""
    step = make_train_step(engine.experiment, engine.optimizer, engine.config.seed, engine.config.train)
    return jax.jit(step), plain_toy.make_state(engine)


def train(engine, steps):
    step, state = start(engine)
    for index in range(steps):
        state = step(state, engine.experiment.train_data[index])
    assert int(state.bad_step) == NONE_BAD
    return state


def numpy_gradient(params, batch):
    """The loss and its gradient in float64."""
    arrays = {name: np.asarray(leaf, np.float64) for name, leaf in (*params.items(), *batch.items())}
    errors = arrays["inputs"] @ arrays["weights"] + arrays["bias"] - arrays["targets"]
    errors *= (np.arange(plain_toy.STEPS) < arrays["lengths"][:, None])[..., None]
    count = arrays["lengths"].sum() * plain_toy.OUTPUTS
    slope = 2 * errors / count
    gradient = {"bias": slope.sum((0, 1)), "weights": np.einsum("bti,bto->io", arrays["inputs"], slope)}
    return (errors**2).sum() / count, gradient


def test_a_step_is_gradient_clipping_and_update():
    engine = make_engine()
    step, state = start(engine)
    batch = engine.experiment.train_data[0]
    after = step(state, batch)
    loss, gradient = numpy_gradient(state.params, batch)
    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in gradient.values()))
    assert norm > 0.05  # the toy's threshold
    clipped = {name: leaf * 0.05 / norm for name, leaf in gradient.items()}
    for name, leaf in clipped.items():
        np.testing.assert_allclose(after.params[name], state.params[name] - 0.1 * leaf, rtol=1e-5, atol=1e-7)
    measured = read_sums(after.metrics)
    assert int(after.step) == 1
    assert measured == {
        "loss": pytest.approx(loss, rel=1e-5),
        "gradient_norm": pytest.approx(norm, rel=1e-5),
        "gradient_norm_clipped": pytest.approx(0.05, rel=1e-5),
        "clipped_fraction": 1.0,
    }


def test_metrics_of_steps_add_up():
    engine = make_engine()
    step, state = start(engine)
    total, count = 0.0, 0
    for index in range(3):
        batch = engine.experiment.train_data[index]
        frames = batch["lengths"].sum() * plain_toy.OUTPUTS
        total, count = total + numpy_gradient(state.params, batch)[0] * frames, count + frames
        state = step(state, batch)
    assert float(state.metrics["loss"].weight) == count
    assert read_sums(state.metrics)["loss"] == pytest.approx(total / count, rel=1e-5)


def test_single_labels_count_after_2_to_the_24():
    """A float32 sum alone stays at 2^24 = 16777216 if ones are added to it."""
    add = jax.jit(add_sums)
    sums, remainders = {"accuracy": Average(jnp.float32(2**24), jnp.float32(2**24))}, jnp.zeros(2)
    one = {"accuracy": Average(jnp.float32(1), jnp.float32(1))}
    for _ in range(1000):
        sums, remainders = add(sums, remainders, one)
    assert float(sums["accuracy"].weight) == float(sums["accuracy"].total) == 2**24 + 1000


def test_sums_of_any_shape_and_type_are_added_as_in_float64():
    generator = np.random.default_rng(0)
    addends = generator.uniform(0, 1, (2000, 5)).astype(np.float32)
    addends[0] += 2**20
    sums, remainders = (
        {"a": jnp.zeros((2, 2)), "b": jnp.zeros((), jnp.int32), "c": jnp.zeros(())},
        jnp.zeros(5),
    )

    def add(carry, row):
        addend = {"a": row[:4].reshape(2, 2), "b": jnp.int32(3), "c": row[4]}
        return add_sums(*carry, addend), None

    (sums, _), _ = jax.jit(lambda: jax.lax.scan(add, (sums, remainders), addends))()
    expected = np.float64(addends).sum(axis=0)
    np.testing.assert_allclose(np.append(np.ravel(sums["a"]), sums["c"]), expected, rtol=2**-23)
    assert int(sums["b"]) == 6000


def test_an_infinite_sum_stays_infinite():
    sums, remainders = {"a": jnp.zeros(())}, jnp.zeros(1)
    for addend in (jnp.inf, 1.0, 2.0):
        sums, remainders = add_sums(sums, remainders, {"a": jnp.float32(addend)})
    assert float(sums["a"]) == jnp.inf


def test_dropout_differs_from_step_to_step_and_the_average_follows_the_parameters():
    engine = make_engine(dropout=0.5, ema_decay=0.8)
    step, state = start(engine)
    batch = engine.experiment.train_data[0]
    sums = [float(step(state.replace(step=np.int32(n)), batch).metrics["loss"].total) for n in (0, 0, 1)]
    assert sums[0] == sums[1] != sums[2]
    key = stream_key(0, "dropout", 0)
    _, (_, metrics) = engine.experiment.loss(state.params, state.model_state, batch, key, True)
    assert float(metrics["loss"].total) == pytest.approx(sums[0], rel=1e-5)

    expected = state.params
    for index in range(3):
        state = step(state, engine.experiment.train_data[index])
        decay = min(0.8, (1 + index) / (10 + index))
        expected = jax.tree.map(lambda a, w, d=decay: d * a + (1 - d) * np.asarray(w), expected, state.params)
    assert_close(state.average, expected, rtol=1e-5)
    assert state.evaluated_params is state.average


def test_the_model_state_moves_in_training_and_not_in_evaluation():
    engine = make_engine()
    step, state = start(engine)
    batch = engine.experiment.train_data[0]
    moved = step(state, batch).model_state["mean"]
    assert float(moved) == pytest.approx(0.1 * batch["inputs"].mean(), rel=1e-5)
    evaluate = jax.jit(make_eval_step(engine.experiment, engine.config.train))
    metrics = evaluate(state.params, state.model_state, batch)
    assert float(metrics["loss"].value()) == pytest.approx(numpy_gradient(state.params, batch)[0], rel=1e-5)


@pytest.mark.parametrize("micro_batches", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_micro_batches_equal_one_batch_with_ragged_lengths_and_clipping(micro_batches):
    """Rows are weighted by their lengths, some of which are 0, and clipping gets the mean gradient once."""
    one, several = (train(make_engine(micro_batches=parts), 3) for parts in (1, micro_batches))
    assert float(one.metrics["clipped_fraction"].value()) == 1
    assert_close(one.params, several.params)
    assert_close(one.metrics, several.metrics, rtol=1e-5)
    assert_close(one.opt_state, several.opt_state)


def test_micro_batches_without_a_weight_have_the_same_weight_and_hold_every_kth_row():
    def gradient(params, model_state, batch, rng):
        return {"w": batch["x"][0]}, batch["x"][1], model_state + 1, {}

    rows = jnp.array([1.0, 2.0, 3.0, 5.0])
    grads, loss, state, _ = accumulate_gradients(gradient, 2)(
        {}, jnp.zeros(()), {"x": rows}, jax.random.key(0)
    )
    assert (float(grads["w"]), float(loss), float(state)) == (1.5, 4.0, 2.0)  # means of (1, 2) and of (3, 5)


def test_batches_without_a_valid_frame_have_the_gradient_0():
    engine = make_engine()
    gradient = accumulate_gradients(make_gradient(engine.experiment.loss, engine.config.train), 2)
    batch = {**engine.experiment.train_data[0], "lengths": np.zeros(8, np.int32)}
    params = {"bias": jnp.ones(4), "weights": jnp.ones((2, 4))}
    grads, loss, _, _ = jax.jit(gradient)(params, {"mean": jnp.zeros(())}, batch, jax.random.key(0))
    assert float(loss) == 0
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(grads))


def test_each_micro_batch_draws_its_own_dropout():
    def gradient(params, model_state, batch, rng):
        draw = jax.random.uniform(rng)
        return {"w": draw}, draw, jnp.stack([model_state[1], draw]), {}

    batch = {"x": jnp.zeros(2)}
    _, _, draws, _ = accumulate_gradients(gradient, 2)({}, jnp.zeros(2), batch, jax.random.key(0))
    assert draws[0] != draws[1]


def test_micro_batches_that_do_not_divide_the_rows_are_refused():
    with pytest.raises(ValueError, match="micro_batches: got 3, expected a divisor of 8 rows"):
        accumulate_gradients(lambda *_: None, 3)({}, {}, {"x": jnp.zeros(8)}, jax.random.key(0))


def test_remat_computes_the_forward_pass_again_and_the_same_gradient():
    gradients = [make_gradient(plain_toy.make_loss(0.2), TrainConfig(remat=remat)) for remat in (False, True)]
    params = {"bias": jnp.ones(4), "weights": jnp.ones((2, 4))}
    batch = make_engine().experiment.train_data[0]
    arguments = params, {"mean": jnp.zeros(())}, batch, jax.random.key(0)
    assert_close(*(jax.jit(gradient)(*arguments) for gradient in gradients))
    primitives = [
        {equation.primitive.name for equation in jax.make_jaxpr(gradient)(*arguments).eqns}
        for gradient in gradients
    ]
    assert ["remat2" in names for names in primitives] == [False, True]


def test_the_moving_average_follows_its_recurrence():
    average, expected = {"w": jnp.float32(1.0)}, 1.0
    for step, value in enumerate([3.0, -2.0, 5.0, 0.5]):
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        average = moving_average(average, {"w": jnp.float32(value)}, 0.2, jnp.int32(step))
        assert float(average["w"]) == pytest.approx(expected, rel=1e-6)
    assert moving_average(None, {"w": jnp.float32(1)}, None, jnp.int32(0)) is None


@pytest.mark.slow
def test_bfloat16_trains_with_a_float32_state():
    states = [train(make_engine(precision=precision), 3) for precision in ("float32", "bfloat16")]
    for leaf in jax.tree.leaves(states[1]):
        assert leaf.dtype in (jnp.float32, jnp.int32)
    losses = [float(state.metrics["loss"].value()) for state in states]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_only_entries_that_are_not_finite_become_0():
    grads = {"a": jnp.array([1.0, jnp.nan, -jnp.inf]), "b": jnp.array(2.0)}
    zeroed = zero_nonfinite(grads)
    np.testing.assert_array_equal(zeroed["a"], [1, 0, 0])
    assert float(zeroed["b"]) == 2


def nan_batch(engine):
    batch = engine.experiment.train_data[0]
    return {**batch, "inputs": batch["inputs"] * np.float32(np.nan)}


def test_a_state_stops_before_a_bad_step_and_does_not_move_again():
    engine = make_engine()
    step, first = start(engine)
    state = step(first, engine.experiment.train_data[0])
    stopped = step(state, nan_batch(engine))
    assert int(stopped.bad_step) == int(stopped.step) == 1
    again = step(stopped, engine.experiment.train_data[1])
    for after in (stopped, again):
        jax.tree.map(np.testing.assert_array_equal, state, after.replace(bad_step=state.bad_step))
    assert int(again.bad_step) == 1


def test_skip_leaves_a_bad_step_out_and_counts_it():
    engine = make_engine(on_nan="skip")
    step, first = start(engine)
    after = step(first, nan_batch(engine))
    assert (int(after.step), int(after.bad_step)) == (1, NONE_BAD)
    for name in ("params", "opt_state", "model_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(first, name), getattr(after, name))
    assert float(after.metrics["loss"].weight) == 0
    after = step(after, engine.experiment.train_data[1])
    assert int(after.step) == 2
    assert float(after.metrics["nonfinite_fraction"].value()) == 0.5
    assert not np.array_equal(after.params["weights"], first.params["weights"])


def steep_stepper(on_nan="stop", clip_norm=0.05):
    """``after(slope, **fields)``: the state after a step in which one weight has this gradient, besides the loss."""
    config = plain_toy.Config()
    config.train.on_nan, config.optimizer.clip_norm = on_nan, clip_norm
    toy = plain_toy.experiment(config)

    @jax.custom_vjp
    def hidden(weights, slope):
        return jnp.zeros(())

    hidden.defvjp(
        lambda weights, slope: (jnp.zeros(()), (weights, slope)),
        lambda kept, _: (jnp.zeros_like(kept[0]).at[1, 3].set(kept[1]), jnp.zeros(())),
    )

    def loss(params, model_state, batch, *rest):
        value, aux = toy.loss(params, model_state, batch, *rest)
        return value + hidden(params["weights"], batch["slope"][0]), aux

    data = [{**toy.train_data[0], "slope": np.zeros(8, np.float32)}]
    step, state = start(Engine(dataclasses.replace(toy, loss=loss, train_data=data), config))
    return lambda slope, **fields: step(state, {**data[0], "slope": np.full(8, slope, np.float32), **fields})


def test_zero_trains_with_the_finite_entries_of_the_gradient_and_counts_the_step():
    after = steep_stepper(on_nan="zero")
    without = after(0.0)
    assert float(without.metrics["nonfinite_fraction"].value()) == 0
    others = np.arange(8).reshape(2, 4) != 7
    for slope in (np.inf, np.nan):
        state = after(slope)
        assert int(state.step) == 1
        assert float(state.metrics["nonfinite_fraction"].value()) == 1
        assert np.isfinite(state.params["weights"]).all()
        expected = np.asarray(without.params["weights"])[others]
        np.testing.assert_allclose(np.asarray(state.params["weights"])[others], expected, rtol=1e-3)
    skipped = after(
        0.0, inputs=np.full((8, plain_toy.STEPS, 2), np.nan, np.float32)
    )  # the loss is not finite
    assert float(skipped.metrics["nonfinite_fraction"].value()) == 1
    assert not np.array_equal(without.params["weights"], skipped.params["weights"])
    assert not np.asarray(skipped.metrics["loss"].weight)


def test_the_clipped_gradient_decides_whether_a_step_is_finite():
    """A gradient of 1e25 would end as an infinite square in Adam's state, and no later step would move."""
    stopped = steep_stepper(clip_norm=None)(1e25)
    assert (int(stopped.step), int(stopped.bad_step)) == (0, 0)
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(stopped.opt_state))


@pytest.mark.slow
def test_a_huge_gradient_that_is_clipped_trains():
    clipped = steep_stepper(clip_norm=0.05)(1e25)
    assert int(clipped.step) == 1
    assert float(clipped.metrics["gradient_norm"].value()) == pytest.approx(1e25, rel=1e-5)
    assert float(clipped.metrics["gradient_norm_clipped"].value()) == pytest.approx(0.05, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [False, True])
def test_an_lstm_trains_alike_with_every_option(norm):
    """Micro-batches (without BatchNorm), several steps a call and remat give the same parameters."""

    def train_lstm(step_count=1, **settings):
        config = sequence_toy.Config(norm=norm, dropout=0.0)
        config.train = dataclasses.replace(config.train, steps_per_call=step_count, **settings)
        engine = Engine(sequence_toy.experiment(config), config)
        state = engine.initial_state()
        for first in range(0, 4, step_count):
            batch = engine.batch(range(first, first + step_count))
            state, _ = engine.program(batch, step_count).call(state, batch)
        return state

    one = train_lstm()
    options = [{"step_count": 4}, {"remat": True}]
    options += [] if norm else [{"micro_batches": 2}]
    for settings in options:
        several = train_lstm(**settings)
        assert_close(one.params, several.params, rtol=1e-5)
        assert_close(one.opt_state, several.opt_state, rtol=1e-5)


@pytest.mark.slow
def test_micro_batches_carry_batch_statistics():
    config = sequence_toy.Config(norm=True, dropout=0.5)
    means = []
    for parts in (1, 2):
        config.train.micro_batches = parts
        engine = Engine(sequence_toy.experiment(config), config)
        batch = engine.batch(range(1))
        state, _ = engine.program(batch, 1).call(engine.initial_state(), batch)
        means.append(np.asarray(state.model_state["batch_stats"]["BatchNorm_0"]["mean"]))
    assert not np.allclose(*means, rtol=1e-3)  # moved twice
