"""Good calls of the functions that train, load, evaluate and measure, with the kind of each argument."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import dlcore as dl
from tests.helpers import plain_toy
from tests.helpers.calls.kinds import Argument, Call, function, kind

FOLDER = {"3": 3, "nothing": "", "a bucket": "gs://bucket/run", "a list": ["run"]}
OBJECTS = {"None": None, "3": 3, "an object": object()}


@functools.cache
def trained() -> dl.Trained:
    """The plain toy, trained once in a process, when a call first needs it."""
    folder = Path(tempfile.mkdtemp()) / "run"
    return dl.train(plain_toy.experiment, plain_toy.Config(), folder)


def call(run: Callable[..., Any], name: str, /, **arguments: Argument) -> Call:
    return Call(f"runs: {name}", run, arguments, traced=False)


def runs() -> Iterator[Call]:
    config = plain_toy.Config()
    experiment = function(plain_toy.experiment)
    settings = kind(config, {**OBJECTS, "the class": plain_toy.Config, "a dict": {}})

    def in_folder(run: Callable[..., Any]) -> Callable[..., Any]:
        """The call with the trained folder in place of "run", which no process knows before it is trained."""
        return lambda folder, **others: run(folder=trained().folder if folder == "run" else folder, **others)

    target = kind("cpu:1", {"3": 3, "nothing": "", "unknown": "v0:1x1", "a list": ["cpu:1"]})
    inspected = {"experiment": experiment, "config": settings, "target": target}
    yield call(functools.partial(dl.inspect, compile=False), "inspect", **inspected)
    callbacks = kind((), {"None": None, "3": 3, "text": "text"})
    folder = kind("run", {**FOLDER, "no run": "nowhere"})
    own = {
        "experiment": experiment,
        "config": settings,
        "folder": kind("run", FOLDER),
        "callbacks": callbacks,
    }
    yield call(in_folder(dl.train), "train", **own)
    checkpoint = kind("newest", {**OBJECTS, "a word": "last", "-1": -1, "2.5": 2.5})
    yield call(in_folder(dl.load), "load", folder=folder, checkpoint=checkpoint.without("3"))
    yield call(in_folder(dl.MetricsTable.read), "MetricsTable", folder=folder)
    inputs = np.ones((2, 5, 2), np.float32)
    lengths = kind(
        np.array([1, 5], np.int32),
        {
            "too many": np.array([1, 2, 3]),
            "floats": np.array([1.0, 2.0]),
            "6": np.array([1, 6]),
            "a list": [1, 5],
        },
    )
    arrays = kind(inputs, {"None": None, "3": 3, "a list": inputs.tolist(), "a dict": {"inputs": inputs}})
    yield call(
        lambda **fields: trained().model.predict(**fields), "TrainedModel", inputs=arrays, lengths=lengths
    )
    batches = {"3": 3, "text": "text", "nothing": [], "numbers": [3], "an object": object()}
    model = kind("run", {**OBJECTS, "no run": "nowhere"}, names=("folder",))

    def of_model(run: Callable[..., Any]) -> Callable[..., Any]:
        return lambda model, **others: run(trained() if model == "run" else model, **others)

    yield call(of_model(dl.evaluate), "evaluate", model=model, data=kind(None, batches))
    count = {"text": "3", "0": 0, "2.5": 2.5, "an object": object()}
    yield call(
        lambda **arguments: _measured(of_model(dl.gradient_flow), **arguments),
        "gradient_flow",
        model=model,
        config=kind(None, {"a config": config}),
        folder=kind(None, FOLDER),
        rows=kind(None, count),
        batches=kind(None, count),
    )


def _measured(run: Callable[..., Any], **arguments: Any) -> None:
    """The call; the plain toy has no recurrence, which is the last thing that is found."""
    try:
        run(**arguments)
    except ValueError as error:
        if not str(error).startswith("experiment: got a model without a recurrence"):
            raise
