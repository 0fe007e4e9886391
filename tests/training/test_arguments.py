"""A model is called with the fields that its parameters name; what it cannot be given is named in an error."""

import functools

import pytest
from flax import linen as nn

from dlcore.training.arguments import (
    check_call,
    check_pair,
    describe,
    mode_options,
    model_arguments,
    read_fields,
)

BATCH = {"inputs": "INPUTS", "labels": "LABELS", "source": "SOURCE"}
SEQUENCES = {**BATCH, "lengths": "LENGTHS"}
STREAMS = {**SEQUENCES, "resets": "RESETS"}
TRAIN = {"train": True}


def inputs_only(inputs): ...
def own_names(x, n, *, train): ...
def own_name_with_default(x, n=None, *, train=False): ...
def by_position(inputs, lengths, train): ...
def keyword_only(*, source, lengths, train): ...
def two_inputs(source, labels, lengths=None): ...
def gap(inputs, mask=None, lengths=None, *, train): ...
def optional_fields(inputs, tokens=None, *, source_lengths=None): ...
def positional_only(x, n, /): ...
def wrapper(*args, **kwargs): ...
def partly_wrapper(inputs, *args, **kwargs): ...
def deterministic(x, deterministic): ...
def streams(x, n, resets, *, train): ...
def everything(inputs, **fields): ...


CALLS = [
    (inputs_only, BATCH, ("INPUTS",), {}),
    (own_names, SEQUENCES, ("INPUTS", "LENGTHS"), TRAIN),
    (own_name_with_default, SEQUENCES, ("INPUTS", "LENGTHS"), TRAIN),
    (own_name_with_default, BATCH, ("INPUTS",), TRAIN),
    (by_position, SEQUENCES, ("INPUTS", "LENGTHS"), TRAIN),
    (keyword_only, SEQUENCES, (), {"source": "SOURCE", "lengths": "LENGTHS", **TRAIN}),
    (two_inputs, SEQUENCES, ("SOURCE", "LABELS", "LENGTHS"), {}),
    (two_inputs, BATCH, ("SOURCE", "LABELS"), {}),
    (gap, SEQUENCES, ("INPUTS",), {"lengths": "LENGTHS", **TRAIN}),
    (gap, {**SEQUENCES, "mask": "MASK"}, ("INPUTS", "MASK", "LENGTHS"), TRAIN),
    (optional_fields, BATCH, ("INPUTS",), {}),
    (positional_only, SEQUENCES, ("INPUTS", "LENGTHS"), {}),
    (wrapper, STREAMS, ("INPUTS",), {"lengths": "LENGTHS", "resets": "RESETS", **TRAIN}),
    (partly_wrapper, SEQUENCES, ("INPUTS", "LENGTHS"), TRAIN),
    (deterministic, BATCH, ("INPUTS",), {"deterministic": False}),
    (streams, STREAMS, ("INPUTS", "LENGTHS", "RESETS"), TRAIN),
    (everything, STREAMS, ("INPUTS",), {"lengths": "LENGTHS", "resets": "RESETS", **TRAIN}),
]


@pytest.mark.parametrize(
    ("call", "batch", "positional", "named"), CALLS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_model_gets_the_fields_that_it_names(call, batch, positional, named):
    arguments = model_arguments("Model", call, batch, mode_options(train=True), forwarded=("train",))
    assert arguments == (positional, named)
    call(*arguments[0], **arguments[1])


def one(tokens): ...
def two(source, tokens): ...
def nothing(): ...
def mask(x, mask=None): ...
def state(x, state): ...


@pytest.mark.parametrize(
    ("call", "batch", "error", "message"),
    [
        (two, BATCH, ValueError, r"tokens: got .* inputs, labels, source, expected .* for Model\(source, tokens\)"),
        (one, {}, ValueError, r"tokens: got a batch with the fields \(none\), expected"),
        (state, BATCH, ValueError, "state: got a batch .* or give the parameter a default"),
        (inputs_only, SEQUENCES, TypeError, r"Model: got Model\(inputs\) for a batch with lengths, .* padding"),
        (own_names, STREAMS, TypeError, "for a batch with resets, expected a parameter resets: .* stream"),
        (mask, SEQUENCES, TypeError, "for a batch with lengths"),
        (nothing, SEQUENCES, TypeError, "for a batch with lengths"),
        (one, [1], TypeError, "batch: got list, expected a dict"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, batch, error, message):
    with pytest.raises(error, match=message):
        model_arguments("Model", call, batch, mode_options(train=False))


def test_a_lifted_module_still_names_its_fields():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, source, lengths, *, train):
            return source

    for lift in (nn.remat, nn.jit, functools.partial(nn.map_variables, mapped_collections="params")):
        call = lift(Model)().__call__
        assert model_arguments("Model", call, SEQUENCES, TRAIN) == (("SOURCE", "LENGTHS"), TRAIN)


def test_an_option_stands_before_a_field_of_its_name():
    batch = {"inputs": 1, "train": 2, "carry": {"state": 3}}  # the state of streams is no field of a model
    assert read_fields(batch) == {"inputs": 1, "train": 2}
    assert model_arguments("Model", own_name_with_default, batch, TRAIN) == ((1,), TRAIN)
    assert mode_options(False) == {"train": False, "deterministic": True, "inference": True}


def test_calls_and_results_are_checked():
    check_call("init", lambda rng, batch: None, 1, 2)
    check_call("init", max, 1, 2)  # a function in C without a signature
    with pytest.raises(
        TypeError, match=r"init: got init\(rng\), expected a function for init\(..., train=...\)"
    ):
        check_call("init", lambda rng: None, 1, train=True)
    with pytest.raises(TypeError, match="init: got 3, expected a function"):
        check_call("init", 3)
    assert check_pair("init", [1, 2], "two") == (1, 2)
    with pytest.raises(
        TypeError, match=r"init: got 3 values \(int, int, str\) returned, expected params, state"
    ):
        check_pair("init", (1, 2, "c"), "params, state")
    assert describe({}) == "dict"
