"""Probabilities, maps and figures of a classifier, against its forward pass."""

import jax
import numpy as np
import pytest
from flax import linen as nn
from scipy.special import softmax

import dlcore as dl


class Model(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train=False):
        maps = dl.ConvStack([dl.ConvBlock(3), dl.ConvBlock(5, dropout=0.5)], name="stack")(
            inputs, train=train
        )
        return nn.Dense(4)(dl.flatten(maps))


def random_variables(model, images):
    """Normally distributed variables, which need no compilation."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    return jax.tree.map(lambda leaf: random.normal(scale=0.3, size=leaf.shape).astype(leaf.dtype), shapes)


def test_probabilities_and_maps_are_those_of_the_forward_pass():
    model, images = Model(), np.random.default_rng(0).normal(size=(7, 8, 8, 1)).astype(np.float32)
    variables = random_variables(model, images)
    logits = jax.jit(model.apply)(variables, images)
    probabilities = dl.class_probabilities(model, variables, images, batch_size=3)
    np.testing.assert_allclose(probabilities, softmax(logits, axis=1), rtol=1e-5, atol=1e-6)
    maps = dl.block_maps(model, variables, images[2])
    assert {name: block.shape for name, block in maps.items()} == {"block_0": (4, 4, 3), "block_1": (2, 2, 5)}
    dense = variables["params"]["Dense_0"]
    logits = maps["block_1"].reshape(-1) @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(softmax(logits), probabilities[2], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_figures_of_a_classifier_are_drawn_from_its_parameters(drawn):
    model = Model()
    random = np.random.default_rng(0)
    test = {"inputs": random.normal(size=(7, 8, 8, 1)).astype(np.float32), "labels": np.arange(7) % 4}
    params = jax.jit(model.init)(jax.random.key(0), test["inputs"])["params"]
    figures = dl.classifier_figures(model, list("abcd"), test, params, {})
    assert len(figures) > 1
    drawn(next(iter(figures.values())))


def test_models_images_and_names_that_do_not_fit_are_refused_by_name():
    model, images = Model(), np.zeros((2, 8, 8, 1), np.float32)
    variables = random_variables(model, images)
    with pytest.raises(TypeError, match=r"model: got .*, expected a flax module"):
        dl.class_probabilities(len, variables, images)
    with pytest.raises(TypeError, match="images: got list, expected an array"):
        dl.class_probabilities(model, variables, images.tolist())
    for wrong in (images[0], images[:0]):
        with pytest.raises(ValueError, match="images: got shape"):
            dl.class_probabilities(model, variables, wrong)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        dl.class_probabilities(model, variables, images, batch_size=0)
    with pytest.raises(ValueError, match=r"image: got shape \(8, 8\), expected \[H, W, C\]"):
        dl.block_maps(model, variables, images[0, ..., 0])
    with pytest.raises(ValueError, match=r"stack: got 'other', expected the name of a ConvStack .*'stack'"):
        dl.block_maps(model, variables, images[0], stack="other")
    with pytest.raises(ValueError, match=r"image: got shape \(0, 8, 1\), expected \[H, W, C\]"):
        dl.block_maps(model, variables, images[0, :0])
    with pytest.raises(ValueError, match=r"test: got .*labels missing"):
        dl.classifier_figures(model, list("abcd"), {"inputs": images}, variables["params"], {})


def test_variables_of_another_model_are_refused_by_name():
    model, images = Model(), np.zeros((2, 8, 8, 1), np.float32)
    params = random_variables(model, images)["params"]
    others = ({}, {"params": {}}, {"params": {"stack": params["stack"]}}, {"params": 3}, params)
    for variables in others:
        with pytest.raises(
            ValueError, match=r"variables: got .*, expected the params and state of this Model"
        ):
            dl.class_probabilities(model, variables, images)
    with pytest.raises(TypeError, match="variables: got None, expected a dict"):
        dl.block_maps(model, None, images[0])
    test = {"inputs": images, "labels": np.array([0, 1])}
    with pytest.raises(TypeError, match="params: got None, expected a dict"):
        dl.classifier_figures(model, list("abcd"), test, None, {})
    with pytest.raises(TypeError, match="model_state: got None, expected a dict"):
        dl.classifier_figures(model, list("abcd"), test, params, None)


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, inputs, *, train=False):
        return Model(name="inner")(inputs, train=train)


def test_a_module_around_a_stack_is_no_stack():
    model, images = Encoder(), np.zeros((2, 8, 8, 1), np.float32)
    with pytest.raises(
        ValueError, match=r"stack: got 'inner', expected the name of a ConvStack in the model"
    ):
        dl.block_maps(model, random_variables(model, images), images[0], stack="inner")
