"""A sweep measures every configuration once, with one compilation for each group, even if it is stopped in between."""

import os
import subprocess
import sys

import numpy as np
import pytest

from dlcore.sweep import execute
from tests.helpers.paths import ROOT
from tests.helpers.sweeps import compilations, group, run


def test_rows_are_in_order_with_their_settings_and_measures(tmp_path):
    rows = run(tmp_path / "new" / "sweep.csv", group(), group("b", (1.0,), (0,), biases=(1.0, -1 / 3)))
    values = [
        (row["kind"], row["seed"], row["scale"], row["bias"], row["value"], row["count"]) for row in rows
    ]
    assert values == [
        ("a", "3", "0.5", "", "2", "0"),
        ("a", "3", "1.0", "", "3.5", "0"),
        ("a", "3", "2.0", "", "6.5", "1"),
        ("a", "4", "0.5", "", "2.5", "0"),
        ("a", "4", "1.0", "", "4.5", "0"),
        ("a", "4", "2.0", "", "8.5", "1"),
        ("b", "0", "1.0", "1.0", "1", "0"),
        ("b", "0", "1.0", str(-1 / 3), "-0.333333", "0"),
    ]
    text = (tmp_path / "new" / "sweep.csv").read_text()
    assert text.splitlines()[:2] == ["kind,seed,scale,bias,value,count", "a,3,0.5,,2,0"]


def test_each_group_is_compiled_once_whatever_its_numbers(tmp_path):
    groups = [group("a"), group("b", seeds=range(5)), group("c", (1.0,) * 7)]
    count, _ = compilations(lambda: run(tmp_path / "sweep.csv", *groups))
    assert count == 3
    for path in ("sweep.csv", "again.csv"):
        count, _ = compilations(lambda path=path: run(tmp_path / path, *groups))
        assert count == 0


def test_batches_do_not_change_the_table(tmp_path):
    scales = tuple(np.linspace(0.1, 3, 7).tolist())
    whole = run(tmp_path / "whole.csv", group(scales=scales))
    count, parts = compilations(lambda: run(tmp_path / "parts.csv", group(scales=scales), memory=24))
    assert (parts, count) == (whole, 1)  # batches of 3, 3 and 1
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_stopped_sweep_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole.csv", tmp_path / "stopped.csv"
    groups = group(), group("b")
    run(whole, *groups)
    stopped.write_text(whole.read_text()[:75])  # in the middle of a row
    measured = []
    append = execute.Table.append
    monkeypatch.setattr(
        execute.Table,
        "append",
        lambda self, rows, values: (measured.extend(rows), append(self, rows, values)),
    )
    run(stopped, *groups)
    assert stopped.read_bytes() == whole.read_bytes()
    assert len(measured) == 12 - (whole.read_text()[:75].count("\n") - 1)


def test_a_sweep_can_grow(tmp_path):
    run(tmp_path / "sweep.csv", group())
    before = (tmp_path / "sweep.csv").read_text()
    rows = run(tmp_path / "sweep.csv", group(scales=(0.25, 1.0)))
    assert [row["scale"] for row in rows] == ["0.25", "1.0"] * 2
    after = (tmp_path / "sweep.csv").read_text()
    assert after.startswith(before)
    assert after.removeprefix(before).splitlines() == ["a,3,0.25,,1.25,0", "a,4,0.25,,1.5,0"]


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_batches_fit_into_memory_and_are_as_few_as_possible(devices):
    for configurations in (1, 5, 64):
        for fitting in (0, 1, 7, 100):
            size = execute.batch_size(configurations, devices, 10, 10 * fitting)
            assert size % devices == 0
            assert size <= max(fitting, devices)
            assert size < configurations + devices
            most = max(fitting // devices, 1) * devices
            assert -(-configurations // size) == -(-configurations // most)


def test_free_memory_is_at_most_that_of_the_machine():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < execute.free_memory() <= pages


PROGRAM = """
import sys
from pathlib import Path
import jax
from tests.helpers.sweeps import group, run
assert len(jax.devices()) == 3
run(Path(sys.argv[1]), group(scales=(0.5, 1.0, 2.0, 3.0)), group("b", (1.0,)))
"""


@pytest.mark.slow
def test_several_devices_share_a_sweep(tmp_path):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "3"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "three.csv")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    run(tmp_path / "one.csv", group(scales=(0.5, 1.0, 2.0, 3.0)), group("b", (1.0,)))
    assert (tmp_path / "three.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


@pytest.mark.parametrize(
    ("measure", "error", "message"),
    [
        (
            lambda seed, numbers: {"value": seed},
            ValueError,
            r"measure: got a result with \['value'\], expected the mea",
        ),
        (lambda seed, numbers: seed, TypeError, "measure: got .*, expected a function that returns a dict"),
        (
            lambda seed, numbers: {"value": seed, "count": seed[None]},
            ValueError,
            "measure: got .* for count, expected a scalar array",
        ),
    ],
)
def test_a_measure_of_other_names_is_refused_before_it_runs(tmp_path, measure, error, message):
    with pytest.raises(error, match=message):
        run(tmp_path / "sweep.csv", group()._replace(measure=measure))
    assert (tmp_path / "sweep.csv").read_text() == "kind,seed,scale,bias,value,count\n"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: execute.batch_size(0, 1, 1, 1), ValueError, "configurations: got 0"),
        (lambda: execute.batch_size(1, 0, 1, 1), ValueError, "devices: got 0"),
        (lambda: execute.batch_size(1, 1, 0, 1), ValueError, "bytes_each: got 0"),
        (lambda: execute.batch_size(1, 1, 1, float("nan")), ValueError, "memory: got nan"),
        (lambda: run(None, group()), TypeError, "path: got None, expected the path"),
        (lambda: run("sweep.csv", group(), memory="1G"), TypeError, "memory: got '1G'"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_endless_memory_is_one_batch():
    assert execute.batch_size(7, 1, 1, float("inf")) == 7
