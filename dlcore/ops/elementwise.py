"""Whether a function acts on each element of an array by itself, as an activation does."""

from collections.abc import Callable

import jax

from dlcore.utils.jaxprs import operations

ELEMENTWISE = frozenset({
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh",
    "broadcast_in_dim", "cbrt", "ceil", "clamp", "closed_call", "convert_element_type", "copy", "copy_p", "cos",
    "cosh", "custom_jvp_call", "custom_vjp_call", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp",
    "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "jit", "le", "lgamma", "log", "log1p",
    "logistic", "lt", "max", "min", "mul", "ne", "neg", "nextafter", "not", "one_minus_square", "or", "pow",
    "pvary", "reduce_precision", "rem", "remat2", "round", "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt", "square",
    "stop_gradient", "sub", "tan", "tanh", "xor",
})  # fmt: skip
"""Names of JAX's operations that move no value from one place of an array to another, and of nested programs."""


def is_elementwise(function: Callable[[jax.Array], jax.Array], values: jax.Array) -> bool:
    """True if the function's derivative at an element depends on this element only, as far as JAX's program shows.

    JAX traces the derivative. The result is False if the program contains an operation that is not in `ELEMENTWISE`, or
    if the function closes over a value of an outer transformation, such as a parameter.

    Args:
        function: a function from an array to a floating point array of the same shape and dtype.
        values: an array, of which only shape and dtype count.

    >>> values = jax.numpy.ones((2, 3))
    >>> is_elementwise(jax.nn.gelu, values), is_elementwise(jax.nn.softmax, values)
    (True, False)
    """
    like = jax.ShapeDtypeStruct(values.shape, values.dtype)
    program = jax.make_jaxpr(lambda values, change: jax.vjp(function, values)[1](change))(like, like)
    captured = any(isinstance(constant, jax.core.Tracer) for constant in program.consts)
    return not captured and ELEMENTWISE.issuperset(operations(program.jaxpr))
