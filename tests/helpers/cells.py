"""Checks for every recurrent cell: its equations with all gradients against NumPy, and padding that does nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from tests.helpers import reference

KEY = jax.random.key(0)


def problem(cell, shape, scale=1.0):
    """Random parameters, initial carry and inputs ``[B, T, ...]`` of a cell: everything that has a gradient."""
    generator = np.random.default_rng(1)
    one_step = jax.ShapeDtypeStruct((shape[0], *shape[2:]), jnp.float32)
    carry = jax.eval_shape(lambda: cell.initialize_carry(KEY, one_step.shape))
    shapes = jax.eval_shape(cell.init, KEY, carry, one_step)["params"]
    params = {name: scale * generator.normal(size=leaf.shape) for name, leaf in shapes.items()}
    leaves = jax.tree.leaves(carry)
    state = {f"carry {part}": generator.normal(size=leaf.shape) for part, leaf in enumerate(leaves)}
    return params | state | {"inputs": generator.normal(size=shape)}


def parts(arguments):
    """Parameters, inputs and the parts of the carry of a `problem`."""
    state = tuple(arguments[name] for name in sorted(arguments) if name.startswith("carry"))
    names = [name for name in arguments if name != "inputs" and not name.startswith("carry")]
    return {name: arguments[name] for name in names}, arguments["inputs"], state


def as_carry(state):
    return state if len(state) > 1 else state[0]


@functools.cache
def differentiated(cell, reverse=False):
    """``arguments, lengths, weights [B] of rows -> gradients, (carry, outputs)`` in `Recurrent`."""
    layer = dl.Recurrent(cell, reverse=reverse)

    def loss(arguments, lengths, rows):
        params, inputs, state = parts(arguments)
        carry, outputs = layer.apply({"params": {"cell": params}}, inputs, lengths, as_carry(state))
        return functional(jax.tree.leaves(carry), outputs, rows), (carry, outputs)

    return jax.jit(jax.grad(loss, has_aux=True))


def functional(carry, outputs, rows):
    """A number to which every output and every part of the carry contributes differently."""
    weights = np.cos(np.arange(np.prod(outputs.shape[1:]))).reshape(outputs.shape[1:])
    each = [outputs * weights, *(part * part for part in carry)]
    return (rows * sum(part.reshape(len(rows), -1).sum(1) for part in each)).sum()


def check_equations(cell, step, arguments, lengths, reverse, dtype):
    """Asserts that outputs, carry and all gradients are those of the NumPy step in float64."""
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]

    def unroll(arguments):
        return reference.unroll(step, *parts(arguments), lengths, reverse)

    rows = np.ones(len(arguments["inputs"]))
    final, outputs = unroll(arguments)
    expected = reference.gradients(lambda moved: functional(*unroll(moved), rows), arguments)
    with jax.enable_x64(dtype == "float64"):
        typed = {key: jnp.asarray(array, dtype) for key, array in arguments.items()}
        gradients, (carry, states) = differentiated(cell, reverse)(typed, lengths, jnp.asarray(rows, dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves((gradients, carry, states))} == {jnp.dtype(dtype)}
    np.testing.assert_allclose(states, outputs, rtol=tolerance, atol=tolerance)
    for part, reached in zip(jax.tree.leaves(carry), final, strict=True):
        np.testing.assert_allclose(part, reached, rtol=tolerance, atol=tolerance)
    for key, gradient in expected.items():
        atol = tolerance * max(1.0, np.abs(gradient).max())
        np.testing.assert_allclose(gradients[key], gradient, rtol=0, atol=atol, err_msg=key)


def check_padding(cell, arguments, lengths, reverse):
    """Asserts that padding does nothing, and that the last row, which is padded, equals the trimmed row.

    Row 1 must have length 0.
    """
    function = differentiated(cell, reverse)
    arguments = {key: jnp.asarray(array, jnp.float32) for key, array in arguments.items()}
    steps, length = arguments["inputs"].shape[1], lengths[-1]
    valid = np.arange(steps) < lengths[:, None]
    mask = valid.reshape(*valid.shape, *[1] * (arguments["inputs"].ndim - 2))
    padded = [arguments | {"inputs": jnp.where(mask, arguments["inputs"], value)} for value in (0, jnp.nan)]
    clean, spoilt = (function(filled, lengths, jnp.ones(len(lengths))) for filled in padded)
    jax.tree.map(np.testing.assert_array_equal, spoilt, clean)
    carry, outputs = clean[1]
    assert not np.asarray(outputs)[~valid].any()
    for part, before in zip(jax.tree.leaves(carry), parts(arguments)[2], strict=True):
        np.testing.assert_array_equal(part[1], before[1])

    gradients, _ = function(padded[0], lengths, jnp.eye(len(lengths))[-1])  # those of the last row alone
    last = lambda tree: {
        key: of[-1:] if key.startswith(("carry", "inputs")) else of for key, of in tree.items()
    }
    row = last(arguments) | {"inputs": arguments["inputs"][-1:, :length]}
    trimmed, (row_carry, row_outputs) = function(row, None, jnp.ones(1))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    close(outputs[-1:, :length], row_outputs)
    jax.tree.map(lambda part, alone: close(part[-1:], alone), carry, row_carry)
    of_row = last(gradients) | {"inputs": gradients["inputs"][-1:, :length]}
    # A sum over rows of other numbers is rounded differently.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), of_row, trimmed)


def some_slow(names, fast):
    """The names as parameters of a test; those that are not in ``fast`` are slow."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def whole_and_padded(lengths):
    """Parameters ``lengths, reverse, dtype`` of a test: whole rows forward, and padded rows in reverse."""
    return pytest.mark.parametrize(
        ("lengths", "reverse", "dtype"),
        [
            pytest.param(None, False, "float64", marks=pytest.mark.slow),
            (lengths, True, "float32"),
            pytest.param(lengths, True, "float64", marks=pytest.mark.slow),
        ],
        ids=["whole, float64", "reverse, float32", "reverse, float64"],
    )
