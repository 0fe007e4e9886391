"""Converted parameters against the libraries they come from: outputs, carries, gradients, round trips, errors."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from dlcore.layers.convert import libraries
from dlcore.layers.recurrent.cells import GRUCell, IdentityRNNCell, LSTMCell, RNNCell
from dlcore.layers.recurrent.deep import DeepRecurrent
from dlcore.layers.recurrent.layer import Bidirectional, Recurrent

BATCH, TIME, INPUTS, HIDDEN = 4, 6, 3, 5
LENGTHS = np.array([4, 6, 1, 5])

RNN, RELU, LSTM = RNNCell(HIDDEN), RNNCell(HIDDEN, activation=nn.relu), LSTMCell(HIDDEN)
BEFORE, AFTER = GRUCell(HIDDEN), GRUCell(HIDDEN, reset="after")
CELLS = {"rnn": RNN, "relu": RELU, "lstm": LSTM, "gru before": BEFORE, "gru after": AFTER}

close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


def random_inputs(seed=0):
    return np.random.default_rng(seed).normal(size=(BATCH, TIME, INPUTS)).astype(np.float32)


def randomized(arrays, seed=0, scale=0.5):
    """Normally distributed arrays of the same structure and shapes, also for biases."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda a: random.normal(scale=scale, size=np.shape(a)).astype(np.float32), arrays)


def our_params(cell, layer=None, seed=0):
    layer = Recurrent(cell) if layer is None else layer
    shapes = jax.eval_shape(layer.init, jax.random.key(0), random_inputs())
    return randomized(shapes["params"], seed)


@functools.partial(jax.jit, static_argnums=0)
def run(cell, params, inputs):
    return Recurrent(cell).apply({"params": {"cell": params}}, inputs)


def peer(name):
    return pytest.importorskip(name, reason=f"the peer {name} is not installed (extra `peers`)")


