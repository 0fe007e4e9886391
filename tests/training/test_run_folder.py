"""A run's folder: its lock, its config, and which runs may continue in it."""

import dataclasses
import json

import optax
import pytest

import dlcore as dl
from dlcore.config import settings
from dlcore.training import run_folder
from dlcore.training.origin import ORIGIN, read_origin
from dlcore.training.run import Run
from dlcore.training.run_folder import (
    CONFIG,
    LOCK,
    check_folder,
    check_unused,
    check_writable,
    claim_folder,
    finished_result,
)
from dlcore.utils.locks import lock_file
from dlcore.utils.run_paths import LAUNCH
from tests.helpers import plain_toy
from tests.helpers.checkpoints import fake_checkpoint


def make_run(folder, values=None):
    config = settings.replace(plain_toy.Config(), values or {})
    return Run(plain_toy.experiment(config), config, folder)


@pytest.fixture
def trained(tmp_path):
    """The folder of a run with the default settings and a checkpoint."""
    with claim_folder(make_run(tmp_path / "run")):
        (tmp_path / "run" / "checkpoints" / "6").mkdir(parents=True)
    return tmp_path / "run"


def test_a_new_folder_gets_the_config_and_can_be_claimed_again(tmp_path):
    run = make_run(tmp_path / "new" / "run")
    for _ in range(2):
        with claim_folder(run):
            stored = json.loads((run.folder / CONFIG).read_text())
            assert stored == json.loads(json.dumps(dataclasses.asdict(run.config)))


def test_the_folder_gets_the_names_of_the_code_after_the_config(tmp_path):
    run = dataclasses.replace(make_run(tmp_path / "run"), build=plain_toy.experiment)
    with claim_folder(run):
        assert read_origin(run.folder) == {
            "experiment": "tests.helpers.plain_toy:experiment",
            "config": "tests.helpers.plain_toy:Config",
        }
    (run.folder / ORIGIN).write_text("{")
    with pytest.raises(ValueError, match=r"experiment\.json: got a file that is no JSON"), claim_folder(run):
        pass


def test_a_folder_that_another_process_holds_is_refused(tmp_path):
    run = make_run(tmp_path)
    with (tmp_path / LOCK).open("w") as lock:
        lock_file(lock, "")
        with (
            pytest.raises(
                BlockingIOError, match=f"{tmp_path}: another process or thread trains in this folder"
            ),
            claim_folder(run),
        ):
            pass
    assert not (tmp_path / CONFIG).exists()
    with claim_folder(run):
        pass


def test_a_run_may_continue_with_more_steps_and_with_settings_that_change_no_number(trained):
    values = {"train.steps": 24, "train.prefetch": 5, "mesh.parameters": "sharded", "gradient_flow.rows": 3}
    check_folder(make_run(trained, values))
    stored = json.loads((trained / CONFIG).read_text())
    del stored["gradient_flow"]  # as in a run of version 0.2
    (trained / CONFIG).write_text(json.dumps(stored))
    check_folder(make_run(trained, values))


def test_two_ways_to_write_a_duration_are_the_same_setting(trained):
    check_folder(make_run(trained, {"train.eval_every": dl.Duration("50%")}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"seed": 1},
            "holds a run with other settings: --config.seed=1 .was 0.; choose another folder, or leave these",
        ),
        ({"train.steps": 6}, "other settings: --config.train.steps=6 .was 12."),
        (
            {"dropout": 0.5, "train.eval_every": dl.Duration("25%")},
            "other settings: --config.train.eval_every=25% .was 6., --config.dropout=0.5 .was 0.0.",
        ),
    ],
)
def test_a_run_with_other_settings_is_refused(trained, values, message):
    with pytest.raises(ValueError, match=message):
        check_folder(make_run(trained, values))


def test_a_missing_setting_counts_as_its_default(trained, caplog):
    values = json.loads((trained / CONFIG).read_text())
    del values["seed"]
    (trained / CONFIG).write_text(json.dumps(values))
    with caplog.at_level("WARNING", logger="absl"):
        check_folder(make_run(trained))
    assert [record.getMessage() for record in caplog.records] == [
        f"{trained / CONFIG}: lacks settings; taken are seed=0"
    ]
    with pytest.raises(ValueError, match=r"other settings: --config.seed=5 \(was 0\)"):
        check_folder(make_run(trained, {"seed": 5}))


