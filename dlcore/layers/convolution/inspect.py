"""Looks into a trained image classifier: its probabilities, and the feature maps of its stack."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import linen as nn

from dlcore.ops.arrays import check_array
from dlcore.plots.classification import image_classifier
from dlcore.utils.checks import check_instance, check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def class_probabilities(
    model: nn.Module, variables: Mapping[str, Any], images: np.ndarray, batch_size: int = 100
) -> np.ndarray:
    """The lecture's final probabilities, ``softmax(model(images))``.

    Args:
        model: a module that is called as ``model(inputs [B, H, W, C], train=False)`` and returns logits
            ``[B, classes]``.
        variables: the parameters and state of the model.
        images: ``[N, H, W, C]``.
        batch_size: number of images that are computed at once.

    Returns:
        A NumPy array ``[N, classes]``.

    Raises:
        ValueError: the images are not ``[N, H, W, C]`` or there is none, or batch_size is below 1.
        TypeError: the model is not a module, the images are not an array, or batch_size is not an integer.
    """
    check_instance("model", model, nn.Module, "a flax module")
    check_array("images", images, rank=4, layout="[N, H, W, C]")
    if not len(images):
        raise ValueError(f"images: got shape {images.shape}, expected at least one image")

    def of_one(image: jax.Array) -> jax.Array:
        return jax.nn.softmax(model.apply(variables, image[None], train=False)[0])

    return np.asarray(jax.lax.map(of_one, images, batch_size=check_integer("batch_size", batch_size)))


def block_maps(
    model: nn.Module, variables: Mapping[str, Any], image: np.ndarray, stack: str = "stack"
) -> dict[str, np.ndarray]:
    """The output of each block of the model's `ConvStack` for one image.

    Args:
        model: a module that is called as ``model(inputs [B, H, W, C], train=False)``.
        variables: the parameters and state of the model.
        image: ``[H, W, C]``.
        stack: the name of the stack in the model.

    Returns:
        A dict from the block's name, such as "block_0", to a NumPy array ``[H', W', K]``.

    Raises:
        ValueError: the image is not ``[H, W, C]``, or the model has no stack of this name.
        TypeError: the model is not a module, or the image is not an array.
    """
    check_instance("model", model, nn.Module, "a flax module")
    check_array("image", image, rank=3, layout="[H, W, C]")
    _, sown = model.apply(variables, image[None], train=False, mutable=["intermediates"])
    stacks = sown.get("intermediates", {})
    if stack not in stacks:
        raise ValueError(
            f"stack: got {stack!r}, expected the name of a ConvStack in the model, of {sorted(stacks)}"
        )
    return {name: np.asarray(block["maps"][0][0]) for name, block in stacks[stack].items()}


def classifier_figures(
    model: nn.Module, names: Sequence[str], test: Mapping[str, np.ndarray], params: Any, model_state: Any
) -> dict[str, "Figure"]:
    """`plots.classification.image_classifier` for a model whose `ConvStack` is called "stack".

    Args:
        model: a module that is called as ``model(inputs [B, H, W, C], train=False)`` and returns logits
            ``[B, classes]``.
        names: names of the classes.
        test: the test data, ``inputs [N, H, W, C]`` and ``labels [N]``.
        params: the parameters, as the ``figures`` of an `Experiment` get them.
        model_state: the other variables, as the ``figures`` of an `Experiment` get them.

    Returns:
        A dict from the figure's name to the matplotlib figure.

    Raises:
        ValueError: the test data lack a field, or the model has no `ConvStack` of this name; or as in
            `class_probabilities`.
        TypeError: as in `class_probabilities`.
    """
    if missing := {"inputs", "labels"} - set(test):
        raise ValueError(
            f"test: got {sorted(test)}, expected inputs and labels; {', '.join(sorted(missing))} missing"
        )
    variables = {"params": params, **model_state}
    probabilities = class_probabilities(model, variables, test["inputs"])
    maps = block_maps(model, variables, test["inputs"][0])
    kernel = np.asarray(params["stack"]["block_0"]["conv_0"]["kernel"])
    return image_classifier(test, probabilities, kernel, maps, names)