def assert_equal_trees(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


# torch


def torch_module(name, layers=1, bidirectional=False, bias=True):
    torch = peer("torch")
    torch.manual_seed(layers + 10 * bidirectional)
    kind, options = {
        "rnn": (torch.nn.RNN, {}),
        "relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
        "lstm": (torch.nn.LSTM, {}),
        "gru after": (torch.nn.GRU, {}),
    }[name]
    return kind(INPUTS, HIDDEN, layers, bias=bias, batch_first=True, bidirectional=bidirectional, **options)


def run_torch(module, inputs, lengths=None):
    """Outputs ``[B, T, H]``, and the states ``[layers * directions, B, H]``: h, or c and h."""
    torch = peer("torch")
    inputs = torch.as_tensor(inputs)
    if lengths is None:
        outputs, state = module(inputs)
    else:
        utils = torch.nn.utils.rnn
        packed = utils.pack_padded_sequence(inputs, torch.as_tensor(lengths), True, enforce_sorted=False)
        outputs, state = module(packed)
        outputs, _ = utils.pad_packed_sequence(outputs, batch_first=True, total_length=TIME)
    return outputs, state[::-1] if isinstance(state, tuple) else (state,)


def layer_of(cell, layers, bidirectional):
    if layers > 1:
        return DeepRecurrent(cell, layers, bidirectional=bidirectional)
    return Bidirectional(cell, cell.clone()) if bidirectional else Recurrent(cell)


def run_layer(layer, params, inputs, lengths):
    return layer.apply({"params": params}, inputs, lengths)


def torchs_order(carry, layers, bidirectional):
    """Our carry as torch's states: the parts of the state, each with layers and directions as its first dimension."""
    directions = carry if bidirectional else (carry,)
    parts = zip(*(jax.tree.leaves(direction) for direction in directions), strict=True)
    stacked = (np.stack(part, axis=-3) for part in parts)
    return [part.reshape(layers * len(directions), BATCH, HIDDEN) for part in stacked]


CASES = [
    (name, layers, bias, bidirectional)
    for name in ("rnn", "relu", "lstm", "gru after")
    for layers, bias in ((1, True), (2, False), (3, True))
    for bidirectional in (False, True)
]
# The default run has every cell, depth and direction once.
FAST = [
    ("rnn", 3, True, False),
    ("relu", 1, True, False),
    ("lstm", 2, False, True),
    ("gru after", 1, True, True),
]


def fast_and_slow(cases, fast):
    return [case if case in fast else pytest.param(*case, marks=pytest.mark.slow) for case in cases]


@pytest.mark.parametrize(("name", "layers", "bias", "bidirectional"), fast_and_slow(CASES, FAST))
def test_layers_from_torch_equal_torchs(name, layers, bias, bidirectional):
    module, inputs = torch_module(name, layers, bidirectional, bias), random_inputs(layers)
    cell = CELLS[name].clone(use_bias=bias)
    layer, params = layer_of(cell, layers, bidirectional), libraries.from_torch(module.state_dict(), cell)
    carry, outputs = jax.jit(functools.partial(run_layer, layer))(params, inputs, LENGTHS)
    expected, state = run_torch(module, inputs, LENGTHS)
    close(outputs, expected.detach())
    for got, part in zip(torchs_order(carry, layers, bidirectional), state, strict=True):
        close(got, part.detach())


INVERSE_CASES = [
    (name, layers, bidirectional)
    for name in ("rnn", "lstm", "gru after")
    for layers in (1, 3)
    for bidirectional in (False, True)
]


@pytest.mark.parametrize(
    ("name", "layers", "bidirectional"),
    fast_and_slow(INVERSE_CASES, [("lstm", 3, True), ("gru after", 1, False)]),
)
def test_torch_computes_the_same_with_our_parameters(name, layers, bidirectional):
    torch = peer("torch")
    module, inputs = torch_module(name, layers, bidirectional), random_inputs()
    layer = layer_of(CELLS[name], layers, bidirectional)
    params = our_params(CELLS[name], layer)
    tensors = {key: torch.tensor(array) for key, array in libraries.to_torch(params, CELLS[name]).items()}
    module.load_state_dict(tensors)
    _, outputs = jax.jit(functools.partial(run_layer, layer))(params, inputs, LENGTHS)
    close(outputs, run_torch(module, inputs, LENGTHS)[0].detach())
    assert_equal_trees(libraries.from_torch(tensors, CELLS[name]), params)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru after", "rnn", "lstm"])
def test_gradients_equal_torchs(name):
    torch = peer("torch")
    cell, layer, inputs = CELLS[name], layer_of(CELLS[name], 2, True), random_inputs()
    module, weights = torch_module(name, 2, True), random_inputs(1)[..., :1]
    params = libraries.from_torch(module.state_dict(), cell)

    def loss(params, inputs):
        return (weights * run_layer(layer, params, inputs, LENGTHS)[1] ** 2).sum()

    gradients, by_inputs = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, inputs)
    theirs = torch.tensor(inputs, requires_grad=True)
    (torch.tensor(weights) * run_torch(module, theirs, LENGTHS)[0] ** 2).sum().backward()
    close(by_inputs, theirs.grad)
    converted = libraries.to_torch(gradients, cell)
    for key, parameter in module.named_parameters():
        if "bias_hh" not in key:
            close(converted[key], parameter.grad, err_msg=key)
        elif name == "gru after":
            # The candidate's second bias exists in dlcore, too. The gradient of added biases is in bias_ih.
            close(converted[key][2 * HIDDEN :], parameter.grad[2 * HIDDEN :], err_msg=key)


def test_a_round_trip_through_dlcore_is_exact_if_the_second_bias_is_zero():
    for name in ("rnn", "lstm", "gru after"):
        state_dict = torch_module(name, 3, True).state_dict()
        for key, tensor in state_dict.items():
            if "bias_hh" in key:
                tensor[: 2 * HIDDEN if name == "gru after" else None] = 0
        assert_equal_trees(
            libraries.to_torch(libraries.from_torch(state_dict, CELLS[name]), CELLS[name]),
            {key: tensor.numpy() for key, tensor in state_dict.items()},
        )


