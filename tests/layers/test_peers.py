"""Layers and pools against torch: values and gradients on random configurations."""

import jax
import numpy as np
import pytest

import dlcore as dl

torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")

CASES = [pytest.param(12, id="12 cases"), pytest.param(40, id="40 cases", marks=pytest.mark.slow)]


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * max(float(np.abs(expected).max()), 1e-3))


def channels_first(array):
    return torch.tensor(np.moveaxis(np.asarray(array), -1, 1).copy(), requires_grad=True)


def channels_last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


@pytest.mark.parametrize("cases", CASES)
def test_convolutions_equal_torchs(cases):
    for seed in range(cases):
        random = np.random.default_rng(seed)
        rank, groups = 1 + seed % 3, int(random.integers(1, 4))
        window, strides, dilation = (tuple(map(int, random.integers(1, 4, rank))) for _ in range(3))
        padding = tuple(map(int, random.integers(0, 4, rank)))
        sizes = [(f - 1) * d + 1 + int(random.integers(0, 6)) for f, d in zip(window, dilation, strict=True)]
        inputs = random.normal(size=(2, *sizes, 2 * groups)).astype(np.float32)
        layer = dl.Conv(
            2 * groups,
            window,
            strides,
            padding,
            dilation,
            groups,
            remainder="floor",
            bias_init=jax.nn.initializers.normal(),
        )
        params = jax.jit(layer.init)(jax.random.key(seed), inputs)["params"]

        def loss(params, inputs, layer=layer):
            outputs = layer.apply({"params": params}, inputs)
            return (outputs**2).sum(), outputs

        gradients, outputs = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, inputs)
        theirs = channels_first(inputs)
        kernel = torch.tensor(np.moveaxis(params["kernel"], (-1, -2), (0, 1)).copy(), requires_grad=True)
        bias = torch.tensor(np.asarray(params["bias"]), requires_grad=True)
        function = (torch.conv1d, torch.conv2d, torch.conv3d)[rank - 1]
        reference = function(theirs, kernel, bias, strides, padding, dilation, groups)
        (reference**2).sum().backward()
        close(outputs, channels_last(reference))
        close(gradients[1], channels_last(theirs.grad))
        close(gradients[0]["kernel"], np.moveaxis(kernel.grad.numpy(), (0, 1), (-1, -2)))
        close(gradients[0]["bias"], bias.grad.numpy())


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pools_equal_torchs(kind, cases):
    functional = torch.nn.functional
    for seed in range(cases):
        random = np.random.default_rng(seed)
        rank, ceil = 1 + seed % 3, bool(seed % 2)
        window = tuple(map(int, random.integers(1, 5, rank)))
        strides = tuple(map(int, random.integers(1, 4, rank)))
        padding = tuple(int(random.integers(0, f // 2 + 1)) for f in window)
        # Torch divides by what its window covers of the *ceiled* padding too; dlcore by real cells alone.
        options = {"count_include_pad": False} if kind == "avg" else {}
        sizes = [f + int(random.integers(0, 6)) for f in window]
        # Few different values, so that the largest is often there twice.
        inputs = random.integers(0, 5, (2, *sizes, 3)).astype(np.float32)
        pool = dl.max_pool if kind == "max" else dl.avg_pool

        def loss(inputs, pool=pool, window=window, strides=strides, padding=padding, ceil=ceil):
            outputs = pool(inputs, window, strides, padding=padding, remainder="ceil" if ceil else "floor")
            return (outputs**2).sum(), outputs

        gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(inputs)
        theirs = channels_first(inputs)
        function = getattr(functional, f"{kind}_pool{rank}d")
        reference = function(theirs, window, strides, padding, ceil_mode=ceil, **options)
        (reference**2).sum().backward()
        close(outputs, channels_last(reference))
        close(gradient, channels_last(theirs.grad))


def test_dilated_max_pools_equal_torchs():
    inputs = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype(np.float32)
    outputs = dl.max_pool(inputs, (3, 2), (1, 2), dilation=(2, 3), padding=(1, 0), remainder="floor")
    reference = torch.nn.functional.max_pool2d(channels_first(inputs), (3, 2), (1, 2), (1, 0), (2, 3))
    close(outputs, channels_last(reference))
