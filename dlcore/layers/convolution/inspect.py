"""Looks into a trained image classifier: its probabilities, and the feature maps of its stack."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import errors
from flax import linen as nn
from jax.typing import ArrayLike

from dlcore.ops.arrays import check_array
from dlcore.plots.classification import image_classifier, labeled_images
from dlcore.utils.checks import check_instance, check_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISFITS = (
    errors.ApplyScopeInvalidVariablesStructureError,
    errors.ApplyScopeInvalidVariablesTypeError,
    errors.ScopeCollectionNotFound,
    errors.ScopeParamNotFoundError,
    errors.ScopeParamShapeError,
    errors.ScopeVariableNotFoundError,
)
"""Errors of flax about variables that are not those of the model."""


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
        ValueError: the images are not ``[N, H, W, C]`` or there is none, batch_size is below 1, or the variables are
            those of another model.
        TypeError: the model is not a module, the variables are not a dict, the images are not an array, the model
            refuses their dtype, or batch_size is not an integer.
    """
    _check_images("images", images, "[N, H, W, C]")

    def of_one(image: jax.Array) -> jax.Array:
        return jax.nn.softmax(_apply(model, variables, image[None])[0])

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
        ValueError: the image is not ``[H, W, C]`` or empty, the model has no stack of this name, or the variables are
            those of another model.
        TypeError: the model is not a module, the variables are not a dict, the image is not an array, the model refuses
            its dtype, or the name of the stack is no text.
    """
    check_instance("stack", stack, str, "the name of a ConvStack in the model")
    _check_images("image", image, "[H, W, C]")
    _, sown = _apply(model, variables, image[None], mutable=["intermediates"])
    stacks = {name: part for name, part in sown.get("intermediates", {}).items() if _is_stack(part)}
    if stack not in stacks:
        raise ValueError(
            f"stack: got {stack!r}, expected the name of a ConvStack in the model, of {sorted(stacks)}"
        )
    return {name: np.asarray(block["maps"][0][0]) for name, block in stacks[stack].items()}


def _check_images(name: str, images: np.ndarray, layout: str) -> None:
    check_array(name, images, rank=layout.count(",") + 1, layout=layout)
    if not images.size:
        raise ValueError(f"{name}: got shape {images.shape}, expected {layout} with each at least 1")


def _apply(model: nn.Module, variables: Mapping[str, Any], inputs: ArrayLike, **options: Any) -> Any:
    """Applies the model; an error of flax about its variables becomes one that names them."""
    check_instance("model", model, nn.Module, "a flax module")
    check_instance("variables", variables, Mapping, "a dict with the params of the model")
    try:
        return model.apply(variables, inputs, train=False, **options)
    except MISFITS as error:
        raise ValueError(
            f"variables: got {list(variables)}, expected the params and state of this {type(model).__name__}; {error}"
        ) from error


def _is_stack(sown: Any) -> bool:
    """True for what a `ConvStack` has sown: the maps of its blocks."""
    return isinstance(sown, Mapping) and all(
        isinstance(block, Mapping) and "maps" in block for block in sown.values()
    )


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
        ValueError: the test data lack a field, a label has no name, or the model has no `ConvStack` of this name; or as
            in `class_probabilities`.
        TypeError: params, model_state or the test data are not a dict, the names are one text or no list; or as in
            `class_probabilities`.
    """
    check_instance("params", params, Mapping, "a dict, the parameters of the model")
    check_instance("model_state", model_state, Mapping, "a dict, the other variables of the model")
    images, labels, names = labeled_images(test, names)
    variables = {**model_state, "params": params}
    probabilities = class_probabilities(model, variables, images)
    maps = block_maps(model, variables, images[0])
    kernel = np.asarray(params["stack"]["block_0"]["conv_0"]["kernel"])
    return image_classifier({"inputs": images, "labels": labels}, probabilities, kernel, maps, names)