def test_torchs_parameters_need_no_detaching_and_take_the_cells_dtype():
    module = torch_module("lstm")
    params = libraries.from_torch(dict(module.named_parameters()), LSTM.clone(param_dtype=jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    assert set(libraries.to_torch(params, LSTM)) == set(module.state_dict())
    assert all(array.flags.c_contiguous for array in libraries.to_torch(params, LSTM).values())


# flax


FLAX = {
    "rnn": (RNN, nn.SimpleCell(HIDDEN)),
    "relu": (RELU, nn.SimpleCell(HIDDEN, activation_fn=nn.relu)),
    "lstm": (LSTM, nn.LSTMCell(HIDDEN)),
    "optimized lstm": (LSTM, nn.OptimizedLSTMCell(HIDDEN)),
    "gru": (AFTER, nn.GRUCell(HIDDEN)),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("relu", "lstm") else name for name in FLAX],
)
def test_cells_equal_flaxs_both_ways(name):
    cell, theirs = FLAX[name]
    inputs, layer = random_inputs(), nn.RNN(theirs, return_carry=True)
    variables = jax.eval_shape(layer.init, jax.random.key(0), inputs)
    flax_params = randomized(variables["params"]["cell"])
    apply = jax.jit(lambda params: layer.apply({"params": {"cell": params}}, inputs))
    jax.tree.map(close, run(cell, libraries.from_flax(flax_params, cell), inputs), apply(flax_params))
    params = our_params(cell, seed=1)["cell"]
    jax.tree.map(close, run(cell, params, inputs), apply(libraries.to_flax(params, cell)))
    assert_equal_trees(libraries.from_flax(libraries.to_flax(params, cell), cell), params)
    assert_equal_trees(libraries.to_flax(libraries.from_flax(flax_params, cell), cell), flax_params)


# haiku


def haiku_core(kind, **options):
    hk = peer("haiku")
    core_of = {"relu": hk.VanillaRNN, "lstm": hk.LSTM, "gru before": hk.GRU}[kind]

    def unroll(inputs):
        core = core_of(HIDDEN, **options)
        return hk.dynamic_unroll(core, inputs, core.initial_state(BATCH), time_major=False)

    network = hk.without_apply_rng(hk.transform(unroll))
    params = randomized(jax.eval_shape(network.init, jax.random.key(0), random_inputs()))
    return params, jax.jit(network.apply)


@pytest.mark.parametrize("name", ["relu", "lstm", "gru before"])
def test_cells_equal_haikus_both_ways(name):
    cell, inputs = CELLS[name], random_inputs()
    haiku_params, apply = haiku_core(name)

    def check(params, haiku_params):
        carry, outputs = run(cell, params, inputs)
        expected, state = apply(haiku_params, inputs)
        close(outputs, expected)
        jax.tree.map(close, carry, (state.cell, state.hidden) if name == "lstm" else state)

    check(libraries.from_haiku(haiku_params, cell), haiku_params)
    params = our_params(cell, seed=1)["cell"]
    check(params, libraries.to_haiku(params, cell))
    back = libraries.from_haiku(libraries.to_haiku(params, cell), cell)
    if name == "lstm":  # the forget bias becomes b - 1 and b again, with rounding
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=2e-7), back, params)
    else:
        assert_equal_trees(back, params)


def test_haikus_round_trip_is_exact_except_for_added_biases():
    haiku_params, _ = haiku_core("gru before")
    assert_equal_trees(libraries.to_haiku(libraries.from_haiku(haiku_params, BEFORE), BEFORE), haiku_params)
    haiku_params, _ = haiku_core("relu")
    haiku_params["vanilla_rnn/linear_1"]["b"] = np.zeros(HIDDEN, np.float32)
    assert_equal_trees(libraries.to_haiku(libraries.from_haiku(haiku_params, RELU), RELU), haiku_params)
    haiku_params, _ = haiku_core("lstm")  # adding and subtracting 1 is exact for halves
    haiku_params = jax.tree.map(lambda array: np.round(2 * array) / 2, haiku_params)
    assert_equal_trees(libraries.to_haiku(libraries.from_haiku(haiku_params, LSTM), LSTM), haiku_params)


