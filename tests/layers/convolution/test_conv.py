"""The convolutional layer against flax and torch: parameters, outputs, gradients, true convolution, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import signal

import dlcore as dl
from tests.helpers.cells import some_slow

KEY = jax.random.key(0)


@pytest.mark.parametrize("kernel_size", [(3,), (3, 3), (2, 3, 2), 3])
def test_conv_equals_flaxs(kernel_size):
    window = (3, 3) if kernel_size == 3 else kernel_size
    inputs = jax.random.normal(KEY, (2, *[6] * len(window), 3))
    layer, theirs = dl.Conv(5, kernel_size, padding=1), nn.Conv(5, window, padding=1)

    @jax.jit
    def both(inputs):
        outputs, variables = layer.init_with_output(KEY, inputs)
        return outputs, theirs.apply(variables, inputs)

    np.testing.assert_allclose(*both(inputs), rtol=1e-5, atol=1e-6)


def test_conv_has_the_lectures_number_of_weights():
    """(F * F * D1) * K weights and K biases."""
    params_of = lambda layer: jax.eval_shape(layer.init, KEY, jnp.ones((1, 6, 6, 5)))["params"]
    params = params_of(dl.Conv(7, 3))
    assert params["kernel"].size == 3 * 3 * 5 * 7
    assert params["bias"].size == 7
    assert "bias" not in params_of(dl.Conv(7, 3, use_bias=False))


def test_conv_computes_in_its_dtype_and_keeps_float32_parameters():
    inputs = jnp.ones((1, 4, 4, 1), jnp.float32)
    layer = dl.Conv(2, 3, dtype=jnp.bfloat16)
    outputs, variables = jax.eval_shape(layer.init_with_output, KEY, inputs)
    assert outputs.dtype == jnp.bfloat16
    assert variables["params"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (dl.Conv(4, 3), (2, 6, 1), "inputs: got shape"),
        (dl.Conv(4, (3,)), (2, 6, 6, 1), "inputs: got shape"),
        (dl.Conv(4, 3), (), "inputs: got shape"),
        (dl.Conv(4, 3), (2, 6, 6, 0), "inputs: got shape .* expected at least one channel"),
        (dl.Conv(4, 7), (2, 6, 6, 1), "kernel_size: got 7"),
        (dl.Conv(4, 3, strides=2), (2, 6, 6, 1), r"= 2\.5, expected a whole number"),
        (dl.Conv(4, 3, groups=3), (2, 6, 6, 2), "groups: got 3"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(layer.init, KEY, jnp.ones(shape))


@pytest.mark.parametrize(
    ("setting", "values", "error"),
    [
        ("features", (0, -1), ValueError),
        ("features", (None, "4", 4.0, True, [4]), TypeError),
        ("kernel_size", (0, (), (3, 0)), ValueError),
        ("kernel_size", (None, "3", 3.0, {3}), TypeError),
        ("strides", (0, (1, 1, 1)), ValueError),
        ("strides", (None, "1"), TypeError),
        ("padding", (-1, "HALF", "CAUSAL", "circular", (1, 1, 1)), ValueError),
        ("padding", (None, 0.5), TypeError),
        ("dilation", (0,), ValueError),
        ("dilation", (None,), TypeError),
        ("groups", (0,), ValueError),
        ("groups", (None, "1"), TypeError),
        ("remainder", ("x", None), ValueError),
        ("method", ("auto", "FFT", None), ValueError),
        ("flip", ("no", 1, None), TypeError),
        ("use_bias", ("no", None), TypeError),
        ("kernel_init", ("x", None), TypeError),
        ("bias_init", ("x", None, 0), TypeError),
        ("dtype", (jnp.int32, "bogus", 0.5), TypeError),
        ("param_dtype", (jnp.int32, None, "bogus", jnp.complex64), TypeError),
    ],
)
def test_settings_are_refused_by_name_before_the_layer_is_made(setting, values, error):
    for value in values:
        with pytest.raises(error, match=f"{setting}: got "):
            dl.Conv(**{"features": 4, "kernel_size": 3, setting: value})


def test_a_kernel_of_another_shape_is_named():
    with pytest.raises(
        ValueError, match=r"params: got kernel of shape \(3, 3, 2, 4\), expected \(3, 3, 1, 4\)"
    ):
        dl.Conv(4, 3).apply({"params": {"kernel": jnp.ones((3, 3, 2, 4))}}, jnp.ones((1, 6, 6, 1)))


def test_an_integer_of_any_library_is_a_number_of_features():
    for features in (np.int64(4), jnp.int32(4)):
        layer = dl.Conv(features, 3)
        assert type(layer.features) is int
        assert jax.eval_shape(layer.init, KEY, jnp.ones((1, 6, 6, 1)))["params"]["kernel"].shape == (
            3,
            3,
            1,
            4,
        )


def test_a_long_kernel_may_be_asked_to_go_through_the_transform():
    inputs = jax.random.normal(KEY, (2, 60, 3))
    outputs = [
        dl.Conv(4, (31,), padding="CAUSAL", method=method).init_with_output(KEY, inputs)[0]
        for method in ("direct", "fft")
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(*outputs)


def test_flip_is_true_convolution():
    image = jax.random.normal(KEY, (1, 5, 5, 1))
    layer = dl.Conv(1, 3, flip=True, use_bias=False)
    outputs, variables = jax.jit(layer.init_with_output)(KEY, image)
    expected = signal.convolve(image[0, ..., 0], variables["params"]["kernel"][..., 0, 0], mode="valid")
    np.testing.assert_allclose(outputs[0, ..., 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_])
def test_numbers_that_are_not_floats_are_refused(dtype):
    with pytest.raises(TypeError, match=f"inputs: got {jnp.dtype(dtype)}, expected floating point numbers"):
        dl.Conv(4, 3).init(KEY, jnp.ones((1, 6, 6, 1), dtype))


def test_causal_convolution_sees_no_future():
    layer = dl.Conv(2, (3,), padding="CAUSAL", dilation=2)
    inputs = jax.random.normal(KEY, (1, 9, 1))
    gradient = jax.jit(jax.grad(lambda x: layer.init_with_output(KEY, x)[0][0, 5].sum()))(inputs)
    assert np.nonzero(np.asarray(gradient)[0, :, 0])[0].tolist() == [1, 3, 5]


def test_each_row_of_a_padded_batch_has_the_outputs_it_has_alone():
    layer, lengths = dl.Conv(2, (3,), 2, padding=1, remainder="floor"), np.array([0, 3, 6], np.int32)
    inputs = np.random.default_rng(0).normal(size=(3, 6, 1)).astype(np.float32)
    padded = np.where((np.arange(6) < lengths[:, None])[..., None], inputs, np.float32(np.nan))

    @jax.jit
    def run(inputs, padded):
        whole, variables = layer.init_with_output(KEY, inputs)
        return layer.apply(variables, padded, lengths), layer.apply(variables, inputs[1:2, :3]), whole[2:]

    together, *alone = run(inputs, padded)
    assert layer.output_lengths(lengths).tolist() == [0, 2, 3]
    for row, expected in enumerate([np.zeros((1, 0, 2)), *alone]):
        count = expected.shape[1]
        np.testing.assert_allclose(together[row, :count], expected[0], rtol=1e-5, atol=1e-6)
        assert not np.asarray(together[row, count:]).any()


BORDERS = {"CIRCULAR": "circular", "REFLECT": "reflect", "EDGE": "replicate"}


@pytest.mark.parametrize("border", some_slow(BORDERS, ["CIRCULAR", "REFLECT"]))
def test_borders_and_their_gradients_equal_torchs(border):
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    layer = dl.Conv(2, (4, 3), (1, 2), border, (2, 1), use_bias=False)
    random = np.random.default_rng(0)
    inputs, kernel = random.normal(size=(2, 5, 4, 3)), random.normal(size=(4, 3, 3, 2))

    def loss(kernel, inputs):
        outputs = layer.apply({"params": {"kernel": kernel}}, inputs)
        return (outputs**2).sum(), outputs

    with jax.enable_x64(True):
        gradients, outputs = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(kernel, inputs)
    maps = torch.tensor(np.moveaxis(inputs, -1, 1).copy(), requires_grad=True)
    weight = torch.tensor(np.moveaxis(kernel, (-1, -2), (0, 1)).copy(), requires_grad=True)
    padded = torch.nn.functional.pad(maps, (1, 1, 3, 3), mode=BORDERS[border])
    expected = torch.conv2d(padded, weight, stride=(1, 2), dilation=(2, 1))
    (expected**2).sum().backward()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    close(outputs, np.moveaxis(expected.detach().numpy(), 1, -1))
    close(gradients[0], np.moveaxis(weight.grad.numpy(), (0, 1), (-1, -2)))
    close(gradients[1], np.moveaxis(maps.grad.numpy(), 1, -1))


@pytest.mark.parametrize("border", some_slow(["CIRCULAR", "REFLECT"], ["CIRCULAR"]))
def test_borders_are_those_of_flax_at_every_stride_and_method(border):
    inputs = jax.random.normal(KEY, (2, 7, 2))

    @jax.jit
    def run(inputs):
        pairs = []
        for window, strides in ((4, 1), (5, 3)):
            flax = nn.Conv(3, (window,), strides, padding=border)
            expected, variables = flax.init_with_output(KEY, inputs)
            for method in ("direct", "fft"):
                layer = dl.Conv(3, (window,), strides, border, method=method)
                pairs.append((layer.apply(variables, inputs), expected))
        return pairs

    for got, expected in run(inputs):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("border", some_slow(BORDERS, ["REFLECT"]))
def test_the_border_of_a_padded_row_is_its_own_end(border):
    layer, lengths = dl.Conv(2, (5,), 2, border), np.array([0, 3, 6], np.int32)
    inputs = np.random.default_rng(0).normal(size=(3, 6, 1))
    padded = np.where((np.arange(6) < lengths[:, None])[..., None], inputs, np.nan)
    rows = [inputs[1:2, :3], inputs[2:]]

    @jax.jit
    def run(padded, rows):
        variables = layer.init(KEY, rows[0])
        gradient = jax.grad(lambda *arguments: (layer.apply(variables, *arguments) ** 2).sum())
        together = layer.apply(variables, padded, lengths), gradient(padded, lengths)
        return together, [(layer.apply(variables, row), gradient(row)) for row in rows]

    with jax.enable_x64(True):
        (outputs, gradient), alone = jax.device_get(run(padded, rows))
    assert layer.output_lengths(lengths).tolist() == [0, 2, 3]
    assert not outputs[0].any()
    assert not gradient[0].any()
    for row, (expected, expected_gradient) in enumerate(alone, start=1):
        for got, wanted in ((outputs[row], expected[0]), (gradient[row], expected_gradient[0])):
            np.testing.assert_allclose(got[: len(wanted)], wanted, rtol=1e-12, atol=1e-12)
            assert not got[len(wanted) :].any()


def test_a_mirror_needs_more_pixels_than_it_shows():
    layer = dl.Conv(2, (7,), padding="REFLECT")
    assert jax.eval_shape(layer.init_with_output, KEY, jnp.ones((1, 4, 1)))[0].shape == (1, 4, 2)
    for refused in (
        lambda: jax.eval_shape(layer.init, KEY, jnp.ones((1, 3, 1))),
        lambda: dl.describe([dl.ConvBlock(2, (7,), padding="REFLECT")], (3, 1)),
    ):
        with pytest.raises(ValueError, match='padding: got "REFLECT" for size 3, expected at least 4 pixels'):
            refused()


def test_flatten_makes_one_vector_an_example():
    maps = np.arange(24).reshape(2, 2, 3, 2)
    np.testing.assert_array_equal(dl.flatten(maps), maps.reshape(2, 12))


def test_flatten_takes_empty_maps_and_refuses_what_has_no_rows():
    assert dl.flatten(jnp.ones((0, 2, 3))).shape == (0, 6)
    assert dl.flatten(jnp.ones((2, 0, 3))).shape == (2, 0)
    assert dl.flatten(jnp.ones(2)).shape == (2, 1)
    with pytest.raises(ValueError, match=r"maps: got shape \(\), expected \[B, ...\]"):
        dl.flatten(jnp.ones(()))
    for wrong in ([[1.0]], None, "text"):
        with pytest.raises(TypeError, match=r"maps: got .*, expected an array"):
            dl.flatten(wrong)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32])
def test_lengths_of_every_integer_dtype_give_the_outputs_of_int32(dtype):
    layer, lengths = dl.Conv(2, (5,), 3, padding=2, remainder="floor"), np.array([0, 1, 100, 120], np.int32)
    inputs = np.random.default_rng(0).normal(size=(4, 120, 1)).astype(np.float32)
    variables = layer.init(KEY, inputs)
    run = jax.jit(lambda lengths: layer.apply(variables, inputs, lengths))
    np.testing.assert_array_equal(run(lengths.astype(dtype)), run(lengths))


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 40))]
)
def test_conv_and_its_gradients_equal_torchs(seed):
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    random = np.random.default_rng(seed)
    rank, groups = 1 + seed % 3, int(random.integers(1, 4))
    window, strides, dilation = (tuple(map(int, random.integers(1, 4, rank))) for _ in range(3))
    padding = tuple(map(int, random.integers(0, 4, rank)))
    sizes = [(f - 1) * d + 1 + int(random.integers(0, 6)) for f, d in zip(window, dilation, strict=True)]
    inputs = random.normal(size=(2, *sizes, 2 * groups)).astype(np.float32)
    normal = jax.nn.initializers.normal()
    layer = dl.Conv(
        2 * groups, window, strides, padding, dilation, groups, remainder="floor", bias_init=normal
    )
    shapes = jax.eval_shape(layer.init, KEY, inputs)["params"]
    params = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)

    def loss(params, inputs):
        outputs = layer.apply({"params": params}, inputs)
        return (outputs**2).sum(), outputs

    gradients, outputs = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, inputs)
    tensor = lambda array: torch.tensor(np.ascontiguousarray(array), requires_grad=True)
    theirs, kernel = (
        tensor(np.moveaxis(inputs, -1, 1)),
        tensor(np.moveaxis(params["kernel"], (-1, -2), (0, 1))),
    )
    bias, function = tensor(params["bias"]), (torch.conv1d, torch.conv2d, torch.conv3d)[rank - 1]
    reference = function(theirs, kernel, bias, strides, padding, dilation, groups)
    (reference**2).sum().backward()
    for got, expected in (
        (outputs, np.moveaxis(reference.detach().numpy(), 1, -1)),
        (gradients[1], np.moveaxis(theirs.grad.numpy(), 1, -1)),
        (gradients[0]["kernel"], np.moveaxis(kernel.grad.numpy(), (0, 1), (-1, -2))),
        (gradients[0]["bias"], bias.grad.numpy()),
    ):
        scale = max(float(np.abs(expected).max()), 1e-3)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * scale)
