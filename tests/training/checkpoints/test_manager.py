"""Checkpoints are written while training goes on; damage and a full disk are named, and whole ones stay whole."""

import errno
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.checkpoints import manager
from dlcore.training.checkpoints.checksums import find_damage
from dlcore.training.checkpoints.disk import CheckpointError, LostFolderError
from dlcore.training.checkpoints.folder import DAMAGED, read_callbacks, saved_steps
from dlcore.training.checkpoints.manager import DISCARDED, Checkpoints
from dlcore.training.config import CheckpointConfig
from dlcore.training.state import TrainState
from tests.helpers import checkpoints as damage
from tests.helpers.checkpoints import read_files


def small_state(value, size=4):
    return {
        "step": jnp.asarray(value, jnp.int32),
        "params": {"kernel": jnp.asarray(np.full((size, size), value, np.float32))},
    }


def open_run(run, keep=3, lower_is_better=False):
    return Checkpoints(run / "checkpoints", CheckpointConfig(keep=keep), "score", lower_is_better)


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    with open_run(folder) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, small_state(step), {"score": float(step)})
    return folder


@pytest.fixture
def run(saved_run, tmp_path):
    """A folder with the checkpoints 1, 2 and 3, which may be damaged."""
    shutil.copytree(saved_run, tmp_path / "run")
    return tmp_path / "run"


def test_a_state_may_be_donated_at_once(tmp_path):
    def state_of(value):
        kernel = jnp.full((1500, 1500), value, jnp.float32)  # large enough for the write to be under way
        step, bad_step = jnp.asarray(int(value), jnp.int32), jnp.asarray(-1, jnp.int32)
        return TrainState(step, {"kernel": kernel}, {}, (kernel + 1,), {}, average=None, bad_step=bad_step)

    advance = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    with open_run(tmp_path) as checkpoints:
        state = state_of(0.0)
        for step in (0, 5, 10):
            checkpoints.save(step, state, None)
            for _ in range(5):
                state = advance(state)
    with open_run(tmp_path) as checkpoints:
        for step in (0, 5, 10):
            restored = checkpoints.restore(state_of(0.0), step)
            assert (np.asarray(restored.params["kernel"]) == step).all()
            assert (np.asarray(restored.opt_state[0]) == step + 1).all()