def test_haikus_single_bias_and_a_core_within_a_network():
    haiku_params, apply = haiku_core("relu", double_bias=False, name="core")
    network = {f"net/{module}": leaves for module, leaves in haiku_params.items()} | {
        "net/mlp": {"w": np.ones(3)}
    }
    params = libraries.from_haiku(network, RELU, name="net/core")
    close(run(RELU, params, random_inputs())[1], apply(haiku_params, random_inputs())[0])
    assert set(libraries.to_haiku(params, RELU, name="net/core")) == {"net/core/linear", "net/core/linear_1"}


# keras


def keras_layer(name, bias):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = peer("keras")
    kind, options = {
        "rnn": (keras.layers.SimpleRNN, {}),
        "relu": (keras.layers.SimpleRNN, {"activation": "relu"}),
        "lstm": (keras.layers.LSTM, {}),
        "gru before": (keras.layers.GRU, {"reset_after": False}),
        "gru after": (keras.layers.GRU, {"reset_after": True}),
    }[name]
    layer = kind(HIDDEN, use_bias=bias, return_sequences=True, return_state=True, **options)
    layer.build((BATCH, TIME, INPUTS))
    layer.set_weights(randomized(layer.get_weights()))
    return layer


KERAS_CASES = [(name, bias) for name in CELLS for bias in (True, False)]


@pytest.mark.parametrize(
    ("name", "bias"), fast_and_slow(KERAS_CASES, [("rnn", False), ("lstm", True), ("gru after", True)])
)
def test_cells_equal_keras_both_ways(name, bias):
    layer, cell, inputs = keras_layer(name, bias), CELLS[name].clone(use_bias=bias), random_inputs()

    def check(params):
        carry, outputs = run(cell, params, inputs)
        expected, *state = layer(inputs)
        close(outputs, expected)
        for got, part in zip(jax.tree.leaves(carry), state[::-1], strict=True):
            close(got, part)

    check(libraries.from_keras(layer.get_weights(), cell))
    params = our_params(cell, seed=1)["cell"]
    weights = libraries.to_keras(params, cell)
    layer.set_weights(weights)
    check(params)
    assert_equal_trees(libraries.from_keras(weights, cell), params)
    assert_equal_trees(libraries.to_keras(libraries.from_keras(weights, cell), cell), weights)


# without a peer


@pytest.mark.parametrize("cell", [RNN, LSTM, AFTER])
def test_a_cell_without_biases_has_zeros_where_flax_always_has_them(cell):
    cell = cell.clone(use_bias=False)
    params = our_params(cell)["cell"]
    theirs = libraries.to_flax(params, cell)
    assert all(not array.any() for path, array in flatten_dict(theirs).items() if "bias" in path)
    assert_equal_trees(libraries.from_flax(theirs, cell), params)


@pytest.mark.parametrize("cell", [RELU, LSTM, BEFORE])
def test_a_cell_without_biases_has_zeros_where_haiku_always_has_them(cell):
    cell = cell.clone(use_bias=False)
    params = our_params(cell)["cell"]
    assert_equal_trees(libraries.from_haiku(libraries.to_haiku(params, cell), cell), params)


@pytest.mark.parametrize("cell", [RNN, LSTM, AFTER])
def test_torchs_cells_are_those_of_one_layer_under_other_names(cell):
    params = our_params(cell)
    layer, alone = libraries.to_torch(params, cell), libraries.to_torch(params["cell"], cell)
    assert_equal_trees({f"{name}_l0": array for name, array in alone.items()}, layer)
    assert_equal_trees(libraries.from_torch(alone, cell), params["cell"])


def test_a_deep_network_of_one_layer_converts_as_its_layer():
    params = our_params(LSTM, DeepRecurrent(LSTM, layers=1))
    assert_equal_trees(libraries.to_torch(params, LSTM), libraries.to_torch(params["first"], LSTM))


