"""The transposed convolution against torch in float64, against the convolution that it transposes, and its sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.convolution import correlate_channels
from dlcore.ops.transposed_convolution import (
    correlate_transposed,
    resolve_cuts,
    transposed_lengths,
    transposed_size,
)

SEEDS = [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 30))]


def problem(seed):
    """Random inputs, kernel and options in 1 to 3 dimensions."""
    random = np.random.default_rng(seed)
    rank = 1 + seed % 3
    draw = lambda low, high: tuple(map(int, random.integers(low, high, rank)))
    groups = int(random.integers(1, 4))
    window, strides, dilation, sizes = draw(1, 4), draw(1, 4), draw(1, 3), draw(3, 6)
    options = {
        "strides": strides,
        "padding": tuple(min(2, (f - 1) * d) // 2 for f, d in zip(window, dilation, strict=True)),
        "dilation": dilation,
        "groups": groups,
        "output_padding": tuple(int(random.integers(0, stride)) for stride in strides),
    }
    inputs = random.normal(size=(2, *sizes, 2 * groups))
    return inputs, random.normal(size=(*window, 3, 2 * groups)), options


@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_gradients_equal_torchs(seed):
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    inputs, kernel, options = problem(seed)

    def loss(inputs, kernel):
        outputs = correlate_transposed(inputs, kernel, **options)
        return (outputs**2).sum(), outputs

    with jax.enable_x64(True):
        gradients, outputs = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(inputs, kernel)
    tensor = lambda array: torch.tensor(np.ascontiguousarray(array), requires_grad=True)
    theirs, weight = tensor(np.moveaxis(inputs, -1, 1)), tensor(np.moveaxis(kernel, (-1, -2), (0, 1)))
    names = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
    function = getattr(torch.nn.functional, names[inputs.ndim - 3])
    settings = {"stride" if name == "strides" else name: value for name, value in options.items()}
    reference = function(theirs, weight, **settings)
    (reference**2).sum().backward()
    for got, expected in (
        (outputs, np.moveaxis(reference.detach().numpy(), 1, -1)),
        (gradients[0], np.moveaxis(theirs.grad.numpy(), 1, -1)),
        (gradients[1], np.moveaxis(weight.grad.numpy(), (0, 1), (-1, -2))),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("padding", ["given", "SAME"])
@pytest.mark.parametrize("seed", SEEDS[:2] + SEEDS[3:])
def test_it_is_the_transpose_of_the_convolution(seed, padding):
    """<conv(x), y> = <x, transposed(y)>, with one kernel and the same options."""
    small, kernel, options = problem(seed)
    more = options.pop("output_padding")
    if padding == "SAME":
        options["padding"], more = "SAME", 0

    @jax.jit
    def products(small, kernel):
        transposed = correlate_transposed(small, kernel, **options, output_padding=more)
        large = jnp.cos(jnp.arange(transposed.size)).reshape(transposed.shape)
        convolved = correlate_channels(large, kernel, **options, remainder="floor")
        return (convolved * small).sum(), (large * transposed).sum()

    with jax.enable_x64(True):
        np.testing.assert_allclose(*products(small, kernel), rtol=1e-10)


def test_groups_are_the_same_on_every_platform(monkeypatch):
    """A program for a CPU has one convolution a group; others have XLA's grouped one."""
    random = np.random.default_rng(0)
    arrays = random.normal(size=(2, 4, 3, 6)), random.normal(size=(3, 2, 2, 6))
    options = {"strides": (2, 1), "padding": (1, 0), "groups": 3, "output_padding": (1, 0)}
    product = functools.partial(correlate_transposed, **options)
    with jax.enable_x64(True):
        counts = {
            name: jax.export.export(jax.jit(product), platforms=[name])(*arrays).mlir_module()
            .count("stablehlo.convolution") for name in ("cpu", "cuda", "tpu")
        }  # fmt: skip
        assert counts == {"cpu": 3, "cuda": 1, "tpu": 1}
        ours = product(*arrays)
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *arrays, cpu, default: default(*arrays))
        np.testing.assert_allclose(product(*arrays), ours, rtol=1e-12, atol=1e-12)


def test_same_padding_gives_as_many_outputs_as_the_stride_says():
    for window, stride, dilation in ((1, 3, 1), (2, 2, 1), (3, 2, 1), (4, 3, 2), (5, 1, 1)):
        ((cuts),) = resolve_cuts("SAME", (window,), (stride,), (dilation,))
        assert transposed_size(5, window, stride, cuts, dilation) == 5 * stride


def test_lengths_are_the_sizes_of_the_rows_alone():
    cuts = (1, 2)
    for dtype in (np.int8, np.uint8, np.int32):
        got = transposed_lengths(np.array([0, 1, 2, 100], dtype), 5, 3, cuts, 2)
        assert got.dtype == np.int32
        assert got.tolist() == [0, *(transposed_size(size, 5, 3, cuts, 2) for size in (1, 2, 100))]
    assert transposed_lengths(np.array([-3, 1]), 1, 1, (1, 1)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": 0}, "strides: got 0"),
        ({"strides": (1, 1)}, "strides: got"),
        ({"dilation": 0}, "dilation: got 0"),
        ({"padding": -1}, "padding: got -1"),
        ({"padding": "HALF"}, 'padding: got "HALF", expected "SAME", "VALID"'),
        ({"padding": "CIRCULAR"}, 'padding: got "CIRCULAR", expected "SAME", "VALID"'),
        ({"padding": "CAUSAL"}, r"padding: got \"CAUSAL\".* padding=\[\(0, 2\)\] cuts what sees the future"),
        ({"padding": 4}, r"padding: got \(4, 4\) for size 5, which cuts all 7 outputs"),
        ({"output_padding": 1}, r"output_padding: got 1, expected less than the strides \(1,\)"),
        ({"output_padding": -1, "strides": 2}, "output_padding: got -1"),
        ({"output_padding": 1, "strides": 2, "padding": "SAME"}, "output_padding: got 1 with padding="),
        ({"groups": 0}, "groups: got 0"),
        ({"groups": 3}, "groups: got 3 for 2 input channels"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        correlate_transposed(np.ones((1, 5, 2), np.float32), np.ones((3, 1, 2), np.float32), **options)


@pytest.mark.parametrize("shape", [(5, 2), (1, 5, 5, 2), (1, 5, 0), ()])
def test_inputs_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="inputs: got shape"):
        correlate_transposed(np.ones(shape, np.float32), np.ones((3, 1, 2), np.float32))


def test_a_causal_cut_sees_no_future():
    function = functools.partial(correlate_transposed, strides=2, padding=[(0, 1)])
    jacobian = jax.jit(jax.jacobian(lambda x: function(x[None, :, None], jnp.ones((3, 1, 1)))[0, :, 0]))
    sees = np.asarray(jacobian(jnp.ones(4))) != 0
    assert sees.shape == (8, 4)
    assert not sees[2 * np.arange(4)[None, :] > np.arange(8)[:, None]].any()