def test_an_empty_config_is_refused(trained):
    (trained / CONFIG).write_text("{}")
    with pytest.raises(
        ValueError, match=r"config\.json holds no settings; expected the config\.json of a run"
    ):
        check_folder(make_run(trained))


def folder_of(path, values):
    """A folder of a run with these settings and a checkpoint."""
    with claim_folder(make_run(path, values)):
        (path / "checkpoints" / "6").mkdir(parents=True)
    return path


@pytest.mark.parametrize("name", ["optimizer.warmup_steps", "train.eval_every", "checkpoint.every"])
def test_percent_of_a_longer_run_are_another_setting(tmp_path, name):
    """A warm-up of 50% of 1000 steps and then of 2000 is another run than one of 2000 steps at once."""
    before = {"train.steps": 1000, name: dl.Duration("50%")}
    folder = folder_of(tmp_path / "run", before)
    check_folder(make_run(folder, before))
    with pytest.raises(
        ValueError, match=rf"--config.{name}=50% is 1000 steps \(was 500; --config.{name}=500 keeps them\)"
    ):
        check_folder(make_run(folder, {**before, "train.steps": 2000}))
    check_folder(make_run(folder, {"train.steps": 2000, name: 500}))


@pytest.mark.parametrize("steps", ["600steps", "120epochs", "4800examples"])
def test_the_same_length_in_another_unit_is_no_other_schedule(tmp_path, steps):
    folder = folder_of(tmp_path / "run", {"train.steps": 600, "optimizer.schedule": "cosine"})
    check_folder(make_run(folder, {"train.steps": dl.Duration(steps), "optimizer.schedule": "cosine"}))


def test_more_steps_are_refused_if_the_schedule_depends_on_them(tmp_path):
    values = {"optimizer.schedule": "cosine"}
    with claim_folder(make_run(tmp_path, values)):
        (tmp_path / "checkpoints" / "6").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"--config\.train\.steps: got 24 \(was 12\) with a cosine schedule"):
        check_folder(make_run(tmp_path, {**values, "train.steps": 24}))


def test_a_run_with_an_optimizer_of_its_own_is_custom_and_keeps_its_length(tmp_path):
    def run(steps=12, name="momentum", own=True):
        plain = make_run(tmp_path, {"train.steps": steps, "optimizer.name": name})
        optimizer = (lambda config, steps: optax.lion(1e-3)) if own else None
        return Run(dataclasses.replace(plain.experiment, optimizer=optimizer), plain.config, tmp_path)

    with claim_folder(run()):
        (tmp_path / "checkpoints" / "6").mkdir(parents=True)
    assert json.loads((tmp_path / CONFIG).read_text())["optimizer"]["name"] == "custom"
    check_folder(run())
    check_folder(run(name="custom"))
    with pytest.raises(
        ValueError, match=r"got 24 \(was 12\) with an optimizer of the experiment's own, which gets"
    ):
        check_folder(run(steps=24))
    with pytest.raises(ValueError, match=r"--config.optimizer.name=momentum \(was custom\)"):
        check_folder(run(own=False))
    with pytest.raises(
        ValueError, match=r"--config.optimizer.name: got sgd, but the experiment has an optimizer of its"
    ):
        run(name="sgd")


def test_other_settings_are_accepted_before_the_first_checkpoint(tmp_path):
    with claim_folder(make_run(tmp_path)):
        pass
    with claim_folder(make_run(tmp_path, {"seed": 1})):
        assert json.loads((tmp_path / CONFIG).read_text())["seed"] == 1


def test_a_config_with_the_old_names_of_settings_is_read(trained):
    values = json.loads((trained / CONFIG).read_text())
    train = values["train"]
    for old, new in (
        ("average_decay", "ema_decay"),
        ("patience", "hang_timeout"),
        ("read_ahead", "prefetch"),
    ):
        train[old] = train.pop(new)
    (trained / CONFIG).write_text(json.dumps(values))
    check_folder(make_run(trained))
    with pytest.raises(ValueError, match=r"--config\.train\.ema_decay=0\.9 \(was none\)"):
        check_folder(make_run(trained, {"train.ema_decay": 0.9}))
    with claim_folder(make_run(trained)):
        assert json.loads((trained / CONFIG).read_text())["train"]["ema_decay"] is None


