"""The vowels experiment learns, its figures show its predictions, and padding changes nothing."""

import typing

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.contract import check_model
from experiments import vowels
from tests.helpers.experiment_runs import draw_untrained, train_experiment


def options(name):
    """The values that a setting of the Config may have."""
    return typing.get_args(typing.get_type_hints(vowels.Config)[name])


@pytest.mark.slow
def test_the_figures_show_the_predictions():
    drawn, metrics = draw_untrained(vowels, features=4)
    assert set(drawn) == {"confusion_matrix", "accuracy_by_length"}
    correct = round(metrics["accuracy"] * 370)
    assert drawn["confusion_matrix"].axes[0].get_title().startswith(f"{correct} of 370 correct")
    assert drawn["accuracy_by_length"].axes[0].get_title() == f"{correct} of 370 correct"


def test_a_flag_names_every_cell():
    assert options("cell") == tuple(dl.CELLS)


@pytest.mark.parametrize("cell", dl.CELLS)
def test_every_cell_reads_in_every_direction(cell):
    for direction in options("direction"):
        config = vowels.Config(cell=cell, direction=direction, pooling="last", features=3)
        check_model(vowels.experiment(config))


def test_a_convolution_stack_reads_in_place_of_a_cell():
    for pooling in options("pooling"):
        check_model(vowels.experiment(vowels.Config(model="convolution", pooling=pooling, features=3)))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("cell", "direction"),
    [
        ("gru", "both"),
        pytest.param("lstm", "both", marks=SLOW),
        pytest.param("gru", "forward", marks=SLOW),
        pytest.param("gru", "backward", marks=SLOW),
        pytest.param("lstm", "forward", marks=SLOW),
        pytest.param("lstm", "backward", marks=SLOW),
    ],
)
def test_last_is_the_output_that_each_direction_reads_last(cell, direction):
    """It is the forward output at the last valid frame and the backward output at the first frame."""
    model = vowels.Model(vowels.Config(cell=cell, direction=direction, features=4, pooling="last"))
    part = {name: array[:5] for name, array in dl.data.japanese_vowels()[0].items()}
    inputs, lengths = part["inputs"], part["lengths"]

    shapes = jax.eval_shape(lambda key: model.init(key, inputs, lengths, train=False), jax.random.key(0))
    normal = np.random.default_rng(0).standard_normal
    params = jax.tree.map(lambda leaf: normal(leaf.shape, np.float32) / 2, shapes["params"])

    @jax.jit
    def run(params):
        logits, outputs = model.apply({"params": params}, inputs, lengths, train=False), {}
        for name, reverse in (("forward", False), ("backward", True)):
            if name in params:
                layer = dl.Recurrent(dl.CELLS[cell](4), reverse=reverse)
                _, outputs[name] = layer.apply({"params": {"cell": params[name]}}, inputs, lengths)
        return logits, outputs

    (logits, outputs), dense = run(params), params["Dense_0"]
    last = {"forward": lengths - 1, "backward": 0}
    ends = [np.asarray(outputs[name])[np.arange(5), last[name]] for name in last if name in outputs]
    expected = np.concatenate(ends, axis=-1) @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    assert set(outputs) == ({"forward", "backward"} if direction == "both" else {direction})


@pytest.mark.slow
@pytest.mark.parametrize("kind", options("model"))
def test_padding_is_inert(kind):
    """A row has the same logits without its padding and with NaN in its padding."""
    part = {name: array[:2] for name, array in dl.data.japanese_vowels()[0].items()}
    inputs, lengths = part["inputs"], part["lengths"]
    configs = [vowels.Config(model=kind, features=4, pooling=pooling) for pooling in options("pooling")]
    models = [vowels.Model(config) for config in configs]

    @jax.jit
    def logits(inputs, lengths):
        variables = models[0].init(jax.random.key(0), inputs, lengths, train=False)
        return jax.numpy.stack([model.apply(variables, inputs, lengths, train=False) for model in models])

    expected = logits(inputs, lengths)
    assert len({row.tobytes() for row in np.asarray(expected)}) == 3  # the ways of pooling differ
    np.testing.assert_array_equal(logits(np.where(inputs == 0, np.nan, inputs), lengths), expected)
    alone = logits(inputs[:1, : lengths[0]], lengths[:1])
    np.testing.assert_allclose(alone, expected[:, :1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_two_fifths_of_the_steps_beat_the_baseline(tmp_path):
    _, trained = train_experiment(vowels, tmp_path, train__steps=400)
    assert trained.evaluation["accuracy"] >= 0.98  # 1-NN by dynamic time warping: 0.949
