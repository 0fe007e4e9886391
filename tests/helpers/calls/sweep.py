"""Good calls of the classes and functions of `dlcore.sweep`, with the kind of each argument."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import dlcore as dl
from tests.helpers.calls.kinds import Argument, Call, kind, number, sequence


def power(arrays: Any, numbers: Any) -> Any:
    return {"power": arrays ** numbers["exponent"]}


SHARED = [dl.sweep.SharedInputs({"base": 2.0}, 2.0)]
GROUP = dl.sweep.Group(power, {"kind": "power"}, SHARED, [{"exponent": 1.0}, {"exponent": 2.0}], bytes_each=8)
SWEEP = dl.sweep.Sweep([GROUP], ("kind", "base", "exponent"), ("power",))


def call(run: Callable[..., Any], name: str, /, **arguments: Argument) -> Call:
    return Call(f"sweep: {name}", run, arguments, traced=False)


def sweep() -> Iterator[Call]:
    def groups(**parts: Any) -> Any:
        return SWEEP._replace(groups=[GROUP._replace(**parts)])

    bad = {
        "None": None,
        "text": "text",
        "a group": GROUP,
        "groups that are None": SWEEP._replace(groups=None),
        "no group": SWEEP._replace(groups=[]),
        "a group of text": SWEEP._replace(groups=["text"]),
        "settings that lack one": SWEEP._replace(settings=("kind",)),
        "measures that lack one": SWEEP._replace(measures=()),
        "measures of another name": SWEEP._replace(measures=("bogus",)),
        "measure that is text": groups(measure="text"),
        "measure that returns None": groups(measure=lambda arrays, numbers: None),
        "measure that returns a vector": groups(measure=lambda arrays, numbers: {"power": np.ones(2)}),
        "shared that is None": groups(shared=None),
        "no shared": groups(shared=[]),
        "numbers that are None": groups(numbers=None),
        "no numbers": groups(numbers=[]),
        "numbers of text": groups(numbers=[{"exponent": "1"}]),
        "numbers of different names": groups(numbers=[{"exponent": 1.0}, {"power": 1.0}]),
        "bytes_each of 0": groups(bytes_each=0),
        "bytes_each of text": groups(bytes_each="8"),
    }
    names = ("groups", "group", "settings", "measures", "measure", "shared", "numbers", "bytes_each")
    folder = kind("folder", {"None": None, "3": 3, "a list": ["a"]})
    memory = number(1e6, optional=True, wrong=(-1.0,))
    yield call(
        run,
        "run",
        sweep=kind(SWEEP, bad, names=names, taken=("no group", "no shared", "no numbers")),
        path=folder,
        memory=memory,
    )
    columns = sequence(("a", "b"), more={"one twice": ("a", "a")}).without("nothing")
    yield call(table, "Table", path=folder, settings=columns, measures=sequence(("c",)).without("nothing"))


def run(path: Any, **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dl.sweep.run(path=Path(folder, "table.csv") if path == "folder" else path, **options)


def table(path: Any, **options: Any) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        dl.sweep.Table(path=Path(folder, "table.csv") if path == "folder" else path, **options),
    ):
        pass
