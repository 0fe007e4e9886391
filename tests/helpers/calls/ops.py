"""Good calls of the functions of `dlcore.ops`, with the kind of each argument."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import dlcore as dl
from tests.helpers.calls.kinds import Argument, Call, booleans, choice, floats, integer, integers, kind

LENGTHS = integers(3, 1, most=4, optional=True)


def call(function: Callable[..., Any], *, traced: bool = True, **arguments: Argument) -> Call:
    return Call(f"ops: {function.__name__}", function, arguments, traced)


def window(good: Any, *, optional: bool = False, zero: int = 0) -> Argument:
    """A number of pixels, or one for each of the spatial dimensions."""
    several = integer(2).bad | {
        "zero in it": (zero,),
        "nothing": (),
        "text in it": ("2",),
        "too many": (1, 1, 1),
    }
    known = kind(good, several)
    return known.without("None") if optional else known


PADDING = kind(
    0, {"a word": "same", "None": None, "-1": -1, "2.5": 2.5, "an object": object(), "text in it": ("1",)}
)


def ops() -> Iterator[Call]:
    real = floats(4, taken=("a list", "integers"))
    yield call(
        dl.convolve,
        signal=real,
        kernel=floats(2, taken=("a list", "integers")),
        mode=choice("full"),
        method=choice("direct"),
    )
    yield call(
        dl.correlate,
        signal=real,
        kernel=floats(2, taken=("a list", "integers")),
        mode=choice("full"),
        method=choice("direct"),
    )
    maps = floats(2, 4, 2)
    sizes = {"window": window(2), "strides": window(2, optional=True), "padding": PADDING}
    yield call(
        dl.max_pool,
        inputs=maps,
        **sizes,
        dilation=window(1),
        remainder=choice("error"),
        ties=choice("first"),
        lengths=LENGTHS,
    )
    yield call(dl.avg_pool, inputs=maps, **sizes, remainder=choice("error"), lengths=LENGTHS)
    yield call(dl.global_max_pool, inputs=maps, lengths=LENGTHS, ties=choice("first"))
    yield call(dl.global_avg_pool, inputs=maps, lengths=LENGTHS)
    yield call(
        dl.channel_pool,
        inputs=maps.without("rank 1")._replace(names=("size",)),
        size=integer(2),
        kind=choice("max"),
    )
    steps = maps.without("rank 1")._replace(names=("lengths", "mask"))
    mask = booleans(True, optional=True)._replace(good=np.ones((2, 4), bool))
    some = steps.without("integers", "complex numbers")
    yield call(dl.last_over_time, outputs=some, lengths=LENGTHS, mask=mask)
    for pool in (dl.max_over_time, dl.mean_over_time):
        yield call(pool, outputs=steps, lengths=LENGTHS, mask=mask)
    yield call(
        dl.valid_steps,
        lengths=integers(3, 1).without("-1", "rank 2", "too many", "a 0-d array"),
        steps=integer(4, least=0),
    )
    yield call(
        dl.output_size,
        size=integer(6),
        kernel_size=integer(3),
        stride=integer(1),
        padding=kind(0, integer(0, least=0).bad | {"three": (1, 1, 1), "text in it": ("1", "1")}),
        dilation=integer(1),
        remainder=choice("error"),
        traced=False,
    )