@pytest.mark.parametrize("lower_is_better", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_newest_and_the_best_are_kept(tmp_path, lower_is_better):
    with open_run(tmp_path, 2, lower_is_better) as checkpoints:
        for step, score in enumerate([0.5, 0.9, 0.1, 0.6, 0.4]):
            checkpoints.save(step, small_state(step), {"score": score})
    with open_run(tmp_path, 2, lower_is_better) as checkpoints:
        best = 2 if lower_is_better else 1
        assert saved_steps(checkpoints.folder) == [best, 3, 4]
        assert checkpoints.find_step("best") == best
        assert checkpoints.find_step("newest") == checkpoints.newest == 4


def test_an_evaluation_is_the_best_if_it_is_better_than_all_before_also_of_other_processes(tmp_path):
    with open_run(tmp_path, 1) as checkpoints:
        assert checkpoints.is_best({"score": 0.1})
        assert not checkpoints.is_best({"score": float("nan")})
        checkpoints.save(1, small_state(1), {"score": 0.5})
        assert not checkpoints.is_best({"score": 0.5})
        checkpoints.save(2, small_state(2), {"score": 0.4})
        checkpoints.save(3, small_state(3), None)
    with open_run(tmp_path, 1) as checkpoints:
        assert checkpoints.set_aside_damaged() == 3
        assert saved_steps(checkpoints.folder) == [1, 3]
        assert not checkpoints.is_best({"score": 0.45})
        assert checkpoints.is_best({"score": 0.6})
        damage.flip_bit(tmp_path / "checkpoints" / "1")
        checkpoints.set_aside_damaged()
        assert checkpoints.is_best({"score": 0.1})


def test_what_callbacks_keep_is_in_the_checkpoint_and_under_its_checksums(tmp_path):
    saved = {"states": {"EarlyStopping": {"waited": 2}}}
    with open_run(tmp_path) as checkpoints:
        checkpoints.save(1, small_state(1), None, saved)
        checkpoints.save(2, small_state(2), None)
        checkpoints.wait()
        folder = checkpoints.folder
        assert [read_callbacks(folder / step) for step in ("1", "2", "3")] == [saved, {}, {}]
        assert find_damage(folder / "1") is None
        path = folder / "1" / "callbacks.json"
        path.write_text(path.read_text().replace("2", "3"))
        assert find_damage(folder / "1") == "callbacks.json: its contents differ from what was written"
        path.unlink()
        assert find_damage(folder / "1") == "callbacks.json is missing"


def test_a_checkpoint_that_is_not_written_is_an_error(run):
    """A copy of the newest one has a later step's name, or comes while the run trains."""
    shutil.copytree(run / "checkpoints" / "3", run / "checkpoints" / "9")
    with (
        open_run(run) as checkpoints,
        pytest.raises(
            CheckpointError, match=r"step 4 was not saved: .* has a checkpoint of step 9, which this run"
        ),
    ):
        checkpoints.save(4, small_state(4), None)
    assert saved_steps(run / "checkpoints") == [1, 2, 3, 9]


def test_a_state_of_another_step_than_its_name_says_is_refused(run):
    (run / "checkpoints" / "3").rename(run / "checkpoints" / "4")
    with open_run(run) as checkpoints:
        for restore in (checkpoints.restore, checkpoints.restore_fields):
            with pytest.raises(
                ValueError, match=r"/4: got the state of step 3, expected that of step 4; move this"
            ):
                restore(small_state(0), 4)
        assert np.all(
            checkpoints.restore_fields({"params": small_state(0)["params"]}, 2)["params"]["kernel"] == 2
        )


def test_files_of_somebody_else_are_not_deleted(run):
    notes = [run / "checkpoints" / name / "notes.txt" for name in ("discarded", "discarded/7", DISCARDED)]
    for path in notes:
        path.parent.mkdir()
        path.write_text("precious")
    with open_run(run, keep=1) as checkpoints:
        for step in (4, 5):
            checkpoints.save(step, small_state(step), None)
        checkpoints.set_aside_damaged()
    assert [path.read_text() for path in notes] == ["precious"] * 3
    assert saved_steps(run / "checkpoints") == [3, 5]


def test_nan_is_never_the_best(tmp_path):
    for lower_is_better in (False, True):
        folder = tmp_path / str(lower_is_better)
        with open_run(folder, 1, lower_is_better) as checkpoints:
            for step, score in enumerate([0.5, float("nan"), float("nan")]):
                checkpoints.save(step, small_state(step), {"score": score})
        with open_run(folder, 1, lower_is_better) as checkpoints:
            assert checkpoints.find_step("best") == 0
            assert checkpoints.find_step("newest") == 2


def test_a_step_is_found_by_its_number(run):
    with open_run(run) as checkpoints:
        assert checkpoints.find_step("3") == checkpoints.find_step(3) == 3
        with pytest.raises(FileNotFoundError, match=r"^checkpoint: got 0, but .* has steps 1, 2, 3"):
            checkpoints.find_step(0)
        with pytest.raises(ValueError, match=r"^checkpoint: got 'last', expected newest, best or a step"):
            checkpoints.find_step("last")


def test_without_an_evaluation_there_is_no_best(tmp_path):
    with open_run(tmp_path) as checkpoints:
        checkpoints.save(1, small_state(1), None)
    with (
        open_run(tmp_path) as checkpoints,
        pytest.raises(FileNotFoundError, match=r"^checkpoint: got best, but .* has steps 1"),
    ):
        checkpoints.find_step("best")


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    with open_run(tmp_path) as checkpoints:
        assert checkpoints.newest is None
        for which in ("newest", "best", 3):
            with pytest.raises(FileNotFoundError, match="no checkpoint; train first"):
                checkpoints.find_step(which)


def test_a_part_of_the_state_is_restored(run):
    with open_run(run) as checkpoints:
        restored = checkpoints.restore_fields({"params": small_state(0)["params"]}, 2)
    assert np.all(restored["params"]["kernel"] == 2)


def test_a_checkpoint_of_another_shape_is_refused_and_stays(run, capsys):
    before = read_files(run)
    with open_run(run) as checkpoints:
        assert checkpoints.set_aside_damaged() == 3
        with pytest.raises(
            ValueError,
            match=r"/3: params/kernel: checkpoint has \(4, 4\), this experiment \(5, 5\); use the settings",
        ):
            checkpoints.restore(small_state(0, size=5), 3)
    assert read_files(run) == before
    assert capsys.readouterr().err == ""


DAMAGES = {
    damage.truncate: r"got \d+ bytes, expected \d+",
    damage.empty: r"got 0 bytes, expected \d+",
    damage.delete_metadata: r"default/_METADATA is missing",
    damage.flip_bit: r"its contents differ from what was written",
    damage.delete_values: r"is missing",
    damage.empty_metrics: r"metrics/metrics: got 0 bytes, expected \d+",
}
QUICK = (damage.flip_bit, damage.delete_metadata)


@pytest.mark.parametrize(
    "harm", [pytest.param(harm, marks=[] if harm in QUICK else pytest.mark.slow) for harm in DAMAGES]
)
def test_the_run_goes_on_from_the_checkpoint_before_a_damaged_one(run, harm, capsys):
    folder = run / "checkpoints" / "3"
    harm(folder)
    before = read_files(folder)
    aside = run / DAMAGED / "3"
    with open_run(run) as checkpoints:
        assert checkpoints.set_aside_damaged() == checkpoints.newest == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"{folder}: damaged (")
        assert lines[0].endswith(f"); moved to {aside}; the run goes on from step 2")
        assert np.all(checkpoints.restore(small_state(0), 2)["params"]["kernel"] == 2)
        again = {**small_state(3), "params": small_state(30)["params"]}
        checkpoints.save(3, again, None)  # as the run that goes on does
    assert read_files(aside) == before
    with open_run(run) as checkpoints:
        assert checkpoints.set_aside_damaged() == 3
        assert np.all(checkpoints.restore(small_state(0), 3)["params"]["kernel"] == 30)


