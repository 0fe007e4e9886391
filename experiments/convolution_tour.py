"""The lecture's worked examples of convolution on one page; dlcore computes every result.

    launch/local experiments.convolution_tour                      # draws runs/convolution_tour/tour.png in 4 s
    launch/local experiments.convolution_tour --figure=page.pdf    # another file and format

Each example is a function that draws its part of the page and returns its results. `EXAMPLES` holds the headings.
Source: the lecture's CNN part. Numbers that its text does not give are called "chosen" on the page.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dlcore as dl
from dlcore.cli.errors import fail
from dlcore.plots import number_row

FIGURE = flags.DEFINE_string("figure", "runs/convolution_tour/tour.png", "File of the page.")


def one_dimension(page: Axes, top: float) -> dict[str, Any]:
    """The convolution of two short signals, step by step."""
    x, h = np.array([0.5, 0.5, 0.5]), np.array([3.0, 2, 1])
    y, signal = dl.convolve(x, h), np.pad(x, 2)
    number_row(page, 2.7, top, {"signal x": x, "*  kernel h": h, "=  x * h = y": y})
    for n in range(5):
        kernel = np.full(7, np.nan)  # at k = -2, ..., 4
        kernel[n : n + 3] = h[::-1]
        title = f"flip, shift by n = {n}, multiply, add:\n{products(x, kernel[2:5])} = {y[n]:g} = y[{n}]"
        frame = [signal, kernel, signal * kernel]
        names = () if n else ("x[k]", "h[n - k]", "product")
        left = 2.7 + 7.8 * n
        number_row(page, left, top + 3, {title: frame}, row_labels=names, column_labels=range(-2, 5))
    return {"convolution_1d": y}


def two_dimensions(page: Axes, top: float) -> dict[str, Any]:
    """The convolution of an image with a Sobel kernel, and one of its numbers in detail."""
    x, h = np.arange(1.0, 10).reshape(3, 3), np.array([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])
    y, turned = dl.convolve(x, h, mode="same"), np.flip(h)
    number_row(page, 1, top, {"image x": x, "*  Sobel kernel h": h})
    number_row(page, 10, top, {"=  x * h = y": y}, marked=np.outer([0, 1, 0], [0, 1, 0]))
    terms = {"for y[1, 1] flip: h turned by 180°": turned, "multiply: x · turned h": x * turned}
    number_row(page, 18, top, terms)
    page.text(32, top, f"add:\n   {products(x, turned)}\n=  {(x * turned).sum():g}", va="top")
    return {"convolution_2d": y}


def layer(page: Axes, top: float) -> dict[str, Any]:
    """A convolutional layer with two filters, with strides and padding, and max-pooling of its maps."""
    lines = ("010010", "010010", "010010", "100001", "010010", "001100")
    image, first = np.array([[*map(float, line)] for line in lines]), np.arange(6) < 3
    kernel = np.stack([[[-1, 1, -1]] * 3, 2 * np.eye(3) - 1], axis=-1)[:, :, None]  # [F, F, D1, K]
    variables, batch = {"params": {"kernel": kernel}}, image[None, :, :, None]
    conv = lambda stride, zeros: dl.Conv(2, 3, stride, zeros, use_bias=False).apply(variables, batch)[0]
    size = lambda s, p: f"stride {s}, padding {p}:\n(6 - 3 + 2·{p}) / {s} + 1 = {dl.output_size(6, 3, s, p)}"
    maps, padded, strided = conv(1, 0).transpose(2, 0, 1), conv(1, 1)[..., 0], conv(3, 0)[..., 0]
    pooled = dl.max_pool(maps[..., None])[..., 0]
    number_row(page, 1, top, {"image X": image}, marked=np.outer(first, first))
    for k, left in enumerate((10, 27)):
        filters = {f"filter {k + 1}": kernel[:, :, 0, k], size(1, 0): maps[k]}
        number_row(page, left, top, filters | {"max-pool, the\nlargest of 2 x 2": pooled[k]})
    chunk = f"   {products(image[:3, :3], kernel[:, :, 0, 0])}\n=  {maps[0][0, 0]:g} = O[0, 0]"
    page.text(10, top + 4.5, f"filter 1 on the marked chunk:\n{chunk}", va="top")
    number_row(page, 1, top + 8.8, {f"filter 1, {size(1, 1)}": padded, f"filter 1, {size(3, 0)}": strided})
    try:
        conv(2, 0)
    except ValueError as error:
        refusal = f"filter 1, stride 2, padding 0: dl.Conv says\n{error}"
        page.text(16, top + 7.7, refusal.replace("; ", ";\n"), va="top")
    return {"maps": maps, "pooled": pooled, "padding_1": padded, "stride_3": strided}


def backward(page: Axes, top: float) -> dict[str, Any]:
    """The gradients of a layer with respect to its input and its filter, by convolution and by JAX."""
    x, f = np.array([[1.0, 2, 0], [0, 1, 3], [2, 1, 1]]), np.array([[1.0, -1], [2, 3]])
    arriving, forward = np.array([[1.0, 0], [-1, 2]]), lambda x, f: dl.correlate(x, f, mode="valid")
    to_x, to_f = jax.grad(lambda x, f: (forward(x, f) * arriving).sum(), argnums=(0, 1))(x, f)
    output, full, valid = forward(x, f), dl.convolve(arriving, f), forward(x, arriving)
    number_row(page, 1, top, {"X\n(chosen)": x, "F\n(chosen)": f, "O =\ncorrelate(X, F)": output})
    padded = {"dL/dO\n(chosen)": arriving, "with a border\nof zeros": np.pad(arriving, 1)}
    number_row(page, 14, top, padded | {"F turned\nby 180°": np.flip(f), "dL/dX =\nconvolve(dL/dO, F)": full})
    number_row(page, 30, top, {"dL/dX by\njax.grad": to_x})
    number_row(page, 34, top, {"dL/dF =\ncorrelate(X, dL/dO)": valid, "dL/dF by\njax.grad": to_f})
    return {"output": output, "to_x": to_x, "convolved": full, "to_f": to_f, "correlated": valid}


def pooling(page: Axes, top: float) -> dict[str, Any]:
    """The gradient of max-pooling with respect to its input."""
    x = np.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
    arriving, pool = np.array([[1.0, -2], [3, 4]]), lambda x: dl.max_pool(x[None, :, :, None])[0, :, :, 0]
    to_x = jax.grad(lambda x: (pool(x) * arriving).sum())(x)
    forward = {"X (chosen)": x, "O = max_pool(X)": pool(x), "dL/dO (chosen)": arriving}
    number_row(page, 1, top, forward, marked=to_x != 0)
    number_row(page, 15, top, {"dL/dX by jax.grad": to_x}, marked=to_x != 0)
    return {"pool_gradient": to_x}


def parameters(page: Axes, top: float) -> dict[str, Any]:
    """The number of weights of convolutional and fully connected layers."""
    line = "{:12}{:14}{:24}{}".format
    lines, results = [line("image", "filters", "F·F·D1·K + K", "fully connected weights")], []
    for depth, count in ((1, 2), (1, 64), (3, 64)):
        blocks, shape = [dl.ConvBlock(count, 3, padding="VALID", pool=None)], (6, 6, depth)
        total, dense = dl.parameter_count(blocks, shape), dl.describe(blocks, shape).rows[0].dense_weights
        cells = f"3·3·{depth}·{count} + {count} = {total:,}", f"{36 * depth} · {16 * count} = {dense:,}"
        lines.append(line(f"6 x 6 x {depth}", f"{count} of 3 x 3", *cells))
        results.append([total, dense])
    page.text(22, top, "\n".join(lines), va="top", family="monospace", linespacing=1.5)
    return {"parameters": results}


def products(left: np.ndarray, right: np.ndarray) -> str:
    """A sum of products in words, one line for each row; a NaN in ``right`` has no product."""
    line = lambda a, b: " + ".join(f"{x:g} · {w:g}" for x, w in zip(a, b, strict=True) if w == w)
    return "\n+ ".join(map(line, np.atleast_2d(left), np.atleast_2d(right)))


class Example(NamedTuple):
    """A part of the page: the function that draws it, its upper left corner, its heading and its caption."""

    draw: Callable[[Axes, float], dict[str, Any]]
    left: float
    top: float
    heading: str
    caption: str


EXAMPLES = (
    Example(
        one_dimension,
        1,
        1,
        "1. Convolution: flip, shift, multiply, add",
        "y[n] = Σ x[k] h[n - k], k under each frame: dl.convolve(x, h)",
    ),
    Example(
        two_dimensions,
        1,
        12.5,
        "2. In two dimensions: flip both axes",
        'y[m, n] = Σ Σ x[i, j] h[m - i, n - j]: dl.convolve(x, h, mode="same")',
    ),
    Example(
        layer,
        1,
        20.5,
        "3. A layer looks for its filters' patterns everywhere",
        "O[m, n] = Σ Σ X[m S + i, n S + j] F[i, j], without a flip",
    ),
    Example(
        backward,
        1,
        40.4,
        "4. Backward through a layer",
        "dL/dX is the full convolution of dL/dO with F, dL/dF correlates X with dL/dO",
    ),
    Example(
        pooling,
        1,
        49.8,
        "5. Backward through max-pooling",
        "Each gradient goes to the cell that its value came from",
    ),
    Example(
        parameters,
        22,
        49.8,
        "6. Fewer weights than a fully connected layer",
        "Every filter has F·F·D1 weights for all places of the image",
    ),
)


def draw(figure: Figure) -> dict[str, Any]:
    """Draws all examples; returns their results."""
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, 42), ylim=(58.5, 0))
    results: dict[str, Any] = {}
    for example in EXAMPLES:
        page.text(example.left, example.top, example.heading, fontsize=13, weight="bold", va="top")
        page.text(example.left, example.top + 1.1, example.caption, color="#555555", va="top")
        results |= example.draw(page, example.top + 3.7)
    return results


def main(_: list[str]) -> None:
    figure, path = Figure((14, 19.5), dpi=110), Path(FIGURE.value)
    results = {"figure": str(path), **draw(figure)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format=path.suffix[1:])
    except (OSError, ValueError) as error:
        fail(f"--figure: got {str(path)!r} ({error}), expected a file in a folder, with a suffix like .png")
    print(f"figure: {path}", file=sys.stderr)
    print("result:", json.dumps(results, default=lambda array: array.tolist()))


if __name__ == "__main__":
    app.run(main, argv=[sys.argv[0], "--verbosity=-1", *sys.argv[1:]])  # show only warnings of libraries
