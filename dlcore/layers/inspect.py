"""A look into a trained network of images: what it says of each, and what its stack sees in one."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn


def class_probabilities(
    model: nn.Module, variables: Mapping[str, Any], images: np.ndarray, batch_size: int = 100
) -> np.ndarray:
    """The lecture's final probabilities, ``softmax(model(images))``: ``[N, H, W, C]`` -> ``[N, classes]``."""

    def of_one(image: jax.Array) -> jax.Array:
        return jax.nn.softmax(model.apply(variables, image[None], train=False)[0])

    return np.asarray(jax.lax.map(of_one, images, batch_size=batch_size))


def block_maps(
    model: nn.Module, variables: Mapping[str, Any], image: np.ndarray, stack: str = "stack"
) -> dict[str, np.ndarray]:
    """What leaves each block of the model's `ConvStack` for one image: name -> ``[H', W', K]``.

    Args:
        model: called as ``model(inputs, train=...)``. variables: its parameters and state.
        image: ``[H, W, C]``.
        stack: the stack's name in the model.
    """
    _, seen = model.apply(variables, image[None], train=False, mutable=["intermediates"])
    return {name: np.asarray(block["maps"][0][0]) for name, block in seen["intermediates"][stack].items()}
