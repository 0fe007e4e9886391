"""Each line of a file of runs becomes a run with a name of its own; mistakes are found in all lines at once."""

from pathlib import Path

import pytest

from dlcore.cli.command_line import load_command_line
from dlcore.config import settings
from dlcore.launch.command import Command
from dlcore.launch.series.plan import canonical_text, plan_series, run_name
from tests.helpers import many_toy, toy

MODULE = "tests.helpers.many_toy"


def plan(tmp_path, text, *common, module=MODULE):
    (tmp_path / "runs.txt").write_text(text)
    return plan_series(Command(module, common, tmp_path / "series"), tmp_path / "runs.txt")


def test_lines_add_their_flags_to_those_of_all_runs(tmp_path):
    text = (
        '--config.seed=1\n# no run\n{"config.seed": 2, "config.train.steps": "1epochs"}\n--config.sleep 0.5'
    )
    common = ("--preset=slow", "--mode", "toy", "--workdir=/elsewhere", "--config.dropout=0.25")
    series = plan(tmp_path, text, *common)
    assert (series.module, series.mode, series.folder) == (MODULE, "toy", tmp_path / "series")
    shared = ("--preset=slow", "--config.dropout=0.25")
    assert [run.arguments for run in series.runs] == [
        (*shared, "--config.seed=1"),
        (*shared, "--config.seed=2", "--config.train.steps=1epochs"),
        (*shared, "--config.sleep", "0.5"),
    ]
    assert [(run.config.seed, run.config.sleep, run.config.dropout) for run in series.runs] == [
        (1, 0.05, 0.25),
        (2, 0.05, 0.25),
        (0, 0.5, 0.25),
    ]
    assert len({run.name for run in series.runs}) == 3


def test_runs_train_without_a_mode(tmp_path):
    assert plan(tmp_path, "--config.seed=1").mode == "train"


def name(module=MODULE, mode="train", **changes):
    return run_name(module, mode, settings.replace(many_toy.Config(), changes))


def test_a_name_depends_on_all_that_changes_what_a_run_computes():
    names = [
        name(),
        name(mode="gradient_flow"),
        name(module="tests.helpers.other"),
        name(seed=1),
        name(dropout=0.5),
        name(**{"train.steps": 13}),
        name(**{"optimizer.b2": 0.5}),
    ]
    assert len(set(names)) == len(names)
    assert all(len(found) == 16 and set(found) <= set("0123456789abcdef") for found in names)


def test_a_name_does_not_depend_on_how_a_value_is_written_or_on_what_may_change():
    assert name(sleep=1) == name(sleep=1.0)
    assert name(**{"train.prefetch": 7, "log.tensorboard": False}) == name()
    line = load_command_line(MODULE)
    written = [
        ["--config.sleep=1"],
        ["--config.sleep=1.0"],
        ["--config.sleep=1e0", "--config.train.prefetch=3"],
    ]
    assert len({run_name(MODULE, "toy", line.config(arguments)) for arguments in written}) == 1


def test_a_name_stays_the_same():
    """Names are on disks: another one would do finished runs again."""
    assert run_name("module", "train", toy.Config(seed=3)) == run_name("module", "train", toy.Config(seed=3))
    leaves = {leaf.path: canonical_text(leaf) for leaf in settings.leaves(toy.Config(seed=3))}
    assert (leaves["seed"], leaves["optimizer.clip_norm"], leaves["init_from"]) == ("3", "0.5", "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--config.seed=1\n\n--config.sed=2", ":3: --config.sed: no such flag"),
        ("--config.seed=-1", ":1: flag --config.seed=-1: expected an integer >= 0"),
        ('{"config.seed": true}', ":1: flag --config.seed=true: expected an integer"),
        ("--preset=fast", ":1: --preset: got 'fast', expected one of slow"),
        ("--config.seed=1 digits", ":1: digits: no such argument"),
        ("--mode=toy", ":1: --mode: no such flag"),
        ("--from_config=none.json", ":1: --from_config: no file none.json"),
        (
            "#\n--config.seed=0\n--config.sleep=1e-2",
            ":3: the configuration is that of line 2, expected another",
        ),
        (
            "--config.checkpoint.folder=a\n--config.checkpoint.folder=a --config.seed=1",
            ":2: --config.checkpoint.folder is that of line 1",
        ),
        ("--config.sed=1\n--config.seed=2\n--x\n--config.seed=2", r":1: .*\(mistakes also in line 3, 4\)$"),
    ],
)
def test_a_mistake_in_a_line_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"^--runs: {tmp_path / 'runs.txt'}{message}"):
        plan(tmp_path, text)


def test_a_mistake_in_the_flags_of_all_runs_is_said_once(tmp_path):
    with pytest.raises(ValueError, match=r"^--config.sed: no such flag"):
        plan(tmp_path, "--config.seed=1\n--config.seed=2", "--config.sed=1")


def test_what_is_no_experiment_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^experiment: got 'dlcore.utils.text', which calls no dl.run"):
        plan(tmp_path, "--config.seed=1", module="dlcore.utils.text")


def test_a_folder_for_the_checkpoints_of_all_runs_is_refused(tmp_path):
    lines = "--config.seed=1\n--config.seed=2"
    assert len(plan(tmp_path, lines).runs) == 2
    with pytest.raises(ValueError, match=r":2: --config.checkpoint.folder is that of line 1"):
        plan(tmp_path, lines, f"--config.checkpoint.folder={Path('here')}")
