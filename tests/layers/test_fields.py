"""Fields are checked by their types, and parameters by their shapes."""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.typing import Dtype, Initializer

import dlcore as dl
from dlcore.layers.fields import check_fields, parameter


class Module(nn.Module):
    """A field of every kind."""

    flag: bool = False
    size: int = 2
    steps: int | None = None
    rate: float = 0.5
    word: Literal["one", "two"] = "one"
    norm: Literal["layer"] | None = None
    init: Initializer = nn.initializers.zeros
    function: Callable[[jax.Array], jax.Array] = jnp.tanh
    inner: nn.Module | None = None
    cell: nn.RNNCellBase | None = None
    window: int | Sequence[int] = 3
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def __post_init__(self) -> None:
        check_fields(self)
        super().__post_init__()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("flag", "no", "True or False"),
        ("flag", 1, "True or False"),
        ("size", 0, "an integer >= 1"),
        ("size", "3", "an integer >= 1"),
        ("size", None, "an integer >= 1"),
        ("size", np.array(3), "an integer >= 1"),
        ("steps", 2.5, "an integer >= 1"),
        ("rate", float("nan"), "a number in"),
        ("rate", "0.5", "a number in"),
        ("word", "One", '"one" or "two"'),
        ("word", None, '"one" or "two"'),
        ("norm", "batch", '"layer" or None'),
        ("init", "zeros", "a function such as nn.initializers.zeros"),
        ("function", 3, "a function such as jnp.tanh"),
        ("inner", nn.Dense, "a module such as nn.Dense"),
        ("cell", nn.Dense(2), "a cell such as dl.GRUCell"),
        ("dtype", jnp.int32, "a dtype of floating point numbers"),
        ("param_dtype", None, "a dtype of floating point numbers"),
    ],
)
def test_a_field_of_another_type_is_named(field, value, expected):
    with pytest.raises((ValueError, TypeError), match=f"^{field}: got .*expected {expected}"):
        Module(**{field: value})


def test_fields_that_fit_are_taken():
    Module(True, np.int64(3), 4, 1, "two", "layer", nn.initializers.ones, nn.relu, nn.Dense(2), dl.GRUCell(2))
    Module(window="not checked here", dtype=jnp.bfloat16, param_dtype="float64")


def test_a_parameter_of_another_shape_is_named_with_its_path():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            return Layer(name="layer")(inputs)

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            return inputs * parameter(self, "scale", nn.initializers.ones, inputs.shape[-1:], jnp.float32)

    outputs, variables = Model().init_with_output(jax.random.key(0), jnp.ones(3))
    assert outputs.shape == variables["params"]["layer"]["scale"].shape == (3,)
    with pytest.raises(
        ValueError, match=r"params: got layer/scale of shape \(3,\), expected \(4,\) for a Layer"
    ):
        Model().apply(variables, jnp.ones(4))
