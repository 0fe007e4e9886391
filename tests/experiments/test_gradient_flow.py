"""The sweep of gradient flow measures what each configuration has alone, and says which ones are lost."""

import csv
import json
import os
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures import summary
from dlcore.gradflow.measures.recurrence import Recurrence
from dlcore.sweep import execute
from experiments import gradient_flow
from experiments.gradient_flow import Config
from tests.helpers.paths import ROOT
from tests.helpers.sweeps import compilations

SIZES = {
    "scales": (0.25, 1.0, 3.0),
    "lengths": (100,),
    "features": (8,),
    "inputs": 3,
    "probes": 2,
    "exponents": 2,
}
CONFIG = Config(
    cells=("identity", "lstm"),
    initializations=("own", "gaussian"),
    forget_biases=(0.0, 1.0),
    seeds=(0, 1),
    **SIZES,
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep") / "sweep.csv"


@pytest.fixture(scope="module")
def measured(table):
    """The number of compilations, and the rows."""
    return compilations(lambda: execute.run(gradient_flow.plan(CONFIG), table))


@pytest.fixture(scope="module")
def rows(measured):
    return measured[1]


def select(rows, **settings):
    return [row for row in rows if all(row[key] == str(value) for key, value in settings.items())]


def numbers(rows, name, **settings):
    return np.array([float(row[name]) for row in select(rows, **settings)])


@partial(jax.jit, static_argnums=0)
def measure_alone(name, inputs, seed, scale):
    """The summary of one cell by its layer, whose kernel itself is multiplied by the scale."""
    params_key, probes_key = jax.random.split(jax.random.key(seed, impl="rbg"))
    cell = dl.CELLS[name](8)
    state = cell.initialize_carry(params_key, (1, 3))
    params = cell.init(params_key, state, inputs[0])["params"]
    fixed = {**params, "recurrent_kernel": scale * params["recurrent_kernel"]}
    step = lambda bias, state, x: cell.apply({"params": {**fixed, "bias": bias}}, state, x)[0]
    return summary.summarize(Recurrence(step, params["bias"], state, inputs), 2, 2, probes_key)


def check_against_alone(rows, name):
    for seed, scale in ((0, 1.0), (1, 0.25)):  # without chaos, which enlarges rounding
        (row,) = select(rows, cell=name, seed=seed, scale=scale)
        inputs = np.random.default_rng(seed).standard_normal((100, 1, 3), np.float32)
        for measure, value in measure_alone(name, inputs, seed, scale).items():
            np.testing.assert_allclose(float(row[measure]), value, rtol=1e-5, atol=1e-5, err_msg=measure)


@pytest.mark.slow
def test_each_cell_is_compiled_once(measured):
    assert measured[0] == 2
    assert len(measured[1]) == (1 + 2) * 2 * 2 * 3


@pytest.mark.slow
def test_a_configuration_has_the_measures_that_it_has_alone(rows):
    check_against_alone(select(rows, initialization="own", forget_bias="1.0"), "lstm")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rnn", "identity", "gru"])
def test_each_other_cell_has_the_measures_that_it_has_alone(name, tmp_path):
    rows = execute.run(
        gradient_flow.plan(Config(cells=(name,), seeds=(0, 1), **SIZES)), tmp_path / "sweep.csv"
    )
    check_against_alone(rows, name)
    if name != "identity":
        for measure in ("exponent_1", "rate", *summary.GAINS):
            assert np.isfinite(numbers(rows, measure)).all()
        assert (numbers(rows, "first_nonfinite") == -1).all()


@pytest.mark.slow
def test_an_lstm_loses_nothing(rows):
    for measure in ("exponent_1", "exponent_2", "rate", *summary.GAINS):
        assert np.isfinite(numbers(rows, measure, cell="lstm")).all()
    assert (numbers(rows, "first_nonfinite", cell="lstm") == -1).all()


@pytest.mark.slow
def test_the_identity_rnn_says_where_it_overflows_and_that_it_dies(rows):
    rows = select(rows, cell="identity", initialization="own")
    overflow = numbers(rows, "first_nonfinite", scale=3.0)
    assert ((overflow > 80) & (overflow < 95)).all()  # 3^t 1e-3 passes 3e38
    assert np.isnan(numbers(rows, "log10_gain_16/16", scale=3.0)).all()
    assert (numbers(rows, "first_nonfinite", scale=1.0) == -1).all()
    assert (numbers(rows, "exponent_1", scale=1.0) <= 0).all()


@pytest.mark.slow
def test_forget_bias_and_initialization_reach_the_cell(rows):
    rows = select(rows, cell="lstm", seed=0, scale=1.0)
    closed, opened = (
        numbers(rows, "half_life", initialization="own", forget_bias=bias) for bias in (0.0, 1.0)
    )
    assert closed < opened / 2
    assert numbers(rows, "exponent_1", initialization="gaussian", forget_bias=1.0) != numbers(
        rows, "exponent_1", initialization="own", forget_bias=1.0
    )


@pytest.mark.slow
def test_an_lstms_own_initialization_is_orthogonal():
    names = ("own", "orthogonal", "gaussian", "identity")
    measure = jax.jit(gradient_flow.Measure("lstm", 16, names, probes=2, exponents=1))
    shared = {"seed": 0, "inputs": np.random.default_rng(0).standard_normal((200, 3), np.float32)}
    exponents = [
        float(measure({"initialization": index, **shared}, {"scale": 1.0})["exponent_1"])
        for index in range(len(names))
    ]
    assert exponents[0] == exponents[names.index("orthogonal")]
    assert len(set(exponents)) == 3


@pytest.mark.slow
def test_a_second_sweep_has_the_same_bytes(rows, table, tmp_path):
    again = execute.run(gradient_flow.plan(CONFIG), tmp_path / "sweep.csv")
    assert again == rows
    assert (tmp_path / "sweep.csv").read_bytes() == table.read_bytes()


@pytest.mark.slow
def test_figures_show_the_first_seed_by_the_settings_that_differ(rows, drawn):
    figure = drawn(gradient_flow.figures(rows)["reach"])
    titles = [axes.get_title() for axes in figure.axes if axes.collections and axes.get_title()]
    assert titles == [
        *("identity, own", "identity, gaussian"),
        *("lstm, own, 0.0", "lstm, own, 1.0", "lstm, gaussian, 0.0", "lstm, gaussian, 1.0"),
    ]
    shown = figure.axes[2].collections[0].get_array()
    settings = {"cell": "lstm", "initialization": "own", "forget_bias": 0.0, "seed": 0}
    expected = np.stack([numbers(rows, name, **settings) for name in summary.GAINS], axis=-1)
    np.testing.assert_allclose(shown, expected, rtol=1e-6)


def test_settings_multiply_where_they_apply():
    config = Config(
        cells=("lstm", "gru"),
        scales=(1.0,),
        forget_biases=(0.0, 2.0),
        initializations=("own", "gaussian"),
        lengths=(16, 32),
        features=(4, 8),
    )
    groups = gradient_flow.plan(config).groups
    assert len(groups) == 2 * 2 * 2
    rows = [row for group in groups for row in group.configurations()]
    assert sum(row["cell"] == "lstm" for row in rows) == 4 * 2 * 2
    assert sum(row["cell"] == "gru" for row in rows) == 4 * 2
    assert {row.get("forget_bias") for row in rows} == {"0.0", "2.0", None}


def test_more_exponents_than_units_are_refused():
    with pytest.raises(ValueError, match="exponents: got 9, expected at most 8, the smallest of features"):
        gradient_flow.plan(Config(features=(16, 8), exponents=9))


@pytest.mark.slow
def test_the_command_sweeps_and_goes_on(tmp_path):
    command = [sys.executable, "-m", "experiments.gradient_flow", f"--workdir={tmp_path / 'run'}"]
    flags = ["--config.cells=rnn", "--config.lengths=16", "--config.features=4", "--config.inputs=2"]

    def start(*more):
        finished = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=120)
        return finished.returncode, finished.stderr.splitlines(), finished.stdout

    code, errors, _ = start(*flags, "--config.scales=1,-2")
    assert (code, len(errors)) == (2, 1)
    assert "--config.scales" in errors[0]
    assert not (tmp_path / "run").exists()
    code, errors, out = start(*flags, "--config.scales=0.5,1")
    assert code == 0, errors
    assert errors[0].startswith("configuration 2/2  cell rnn  length 16  features 4")
    assert json.loads(out.removeprefix("result: "))["configurations"] == 2
    assert (tmp_path / "run" / "figures" / "reach.png").read_bytes().startswith(b"\x89PNG")
    code, errors, _ = start("--config.scales=1,2")  # with the other settings that the run had
    assert errors[0].startswith("configuration 2/2")
    with (tmp_path / "run" / "sweep.csv").open() as file:
        assert [row["scale"] for row in csv.DictReader(file)] == ["0.5", "1.0", "2.0"]
    assert sorted(os.listdir(tmp_path / "run" / "figures")) == ["exponents.png", "reach.png"]