@pytest.mark.parametrize("harm", DAMAGES)
def test_code_that_reads_skips_a_damaged_checkpoint_and_moves_nothing(run, harm, capsys):
    harm(run / "checkpoints" / "3")
    before = read_files(run)
    with open_run(run) as checkpoints:
        assert checkpoints.find_step("newest") == 2
        named = capsys.readouterr().err
        assert named.startswith(f"{run}/checkpoints/3: damaged (")
        assert named.count("\n") == 1
        for which in (3, "best"):
            with pytest.raises(ValueError, match=DAMAGES[harm]):
                checkpoints.find_step(which)
        assert checkpoints.find_step(1) == 1
    assert read_files(run) == before


def test_a_folder_with_damaged_checkpoints_only_has_no_newest(run, capsys):
    for step in (1, 2, 3):
        damage.flip_bit(run / "checkpoints" / str(step))
    with open_run(run) as checkpoints:
        with pytest.raises(FileNotFoundError, match="has steps 1, 2, 3, all of them damaged"):
            checkpoints.find_step("newest")
        assert checkpoints.set_aside_damaged() is None
    assert sorted(path.name for path in (run / DAMAGED).iterdir()) == ["1", "2", "3"]
    assert capsys.readouterr().err.count("the run begins anew") == 3


def test_a_half_written_checkpoint_does_not_count(run):
    (run / "checkpoints" / "3").rename(run / "checkpoints" / "4.orbax-checkpoint-tmp")
    with open_run(run) as checkpoints:
        assert checkpoints.set_aside_damaged() == checkpoints.find_step("newest") == 2
        checkpoints.save(4, small_state(4), None)
    with open_run(run) as checkpoints:
        assert checkpoints.set_aside_damaged() == 4
    assert not (run / DAMAGED).exists()


