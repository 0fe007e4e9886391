"""Good calls of the functions of `dlcore.data.music`, with the kind of each argument."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dlcore as dl
from tests.helpers.calls.kinds import (
    Call,
    choice,
    floats,
    function,
    integer,
    integers,
    kind,
    number,
    size,
    text,
)
from tests.helpers.calls.layers import layer
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
        if is_there("music21") or repr(options) != repr({"grid": "eighth", "limit": 5}):
            dl.data.bach_chorales(**options)

    limit = integer(5, least=3, optional=True)
    yield Call("data: bach_chorales", chorales, {"grid": choice("eighth"), "limit": limit}, traced=False)
    path = kind(
        "", {"None": None, "3": 3, "a list": [], "a pickle": "jsb.pkl", "a missing file": "/missing.json"}
    )
    yield Call("data: jsb_chorales", _published, {"path": path}, traced=False)
    yield from frames()
    yield from pieces()
    yield Call("data: midi_file", dl.data.midi_file, _midi(), traced=False)
    melody = text("G4*2 A4").also(**{"another word": "bogus", "nothing": "", "too large": "128"})
    yield Call("data: parse_melody", dl.data.parse_melody, {"text": melody}, traced=False)
    yield Call("data: random_transposition", _transposed, _transposition(), traced=False)


def frames() -> Iterator[Call]:
    """Several symbols at each step: the layer that predicts them and the loop that draws them."""
    settings = {name: size(2) for name in ("symbols", "features", "embedding")} | {"classes": size(3)}
    symbols = integers(0, 1).bad
    inputs = {
        "state": floats(2, 3).without("nothing"),
        "frames": kind(
            jnp.array([[0, 1], [1, 2]]), {name: symbols[name] for name in ("None", "text", "floats")}
        ),
    }
    yield layer(dl.ChainHead, settings, **inputs)
    given = {"None": None, "text": "text", "floats": jnp.zeros((1, 1, 2)), "rank 2": jnp.zeros((1, 2), int)}
    arguments = {
        "read": function(lambda carry, frame, time: (carry, frame)),
        "predict": function(lambda context, frame, v: jnp.zeros((1, 3))),
        "carry": kind((), {}),
        "given": kind(jnp.zeros((1, 0, 2), int), given),
        "steps": integer(2),
        "rng": kind(jax.random.key(0), {"3": 3, "text": "text"}),
        "sampler": function(dl.greedy),
    }
    yield Call("layers: generate_frames", dl.generate_frames, arguments)


def pieces() -> Iterator[Call]:
    """Files of a piece, voices that a user gives, and what counting knows of a chorale."""
    part = {
        "inputs": np.array([[[72, 60], [72, 0]]]),
        "marks": np.array([[1, 0]]),
        "lengths": np.array([2]),
    }
    parts = kind(part, {"None": None, "text": "text", "3": 3, "no field": {}}, names=("batch", "inputs"))
    yield Call(
        "data: chorale_baselines", dl.data.chorale_baselines, {"train": parts, "test": parts}, traced=False
    )
    words = text("0").also(another_word="bogus", too_large="9", nothing="", one_voice="C4")
    given = {"text": words, "chorales": parts, "count": integer(2).also(too_large=5)}
    yield Call("data: given_voices", dl.data.given_voices, given, traced=False)
    melody = {"text": text("0").also(another_word="bogus", too_large="9", nothing=""), "chorales": parts}
    yield Call("data: given_melody", dl.data.given_melody, melody, traced=False)
    files = {
        "name": text("piece"),
        "voices": VOICES.also(too_many_voices=np.ones((1, 5), int)),
        "frames_per_quarter": integer(2).also(**{"7": 7}),
        "given": integer(1, least=0).also(too_large=3),
    }
    yield Call("data: music_files", dl.data.music_files, files, traced=False)


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
