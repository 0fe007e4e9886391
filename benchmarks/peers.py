"""The same network in dlcore and in its peers: ``build(layers, inputs)`` -> a step that computes a gradient.

A network is a list of layers: ("conv", options of dl.Conv), ("relu", None), ("pool", window), ("dense", features). The
step computes the outputs, and from a given gradient of the outputs the gradient of the parameters. If the network is
an inner layer, the step also computes the gradient of its inputs.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl

Layers: TypeAlias = Sequence[tuple[str, Any]]
Step: TypeAlias = Callable[[], object]


class _Network(nn.Module):
    """A network in linen, with the convolution and the pooling of dlcore or of flax."""

    layers: Layers
    conv: Callable[[dict[str, Any]], nn.Module]
    pool: Callable[[jax.Array, int], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for kind, options in self.layers:
            if kind == "conv":
                x = self.conv(options)(x)
            elif kind == "relu":
                x = nn.relu(x)
            elif kind == "pool":
                x = self.pool(x, options)
            else:
                x = nn.Dense(options)(dl.flatten(x))
        return x


def _flax_options(options: dict[str, Any]) -> dict[str, Any]:
    names = {"dilation": "kernel_dilation", "groups": "feature_group_count"}
    return {"padding": "VALID", **{names.get(name, name): value for name, value in options.items()}}


def _of_flax(model: nn.Module, inputs: np.ndarray, with_inputs: bool) -> Step:
    params = jax.jit(model.init)(jax.random.key(0), inputs)
    apply: Callable[..., Any] = model.apply
    return _jax_step(apply, params, inputs, with_inputs)


def _jax_step(apply: Callable[..., jax.Array], params: Any, inputs: np.ndarray, with_inputs: bool) -> Step:
    def gradient(params: Any, inputs: jax.Array, arriving: jax.Array) -> Any:
        if with_inputs:
            outputs, backward = jax.vjp(apply, params, inputs)
        else:
            outputs, backward = jax.vjp(lambda params: apply(params, inputs), params)
        return outputs, backward(arriving)

    compiled, placed = jax.jit(gradient), jnp.asarray(inputs)
    arriving = jnp.asarray(_arriving(jax.eval_shape(apply, params, placed).shape))
    return lambda: jax.block_until_ready(compiled(params, placed, arriving))


def _arriving(shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def dlcore(layers: Layers, inputs: np.ndarray, with_inputs: bool) -> Step:
    conv = lambda options: dl.Conv(**options, remainder="floor")
    pool = lambda x, window: dl.max_pool(x, window, remainder="floor")
    return _of_flax(_Network(layers, conv, pool), inputs, with_inputs)


def flax(layers: Layers, inputs: np.ndarray, with_inputs: bool) -> Step:
    conv = lambda options: nn.Conv(**_flax_options(options))
    pool = lambda x, window: nn.max_pool(x, (window,) * (x.ndim - 2), (window,) * (x.ndim - 2))
    return _of_flax(_Network(layers, conv, pool), inputs, with_inputs)


def haiku(layers: Layers, inputs: np.ndarray, with_inputs: bool) -> Step:
    import haiku as hk

    def forward(x: jax.Array) -> jax.Array:
        rank = x.ndim - 2
        for kind, options in layers:
            if kind == "conv":
                x = hk.ConvND(
                    rank,
                    options["features"],
                    options["kernel_size"],
                    options.get("strides", 1),
                    options.get("dilation", 1),
                    options.get("padding", "VALID"),
                    feature_group_count=options.get("groups", 1),
                )(x)
            elif kind == "relu":
                x = jax.nn.relu(x)
            elif kind == "pool":
                window = (1, *(options,) * rank, 1)
                x = hk.max_pool(x, window, window, "VALID")
            else:
                x = hk.Linear(options)(hk.Flatten()(x))
        return x

    model: Any = hk.without_apply_rng(hk.transform(forward))
    return _jax_step(model.apply, model.init(jax.random.key(0), inputs), inputs, with_inputs)


def keras(layers: Layers, inputs: np.ndarray, with_inputs: bool) -> Step:
    import keras

    rank = inputs.ndim - 2
    stacked = [keras.layers.Input(inputs.shape[1:])]
    for kind, options in layers:
        if kind == "conv":
            stacked.append(
                getattr(keras.layers, f"Conv{rank}D")(
                    options["features"],
                    options["kernel_size"],
                    options.get("strides", 1),
                    options.get("padding", "VALID").lower(),
                    dilation_rate=options.get("dilation", 1),
                    groups=options.get("groups", 1),
                )
            )
        elif kind == "relu":
            stacked.append(keras.layers.ReLU())
        elif kind == "pool":
            stacked.append(getattr(keras.layers, f"MaxPooling{rank}D")(options))
        else:
            stacked += [keras.layers.Flatten(), keras.layers.Dense(options)]
    model = keras.Sequential(stacked)
    fixed = [variable.value for variable in model.non_trainable_variables]
    apply = lambda params, x: model.stateless_call(params, fixed, x)[0]
    return _jax_step(apply, [variable.value for variable in model.trainable_variables], inputs, with_inputs)


def torch(layers: Layers, inputs: np.ndarray, with_inputs: bool) -> Step:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    rank = inputs.ndim - 2
    stacked: list[torch.nn.Module] = []
    for kind, options in layers:
        if kind == "conv":
            stacked.append(
                getattr(torch.nn, f"LazyConv{rank}d")(
                    options["features"],
                    options["kernel_size"],
                    options.get("strides", 1),
                    _torch_padding(options),
                    options.get("dilation", 1),
                    options.get("groups", 1),
                )
            )
        elif kind == "relu":
            stacked.append(torch.nn.ReLU())
        elif kind == "pool":
            stacked.append(getattr(torch.nn, f"MaxPool{rank}d")(options))
        else:
            stacked += [torch.nn.Flatten(), torch.nn.LazyLinear(options)]
    model = torch.nn.Sequential(*stacked)
    placed = torch.tensor(np.moveaxis(inputs, -1, 1).copy(), requires_grad=with_inputs)
    arriving = torch.tensor(_arriving(model(placed).shape))

    def step() -> None:
        model.zero_grad()
        placed.grad = None
        model(placed).backward(arriving)

    return step


def _torch_padding(options: dict[str, Any]) -> list[int]:
    window = options["kernel_size"]
    same = options.get("padding") == "SAME"
    dilation = options.get("dilation", 1)
    return [(extent - 1) * dilation // 2 if same else 0 for extent in window]


PEERS: dict[str, Callable[[Layers, np.ndarray, bool], Step]] = {
    "dlcore": dlcore,
    "flax": flax,
    "haiku": haiku,
    "keras": keras,
    "torch": torch,
}
