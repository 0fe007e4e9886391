"""What a model generates is written whole, under the names that its experiment gives."""

import dataclasses
import os

import pytest

import dlcore as dl
from dlcore.plots.canvas import new_figure
from dlcore.runs.generate import generate_files, text_of
from dlcore.training.run import Run
from tests.helpers import plain_toy


def make_model(folder, generate):
    config = plain_toy.Config()
    run = Run(dataclasses.replace(plain_toy.experiment(config), generate=generate), config, folder)
    return dl.TrainedModel(run, plain_toy.make_state(plain_toy.make_engine()))


def make_files(model, texts):
    upper = "".join(f"{text.upper()}\n" for text in texts)
    return {
        "answers.txt": upper,
        "tune.mid": b"MThd",
        "picture.png": new_figure(1, 1),
        "step.csv": f"{model.step}",
    }


def test_text_bytes_and_figures_become_files(tmp_path):
    folder = tmp_path / "new" / "folder"
    files = generate_files(make_model(tmp_path, make_files), ["ä", "b"], folder)
    assert [path.name for path in files] == ["answers.txt", "tune.mid", "picture.png", "step.csv"]
    assert (folder / "answers.txt").read_text("utf-8") == "Ä\nB\n"
    assert (folder / "tune.mid").read_bytes() == b"MThd"
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(folder)) == sorted(path.name for path in files)
    assert text_of(files) == "Ä\nB\n0"


def test_files_of_the_same_name_are_replaced(tmp_path):
    model = make_model(tmp_path, make_files)
    generate_files(model, ["a"], tmp_path)
    generate_files(model, ["b"], tmp_path)
    assert (tmp_path / "answers.txt").read_text() == "B\n"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"a/b.txt": "text"}, "got the file name 'a/b.txt', expected one without a folder"),
        ({"a.txt": 3}, "got 3 as a.txt, expected text, bytes or a matplotlib figure"),
        ({3: "text"}, "got 3, expected file names that are text"),
        ("text", "got 'text', expected contents by file name"),
    ],
)
def test_other_results_are_refused(tmp_path, returned, message):
    with pytest.raises((TypeError, ValueError), match=f"generate: {message}"):
        generate_files(make_model(tmp_path, lambda model, texts: returned), [], tmp_path)


def test_bad_texts_and_an_experiment_that_does_not_generate_are_named(tmp_path):
    with pytest.raises(ValueError, match="generate: got an experiment without it"):
        make_model(tmp_path, None).generate()
    for texts in ("text", [3], None):
        with pytest.raises(TypeError, match=r"texts: got .*, expected a list of texts"):
            make_model(tmp_path, make_files).generate(texts)
