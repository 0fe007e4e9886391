"""Names of parameters say which ones decay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.training.optimizers.decay import is_decayed, is_kernel
from dlcore.utils.trees import named_leaves
from tests.helpers.layers import CASES


def test_what_is_decayed_is_said_by_names_and_not_by_ranks():
    stack = dl.DeepRecurrent(dl.LayerNormLSTMCell(4), layers=3, norm="layer")
    direct = dl.Recurrent(dl.RNNCell(4, connections="direct"))
    inputs = jax.ShapeDtypeStruct((2, 3, 2), jnp.float32)
    params = [jax.eval_shape(layer.init, jax.random.key(0), inputs)["params"] for layer in (stack, direct)]
    upper, cell = params[0]["upper"], params[1]["cell"]
    assert upper["layer"]["cell"]["bias"].ndim == upper["norm"]["scale"].ndim == 2
    assert cell["recurrent_kernel"].shape == (4,)
    decayed = named_leaves(is_decayed(params))
    assert {name.rpartition("/")[2] for name, value in decayed.items() if value} == {
        "input_kernel",
        "recurrent_kernel",
    }
    assert {name.rpartition("/")[2] for name, value in decayed.items() if not value} == {
        "bias", "cell_bias", "cell_scale", "input_scale", "recurrent_scale", "scale",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].layer is not None])
def test_every_parameter_of_every_layer_says_whether_it_is_a_kernel(name):
    case = CASES[name]
    for path in named_leaves(case.arguments()["params"]):
        assert is_kernel(path.rpartition("/")[2]) is not None, path


def test_parameters_whose_names_say_nothing_are_kernels_if_they_are_matrices():
    matrix, vector = np.ones((2, 3)), np.ones(3)
    haiku = {"linear": {"w": matrix, "b": vector}, "layer_norm": {"scale": vector, "offset": vector}}
    assert named_leaves(is_decayed(haiku)) == {
        "linear/w": True, "linear/b": False, "layer_norm/scale": False, "layer_norm/offset": False,
    }  # fmt: skip
    assert is_decayed([(matrix, vector), {"w1": matrix}]) == [(True, False), {"w1": True}]
    boxed = {"kernel": nn.Partitioned(vector, ("model",)), "bias": nn.Partitioned(matrix, (None, "model"))}
    assert jax.tree.leaves(is_decayed(boxed)) == [False, True]  # in the order of their names
    assert is_decayed({"embedding": matrix, "up_bias": [matrix, matrix]}) == {
        "embedding": True,
        "up_bias": [False, False],
    }
