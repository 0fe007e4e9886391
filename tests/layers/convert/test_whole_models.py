"""Whole models: the outputs of torch's and flax's own, round trips, and errors that name what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

import dlcore as dl
from dlcore.layers.convert import model_from_flax, model_from_torch, model_to_flax, model_to_torch

BATCH, TIME, INPUTS, HIDDEN, CLASSES = 3, 8, 2, 4, 5


class Tagger(nn.Module):
    """Convolutions over time, recurrent layers of every kind, and a layer for the outputs."""

    dtype: str = "float32"

    @nn.compact
    def __call__(self, inputs, lengths=None, *, train=False):
        dtype = self.dtype
        maps = dl.Conv(6, (3,), padding=1, param_dtype=dtype, name="first")(inputs)
        maps = nn.relu(nn.BatchNorm(use_running_average=not train, param_dtype=dtype, name="norm")(maps))
        maps = dl.Conv(4, (2,), padding=(1,), groups=2, use_bias=False, param_dtype=dtype, flip=True)(maps)
        maps = nn.GroupNorm(2, epsilon=1e-5, param_dtype=dtype)(maps)
        lstm = dl.LSTMCell(HIDDEN, param_dtype=dtype)
        _, states = dl.DeepRecurrent(lstm, layers=2, bidirectional=True)(maps, lengths)
        grus = [dl.GRUCell(HIDDEN, reset="after", param_dtype=dtype) for _ in range(2)]
        _, states = dl.Bidirectional(*grus)(states, lengths)
        _, states = dl.Stateful(dl.Recurrent(dl.RNNCell(HIDDEN, param_dtype=dtype)))(states, lengths)
        states = nn.LayerNorm(epsilon=1e-5, param_dtype=dtype)(states)
        return nn.Dense(CLASSES, param_dtype=dtype, name="head")(states)


NAMES = {
    "encoder.0": "first",
    "encoder.1": "norm",
    "encoder.3": "Conv_0",
    "group": "GroupNorm_0",
    "lstm": "DeepRecurrent_0",
    "gru": "Bidirectional_0",
    "rnn": "Stateful_0",
    "layer": "LayerNorm_0",
    "head": "head",
}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
X = np.random.default_rng(0).normal(size=(BATCH, TIME, INPUTS))


def recurrent_shapes(name, inputs, layers, bidirectional):
    gates, shapes = GATES[name] * HIDDEN, {}
    for layer in range(layers):
        width = inputs if layer == 0 else HIDDEN * (1 + bidirectional)
        for suffix in (f"l{layer}", f"l{layer}_reverse")[: 1 + bidirectional]:
            shapes |= {
                f"{name}.weight_ih_{suffix}": (gates, width),
                f"{name}.weight_hh_{suffix}": (gates, HIDDEN),
                f"{name}.bias_ih_{suffix}": (gates,),
                f"{name}.bias_hh_{suffix}": (gates,),
            }
    return shapes


SHAPES = {
    "encoder.0.weight": (6, INPUTS, 3),
    "encoder.0.bias": (6,),
    **{f"encoder.1.{name}": (6,) for name in ("weight", "bias", "running_mean", "running_var")},
    "encoder.3.weight": (4, 3, 2),
    "group.weight": (4,),
    "group.bias": (4,),
    **recurrent_shapes("lstm", 4, 2, True),
    **recurrent_shapes("gru", 2 * HIDDEN, 1, True),
    **recurrent_shapes("rnn", 2 * HIDDEN, 1, False),
    "layer.weight": (HIDDEN,),
    "layer.bias": (HIDDEN,),
    "head.weight": (CLASSES, HIDDEN),
    "head.bias": (CLASSES,),
}


def state_dict():
    """Arrays by torch's names. The second biases are 0 where dlcore has one bias, so that round trips are exact."""
    generator = np.random.default_rng(1)
    arrays = {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    for name, array in arrays.items():
        if "bias_hh" in name:
            array[: 2 * HIDDEN if name.startswith("gru") else None] = 0
    return arrays


def test_a_state_dict_survives_the_round_trip_and_every_variable_is_there():
    arrays = state_dict()
    variables = model_from_torch({**arrays, "encoder.1.num_batches_tracked": np.array(3)}, Tagger(), NAMES, X)
    assert set(variables) == {"params", "batch_stats"}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    # This refuses variables of another shape than the model's.
    back = model_to_torch({**variables, "carry": {}}, Tagger(), NAMES, X)
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.c_contiguous


class Small(nn.Module):
    """A network of images whose dense layer reads flattened maps."""

    @nn.compact
    def __call__(self, inputs):
        maps = dl.Conv(3, (2, 2), name="conv")(inputs)
        return nn.Dense(2, name="fc")(dl.flatten(maps))


IMAGES = np.random.default_rng(2).normal(size=(2, 4, 5, 2)).astype(np.float32)
SMALL = {
    name: np.random.default_rng(3).normal(size=shape).astype(np.float32)
    for name, shape in {
        "conv.weight": (3, 2, 2, 2),
        "conv.bias": (3,),
        "fc.weight": (2, 36),
        "fc.bias": (2,),
    }.items()
}
ITSELF = {"conv": "conv", "fc": "fc"}


def test_a_dense_layer_after_a_flatten_reads_the_maps_in_our_order():
    """Against torch's convolution and its order of channels, by loops."""
    maps = np.zeros((2, 3, 3, 4))
    for row, column in np.ndindex(3, 4):
        window = IMAGES[:, row : row + 2, column : column + 2]
        maps[:, :, row, column] = np.einsum("bijc,ocij->bo", window, SMALL["conv.weight"])
    maps += SMALL["conv.bias"][:, None, None]
    expected = maps.reshape(2, -1) @ SMALL["fc.weight"].T + SMALL["fc.bias"]
    variables = model_from_torch(SMALL, Small(), ITSELF, IMAGES, flattened={"fc": (3, 3, 4)})
    np.testing.assert_allclose(jax.jit(Small().apply)(variables, IMAGES), expected, rtol=1e-4, atol=1e-5)
    back = model_to_torch(variables, Small(), ITSELF, IMAGES, flattened={"fc": (3, 3, 4)})
    for name, array in SMALL.items():
        np.testing.assert_array_equal(back[name], array)


def changed(**arrays):
    """The small network's arrays with others; None leaves one out."""
    names = {name.replace("_", ".", 1): array for name, array in arrays.items()}
    return {name: array for name, array in {**SMALL, **names}.items() if array is not None}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"names": {"conv": "conv"}},
            ValueError,
            "names: got none for fc.weight, fc.bias of state_dict, .*params/fc",
        ),
        (
            {"state_dict": changed(extra_scale=np.ones(3))},
            ValueError,
            "names: got none for extra.scale of state_dict",
        ),
        (
            {"state_dict": changed(conv_bias=None)},
            ValueError,
            "state_dict: got weight, expected weight, bias; this is 'conv' for 'conv'",
        ),
        (
            {"state_dict": changed(fc_bias=np.ones(3))},
            ValueError,
            r"got shape \(3,\) for params/fc/bias, expected \(2,\)",
        ),
        (
            {"state_dict": changed(conv_weight=np.ones(3))},
            ValueError,
            r"state_dict: got weight of shape \(3,\), expected .*'conv'",
        ),
        (
            {"state_dict": changed(conv_bias=np.ones(3, int))},
            TypeError,
            "state_dict: got bias .*; this is 'conv'",
        ),
        (
            {"names": {**ITSELF, "fc": "dense"}},
            ValueError,
            "names: got 'dense' for 'fc', expected one of .*: conv, fc",
        ),
        (
            {"names": {**ITSELF, "c": "conv"}},
            ValueError,
            "names: got .*, expected each layer of the model once",
        ),
        ({"names": {**ITSELF, "fc": 3}}, TypeError, "names: got 3, expected paths that are text"),
        ({"names": {"": ""}}, ValueError, "names: got '', a Small, expected Conv, ConvTranspose, Dense"),
        ({"names": "conv"}, TypeError, "names: got 'conv', expected a dict of paths"),
        (
            {"flattened": {"conv": (3,)}},
            ValueError,
            "flattened: got .* for 'conv', expected the shape .* of a Dense",
        ),
        ({"flattened": {"fc": (5, 7)}}, ValueError, r"flattened: got \(5, 7\) for 'fc', expected .* of 36"),
        ({"flattened": {"fc": (3, 3, 4.0)}}, TypeError, "flattened: got 4.0, expected an integer"),
        ({"flattened": {"fc": 36}}, TypeError, "flattened: got 36, expected shapes such as"),
        ({"model": "Small"}, TypeError, "model: got 'Small', expected a linen module"),
        ({"state_dict": 3}, TypeError, "state_dict: got 3, expected a dict"),
    ],
)
def test_what_does_not_fit_is_named(change, error, message):
    arguments = {"state_dict": SMALL, "model": Small(), "names": ITSELF, "flattened": None, **change}
    flattened = arguments.pop("flattened")
    with pytest.raises(error, match=message):
        model_from_torch(*arguments.values(), IMAGES, flattened=flattened)