def test_the_settings_of_dropout_and_forget_bias_change_nothing():
    cell = LSTM.clone(recurrent_dropout=0.5, forget_bias=3.0)
    params = our_params(LSTM)
    assert_equal_trees(libraries.to_torch(params, cell), libraries.to_torch(params, LSTM))


ONE_LAYER = {"weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5), "bias_ih_l0": (20,), "bias_hh_l0": (20,)}


def arrays_of(shapes):
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def test_from_torch_refuses_an_upper_layer_of_another_width():
    upper = {name.replace("l0", "l1"): shape for name, shape in ONE_LAYER.items()}
    with pytest.raises(ValueError, match=r"weight_ih_l1 of shape \(20, 3\), expected \(20, 5\)"):
        libraries.from_torch(arrays_of(ONE_LAYER | upper), LSTM)


def test_biases_are_refused_for_a_cell_without_biases():
    cell = LSTM.clone(use_bias=False)
    with pytest.raises(ValueError, match=r"also bias_ih_l0, bias_hh_l0, .*use_bias=False"):
        libraries.from_torch(arrays_of(ONE_LAYER), cell)
    biased = libraries.to_flax(our_params(LSTM)["cell"], LSTM)
    with pytest.raises(
        ValueError, match=r"params: got biases other than 0, expected none .*; set use_bias=True"
    ):
        libraries.from_flax(biased, cell)
    with pytest.raises(ValueError, match=r"weights: got 3 arrays, expected 2 \(kernel, recurrent_kernel\)"):
        libraries.from_keras([np.ones((3, 20)), np.ones((5, 20)), np.ones(20)], cell)


def test_keras_reset_must_agree():
    weights = [np.ones((3, 15)), np.ones((5, 15)), np.ones((2, 15))]
    with pytest.raises(
        ValueError, match=r'bias of shape \(2, 15\), expected \(15,\) for GRUCell.*reset="before"'
    ):
        libraries.from_keras(weights, BEFORE)
    with pytest.raises(
        ValueError, match=r'bias of shape \(15,\), expected \(2, 15\) for GRUCell.*reset="after"'
    ):
        libraries.from_keras([*weights[:2], np.ones(15)], AFTER)


def test_parameters_of_another_layer_are_refused():
    stack = our_params(LSTM, DeepRecurrent(LSTM, layers=2, norm="layer"))
    with pytest.raises(ValueError, match=r"params: got also upper/norm/"):
        libraries.to_torch(stack, LSTM)
    with pytest.raises(ValueError, match=r"params: got no cell/input_kernel, .* and also bias"):
        libraries.to_torch({"bias": np.ones(20)}, LSTM)
    with pytest.raises(ValueError, match=r"params: got no input_kernel, .* and also cell"):
        libraries.to_keras(our_params(LSTM), LSTM)
    summed = our_params(LSTM, DeepRecurrent(LSTM, 2, bidirectional=True, merge="sum"))
    with pytest.raises(
        ValueError, match=r"upper/1/forward/input_kernel of shape \(5, 20\), expected \(10, 20\)"
    ):
        libraries.to_torch(summed, LSTM)
    with pytest.raises(ValueError, match=r"recurrent_kernel of shape \(5, 20\), expected \(4, 16\)"):
        libraries.to_flax(our_params(LSTM)["cell"] | {"input_kernel": np.ones((3, 16))}, LSTMCell(4))


def test_a_missing_haiku_core_is_named():
    with pytest.raises(ValueError, match=r"params: got no net/lstm/linear/w, net/lstm/linear/b"):
        libraries.from_haiku(
            {"lstm/linear": {"w": np.ones((8, 20)), "b": np.ones(20)}}, LSTM, name="net/lstm"
        )


def test_the_identity_rnn_is_a_plain_cell():
    params = our_params(RELU)["cell"]
    assert_equal_trees(libraries.to_flax(params, IdentityRNNCell(HIDDEN)), libraries.to_flax(params, RELU))
