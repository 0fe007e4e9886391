"""What an inspection prints, and its numbers for programs."""

import json

import jax
import pytest

from dlcore.config.sources import SourcedSetting
from dlcore.runs.inspection.parts import BatchField, Parameter, Part
from dlcore.runs.inspection.report import Inspection, collective_lines
from dlcore.runs.inspection.steps import Step
from dlcore.training.targets.target import Target
from dlcore.training.telemetry.memory import Memory
from dlcore.utils.hlo import Collective

TRAINING = Step(
    "training",
    rows=32,
    steps=4,
    beside=1024,
    fits=True,
    needed=Memory(2048, 1024, 512, 256, 128).total + 1024,
    memory=Memory(2048, 1024, 512, 256, 128),
    compile_seconds=1.25,
    flops=3e9,
    collectives=(Collective("all-reduce", 100, 8), Collective("all-gather", 1024, 8, runs=50)),
    calls={"__cudnn$convForward": 2},
)
REFUSED = Step("evaluation of eval_data['dev']", rows=16, steps=1, beside=0, fits=False, needed=3 * 2**30)


def inspection(**fields):
    return Inspection(
        **{
            "target": Target("v5e:2x4", tuple(jax.devices()), 2**30, "a test"),
            "settings": [
                SourcedSetting("seed", "3", "flag"),
                SourcedSetting("train.steps", "10", "preset small"),
                SourcedSetting("init_map", "", "default"),
                SourcedSetting("mesh.model", "1", "default"),
            ],
            "mesh": {"data": 4, "model": 2},
            "batches": [BatchField("train_data", "inputs", (32, 3), "float32")],
            "parameters": [
                Parameter("dense/kernel", (3, 1000), "float32", 3000, "(None, 'model')"),
                Parameter("dense/bias", (3,), "float32", 3, "replicated"),
            ],
            "state": [
                Part("parameters", 2, 12012, 6012, "1 (None, 'model'), 1 replicated"),
                Part("optimizer", 1, 4, 4, "replicated"),
                Part("batch", 1, 384, 96, "('data',)"),
            ],
            "steps": [TRAINING, REFUSED],
            "problem": "too large",
            **fields,
        }
    )


def line_of(text, start):
    return next(line.split() for line in text.splitlines() if line.strip().startswith(start))


def test_settings_that_were_given_have_their_source_and_the_others_stand_together():
    lines = inspection().text.splitlines()
    assert lines[:4] == [
        "settings: 2 of 4 given",
        "  setting      value  from",
        "  seed         3      flag",
        "  train.steps  10     preset small",
    ]
    assert lines[4:6] == ["  defaults:", "    init_map=()  mesh.model=1"]


def test_without_a_given_setting_there_is_no_table_of_them():
    text = inspection(settings=[SourcedSetting("seed", "3", "default")]).text
    assert text.startswith("settings: 0 of 1 given\n  defaults:\n    seed=3\n")


def test_the_tables_have_totals():
    text = inspection().text
    assert line_of(text, "total") == ["total", "3,003"]
    assert line_of(text, "dense/kernel") == [
        "dense/kernel",
        "(3,",
        "1000)",
        "float32",
        "(None,",
        "'model')",
        "3,000",
    ]
    assert line_of(text, "state  ") == ["state", "3", "11.73", "KiB", "5.875", "KiB"]
    assert "state and batch on the mesh data=4 x model=2" in text
    assert line_of(text, "train_data") == ["train_data", "inputs", "(32,", "3)", "float32"]


def test_the_memory_of_a_step_adds_up_line_by_line():
    text = inspection().text
    assert "training: batches of 32 rows in calls of 4 steps" in text
    assert "compiled in 1.2 s; 3 GFLOP a step on all devices" in text
    amounts = [
        line_of(text, sign)[-2:] for sign in ("arguments", "+ outputs", "- outputs", "+ temp", "+ program")
    ]
    assert amounts == [["2", "KiB"], ["1", "KiB"], ["512", "B"], ["256", "B"], ["128", "B"]]
    assert line_of(text, "= program in all")[-2:] == ["2.875", "KiB"]
    assert line_of(text, "= memory of a device")[-2:] == ["3.875", "KiB"]
    assert "library calls: 2 __cudnn$convForward" in text


def test_the_last_lines_say_what_fits():
    *_, machine, training, evaluation = inspection().text.splitlines()
    assert machine.startswith("v5e:2x4: ")
    assert training == "fits: training needs 3.875 KiB of a device"
    assert evaluation == "does not fit: evaluation of eval_data['dev'] needs 3 GiB of a device"


def test_a_refusal_without_a_number_is_said_in_words():
    text = inspection(steps=[REFUSED._replace(needed=None)]).text
    assert text.splitlines()[-1].endswith("needs more memory than there is of a device")
    assert "  refused by the compiler" in text


def test_collectives_of_one_kind_and_number_of_runs_share_a_line():
    lines = collective_lines(
        [
            Collective("all-reduce", 512, 8),
            Collective("all-reduce", 512, 8),
            Collective("all-reduce", 512, 2),
            Collective("all-gather", 1024, 8, runs=1000),
            Collective("all-gather", 1024, 8, exact=False),
        ]
    )
    assert [line.split() for line in lines[1:]] == [
        ["all-gather", "8", "1", "1", "a", "trip", "1", "KiB"],
        ["all-gather", "8", "1", "1,000", "1000", "KiB"],
        ["all-reduce", "2", "1", "1", "512", "B"],
        ["all-reduce", "8", "2", "1", "1", "KiB"],
    ]
    assert collective_lines([]) == ["collectives: none"]


def test_the_numbers_are_json():
    result = json.loads(json.dumps(inspection().result))
    assert result == {
        "target": "v5e:2x4",
        "device": "cpu",
        "devices": 8,
        "device_memory": 2**30,
        "parameters": 3003,
        "state_bytes": 12016,
        "state_device_bytes": 6016,
        "training": {
            "rows": 32,
            "needed_bytes": 3968,
            "program_bytes": 2944,
            "temporary_bytes": 256,
            "flops": 3e9,
            "compile_seconds": 1.25,
            "collectives": 2,
            "collective_bytes": 100 + 50 * 1024,
        },
        "evaluation of eval_data['dev']": {
            "rows": 16,
            "needed_bytes": 3 * 2**30,
            "program_bytes": None,
            "temporary_bytes": None,
            "flops": None,
            "compile_seconds": None,
            "collectives": 0,
            "collective_bytes": 0,
        },
        "fits": False,
    }


@pytest.mark.parametrize(("steps", "problem", "fits"), [([], None, None), ([TRAINING], None, True)])
def test_without_steps_nobody_knows_whether_it_fits(steps, problem, fits):
    assert inspection(steps=steps, problem=problem).result["fits"] is fits
