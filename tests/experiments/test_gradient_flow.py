"""The sweep of gradient flow says the same as one configuration after the other, and which ones are lost."""

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
from tests.sweep.test_execute import compilations

SCALES = (0.25, 1.0, 3.0)
CONFIG = Config(scales=SCALES, lengths=(100,), features=(8,), seeds=(0, 1), inputs=3, probes=2, exponents=2)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep") / "sweep.csv"


@pytest.fixture(scope="module")
def measured(table):
    """How many compilations it took, and the rows."""
    return compilations(lambda: execute.run(gradient_flow.plan(CONFIG), table))


@pytest.fixture(scope="module")
def rows(measured):
    return measured[1]


def numbers(rows, name, **settings):
    return np.array(
        [float(row[name]) for row in rows if all(row[key] == str(value) for key, value in settings.items())]
    )


def noise(seed):
    return np.random.default_rng(seed).standard_normal((100, 1, 3), np.float32)


@partial(jax.jit, static_argnums=0)
def alone(name, inputs, seed, scale):
    """The survey of one cell as its layer has it, with the kernel itself multiplied."""
    of_params, of_probes = jax.random.split(jax.random.key(seed, impl="rbg"))
    cell = dl.CELLS[name](8)
    state = cell.initialize_carry(of_params, (1, 3))
    params = cell.init(of_params, state, inputs[0])["params"]
    fixed = {**params, "recurrent_kernel": scale * params["recurrent_kernel"]}
    step = lambda bias, state, x: cell.apply({"params": {**fixed, "bias": bias}}, state, x)[0]
    return summary.summarize(Recurrence(step, params["bias"], state, inputs), 2, 2, of_probes)


def test_there_is_one_compilation_a_cell(measured):
    assert measured[0] == 4
    assert len(measured[1]) == 4 * 3 * 2


@pytest.mark.parametrize(
    "name", ["lstm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rnn", "identity", "gru"))]
)
def test_it_says_what_a_configuration_says_alone(rows, name):
    for seed, scale in ((0, 1.0), (1, 0.25)):  # where no chaos makes much of rounding
        (row,) = (
            row for row in rows if (row["cell"], row["seed"], row["scale"]) == (name, str(seed), str(scale))
        )
        for measure, value in alone(name, noise(seed), seed, scale).items():
            np.testing.assert_allclose(float(row[measure]), value, rtol=1e-5, atol=1e-5, err_msg=measure)


def test_gated_cells_and_tanh_lose_nothing(rows):
    for name in ("rnn", "gru", "lstm"):
        for measure in ("lyapunov", "slope", *summary.GAINS):
            assert np.isfinite(numbers(rows, measure, cell=name)).all()
        assert (numbers(rows, "first_nonfinite", cell=name) == -1).all()


def test_the_identity_rnn_overflows_and_dies_and_says_so(rows):
    overflow = numbers(rows, "first_nonfinite", cell="identity", scale=3.0)
    assert ((overflow > 80) & (overflow < 95)).all()  # 3^n 1e-3 passes 3e38
    assert np.isnan(numbers(rows, "log10_gain_16/16", cell="identity", scale=3.0)).all()
    assert (numbers(rows, "first_nonfinite", cell="identity", scale=1.0) == -1).all()
    assert (numbers(rows, "lyapunov", cell="identity", scale=1.0) <= 0).all()


def test_a_second_sweep_from_nothing_has_the_same_bytes(rows, table, tmp_path):
    again = execute.run(gradient_flow.plan(CONFIG), tmp_path / "sweep.csv")
    assert again == rows
    assert (tmp_path / "sweep.csv").read_bytes() == table.read_bytes()


def test_figures_show_the_first_seed_by_what_differs(rows, tmp_path):
    figure = gradient_flow.figures(rows)["reach"]
    figure.savefig(tmp_path / "figure.png")
    titles = [axes.get_title() for axes in figure.axes if axes.collections and axes.get_title()]
    assert titles == ["rnn", "identity", "gru", "lstm"]
    shown = figure.axes[0].collections[0].get_array()
    expected = np.stack([numbers(rows, name, cell="rnn", seed=0) for name in summary.GAINS], axis=-1)
    np.testing.assert_allclose(shown, expected, rtol=1e-6)


def test_settings_multiply_where_they_are_ones():
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
    points = [point for group in groups for point in group.points()]
    assert sum(point["cell"] == "lstm" for point in points) == 4 * 2 * 2
    assert sum(point["cell"] == "gru" for point in points) == 4 * 2
    assert {point.get("forget_bias") for point in points} == {"0.0", "2.0", None}


def test_forget_bias_and_initialization_reach_the_cell():
    names = ("own", "orthogonal", "gaussian", "identity")
    measure = jax.jit(gradient_flow.Measure("lstm", 16, names, probes=2, exponents=1))
    shared = {"seed": 0, "inputs": np.random.default_rng(0).standard_normal((200, 3), np.float32)}

    def measured(number, bias):
        return measure({"initialization": number, **shared}, {"scale": 1.0, "forget_bias": bias})

    half_lives = [float(measured(0, bias)["half_life"]) for bias in (0.0, 1.0, 2.0)]
    assert half_lives[0] < half_lives[1] / 2 < half_lives[2] / 4
    exponents = [float(measured(number, 1.0)["lyapunov"]) for number in range(len(names))]
    assert exponents[0] == exponents[names.index("orthogonal")]
    assert len(set(exponents)) == 3


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