def test_a_surplus_checkpoint_is_never_half_deleted(run, monkeypatch):
    with open_run(run) as checkpoints:
        with monkeypatch.context() as killed:
            killed.setattr("shutil.rmtree", lambda path, **_: None)  # as if the process was killed before
            for step in (4, 5):
                checkpoints.save(step, small_state(step), None)
            assert checkpoints.set_aside_damaged() == 5
        assert saved_steps(run / "checkpoints" / DISCARDED) == [1, 2]
        assert checkpoints.set_aside_damaged() == 5
        assert not (run / "checkpoints" / DISCARDED).exists()
        assert saved_steps(run / "checkpoints") == [3, 4, 5]


def test_damage_is_found_while_checkpoints_are_open(run):
    with open_run(run) as checkpoints:
        checkpoints.save(4, small_state(4), None)
        assert checkpoints.set_aside_damaged() == 4
        damage.flip_bit(run / "checkpoints" / "4")
        assert checkpoints.set_aside_damaged() == checkpoints.newest == 3


def fail_to_write(monkeypatch, error):
    def write(folder):
        raise error

    monkeypatch.setattr(manager, "write_checksums", write)


@pytest.mark.parametrize(
    ("number", "as_text"),
    [
        (errno.ENOSPC, False),
        (errno.EDQUOT, True),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [(errno.ENOSPC, True), (errno.EDQUOT, False), (errno.EIO, False), (errno.EIO, True)]
        ),
    ],
)
def test_a_full_disk_is_named_at_the_next_save(run, monkeypatch, number, as_text):
    failure = OSError(number, "injected")
    if as_text:  # as TensorStore does
        failure = ValueError(f"RESOURCE_EXHAUSTED: Failed to write 9 bytes: {os.strerror(number)}")
    fail_to_write(monkeypatch, failure)
    told = "step 4 was not saved, the last good checkpoint is of step 3"
    with open_run(run) as checkpoints:
        checkpoints.save(4, small_state(4), None)
        with pytest.raises(CheckpointError, match=told) as raised:
            checkpoints.save(5, small_state(5), None)
    assert raised.value.errno == number
    monkeypatch.undo()
    with open_run(run) as checkpoints:
        assert checkpoints.set_aside_damaged() == 3
        checkpoints.save(4, small_state(4), None)
    assert saved_steps(run / "checkpoints")[-1] == 4


def test_a_full_disk_at_the_last_write_is_named_on_closing(run, monkeypatch):
    fail_to_write(monkeypatch, OSError(errno.ENOSPC, "injected"))
    checkpoints = open_run(run)
    checkpoints.save(4, small_state(4), None)
    with pytest.raises(CheckpointError, match="the disk is full"):
        checkpoints.close()


def test_a_folder_that_is_gone_is_the_only_error(run, monkeypatch):
    def lose_folder():
        with open_run(run) as checkpoints:
            checkpoints.save(4, small_state(4), None)
            raise LostFolderError(0, "deleted")

    for failure in (OSError(errno.ENOENT, "injected"), ValueError("NOT_FOUND")):
        fail_to_write(monkeypatch, failure)
        with pytest.raises(LostFolderError, match=r"^deleted$"):
            lose_folder()


def test_another_error_does_not_hide_a_full_disk(run, monkeypatch):
    fail_to_write(monkeypatch, OSError(errno.ENOSPC, "injected"))

    def save_and_stop():
        with open_run(run) as checkpoints:
            checkpoints.save(4, small_state(4), None)
            raise KeyboardInterrupt("stopped; everything is saved")

    with pytest.raises(CheckpointError, match="the disk is full"):
        save_and_stop()
