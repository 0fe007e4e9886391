"""Arrays of layers that are not recurrent: the order of axes by index, and names within a model."""

import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.convert.layer_arrays import entries_of, full_name, take_under


def changes(layer, library, name, flattened=None):
    entry = next(entry for entry in entries_of(layer, library, flattened) if entry.ours == name)
    return entry.theirs, entry.read, entry.write


@pytest.mark.parametrize("kernel_size", [(3,), (3, 2), (3, 2, 4)])
@pytest.mark.parametrize("flip", [False, True])
def test_kernels_of_torch_have_the_channels_first_and_flipped_filters_are_flipped(kernel_size, flip):
    weight = np.random.default_rng(0).normal(size=(6, 2, *kernel_size))
    name, read, write = changes(dl.Conv(6, kernel_size, groups=2, flip=flip), "torch", "params/kernel")
    kernel = read(weight)
    assert (name, kernel.shape) == ("weight", (*kernel_size, 2, 6))
    for place in np.ndindex(*kernel_size):
        source = tuple(size - 1 - at for size, at in zip(kernel_size, place, strict=True)) if flip else place
        np.testing.assert_array_equal(kernel[place], weight[(..., *source)].T)
    np.testing.assert_array_equal(write(kernel), weight)
    _, read, write = changes(dl.Conv(6, kernel_size, groups=2, flip=flip), "flax", "params/kernel")
    np.testing.assert_array_equal(read(kernel), np.flip(kernel, range(len(kernel_size))) if flip else kernel)
    np.testing.assert_array_equal(write(read(kernel)), kernel)


def test_a_convolution_of_flax_whose_kernel_size_is_a_number_is_over_sequences():
    weight = np.random.default_rng(0).normal(size=(6, 2, 3))
    _, read, write = changes(nn.Conv(6, 3), "torch", "params/kernel")
    np.testing.assert_array_equal(read(weight)[1], weight[..., 1].T)
    np.testing.assert_array_equal(write(read(weight)), weight)


def test_dense_kernels_after_a_flatten():
    weight = np.random.default_rng(0).normal(size=(7, 2 * 3 * 4))
    maps = np.random.default_rng(1).normal(size=(2, 3, 4))
    _, read, write = changes(nn.Dense(7), "torch", "params/kernel", (2, 3, 4))
    kernel = read(weight)
    np.testing.assert_allclose(np.moveaxis(maps, 0, -1).ravel() @ kernel, weight @ maps.ravel())
    np.testing.assert_array_equal(write(kernel), weight)
    _, read, write = changes(nn.Dense(7), "torch", "params/kernel")
    np.testing.assert_array_equal(read(weight), weight.T)
    np.testing.assert_array_equal(write(read(weight)), weight)


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nn.BatchNorm(), ("weight", "bias", "running_mean", "running_var")),
        (nn.Embed(3, 4), ("weight",)),
        (nn.Dense(2), ("weight", "bias")),
        (nn.Dropout(0.5), ()),
    ],
)
def test_names_of_torch(layer, names):
    assert tuple(entry.theirs for entry in entries_of(layer, "torch"))[: len(names)] == names
    ours = [entry.ours for entry in entries_of(layer, "torch")]
    assert [entry.theirs for entry in entries_of(layer, "flax")] == ours


def test_names_within_a_model_lead_back_to_the_layer():
    for library, name in (("torch", "weight"), ("flax", "params/kernel")):
        for path in ("", "a", "a.b" if library == "torch" else "a/b"):
            full = full_name(library, path, name)
            arrays = {full: 1, "params/other/kernel": 2} if path else {full: 1}
            assert take_under(arrays, library, path) == {name: 1}
            assert len(arrays) == bool(path)


def test_a_transposed_convolution_of_torch_has_the_inputs_first():
    weight = np.random.default_rng(0).normal(size=(4, 3, 5, 2))  # [D1, K / groups, *kernel_size]
    name, read, write = changes(dl.ConvTranspose(6, (5, 2), groups=2), "torch", "params/kernel")
    assert (name, read(weight).shape) == ("weight", (5, 2, 3, 4))
    np.testing.assert_array_equal(read(weight)[1, 0], weight[..., 1, 0].T)
    np.testing.assert_array_equal(write(read(weight)), weight)
