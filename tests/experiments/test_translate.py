"""The translator learns a small language, and writes what it reads as a table and a figure."""

import random

import pytest

import dlcore as dl
from dlcore.training.contract import check_model
from experiments import translate
from tests.helpers.experiment_runs import make_config

SYLLABLES = {"one ": "ein-", "two ": "zwei", "red ": "rot-", "sea ": "meer"}


@pytest.fixture(scope="module", name="files")
def small_language(tmp_path_factory):
    """All sequences of one to four words; the order of the words is reversed."""
    folder = tmp_path_factory.mktemp("pairs")
    draw = random.Random(0)
    texts = sorted({tuple(draw.choices(list(SYLLABLES), k=draw.randint(1, 4))) for _ in range(500)})
    for name, lines in (
        ("en", ["".join(words) for words in texts]),
        ("de", ["".join(SYLLABLES[word] for word in reversed(words)) for words in texts]),
    ):
        (folder / name).write_text("\n".join(lines))
    return {
        "pairs__name": "files",
        "pairs__source_file": str(folder / "en"),
        "pairs__target_file": str(folder / "de"),
        "pairs__longest": 16,
        "decoding__steps": 20,
    }


@pytest.mark.parametrize("changes", [{}, {"cell": "lstm"}, {"pairs__unit": "words"}])
def test_every_cell_and_unit_fits(files, changes):
    check_model(translate.experiment(make_config(translate, **files, features=3, **changes)))


def test_the_vocabulary_is_that_of_both_languages(files):
    experiment = translate.experiment(make_config(translate, **files, features=3))
    written = experiment.files["vocabulary.json"]
    assert all(f'"{letter}"' in written for letter in "oneztwi")


@pytest.mark.slow
def test_a_small_language_is_learned_and_translated(files, tmp_path):
    changes = {
        "features": 32,
        "dropout": 0.0,
        "decoding__beams": 2,
        "train__steps": 300,
        "train__batch_size": 32,
        "train__eval_every": 300,
        "optimizer__learning_rate": 1e-2,
    }
    config = make_config(translate, **files, **changes)
    trained = dl.train(translate.experiment(config), config, tmp_path / "run")
    scores = trained.evaluation
    assert scores["chrf"] > max(70, scores["chrf_of_copying"] + 50)
    assert scores["exact_match_of_copying"] == 0
