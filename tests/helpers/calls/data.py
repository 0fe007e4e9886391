"""Good calls of the classes and functions of `dlcore.data`, with the kind of each argument."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import dlcore as dl
from tests.helpers.calls.kinds import (
    Argument,
    Call,
    fields,
    flag,
    floats,
    function,
    integer,
    kind,
    number,
    rate,
    sequence,
)

ROWS = {"inputs": np.ones((4, 3, 2), np.float32), "labels": np.array([0, 1, 0, 1])}
PADDED = {"inputs": np.ones((4, 3, 2), np.float32), "lengths": np.array([3, 2, 3, 1])}
GENERATOR = kind(np.random.default_rng(0), {"None": None, "text": "text", "3": 3, "a list": [1]})
SEED = integer(0, least=0)
SIZE = integer(2)


def call(run: Callable[..., Any], name: str = "", /, **arguments: Argument) -> Call:
    return Call(f"data: {name or run.__name__}", run, arguments, traced=False)


def arrays(good: Any, *without: str) -> Argument:
    """Fields by name, in which every name is welcome."""
    known = fields(good, names=("arrays",))
    free = [f"no {name}" for name in good]
    return known.without(*free).also(
        rows_that_differ={**good, "labels": np.arange(3)},
        **{"3": 3},
        text_in_it={**good, "labels": ["a"] * 4},
    )


def index(good: int = 0) -> Argument:
    return integer(good, least=0).also(too_large=2**62)


def data() -> Iterator[Call]:
    yield from sets()
    yield from transforms()
    yield from tasks()
    yield from films()
    yield from loading()
    yield from texts()
    yield from pairs()
    yield from stories()
    yield from pronunciations()


def sets() -> Iterator[Call]:
    transform = function(lambda batch, generator: batch, optional=True)
    both = {"arrays": arrays(ROWS), "batch_size": SIZE.also(**{"more than there are": 5})}
    yield call(dl.data.ShuffledBatches, **both, seed=SEED, transform=transform)
    yield call(dl.data.PaddedBatches, arrays=both["arrays"], batch_size=SIZE)
    shuffled, padded = dl.data.ShuffledBatches(ROWS, 2, 0), dl.data.PaddedBatches(ROWS, 2)
    step = index()._replace(names=("step",))
    yield call(shuffled.__getitem__, "ShuffledBatches[]", step=step.without("too large"))
    yield call(
        shuffled.rows,
        "ShuffledBatches.rows",
        step=step.without("too large"),
        start=index()._replace(names=("rows",)),
        stop=integer(1)._replace(names=("rows",)),
    )
    yield call(padded.__getitem__, "PaddedBatches[]", index=index())
    lengths = arrays(PADDED)._replace(names=("arrays", "lengths", "inputs", "fields"))
    lengths = lengths.also(
        no_lengths={"inputs": PADDED["inputs"]},
        negative_lengths={**PADDED, "lengths": np.array([-1, 2, 3, 1])},
        long_lengths={**PADDED, "lengths": np.array([4, 2, 3, 1])},
        lengths_that_are_floats={**PADDED, "lengths": np.array([3.0, 2.0, 3.0, 1.0])},
        lengths_with_NaN={**PADDED, "lengths": np.array([3.0, np.nan, 3.0, 1.0])},
    )
    yield call(
        dl.data.BucketedBatches,
        arrays=lengths,
        batch_size=both["batch_size"],
        seed=SEED,
        boundaries=kind(
            (2,),
            {
                "None": None,
                "text": "text",
                "3": 3,
                "falling": (3, 2),
                "zero": (0,),
                "2.5": (2.5,),
                "text in it": ("2",),
            },
        ),
        transform=transform,
        fields=kind(
            None, {"text": "inputs", "3": 3, "another field": ("bogus",), "nothing": (), "numbers": (3,)}
        ),
        lengths=kind(
            ("lengths",),
            {"text": "inputs", "3": 3, "another field": ("bogus",), "nothing": (), "numbers": (3,)},
            names=("bogus",),
        ),
    )
    yield from streams()
    task = function(lambda generator, examples: {"inputs": generator.random(examples)})
    yield call(dl.data.SyntheticBatches, task=task, batch_size=SIZE, seed=SEED)
    synthetic = dl.data.SyntheticBatches(task.good, 2, 0)
    yield call(synthetic.__getitem__, "SyntheticBatches[]", step=step.without("too large"))
    yield call(dl.data.held_out, task=task, examples=SIZE)


def streams() -> Iterator[Call]:
    cut = {
        "arrays": arrays(ROWS).also(a_field_of_the_batches={**ROWS, "resets": np.ones(4, bool)}),
        "steps": integer(1),
        "document_lengths": kind(
            (3, 1),
            {
                "text": "text",
                "3": 3,
                "2.5 in it": (1.5, 2.5),
                "another sum": (3, 2),
                "below 0": (5, -1),
                "a 0-d array": np.array(4),
                "a dict": {4: 4},
            },
        ),
        "shifted": kind(
            {"next": "labels"},
            {
                "text": "labels",
                "3": 3,
                "a list": ["labels"],
                "another source": {"next": "bogus"},
                "no new field": {"inputs": "labels"},
                "a number in it": {3: "labels"},
                "a list in it": {"next": ["labels"]},
            },
        ),
    }
    size = SIZE.also(**{"more than there are windows": 5})
    shuffle, transform = flag(), function(lambda batch, generator: batch, optional=True)
    yield call(dl.data.StreamBatches, **cut, batch_size=size, seed=SEED, shuffle=shuffle, transform=transform)
    yield call(dl.data.StreamEvaluation, **cut, batch_size=SIZE)
    evaluation = dl.data.StreamEvaluation(ROWS, 2, 2)
    yield call(evaluation.__getitem__, "StreamEvaluation[]", index=index())


def transforms() -> Iterator[Call]:
    images = np.ones((2, 4, 4, 1), np.float32)
    batch = fields({"inputs": images}, names=("batch",)).also(rank_3={"inputs": images[0]}, **{"3": 3})
    yield call(dl.data.random_flips, batch=batch, generator=GENERATOR)

    def shifted(pixels: Any, batch: Any, generator: Any) -> Any:
        return dl.data.random_shifts(pixels)(batch, generator)

    pixels = integer(1, least=0)._replace(names=("pixels", "shifts"))
    yield call(shifted, "random_shifts", pixels=pixels.also(too_many=4), batch=batch, generator=GENERATOR)

    def changed(batch: Any, generator: Any, **sizes: Any) -> Any:
        return dl.data.random_affine(**sizes)(batch, generator)

    sizes = {
        "rotation": number(10.0, wrong=(-1.0, 181.0)),
        "scale": number(0.1, wrong=(-0.1, 1.0)),
        "shear": number(0.1, wrong=(-0.1, float("inf"))),
        "shift": number(0.5, wrong=(-0.5, float("inf"))),
    }
    yield call(changed, "random_affine", **sizes, batch=batch, generator=GENERATOR)

    def noisy(scale: Any, batch: Any, generator: Any) -> Any:
        return dl.data.gaussian_noise(scale)(batch, generator)

    series = {"inputs": np.ones((2, 3, 1), np.float32), "lengths": np.array([3, 1])}
    sequences = fields(series, names=("batch", "train", "test")).without("no lengths").also(**{"3": 3})
    scale = number(0.1, wrong=(-1.0, float("inf")))
    yield call(noisy, "gaussian_noise", scale=scale, batch=sequences, generator=GENERATOR)
    broken = {
        "NaN_in_it": {**series, "inputs": series["inputs"] * np.nan},
        "no_valid_step": {**series, "lengths": np.array([0, 0])},
        "no_row": {"inputs": series["inputs"][:0], "lengths": np.array([], int)},
    }
    yield call(dl.data.standardize, train=sequences.also(**broken), test=sequences)
    yield call(
        dl.data.as_sequences,
        images=floats(2, 4, 4, 1, taken=("integers", "complex numbers", "a masked array", "nothing")),
        rows=flag(),
        permuted=flag(),
        shrink=integer(2).also(**{"3": 3}),
    )


def tasks() -> Iterator[Call]:
    for task, option, least in (
        (dl.data.adding, "length", 2),
        (dl.data.copy_memory, "delay", 1),
        (dl.data.temporal_order, "length", 10),
    ):
        yield call(task, generator=GENERATOR, examples=SIZE, **{option: integer(12, least=least)})


def films() -> Iterator[Call]:
    good = {"inputs": np.ones((3, 2, 2, 1), np.float32), "labels": np.array([1, 2, 3])}
    digits = fields(good, names=("digits",)).also(
        rank_3={**good, "inputs": good["inputs"][0]},
        labels_above_9={**good, "labels": np.array([1, 2, 10])},
        labels_that_are_floats={**good, "labels": np.array([1.0, 2.0, 3.0])},
        **{"3": 3},
    )
    share = number(0.5, wrong=(-0.1, 1.1))
    yield call(
        dl.data.moving_digits,
        generator=GENERATOR,
        examples=SIZE,
        digits=digits,
        canvas=integer(6, least=2),
        shortest=integer(2)._replace(names=("longest",)),
        longest=integer(3, least=2),
        speed=SIZE,
        turn=share,
        hidden=share,
        noise=number(0.1, wrong=(-1.0, float("inf"))),
        transform=function(lambda batch, generator: batch, optional=True),
        frame_labels=flag(),
    )
    yield call(
        dl.data.digit_captions,
        generator=GENERATOR,
        examples=SIZE,
        digits=digits,
        lines=SIZE,
        columns=SIZE,
        most=integer(2).also(more_than_cells=5),
        jitter=integer(1, least=0),
        transform=function(lambda batch, generator: batch, optional=True),
    )


def loading() -> Iterator[Call]:
    source = kind(
        ["a", "bb"], {"None": None, "3": 3, "nothing": [], "an iterator": iter(["a"])}, names=("batch_size",)
    )
    decode = function(lambda text, _: {"size": np.array(len(text))})
    yield call(
        dl.data.decoded_batches, source=source, decode=decode, batch_size=SIZE.also(too_many=3), seed=SEED
    )
    batches = kind([ROWS], {"None": None, "3": 3, "text": "text"})
    place = {"step": index(), "start": index(), "stop": integer(2)}
    place = {name: known._replace(names=("rows", "step")) for name, known in place.items()}
    yield call(dl.data.rows_of, data=batches, **place)

    def fetched(**options: Any) -> Any:
        return list(dl.data.prefetch(**options))

    keys = kind([1, 2], {"None": None, "3": 3})
    yield call(
        fetched, "prefetch", make=function(str), keys=keys, depth=integer(2, least=0), workers=integer(1)
    )
    place = Path(dl.data.__path__[0])
    path = kind(
        place / "japanese_vowels.npz",
        {"None": None, "3": 3, "a list": [], "text": place / "japanese_vowels.txt", "nothing": ""},
    )
    names = {"text": "inputs", "3": 3, "numbers": (3,), "another name": ("bogus",)}
    yield call(dl.data.open_arrays, path=path, fields=kind(None, names, names=("path",)))
    folder = kind("", {"None": None, "3": 3, "a list": [], "a folder that is missing": "/missing"})
    for loader in (dl.data.mnist, dl.data.cifar10, dl.data.multi30k, dl.data.babi, dl.data.imdb):
        yield Call(
            f"data: {loader.__name__}", functools.partial(missing, loader), {"folder": folder}, traced=False
        )


def encoders(text: Argument) -> Iterator[Call]:
    unit = kind("words", {"None": None, "3": 3, "text": "text"})
    longest, bad = integer(3, optional=True), {"None": None, "3": 3, "text": "text", "numbers": [3]}
    texts = kind(["a b"], bad, names=("texts", "text", "sequences"))
    known = {"texts": texts, "unit": unit, "longest": longest, "min_count": integer(1)}
    yield call(dl.data.TextEncoder.of, "TextEncoder.of", **known)
    encoder = dl.data.TextEncoder.of(["a b"])
    vocabulary = kind(encoder.vocabulary, {"None": None, "3": 3, "a list": ["a"]})
    yield call(dl.data.TextEncoder, vocabulary=vocabulary, unit=unit, longest=longest)
    yield call(encoder.tokens, "TextEncoder.tokens", text=text)
    yield call(encoder.batch, "TextEncoder.batch", texts=texts.also(nothing=[]))


def texts() -> Iterator[Call]:
    text = kind("so good", {"None": None, "3": 3, "a list": []})
    yield call(dl.data.words, text=text)
    yield call(dl.data.characters, text=text)
    yield from encoders(text)
    numbers = {"None": None, "3": 3, "text": "text", "nothing": [], "floats": [[0.5]], "a number in it": [3]}
    bad = {
        "None": None,
        "3": 3,
        "a text": {"a": "text"},
        "a number": {"a": 3},
        "two lengths": {"a": [1], "b": []},
    }
    yield call(dl.data.csv_text, columns=kind({"a": [1]}, bad))
    yield call(dl.data.token_dropout, rate=rate(0.5))
    yield call(dl.data.pad_sequences, sequences=kind([[3], [4, 5]], numbers), end=flag())
    bad = {"None": None, "3": 3, "text": "text", "others first": ("a", "b")}
    special = dl.data.Vocabulary.of([]).tokens
    bad |= {"a number in it": (*special, 3), "a token twice": (*special, "a", "a")}
    yield call(dl.data.Vocabulary, tokens=kind((*special, "a"), bad))
    yield call(
        dl.data.Vocabulary.of,
        "Vocabulary.of",
        sequences=kind([["a"]], {"None": None, "3": 3, "numbers": [[3]], "a number in it": [3]}),
        size=integer(4, least=2, optional=True),
        min_count=integer(1),
    )
    vocabulary = dl.data.Vocabulary.of([["a"]])
    bad = {"None": None, "3": 3, "text": "text", "a negative number": [-1], "too large": [3], "2.5": [2.5]}
    yield call(vocabulary.decode, "Vocabulary.decode", numbers=kind([2], bad))
    yield call(
        vocabulary.encode, "Vocabulary.encode", tokens=kind(["a"], {"None": None, "3": 3, "numbers": [3]})
    )
    path = kind("", {"None": None, "3": 3, "a list": [], "a file that is missing": "/missing"})
    yield Call("data: text_file", functools.partial(missing, dl.data.text_file), {"path": path}, traced=False)


def pairs() -> Iterator[Call]:
    file = Path(dl.data.__path__[0]) / "japanese_vowels.txt"
    path = kind(
        file, {"None": None, "3": 3, "a list": [], "nothing": "", "no text": file.with_suffix(".npz")}
    )
    yield call(dl.data.text_pairs, source_file=path, target_file=path)
    bad = {"None": None, "3": 3, "text": "text", "a text in it": ["ab"], "a number in it": [("a", 3)]}
    encoder = kind(dl.data.TextEncoder.of(["ab"]), {"None": None, "3": 3, "text": "text"})
    known = kind([("a", "b")], {**bad, "nothing": []}, names=("sequences",))
    yield call(dl.data.pair_arrays, pairs=known, encoder=encoder)
    share = rate(0.1, names=("dev", "test"))
    yield call(dl.data.split_pairs, pairs=kind([("a", "b")], bad), dev=share, test=share)


def stories() -> Iterator[Call]:
    known = dl.data.Story.of("Mary slept. Where is Mary?")
    wrong = {"None": None, "3": 3, "text": "text", "a number in it": (3,)}
    words = kind(("where",), wrong, names=("story", "sentences", "question"))
    yield call(
        dl.data.Story,
        sentences=kind(
            (("mary", "slept"),), {**wrong, "a text in it": ("text",), "nothing": ()}, names=("story",)
        ),
        question=words.also(nothing=()),
        answer=kind("here", {"None": None, "3": 3, "a list": []}),
        supporting=kind((1,), {**wrong, "0": (0,), "a text in it": ("1",)}),
    )
    yield call(
        dl.data.Story.of,
        "Story.of",
        text=kind("A. B?", {"None": None, "3": 3, "nothing": "", "no question": "A. B."}, names=("story",)),
    )
    several = kind([known], {"None": None, "3": 3, "text": "text", "nothing": [], "a text in it": ["text"]})
    vocabulary = kind(dl.data.Vocabulary.of([known.tokens]), {"None": None, "3": 3, "a list": ["mary"]})
    yield call(dl.data.story_arrays, stories=several, vocabulary=vocabulary)
    yield call(dl.data.story_baselines, train=several, test=several)
    yield call(
        dl.data.generated_stories,
        facts=integer(1).also(too_large=3),
        train=integer(1),
        test=integer(1),
        seed=SEED,
    )


def pronunciations() -> Iterator[Call]:
    to = dl.data.Pronunciation("to", (("T", "UW"), ("T", "AH")))
    bad = {"None": None, "3": 3, "text": "text", "a text in it": ["to"], "a pair in it": [("to", "T")]}
    words = kind([to], bad)
    words = words.also(nothing=[])
    yield call(dl.data.pronunciation_vocabularies, words=words)
    vocabularies = dl.data.pronunciation_vocabularies([to])
    letters, phones = (kind(known, {"None": None, "3": 3, "text": "text"}) for known in vocabularies)
    known = {"words": words, "letters": letters, "phones": phones}
    yield call(dl.data.pronunciation_pairs, **known, first=flag())
    del known["letters"]
    yield call(dl.data.pronunciation_references, **known)
    path = Path(tempfile.mkdtemp()) / "a.dict"
    path.write_text("to T UW1")
    other = Path(dl.data.__path__[0]) / "japanese_vowels.txt"
    words = sequence(["a word"], names=("text",), more={"no word": ["42"], "another letter": ["naïve"]})
    yield call(dl.data.letter_words, texts=words._replace(taken=frozenset({"nothing"})))
    yield call(dl.data.cmudict, path=kind(path, {"3": 3, "a list": [], "text": other}, names=(other.name,)))
    bad = {
        "None": None,
        "3": 3,
        "text": "text",
        "nothing": [],
        "a text in it": ["to"],
        "a triple": [(1, 2, 3)],
    }
    pairs = kind([("to", ("T", "UW"))], bad)
    numbers = {"labels": integer(3, 3), "iterations": integer(1)}
    yield call(dl.data.learn_alignment, pairs=pairs, **numbers)
    alignment = dl.data.learn_alignment(pairs.good)
    yield call(alignment.align, "Alignment.align", pairs=pairs.without("nothing"))


def missing(loader: Callable[..., Any], **place: Any) -> None:
    """Loads from a place that is missing, which is the good call, as there are no files here."""
    if list(place.values()) != [""]:
        try:
            loader(**place)
        except FileNotFoundError as error:
            raise ValueError(*error.args) from error