def test_variables_that_the_model_has_not_are_refused():
    variables = model_from_torch(SMALL, Small(), ITSELF, IMAGES)
    params = {**variables["params"], "fc": {"kernel": variables["params"]["fc"]["kernel"]}}
    with pytest.raises(ValueError, match="variables: got nothing for params/fc/bias"):
        model_to_torch({"params": params}, Small(), ITSELF, IMAGES)
    with pytest.raises(ValueError, match="names: got none for params/fc/bias, params/fc/kernel"):
        model_to_torch(variables, Small(), {"conv": "conv"}, IMAGES)
    with pytest.raises(TypeError, match="variables: got 3"):
        model_to_torch(3, Small(), ITSELF, IMAGES)


class Theirs(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        maps = nn.BatchNorm(use_running_average=True, name="norm")(nn.Conv(6, (3,), name="conv")(inputs))
        states = nn.RNN(nn.OptimizedLSTMCell(HIDDEN, name="lstm"))(maps)
        return nn.Dense(CLASSES, name="head")(states)


class Ours(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        maps = dl.Conv(6, (3,), padding=1, flip=True, name="first")(inputs)
        maps = nn.BatchNorm(use_running_average=True, name="norm")(maps)
        _, states = dl.Recurrent(dl.LSTMCell(HIDDEN))(maps)
        return nn.Dense(CLASSES, name="head")(states)


FROM_FLAX = {"conv": "first", "norm": "norm", "lstm": "Recurrent_0", "head": "head"}
X32 = X.astype(np.float32)


def flax_variables():
    generator = np.random.default_rng(4)
    made = jax.eval_shape(Theirs().init, jax.random.key(0), X32)
    return jax.tree.map(lambda leaf: generator.uniform(0.1, 1, leaf.shape).astype(np.float32), made)


def test_variables_of_flax_survive_the_round_trip():
    theirs = flax_variables()
    ours = model_from_flax(theirs, Ours(), FROM_FLAX, X32)
    kernel = theirs["params"]["conv"]["kernel"]
    np.testing.assert_array_equal(ours["params"]["first"]["kernel"], kernel[::-1])
    back = flatten_dict(model_to_flax(ours, Ours(), FROM_FLAX, X32))
    for name, array in flatten_dict(theirs).items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.slow
def test_a_model_of_flax_gives_the_same_outputs():
    theirs = flax_variables()
    ours = model_from_flax(theirs, Ours(), FROM_FLAX, X32)
    expected, got = jax.jit(lambda: (Theirs().apply(theirs, X32), Ours().apply(ours, X32)))()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


class Both(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return dl.Bidirectional(dl.RNNCell(HIDDEN), dl.RNNCell(HIDDEN))(inputs)[1]


def test_a_module_with_other_directions_is_refused():
    shapes = recurrent_shapes("rnn", INPUTS, 1, False)
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(
        ValueError, match=r"names: got a module with cell, expected .* forward, backward .*'rnn'"
    ):
        model_from_torch(arrays, Both(), {"rnn": "Bidirectional_0"}, X)
    both = {"rnn": "RNNCell_0", "again": "Bidirectional_0"}
    again = {
        name.replace("rnn", "again"): np.zeros(shape)
        for name, shape in recurrent_shapes("rnn", INPUTS, 1, True).items()
    }
    with pytest.raises(ValueError, match="names: got two names for params/RNNCell_0/input_kernel"):
        model_from_torch({**arrays, **again}, Both(), both, X)
    params = {
        name: {"input_kernel": np.ones((2, 4)), "recurrent_kernel": np.ones((4, 4)), "bias": np.ones(4)}
        for name in ("RNNCell_0", "RNNCell_1")
    }
    with pytest.raises(
        ValueError, match=r"names: got a layer with forward, backward, expected .* single cells"
    ):
        model_to_flax({"params": params}, Both(), {"rnn": "Bidirectional_0"}, X)
    back = model_to_torch({"params": params}, Both(), {"rnn": "Bidirectional_0"}, X)
    assert set(back) == set(recurrent_shapes("rnn", INPUTS, 1, True))
    one_by_one = model_to_torch({"params": params}, Both(), {"a": "RNNCell_0", "b": "RNNCell_1"}, X)
    assert {name for name in one_by_one if "weight" in name} == {
        "a.weight_ih",
        "a.weight_hh",
        "b.weight_ih",
        "b.weight_hh",
    }


@pytest.mark.slow
def test_a_model_of_torch_gives_the_same_outputs_in_float64():
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Sequential(
                torch.nn.Conv1d(INPUTS, 6, 3, padding=1),
                torch.nn.BatchNorm1d(6),
                torch.nn.ReLU(),
                torch.nn.Conv1d(6, 4, 2, padding=1, groups=2, bias=False),
            )
            self.group = torch.nn.GroupNorm(2, 4)
            self.lstm = torch.nn.LSTM(4, HIDDEN, 2, batch_first=True, bidirectional=True)
            self.gru = torch.nn.GRU(2 * HIDDEN, HIDDEN, batch_first=True, bidirectional=True)
            self.rnn = torch.nn.RNN(2 * HIDDEN, HIDDEN, batch_first=True)
            self.layer = torch.nn.LayerNorm(HIDDEN)
            self.head = torch.nn.Linear(HIDDEN, CLASSES)

        def forward(self, inputs):
            states = self.group(self.encoder(inputs.transpose(1, 2))).transpose(1, 2)
            for layer in (self.lstm, self.gru, self.rnn):
                states, _ = layer(states)
            return self.head(self.layer(states))

    torch.manual_seed(0)
    module = Module().double().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if "running" in name or name.startswith(("encoder.1", "group", "layer")):
                tensor.copy_(torch.rand(tensor.shape, dtype=torch.float32) + 0.5)
    expected = module(torch.tensor(X)).detach().numpy()
    with jax.enable_x64(True):
        model = Tagger("float64")
        variables = model_from_torch(module.state_dict(), model, NAMES, X)
        # flax's BatchNorm has averages of float32 and computes 1 / sqrt(var + epsilon) in their type. The averages here
        # are numbers of float32, so that the wider type changes none of them.
        assert {leaf.dtype for leaf in jax.tree.leaves(variables["batch_stats"])} == {jnp.dtype("float32")}
        wide = jax.tree.map(lambda leaf: leaf.astype("float64"), variables["batch_stats"])
        made = jax.eval_shape(model.init, jax.random.key(0), X)
        streams = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), made["carry"])
        outputs = jax.jit(model.apply)({**variables, "batch_stats": wide, "carry": streams}, X)
        assert outputs.dtype == jnp.float64
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-10)
        tensors = {
            name: torch.tensor(array) for name, array in model_to_torch(variables, model, NAMES, X).items()
        }
    module.load_state_dict(tensors)
    np.testing.assert_allclose(module(torch.tensor(X)).detach().numpy(), expected, rtol=0, atol=1e-10)
