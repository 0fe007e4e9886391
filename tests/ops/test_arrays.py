"""Helpers for arrays: dtypes, trailing axes and a choice by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.arrays import (
    are_whole,
    at_least_float32,
    check_array,
    check_dtypes,
    check_floats,
    check_integers,
    check_key,
    expand_to_rank,
    where_rows,
)


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.complex64])
def test_arrays_without_real_floats_are_refused_by_name(dtype):
    with pytest.raises(
        TypeError, match=f"weights: got {np.dtype(dtype)}, expected floating point numbers; convert"
    ):
        check_floats("weights", np.ones(2, dtype))


def test_every_real_float_is_accepted():
    for dtype in (np.float16, jnp.bfloat16, np.float32, np.float64):
        check_floats("weights", np.ones(2, dtype))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], r"weights: got list, expected an array of numbers; jnp.array\(weights\)"),
        (None, "weights: got None, expected an array of numbers"),
        (1.0, "weights: got 1.0, expected an array"),
        ("text", "weights: got 'text', expected an array"),
        (np.array(["text"]), "weights: got <U4, expected an array of numbers"),
        (np.array([None]), "weights: got object, expected an array of numbers"),
        (
            np.ma.masked_array([1.0, 2.0], [True, False]),
            "weights: got a masked array, whose mask would be ignored",
        ),
    ],
)
def test_what_is_no_array_is_refused_by_name(values, message):
    with pytest.raises(TypeError, match=message):
        check_array("weights", values)


def test_an_array_of_too_few_axes_is_refused_with_the_expected_axes():
    for check in (check_array, check_floats):
        with pytest.raises(ValueError, match=r"frames: got shape \(3,\), expected \[B, T, ...\]"):
            check("frames", np.ones(3, np.float32), 2, "[B, T, ...]")
    with pytest.raises(ValueError, match=r"labels: got shape \(\), expected \[B\]"):
        check_integers("labels", np.int32(3), 1, "[B]")


INTEGERS = ("int2", "int4", "uint4", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_dtype_become_int32(dtype):
    values = np.array([0, 1], jnp.dtype(dtype))
    for integers in (values, jnp.asarray(values)):
        checked = check_integers("labels", integers)
        assert checked.dtype == np.int32
        assert checked.tolist() == [0, 1]


def test_integers_beyond_int32_become_the_nearest():
    for values, expected in (
        (np.array([2**31, 2**32 - 1], np.uint32), [2**31 - 1] * 2),
        (np.array([-(2**40), 2**40], np.int64), [-(2**31), 2**31 - 1]),
        (np.array([0, 2**64 - 1], np.uint64), [0, 2**31 - 1]),
    ):
        assert check_integers("labels", values).tolist() == expected
    traced = jax.jit(lambda values: check_integers("labels", values))
    assert traced(np.array([2**31], np.uint32)).tolist() == [2**31 - 1]


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.complex64])
def test_arrays_without_integers_are_refused_by_name(dtype):
    with pytest.raises(TypeError, match=f"labels: got {np.dtype(dtype)}, expected integers"):
        check_integers("labels", np.ones(2, dtype))


def test_dtypes_of_a_layer_are_real_floats():
    check_dtypes(None, "float32")
    check_dtypes(jnp.bfloat16, np.float16)
    for wrong in ("bogus", int, jnp.int32, jnp.complex64, 0.5, {}):
        for name, dtypes in (("param_dtype", (None, wrong)), ("dtype", (wrong, jnp.float32))):
            with pytest.raises(
                TypeError, match=f"^{name}: got .*, expected a dtype of floating point numbers"
            ):
                check_dtypes(*dtypes)
    with pytest.raises(TypeError, match="param_dtype: got None"):
        check_dtypes(None, None)


def test_the_shape_and_dtype_of_an_array_stand_for_it():
    shape = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    assert check_floats("logits", shape, 2) is shape
    with pytest.raises(TypeError, match="logits: got int32, expected floating point numbers"):
        check_floats("logits", jax.ShapeDtypeStruct((2, 3), jnp.int32))


def test_half_precision_becomes_float32_and_wider_floats_stay():
    with jax.enable_x64(True):
        for dtype, expected in (
            (jnp.bfloat16, "float32"),
            (np.float16, "float32"),
            (np.float32, "float32"),
            (np.float64, "float64"),
        ):
            assert at_least_float32(jnp.ones(2, dtype)).dtype == expected


def test_axes_of_size_one_are_appended():
    array = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(expand_to_rank(array, 4), array[:, :, None, None])
    assert expand_to_rank(array, 2).shape == (2, 3)


def test_rows_are_chosen_whole():
    these, others = np.ones((2, 3, 4)), np.zeros((2, 3, 4))
    rows = np.array([[True, False, True], [False, False, True]])
    chosen = np.asarray(where_rows(rows, these, others))
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(chosen[index], these[index] if rows[index] else others[index])


@pytest.mark.parametrize("key", [jax.random.key(3), jax.random.PRNGKey(3), np.asarray(jax.random.PRNGKey(3))])
def test_one_random_key_of_either_kind_is_accepted(key):
    expected = jax.random.normal(jax.random.PRNGKey(3))
    np.testing.assert_array_equal(jax.random.normal(check_key("rng", key)), expected)


@pytest.mark.parametrize(
    "key",
    [None, 3, "key", np.uint32(3), np.zeros(2, np.int32), jax.random.split(jax.random.key(0))],
)
def test_what_is_no_random_key_is_refused(key):
    with pytest.raises(TypeError, match=r"rng: got .*, expected a random key such as"):
        check_key("rng", key)


def test_arrays_are_whole_on_one_device_and_in_a_shard():
    def seen(devices, per_shard):
        """What a traced program sees of an array on a mesh, and of what it computes from it."""
        mesh = jax.sharding.AbstractMesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        rows = jax.ShapeDtypeStruct((8, 2), np.float32, sharding=jax.NamedSharding(mesh, jax.P("data")))
        found = []

        def function(rows):
            found.append((are_whole({"rows": rows, "none": None}), are_whole([jnp.ones(3), rows.T @ rows])))
            return rows

        whole = jax.shard_map(function, mesh=mesh, in_specs=jax.P("data"), out_specs=jax.P("data"))
        jax.jit(whole if per_shard else function).trace(rows)
        return found[0]

    assert are_whole([np.ones(2), jnp.ones(2)])
    assert seen(1, per_shard=False) == (True, True)
    assert seen(4, per_shard=False) == (False, False)
    assert seen(4, per_shard=True) == (True, True)
