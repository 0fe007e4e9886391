"""Good calls of the modules and functions of `dlcore.layers`, with the kind of each argument."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.layers import convert
from tests.helpers.calls.kinds import (
    Argument,
    Call,
    booleans,
    choice,
    dtype,
    fields,
    flag,
    floats,
    function,
    integer,
    integers,
    kind,
    number,
    rate,
    sequence,
    size,
    thing,
)

INITIALIZER = function(nn.initializers.ones)
OPTIONAL_SIZE = size(2, optional=True)
LENGTHS = integers(3, 1, most=3, optional=True)
MASK = booleans(*(True,) * 3, optional=True)._replace(good=np.array([[True] * 3, [False, True, True]]))
TYPES = {"dtype": dtype(), "param_dtype": dtype(jnp.float32)}
CELL = thing(
    dl.GRUCell(2),
    names=("cells",),
    more={"a layer": dl.Recurrent(dl.GRUCell(2)), "a dense layer": nn.Dense(2)},
)
WINDOWS = dict.fromkeys(("time_chunk", "truncate"), OPTIONAL_SIZE) | {"unroll": size(2)}


class Reader(nn.Module):
    """A model of language that remembers."""

    @nn.compact
    def __call__(self, tokens: jax.Array, *, train: bool) -> jax.Array:
        return dl.Stateful(dl.Recurrent(dl.RNNCell(4)))(nn.one_hot(tokens, 4))[1]


def continuations() -> Iterator[Call]:
    tokens = np.array([[1, 2], [3, 0]])
    params = Reader().init(jax.random.key(0), tokens, train=False)["params"]
    bad = {
        "None": None,
        "text": "text",
        "3": 3,
        "floats": tokens / 2,
        "rank 1": tokens[0],
        "one token": tokens[:, :1],
    }
    yield function_call(
        dl.continue_stream,
        model=kind(Reader(), {"None": None, "3": 3, "a function": len}),
        params=kind(params, {}),
        tokens=kind(tokens, bad),
        steps=integer(2),
        rng=kind(None, {"3": 3, "text": "text"}),
        sampler=function(dl.greedy),
    )


def layer(
    make: Callable[..., nn.Module],
    settings: Mapping[str, Argument],
    method: str = "__call__",
    **arguments: Argument,
) -> Call:
    """A module with these settings, initialized by a call of one of its methods with these arguments."""

    def run(**values: Any) -> Any:
        module = make(**{name: values[name] for name in settings})
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return module.init_with_output(rngs, **{name: values[name] for name in arguments}, method=method)

    name = f"{make.__name__}" + ("" if method == "__call__" else f".{method}")
    return Call(f"layers: {name}", run, {**settings, **arguments})


def function_call(call: Callable[..., Any], *, traced: bool = True, **arguments: Argument) -> Call:
    return Call(f"layers: {call.__name__}", call, arguments, traced)


def layers() -> Iterator[Call]:
    yield from cells()
    yield from recurrent_layers()
    yield from convolutional_layers()
    yield from decoding()
    yield from converters()
    yield from model_converters()


def cell(make: Callable[..., nn.Module], carry: Argument, **own: Argument) -> Call:
    """One step of a cell of two features, whose carry has two rows."""
    settings = {
        "features": size(2, least=2 if make.__name__.startswith("LayerNorm") else 1),
        "use_bias": flag(True),
        **dict.fromkeys(("kernel_init", "bias_init", "carry_init"), INITIALIZER),
        "recurrent_kernel_init": function(nn.initializers.ones),
        "input_dropout": rate(),
        "recurrent_dropout": rate(),
        "zoneout": rate().without("a list").also(no_rate=(), three=(0.1,) * 3, a_pair_of_texts=("0", "1")),
        "variational": flag(True),
        **TYPES,
        **own,
    }
    inputs = floats(2, 2, 3) if "kernel_size" in own else floats(2, 3).without("rank 1")
    return layer(make, settings, carry=carry, inputs=inputs.without("nothing"), train=flag(True))


def state(good: Any) -> Argument:
    """The carry of a cell of two rows, a tree of arrays."""
    bad = {
        "None": None,
        "text": "text",
        "a list": [0.0, 0.0],
        "of three rows": jax.tree.map(lambda part: np.concatenate([part, part[:1]]), good),
        "a 0-d array": np.float32(0),
        "integers": jax.tree.map(lambda part: part.astype(np.int32), good),
        "complex numbers": jax.tree.map(lambda part: part.astype(np.complex64), good),
        "another structure": (good, good, good),
    }
    return kind(good, bad, "integers")


def optional_state(good: Any) -> Argument:
    return state(good).without("None")


ROWS, MAPS = np.zeros((2, 2), np.float32), np.zeros((2, 2, 2), np.float32)


def cells() -> Iterator[Call]:
    plain = {
        "activation": function(jnp.tanh),
        "connections": choice("full"),
    }
    gated = {"forget_bias": number(1.0, wrong=(float("inf"),))}
    normed = {"scale_init": INITIALIZER, "epsilon": number(1e-5, wrong=(-1.0, float("inf")))}
    window = {
        "kernel_size": kind((1,), integer(1).bad | {"nothing": (), "zero": (0,), "a list of text": ["a"]})
    }
    chrono = size(3, least=3, optional=True)
    yield cell(dl.RNNCell, state(ROWS), **plain)
    yield cell(dl.IdentityRNNCell, state(ROWS), **plain)
    yield cell(dl.ResidualRNNCell, state(ROWS), feedback=flag(), **plain)
    yield cell(dl.LSTMCell, state((ROWS, ROWS)), chrono=chrono)
    yield cell(dl.LSTMCell, state((ROWS, ROWS)), **gated)
    yield cell(dl.PeepholeLSTMCell, state((ROWS, ROWS)), **gated, peephole_init=INITIALIZER)
    yield cell(
        dl.ProjectedLSTMCell,
        state((ROWS, ROWS[:, :1])),
        **gated,
        projection=size(1, optional=True),
        projection_init=INITIALIZER,
    )
    yield cell(dl.GRUCell, state(ROWS), chrono=chrono, reset=choice("before"))
    yield cell(dl.LayerNormLSTMCell, state((ROWS, ROWS)), **gated, **normed)
    yield cell(dl.LayerNormGRUCell, state(ROWS), **normed)
    yield cell(dl.ConvLSTMCell, state((MAPS, MAPS)), **gated, **window)
    yield cell(dl.ConvGRUCell, state(MAPS), **window)
    several = sequence(
        [dl.GRUCell(2)],
        more={
            "a cell": dl.GRUCell(2),
            "a dense layer": [nn.Dense(2)],
            "a class": [dl.GRUCell],
            "a cell over images": [dl.GRUCell(2), dl.ConvLSTMCell(2, (3,))],
        },
    )
    inputs = floats(2, 3)._replace(names=("carry",))
    yield layer(
        dl.FeedbackCell, {"cells": several}, carry=state(((ROWS,), ROWS)), inputs=inputs, train=flag()
    )
    yield Call(
        "layers: CellConfig",
        lambda **settings: dl.CellConfig(**settings).make_cell(),
        cell_settings(),
        traced=False,
    )


def cell_settings() -> dict[str, Argument]:
    return {
        "cell": choice("lstm"),
        "features": integer(2),
        "forget_bias": number(1.0, optional=True, wrong=(float("inf"),)),
        "chrono": integer(3, least=3, optional=True)._replace(good=None),
        "recurrent_init": choice("own"),
        "recurrent_scale": number(1.5, wrong=(0.0, -1.0)),
        "input_deviation": number(1.5, optional=True, wrong=(0.0, -1.0)),
        "projection": integer(3, optional=True)._replace(good=None),
    }


def recurrent_layers() -> Iterator[Call]:
    sequences = {
        "inputs": floats(2, 3, 2),
        "lengths": LENGTHS,
        "initial_carry": optional_state(ROWS),
        "mask": MASK,
        "train": flag(True),
    }
    yield layer(dl.Recurrent, {"cell": CELL, "reverse": flag(), **WINDOWS}, **sequences)
    yield layer(
        dl.Recurrent,
        {"cell": CELL},
        "step",
        carry=state(ROWS),
        inputs=floats(2, 2)._replace(names=("carry",)),
        train=flag(),
    )
    both = {"forward": CELL, "backward": CELL, "merge": choice("concat"), **WINDOWS}
    pair = optional_state((ROWS, ROWS)).also(one=(ROWS,))
    yield layer(dl.Bidirectional, both, **sequences | {"initial_carry": pair})
    deep = {
        "cell": CELL,
        "layers": size(2),
        "bidirectional": flag(),
        "merge": choice("concat"),
        "norm": choice("layer", optional=True),
        "dropout": rate(),
        "residual": flag(),
        "reverse": flag(),
        **WINDOWS,
    }
    stacked = np.stack([ROWS, ROWS])
    yield layer(
        dl.DeepRecurrent,
        deep,
        **sequences | {"initial_carry": optional_state(stacked)},
    )
    inner = thing(
        dl.Recurrent(dl.GRUCell(2)),
        more={"a cell": dl.GRUCell(2), "a backward layer": dl.Recurrent(dl.GRUCell(2), reverse=True)},
    )
    streams = {
        "inputs": floats(2, 3, 2)._replace(names=("resets",)),
        "lengths": LENGTHS,
        "resets": booleans(True, False, optional=True),
        "mask": MASK,
    }
    yield layer(dl.Stateful, {"layer": inner}, **streams, train=flag(True))
    module = thing(nn.Dense(2))
    yield layer(
        dl.TimeDistributed,
        {"module": module},
        inputs=floats(2, 3, 2, taken=("integers", "complex numbers")),
        lengths=LENGTHS,
    )


def convolutional_layers() -> Iterator[Call]:
    window = integer(3).bad | {"zero": (0,), "nothing": (), "text in it": ("3",)}
    conv = {
        "features": integer(2),
        "kernel_size": kind((3,), window),
        "strides": kind(1, window, ()),
        "padding": kind(
            "SAME", {"a word": "same", "None": None, "-1": -1, "2.5": 2.5, "an object": object()}
        ),
        "dilation": kind(1, window, ()),
        "groups": integer(1),
        "remainder": choice("error"),
        "flip": flag(),
        "use_bias": flag(True),
        "kernel_init": INITIALIZER,
        "bias_init": INITIALIZER,
        **TYPES,
    }
    yield layer(dl.Conv, conv, inputs=floats(2, 3, 2), lengths=LENGTHS)
    transposed = {name: argument for name, argument in conv.items() if name not in ("remainder", "flip")}
    transposed["output_padding"] = kind(
        0, integer(1, least=0).bad | {"as large as the stride": 1, "text in it": ("1",)}
    )
    yield layer(dl.ConvTranspose, transposed, inputs=floats(2, 3, 2), lengths=LENGTHS)
    block = {
        "features": integer(2),
        "kernel_size": kind((3,), window, "an array"),
        "strides": kind(1, window),
        "padding": conv["padding"],
        "dilation": kind(1, window),
        "groups": integer(1),
        "convolutions": integer(1),
        "norm": choice("batch", optional=True),
        "residual": flag(),
        "pool": kind(1, window).without("None"),
        "pool_strides": kind(1, window).without("None"),
        "pool_kind": choice("max"),
        "dropout": rate(),
        "remainder": choice("error"),
    }
    yield Call("layers: ConvBlock", dl.ConvBlock, block, traced=False)
    blocks = sequence([dl.ConvBlock(2, (3,))], more={"a block": dl.ConvBlock(2), "a class": [dl.ConvBlock]})
    lengths = integers(4, 1, most=4, optional=True)
    yield layer(dl.ConvStack, {"blocks": blocks}, inputs=floats(2, 4, 2), lengths=lengths, train=flag())
    speech = {
        "samples": integer(4),
        "filters": integer(2),
        "taps": kind((3, 5), window | {"one": (3,), "three": (3, 5, 7)}),
        "time_pool": integer(2).also(no_divisor=3),
        "channel_pool": integer(2).also(no_divisor=3),
    }
    waves = floats(2, 8, 1)._replace(names=("waveforms",))
    yield layer(dl.WaveformEncoder, speech, waveforms=waves, lengths=integers(8, 4, most=8, optional=True))
    yield function_call(
        dl.temporal_blocks,
        features=integer(2),
        levels=integer(2),
        kernel_size=integer(2),
        dropout=rate(),
        traced=False,
    )
    yield Call(
        "layers: TemporalConfig",
        lambda features, dropout, **settings: dl.TemporalConfig(**settings).make_stack(features, dropout),
        {"levels": integer(2), "kernel_size": integer(2), "features": integer(2), "dropout": rate()},
        traced=False,
    )
    stack = sequence([dl.ConvBlock(2, (3,))], names=("blocks",), more={"a class": [dl.ConvBlock]})
    shape = kind(
        (4, 1), {"None": None, "text": "text", "3": 3, "nothing": (), "a 0": (0, 1), "floats": (4.5, 1)}
    )
    yield function_call(dl.describe, stack=stack, input_shape=shape, traced=False)
    yield function_call(dl.parameter_count, stack=stack, input_shape=shape, traced=False)
    yield function_call(dl.receptive_field, stack=stack, traced=False)
    yield function_call(
        dl.flatten, maps=floats(2, 3, 2, taken=("integers", "complex numbers", "rank 1", "nothing"))
    )
    yield from inspection()


class Classifier(nn.Module):
    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool = False) -> jax.Array:
        maps = dl.ConvStack([dl.ConvBlock(2, pool=None)], name="stack")(inputs, train=train)
        return nn.Dense(2)(dl.flatten(maps))


@functools.cache
def classifier() -> tuple[nn.Module, Any]:
    shapes = jax.eval_shape(Classifier().init, jax.random.key(0), jnp.ones((1, 4, 4, 1)))
    return Classifier(), jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)


def inspection() -> Iterator[Call]:
    model, variables = classifier()
    known = thing(model)
    values = kind(variables, {"None": None, "text": "text", "a list": [1], "nothing": {}, "3": 3})
    images = floats(2, 4, 4, 1, names=("inputs",))  # the model, which calls them inputs, knows their dtype
    yield function_call(
        dl.class_probabilities,
        model=known,
        variables=values,
        images=images,
        batch_size=integer(2),
        traced=False,
    )
    one = floats(4, 4, 1, names=("inputs",))
    yield function_call(
        dl.block_maps, model=known, variables=values, image=one, stack=choice("stack"), traced=False
    )
    test = {"inputs": np.ones((2, 4, 4, 1), np.float32), "labels": np.array([0, 1])}
    yield function_call(
        dl.classifier_figures,
        model=known,
        names=sequence(["a", "b"]),
        test=fields(test, taken=("inputs that are a list", "labels that are a list")),
        params=kind(variables["params"], values.bad),
        model_state=kind({}, {"None": None, "text": "text", "a list": [1], "3": 3}),
        traced=False,
    )


def decoding() -> Iterator[Call]:
    memory = floats(2, 3, 2)._replace(names=("lengths",))
    yield function_call(dl.image_memory, maps=floats(2, 3, 4, taken="nothing"))
    yield function_call(dl.attend, scores=floats(2, 3), memory=memory, lengths=LENGTHS)
    attention = {"kernel_init": INITIALIZER, **TYPES}
    yield layer(
        dl.LuongAttention,
        {"score": choice("general"), **attention},
        memory=memory.without("nothing"),
        width=integer(2),
    )
    yield layer(
        dl.BahdanauAttention,
        {"features": size(2), **attention},
        memory=memory.without("nothing"),
        width=integer(2),
    )
    settings = {
        "cell": CELL,
        "attention": thing(dl.LuongAttention()),
        "features": OPTIONAL_SIZE,
        **WINDOWS,
        **attention,
    }
    calls = {"inputs": floats(2, 3, 2), "memory": memory, "lengths": LENGTHS, "memory_lengths": LENGTHS}
    yield layer(
        dl.AttentionDecoder, settings, **calls, initial_carry=optional_state((ROWS, ROWS)), train=flag(True)
    )
    labels = kind(
        np.array([[1, 2, 0], [3, 0, 0]]),
        {"None": None, "3": 3, "text": "text", "floats": np.ones((2, 3)), "rank 1": np.array([1, 2])},
    )
    settings = {
        "vocabulary": size(4),
        "cell": CELL,
        "attention": thing(dl.LuongAttention(), optional=True),
        "embedding": size(2),
        "dropout": rate(),
        "sampling": rate(),
    }
    calls = {
        "labels": labels,
        "memory": memory,
        "memory_lengths": LENGTHS,
        "state": floats(2, 3, optional=True),
    }
    yield layer(dl.SequenceDecoder, settings, **calls, label_lengths=LENGTHS, train=flag(True))
    decoder = dl.SequenceDecoder(4, dl.GRUCell(features=2))
    settings = {
        "tokens": size(4),
        "encoder": thing(dl.Recurrent(dl.GRUCell(features=2))),
        "decoder": thing(decoder),
        "embedding": size(2),
        "dropout": rate(),
    }
    calls = {"inputs": labels, "lengths": LENGTHS, "labels": labels, "label_lengths": LENGTHS}
    yield Call(
        "layers: attention_figures",
        lambda model: dl.attention_figures(model, {}, [], [], (None, None)),
        {"model": thing(dl.EncoderDecoder(4, dl.Recurrent(dl.GRUCell(features=2)), decoder))},
        traced=False,
    )
    yield layer(dl.EncoderDecoder, settings, **calls, train=flag(True))
    yield from generation()


def generation() -> Iterator[Call]:
    def step(carry: Any, tokens: jax.Array) -> Any:
        return carry, jnp.zeros((len(tokens), 4)) + carry[:, :1]

    def wrong(result: Callable[[Any], Any]) -> Callable[..., Any]:
        return lambda carry, tokens: result(carry)

    steps = function(step)
    returns = {
        "one value": wrong(lambda carry: jnp.zeros((2, 4))),
        "None": wrong(lambda carry: None),
        "another carry": wrong(lambda carry: (carry[:1], jnp.zeros((len(carry), 4)))),
        "integers": wrong(lambda carry: (carry, jnp.zeros((len(carry), 4), int))),
        "a vector": wrong(lambda carry: (carry, jnp.zeros(len(carry)))),
        "a list": wrong(lambda carry: (carry, [1.0])),
    }
    steps = kind(step, steps.bad | {f"returns {what}": function for what, function in returns.items()})
    common = {
        "step": steps,
        "carry": kind(ROWS, {"text": "text", "a list": [1.0, 2.0], "one row": ROWS[:1]}),
        "first": integers(0, 1).without("-1", "too many"),
        "steps": integer(2),
    }
    sampler = function(dl.greedy)
    yield function_call(
        dl.generate,
        **common,
        rng=kind(jax.random.key(0), {"3": 3, "text": "text"}),
        sampler=kind(dl.greedy, sampler.bad | {"returns floats": lambda rng, logits: logits[:, 0]}),
        end=integer(3, least=0, optional=True),
    )
    penalty = number(0.0, wrong=(-1.0, float("inf")))
    yield function_call(
        dl.beam_search, **common, beams=integer(2), end=integer(3, least=0), length_penalty=penalty
    )
    yield from continuations()
    logits = floats(2, 4, taken="rank 1")
    yield function_call(dl.greedy, rng=kind(None, {}), logits=logits)

    def draw(rng: Any, logits: Any, **options: Any) -> Any:
        return dl.sample(**options)(rng, logits)

    yield Call(
        "layers: sample",
        draw,
        {
            "temperature": number(1.0, wrong=(0.0, -1.0, float("inf"))),
            "top_k": integer(2, optional=True),
            "top_p": number(0.5, optional=True, wrong=(0.0, 1.5)),
            "rng": kind(jax.random.key(0), {"None": None, "3": 3, "text": "text"}),
            "logits": logits,
        },
    )


def converters() -> Iterator[Call]:
    cell = dl.LSTMCell(2)
    ours = {"input_kernel": np.ones((3, 8)), "recurrent_kernel": np.ones((2, 8)), "bias": np.ones(8)}
    ours = {name: array.astype(np.float32) for name, array in ours.items()}
    known = thing(cell, more={"a flax cell": nn.GRUCell(2), "a layer": dl.Recurrent(cell)})
    for library in ("torch", "flax", "haiku", "keras"):
        write, read = (getattr(convert, f"{way}_{library}") for way in ("to", "from"))
        params = {"cell": ours} if library == "torch" else ours
        yield Call(f"layers: to_{library}", write, {"params": trees(params), "cell": known}, traced=False)
        foreign = write(params, cell)
        (argument, *_) = inspect.signature(read).parameters
        more = (
            {"name": kind(None, {"3": 3, "a list": ["a"], "another name": "bogus"})}
            if library == "haiku"
            else {}
        )
        if library == "haiku":
            more["name"] = more["name"]._replace(names=("params",))
        yield Call(
            f"layers: from_{library}", read, {argument: trees(foreign), "cell": known, **more}, traced=False
        )


def model_converters() -> Iterator[Call]:
    model, inputs = nn.Dense(2), np.ones((1, 3), np.float32)
    ours = {"params": {"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}}
    wrong = {"None": None, "3": 3, "text": "text", "a list": [""]}
    shared = {
        "model": thing(model, more={"a cell that is no module": 3}),
        "names": kind(
            {"": ""}, {**wrong, "a number": {"": 3}, "another layer": {"": "bogus"}, "nothing": {}}
        ),
    }
    for library in ("torch", "flax"):
        write, read = (getattr(convert, f"model_{way}_{library}") for way in ("to", "from"))

        def converted(function: Any = write, **arguments: Any) -> Any:
            return function(*arguments.values(), inputs)

        foreign = converted(variables=ours, model=model, names={"": ""})
        yield Call(
            f"layers: model_to_{library}", converted, {"variables": trees(ours), **shared}, traced=False
        )
        (argument, *_) = inspect.signature(read).parameters
        known = trees(foreign)._replace(names=("names",))
        yield Call(
            f"layers: model_from_{library}",
            functools.partial(converted, read),
            {argument: known, **shared},
            traced=False,
        )


def trees(good: Any) -> Argument:
    """Parameters, a nested dict or a list of arrays, and what is no such tree or has another shape."""
    bad = {
        "None": None,
        "text": "text",
        "3": 3,
        "nothing": type(good)(),
        "text in it": jax.tree.map(lambda leaf: "text", good),
        "None in it": jax.tree.map(lambda leaf: None, good),
        "numbers in it": jax.tree.map(lambda leaf: 1.0, good),
        "scalars in it": jax.tree.map(lambda leaf: np.float32(1), good),
        "rank 1": jax.tree.map(np.ravel, good),
        "rank 3": jax.tree.map(lambda leaf: leaf[None], good),
        "another shape": jax.tree.map(lambda leaf: np.concatenate([leaf, leaf], axis=-1), good),
        "complex numbers": jax.tree.map(lambda leaf: leaf.astype(np.complex64), good),
    }
    return kind(good, bad)
