"""The caption experiment learns with and without attention, and captions images by number and from files."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dlcore.data import caption_vocabulary
from dlcore.training.contract import check_model
from experiments import caption
from tests.helpers.experiment_runs import make_config, train_experiment

SMALL = {"filters": (2, 3), "features": 4, "test_images": 6}


def untrained(**changes):
    """An experiment, and a model as `dl.load` returns it, with its first parameters."""
    config = make_config(caption, **SMALL, **changes)
    experiment = caption.experiment(config)
    params, model_state = jax.jit(experiment.init)(jax.random.key(0), experiment.train_data[0])
    return experiment, SimpleNamespace(params=params, model_state=model_state, config=config)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("digits", ["uci", "mnist5k"])
def test_the_model_fits_its_data(attention, digits):
    check_model(caption.experiment(make_config(caption, attention=attention, data__name=digits, **SMALL)))


@pytest.mark.slow
def test_images_are_captioned_by_number_and_from_files(tmp_path):
    experiment, model = untrained()
    image = experiment.eval_data[0]["inputs"][4]
    np.save(tmp_path / "image.npy", image)
    files = experiment.generate(model, ["4", str(tmp_path / "image.npy"), "0"])
    lines = files["captions.txt"].splitlines()
    assert len(lines) == 3
    assert lines[0] == lines[1]
    assert set(" ".join(lines).split()) <= set(caption_vocabulary().tokens)
    assert set(files) == {"captions.txt", "attention_0", "attention_1", "attention_2"}
    shown = files["attention_0"].axes
    assert [axes.get_title() for axes in shown[1:]][: len(lines[0].split())] == lines[0].split()
    with pytest.raises(FileNotFoundError, match=r"path: got .*17, which is no file"):
        experiment.generate(model, ["17"])


@pytest.mark.slow
def test_without_attention_there_is_text_alone():
    experiment, model = untrained(attention=False)
    files = experiment.generate(model, [])
    assert set(files) == {"captions.txt"}
    assert len(files["captions.txt"].splitlines()) == 3


@pytest.mark.slow
def test_a_short_run_learns(tmp_path):
    options = {"filters": (8, 16), "features": 32, "test_images": 50, "train__steps": 60}
    _, trained = train_experiment(caption, tmp_path, **options)
    assert trained.evaluation["loss"] < 2.2  # ln 12 = 2.48
    assert 0 <= trained.evaluation["exact_match"] <= trained.evaluation["accuracy"]
