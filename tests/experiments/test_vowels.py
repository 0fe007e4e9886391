"""The vowels experiment learns, and draws what it says."""

import itertools
import typing

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.experiment import check_model
from experiments import vowels


def train(folder, **settings):
    config = vowels.Config()
    for name, value in settings.items():
        setattr(config.train, name, value)
    experiment = vowels.experiment(config)
    return experiment, loop.train(Engine(experiment, config), folder)


def options(name):
    """What a setting of the Config may be."""
    return typing.get_args(typing.get_type_hints(vowels.Config)[name])


def test_a_short_run_learns_and_its_figures_are_drawn(tmp_path):
    experiment, trained = train(tmp_path, steps=100)
    assert trained.evaluation["accuracy"] > 0.9
    drawn = experiment.figures(trained.state.params, trained.state.model_state)
    assert set(drawn) == {"confusion_matrix", "accuracy_by_length"}
    right = round(trained.evaluation["accuracy"] * 370)
    assert drawn["confusion_matrix"].axes[0].get_title().startswith(f"{right} of 370 right")
    assert drawn["accuracy_by_length"].axes[0].get_title() == f"{right} of 370 right"
    for name, figure in drawn.items():
        figure.savefig(tmp_path / f"{name}.png")


def test_a_flag_names_every_cell():
    assert options("cell") == tuple(dl.CELLS)


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_reads_every_way_and_is_pooled_every_way(cell):
    for direction, pooling in itertools.product(options("direction"), options("pooling")):
        config = vowels.Config(cell=cell, direction=direction, pooling=pooling, features=3)
        check_model(vowels.experiment(config))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("direction", options("direction"))
def test_last_is_the_output_at_each_directions_own_end(cell, direction):
    """Against the outputs: forward's at the last valid frame, backward's at the first."""
    model = vowels.Model(cell, direction, features=4, pooling="last", dropout=0.0)
    part = {name: array[:5] for name, array in dl.data.japanese_vowels()[0].items()}
    inputs, lengths = part["inputs"], part["lengths"]
    logits, variables = model.init_with_output(jax.random.key(0), inputs, lengths, train=False)
    params, ends = variables["params"], []
    for name, reverse in (("forward", False), ("backward", True)):
        if name in params:
            layer = dl.Recurrent(dl.CELLS[cell](4), reverse=reverse)
            _, outputs = layer.apply({"params": {"cell": params[name]}}, inputs, lengths)
            ends.append(np.asarray(outputs)[np.arange(5), 0 if reverse else lengths - 1])
    dense = params["Dense_0"]
    np.testing.assert_allclose(
        np.concatenate(ends, axis=-1) @ dense["kernel"] + dense["bias"], logits, rtol=1e-5, atol=1e-5
    )
    assert set(params) - {"Dense_0"} == ({"forward", "backward"} if direction == "both" else {direction})


@pytest.mark.parametrize("pooling", options("pooling"))
def test_padding_is_inert(pooling):
    """A row says what it says without its padding, whatever stands there."""
    part = {name: array[:2] for name, array in dl.data.japanese_vowels()[0].items()}
    model = vowels.Model("gru", "both", features=4, pooling=pooling, dropout=0.0)
    logits, variables = model.init_with_output(
        jax.random.key(0), part["inputs"], part["lengths"], train=False
    )
    dirty = np.where(part["inputs"] == 0, np.nan, part["inputs"])
    np.testing.assert_array_equal(model.apply(variables, dirty, part["lengths"], train=False), logits)
    for row, (inputs, length) in enumerate(zip(part["inputs"], part["lengths"], strict=True)):
        alone = model.apply(variables, inputs[None, :length], np.array([length]), train=False)
        np.testing.assert_allclose(alone[0], logits[row], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_whole_run_reaches_its_accuracy(tmp_path):
    _, trained = train(tmp_path)
    assert trained.evaluation["accuracy"] >= 0.98
