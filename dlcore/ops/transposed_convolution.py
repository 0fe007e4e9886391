"""Transposed convolution: the transpose of a convolutional layer's product, which makes maps larger.

A convolutional layer reads ``X[m S + i D - P]`` for its output m. Its transpose writes to these places what came from
output m, so that ``<conv(x), y> = <x, transposed(y)>``. The backward pass of a convolution to its input is the same
product (lecture: backward pass of convolutional layers).
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.ops.arrays import check_floats, check_integers
from dlcore.ops.dimensions import Padding, per_dimension, resolve_padding
from dlcore.ops.direct_convolution import correlate_on_cpu, dimension_numbers
from dlcore.ops.sizes import Geometry
from dlcore.utils.checks import check_integer, shown


def correlate_transposed(
    inputs: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    output_padding: int | Sequence[int] = 0,
) -> jax.Array:
    """The transpose of `convolution.correlate_channels` (Dumoulin & Visin 2016, arXiv 1603.07285, section 4)

        O_k[n] = sum_{d, m, i} F_d[i, k] X[m, d]    over all m, i with  m S + i D - P = n

    There are ``(N - 1) S - 2P + (F - 1) D + 1 + output_padding`` outputs along a dimension of N inputs.

    Args:
        inputs: X, ``[B, *spatial, D1]``.
        kernel: F, ``[*kernel_size, K / groups, D1]``, as a convolution from K to D1 channels holds it. torch has the
            same kernel as ``[D1, K / groups, *kernel_size]``.
        strides: S, the number of outputs from one input to the next.
        padding: P, the number of outputs that are cut at every border, or a number or a pair (before, after) for each
            dimension. ``"VALID"`` is 0. ``"SAME"`` gives N S outputs, those of the transpose of a convolution with
            "SAME" padding.
        dilation: D, distance in outputs of neighboring weights of a filter.
        groups: number of groups into which the channels are cut. A group writes only to its own channels.
        output_padding: number of additional outputs at the end, 0 to S - 1, or one number for each dimension. A
            convolution with ``remainder="floor"`` drops so many of its last inputs.

    Returns:
        O, ``[B, *outputs, K]``, in the dtype of the inputs.

    Raises:
        ValueError: ranks, channels, groups or sizes do not fit, or an option is out of its bounds or unknown.
        TypeError: inputs or kernel are not real floating point numbers, or a number is not an integer.

    >>> correlate_transposed(jnp.array([[[1.0], [2.0]]]), jnp.ones((3, 1, 1)), strides=2)[0, :, 0].tolist()
    [1.0, 1.0, 3.0, 2.0, 2.0]
    """
    inputs, kernel = check_floats("inputs", inputs), check_floats("kernel", kernel)
    check_transposed_shapes(inputs.shape, kernel.shape, groups)
    window, sizes = kernel.shape[:-2], inputs.shape[1:-1]
    strides, dilation = (
        per_dimension(name, value, len(window))
        for name, value in (("strides", strides), ("dilation", dilation))
    )
    cuts = resolve_cuts(padding, window, strides, dilation, output_padding)
    numbers = zip(sizes, window, strides, cuts, dilation, strict=True)
    outputs = tuple(transposed_size(*each) for each in numbers)
    edges = [
        ((cells - 1) * spread - before, (cells - 1) * spread - after)
        for cells, spread, (before, after) in zip(window, dilation, cuts, strict=True)
    ]
    geometry = Geometry(window, (1,) * len(window), tuple(edges), dilation, outputs)
    return _correlate_apart(inputs, _flipped(kernel.astype(inputs.dtype), groups), geometry, strides, groups)


def _correlate_apart(
    inputs: jax.Array, kernel: jax.Array, geometry: Geometry, distance: Sequence[int], groups: int
) -> jax.Array:
    """The correlation with inputs that stand at this distance from each other, with zeros between them.

    The padding of the geometry counts from the first and last input; one below 0 cuts.
    """
    if groups == 1:
        return _correlate_spread(inputs, kernel, geometry, distance)
    on_cpu, elsewhere = (
        functools.partial(product, geometry=geometry, distance=distance, groups=groups)
        for product in (_correlate_filled, _correlate_spread)
    )
    return lax.platform_dependent(inputs, kernel, cpu=on_cpu, default=elsewhere)


def _correlate_spread(
    inputs: jax.Array, kernel: jax.Array, geometry: Geometry, distance: Sequence[int], groups: int = 1
) -> jax.Array:
    """The product as XLA computes it."""
    return lax.conv_general_dilated(
        inputs,
        kernel,
        geometry.strides,
        geometry.padding,
        lhs_dilation=distance,
        rhs_dilation=geometry.dilation,
        dimension_numbers=dimension_numbers(len(geometry.window)),
        feature_group_count=groups,
    )


def _correlate_filled(
    inputs: jax.Array, kernel: jax.Array, geometry: Geometry, distance: Sequence[int], groups: int
) -> jax.Array:
    """The product from inputs with the zeros filled in.

    XLA is slow at groups on a CPU. `correlate_on_cpu` knows faster ways, but no distance between inputs.
    """
    interior = [(*edges, step - 1) for edges, step in zip(geometry.padding, distance, strict=True)]
    inputs = lax.pad(inputs, jnp.zeros((), inputs.dtype), [(0, 0, 0), *interior, (0, 0, 0)])
    unpadded = geometry._replace(padding=((0, 0),) * len(geometry.window))
    return correlate_on_cpu(inputs, kernel, unpadded, groups)


def transposed_size(
    size: int, kernel_size: int, stride: int, cuts: tuple[int, int], dilation: int = 1
) -> int:
    """The number of outputs along one dimension, an int: ``(N - 1) S + (F - 1) D + 1 - cuts``.

    Args:
        size: N, inputs along the dimension.
        kernel_size: F, cells of the filter.
        stride: S, outputs from one input to the next.
        cuts: outputs that are cut (before, after), as `resolve_cuts` gives them.
        dilation: D, outputs from one cell of the filter to the next.

    Raises:
        ValueError: there is no input, or no output is left.

    >>> transposed_size(4, 3, 2, (1, 0))
    8
    """
    check_integer("size", size)
    outputs = (size - 1) * stride + (kernel_size - 1) * dilation + 1 - sum(cuts)
    if outputs < 1:
        raise ValueError(
            f"padding: got {cuts} for size {size}, which cuts all {outputs + sum(cuts)} outputs, expected fewer"
        )
    return outputs


def transposed_lengths(
    lengths: jax.Array, kernel_size: int, stride: int, cuts: tuple[int, int], dilation: int = 1
) -> jax.Array:
    """`transposed_size` of each row of a padded batch, ``[B]`` int32. A row of length 0 has 0 outputs.

    Args:
        lengths: ``[B]`` integers of any integer dtype; one below 0 counts as 0.
        kernel_size: as in `transposed_size`, and so are the other arguments.
        stride: S.
        cuts: outputs that are cut (before, after).
        dilation: D.

    Raises:
        TypeError: the lengths are not an array of integers.

    >>> transposed_lengths(jnp.array([0, 1, 4]), 3, 2, (1, 0)).tolist()
    [0, 2, 8]
    """
    lengths = check_integers("lengths", lengths)
    outputs = (lengths - 1) * stride + (kernel_size - 1) * dilation + 1 - sum(cuts)
    return jnp.where(lengths > 0, jnp.maximum(outputs, 0), 0)


def resolve_cuts(
    padding: Padding,
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    output_padding: int | Sequence[int] = 0,
) -> tuple[tuple[int, int], ...]:
    """The number of outputs that are cut (before, after) in each dimension; one below 0 adds outputs at the end.

    Args:
        padding: as in `correlate_transposed`.
        window: F for each dimension.
        strides: S for each dimension.
        dilation: D for each dimension.
        output_padding: as in `correlate_transposed`.

    Raises:
        ValueError: a number is out of its bounds, an argument has another number of entries, or the padding's name is
            unknown.
        TypeError: a number is not an integer.
    """
    extents = [(cells - 1) * spread + 1 for cells, spread in zip(window, dilation, strict=True)]
    _check_name(padding, extents, strides)
    more = per_dimension("output_padding", output_padding, len(window), minimum=0)
    if any(extra >= stride for extra, stride in zip(more, strides, strict=True)):
        raise ValueError(
            f"output_padding: got {shown(output_padding)}, expected less than the strides {tuple(strides)}"
        )
    pairs = resolve_padding(padding, strides, window, strides, dilation)
    if not isinstance(padding, str) or padding == "VALID":
        return tuple((before, after - extra) for (before, after), extra in zip(pairs, more, strict=True))
    if any(more):
        raise ValueError(
            f'output_padding: got {shown(output_padding)} with padding="SAME", expected 0; there are N S outputs'
        )
    return tuple(
        (before, extent - stride - before)
        for (before, _), extent, stride in zip(pairs, extents, strides, strict=True)
    )


def _check_name(padding: Padding, extents: Sequence[int], strides: Sequence[int]) -> None:
    """Checks the name of a padding; a transposed "CAUSAL" convolution would see only the future."""
    if not isinstance(padding, str) or padding in ("SAME", "VALID"):
        return
    fitting = (
        f"; padding=[(0, {extents[0] - strides[0]})] cuts what sees the future" if padding == "CAUSAL" else ""
    )
    raise ValueError(
        f'padding: got "{padding}", expected "SAME", "VALID", an integer or pairs (before, after){fitting}'
    )


def check_transposed_shapes(input_shape: Sequence[int], kernel_shape: Sequence[int], groups: int) -> None:
    """Checks that a kernel fits inputs.

    Args:
        input_shape: ``[B, *spatial, D1]``.
        kernel_shape: ``[*kernel_size, K / groups, D1]``.
        groups: number of groups of channels, a divisor of D1.

    Raises:
        ValueError: the ranks do not agree, channels and groups do not, or there is no channel.
        TypeError: groups is not an integer.
    """
    rank = len(kernel_shape) - 2
    if rank < 1 or len(input_shape) != rank + 2 or not input_shape[-1]:
        raise ValueError(
            f"inputs: got shape {tuple(input_shape)} for a kernel of shape {tuple(kernel_shape)}, expected "
            "[B, *spatial, channels] with at least one channel and as many spatial dimensions as the kernel has"
        )
    check_integer("groups", groups)
    if input_shape[-1] != kernel_shape[-1] or input_shape[-1] % groups:
        raise ValueError(
            f"groups: got {groups} for {input_shape[-1]} input channels and a kernel of shape {tuple(kernel_shape)}, "
            "expected a divisor of the input channels, which are the kernel's last dimension"
        )


def _flipped(kernel: jax.Array, groups: int) -> jax.Array:
    """The kernel ``[*kernel_size, K / groups, D1]`` as a correlation takes it, ``[*kernel_size, D1 / groups, K]``."""
    *window, features, depth = kernel.shape
    flipped = jnp.flip(kernel, range(len(window))).reshape(*window, features, groups, depth // groups)
    return jnp.swapaxes(flipped, -1, -3).reshape(*window, depth // groups, groups * features)