def test_a_process_that_waited_for_the_lock_checks_the_folder_again(tmp_path, monkeypatch):
    """Another process began and ended a run between its check and its lock."""
    run, lock, locked = make_run(tmp_path / "run"), run_folder.lock_file, []

    def lock_late(file, busy):
        if not locked:
            locked.append(file)
            with claim_folder(make_run(run.folder, {"seed": 1})):
                (run.folder / "checkpoints" / "6").mkdir(parents=True)
        lock(file, busy)

    monkeypatch.setattr(run_folder, "lock_file", lock_late)
    with pytest.raises(ValueError, match=r"other settings: --config\.seed=0 \(was 1\)"), claim_folder(run):
        pass
    assert json.loads((run.folder / CONFIG).read_text())["seed"] == 1


def test_a_link_in_the_place_of_the_lock_is_refused_and_its_target_stays(tmp_path):
    run, victim = make_run(tmp_path / "run"), tmp_path / "victim"
    victim.write_text("precious")
    run.folder.mkdir()
    (run.folder / LOCK).symlink_to(victim)
    with (
        pytest.raises(ValueError, match=r"\.lock: got a link, expected a file of its own"),
        claim_folder(run),
    ):
        pass
    assert victim.read_text() == "precious"
    assert not (run.folder / CONFIG).exists()


@pytest.mark.parametrize("name", ["config.json", "config.json.partial"])
def test_no_link_is_followed(trained, tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text((trained / CONFIG).read_text())
    before = victim.read_bytes()
    (trained / name).unlink(missing_ok=True)
    (trained / name).symlink_to(victim)
    with claim_folder(make_run(trained, {"train.steps": 24})):
        assert json.loads((trained / CONFIG).read_text())["train"]["steps"] == 24
    assert victim.read_bytes() == before


@pytest.mark.parametrize(
    ("result", "finished"),
    [
        ({"steps": 12}, True),
        ({"steps": 6}, False),
        ({"steps": 6, "stopped": "enough"}, True),
        ({"steps": 9, "stopped": "enough"}, False),
        ([], False),
    ],
)
def test_a_run_is_finished_at_its_last_step_or_where_a_callback_stopped_it(tmp_path, result, finished):
    fake_checkpoint(tmp_path, 12 if result == {"steps": 12} else 6)
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert finished_result(make_run(tmp_path)) == (result if finished else None)


@pytest.mark.parametrize("place", ["result.json", "metrics.csv", "config.json"])
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path, place):
    (tmp_path / place).mkdir()
    with pytest.raises(
        IsADirectoryError, match=f"{tmp_path / place}: got a folder, expected a file of the run"
    ):
        check_folder(make_run(tmp_path))


PLACES = [".", *run_folder.FOLDERS]


@pytest.mark.parametrize("place", ["checkpoints", "figures"])
def test_a_link_that_leads_nowhere_in_the_place_of_a_folder_is_refused(tmp_path, place):
    run = make_run(tmp_path / "run")
    run.folder.mkdir()
    for target in (run.folder / place, tmp_path / "nowhere"):
        (run.folder / place).symlink_to(target)
        with pytest.raises(NotADirectoryError, match=f"{place}: got a file, expected a folder of the run"):
            check_folder(run)
        (run.folder / place).unlink()


@pytest.mark.parametrize("place", PLACES)
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path, place):
    run = make_run(tmp_path / "run")
    path = run.folder / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(NotADirectoryError, match=f"{path}: got a file, expected a folder of the run"):
        check_folder(run)


def test_a_folder_that_can_be_made_or_written_is_accepted_and_not_made(tmp_path):
    for folder in (tmp_path, tmp_path / "runs" / "new"):
        check_writable(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="Not a directory") as raised:
        check_writable(tmp_path / "file" / "run")
    assert raised.value.filename == str(tmp_path / "file" / "run")


def test_a_place_where_the_user_may_not_write_is_refused(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(run_folder.os, "access", lambda path, mode: asked.append(path) or False)
    with pytest.raises(PermissionError, match="Permission denied"):
        check_writable(tmp_path / "runs" / "new")
    assert asked == [tmp_path]


def test_a_folder_with_other_files_is_refused(tmp_path):
    check_unused(tmp_path / "none yet")
    (tmp_path / LOCK).write_text("")
    (tmp_path / LAUNCH).mkdir()
    check_unused(tmp_path)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=f"{tmp_path}: holds files but no config.json"):
        check_folder(make_run(tmp_path))
    assert not (tmp_path / CONFIG).exists()


def test_a_damaged_config_is_refused(trained):
    (trained / CONFIG).write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        check_folder(make_run(trained))
