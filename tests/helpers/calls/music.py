"""Good calls of the functions of `dlcore.data.music`, with the kind of each argument."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import dlcore as dl
from tests.helpers.calls.kinds import Call, choice, integer, kind, number, text
from tests.helpers.packages import is_there

VOICES = kind(
    np.array([[72, 60], [72, 0]]),
    {
        "None": None,
        "text": "text",
        "3": 3,
        "floats": np.array([[60.0]]),
        "rank 1": np.array([60]),
        "no frame": np.zeros((0, 4), int),
        "too large": np.array([[128]]),
        "-1": np.array([[-1]]),
        "rows of several lengths": [[60], []],
    },
)
NAMES = kind(("a", "b"), {"None": None, "text": "text", "3": 3, "numbers": (3,)})


def music() -> Iterator[Call]:
    def chorales(**options: Any) -> Any:
        """The good call reads five chorales; it needs a package that may not be here."""
        if is_there("music21") or options != {"grid": "eighth", "limit": 5}:
            dl.data.bach_chorales(**options)

    limit = integer(5, least=3, optional=True)
    yield Call("data: bach_chorales", chorales, {"grid": choice("eighth"), "limit": limit}, traced=False)
    path = kind(
        "", {"None": None, "3": 3, "a list": [], "a pickle": "jsb.pkl", "a missing file": "/missing.json"}
    )
    yield Call("data: jsb_chorales", _published, {"path": path}, traced=False)
    yield Call("data: midi_file", dl.data.midi_file, _midi(), traced=False)
    melody = text("G4*2 A4").also(**{"another word": "bogus", "nothing": "", "too large": "128"})
    yield Call("data: parse_melody", dl.data.parse_melody, {"text": melody}, traced=False)
    yield Call("data: random_transposition", _transposed, _transposition(), traced=False)


def _midi() -> dict[str, Any]:
    return {
        "voices": VOICES.also(too_many_voices=np.ones((1, 16), int)),
        "frames_per_quarter": integer(2).also(**{"7": 7, "too large": 481}),
        "names": NAMES,
        "tempo": number(80.0, wrong=(0.0, -1.0, float("inf"), 1e6)),
        "program": integer(52, least=0).also(too_large=128),
        "velocity": integer(80).also(too_large=128),
    }


def _published(path: Any) -> None:
    """Reads a file that is missing, which is the good call, as there are no files here."""
    if path != "":
        try:
            dl.data.jsb_chorales(path)
        except FileNotFoundError as error:
            raise ValueError(*error.args) from error


def _transposed(semitones: Any, fields: Any, batch: Any, generator: Any) -> Any:
    return dl.data.random_transposition(semitones, fields)(batch, generator)


def _transposition() -> dict[str, Any]:
    wrong = {"None": None, "text": "text", "3": 3}
    return {
        "semitones": integer(2, least=0).also(too_large=128),
        "fields": kind(
            ("inputs",), {**wrong, "numbers": (3,), "another field": ("bogus",)}, names=("bogus",)
        ),
        "batch": kind({"inputs": np.array([[60, 0]])}, {**wrong, "no inputs": {}}, names=("inputs",)),
        "generator": kind(np.random.default_rng(0), wrong),
    }
