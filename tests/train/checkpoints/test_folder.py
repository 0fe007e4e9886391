"""A damaged checkpoint is named, stepped over and kept aside; a full disk is named, too."""

import errno
import os
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.train.checkpoints import checksums
from dlcore.train.checkpoints.folder import DAMAGED, saved_steps
from dlcore.train.checkpoints.manager import DISCARDED, CheckpointError, Checkpoints
from dlcore.train.config import CheckpointConfig


def state_of(value, size=4):
    return {"step": jnp.int32(value), "params": {"kernel": jnp.full((size, size), value, jnp.float32)}}


def opened(run):
    return Checkpoints(run / "checkpoints", CheckpointConfig(keep=3), "score")


@pytest.fixture(name="run")
def saved_run(tmp_path):
    with opened(tmp_path) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state_of(step), {"score": float(step)})
    return tmp_path


def largest(folder):
    return max((folder / "default").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)


def truncate(folder):
    path = largest(folder)
    path.write_bytes(path.read_bytes()[:-10])


def empty(folder):
    largest(folder).write_bytes(b"")


def delete_metadata(folder):
    (folder / "default" / "_METADATA").unlink()


def flip(folder):
    path = largest(folder)
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 16
    path.write_bytes(contents)


def halve(folder):
    shutil.rmtree(folder / "default" / "d")
    (folder / "default" / "manifest.ocdbt").unlink()


def empty_metrics(folder):
    (folder / "metrics" / "metrics").write_bytes(b"")


DAMAGES = {
    truncate: r"got \d+ bytes, expected \d+",
    empty: r"got 0 bytes, expected \d+",
    delete_metadata: r"default/_METADATA is missing",
    flip: r"its contents differ from what was written",
    halve: r"is missing",
    empty_metrics: r"metrics/metrics: got 0 bytes, expected \d+",
}


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("harm", DAMAGES)
def test_the_damaged_newest_is_set_aside(run, harm, capsys):
    folder = run / "checkpoints" / "3"
    harm(folder)
    before = files(folder)
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == checkpoints.newest == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        aside = run / DAMAGED / "3"
        assert lines[0].startswith(f"{folder}: damaged (")
        assert lines[0].endswith(f"); moved to {aside}; the run goes on from step 2")
        assert np.all(checkpoints.restore(state_of(0), 2)["params"]["kernel"] == 2)
        checkpoints.save(3, state_of(30), None)  # as the run that goes on does
    assert files(aside) == before
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == 3
        assert np.all(checkpoints.restore(state_of(0), 3)["params"]["kernel"] == 30)


@pytest.mark.parametrize("harm", DAMAGES)
def test_who_only_reads_steps_over_it_and_moves_nothing(run, harm, capsys):
    harm(run / "checkpoints" / "3")
    before = files(run)
    with opened(run) as checkpoints:
        assert checkpoints.step("newest") == 2
        named = capsys.readouterr().err
        assert named.startswith(f"{run}/checkpoints/3: damaged (")
        assert named.count("\n") == 1
        for which in (3, "best"):
            with pytest.raises(ValueError, match=DAMAGES[harm]):
                checkpoints.step(which)
        assert checkpoints.step(1) == 1
    assert files(run) == before


def test_a_checkpoint_of_another_shape_is_refused_and_stays(run, capsys):
    before = files(run)
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == 3
        with pytest.raises(
            ValueError, match=r"/3: params/kernel: checkpoint has \(4, 4\), this experiment \(5, 5\); leave"
        ):
            checkpoints.restore(state_of(0, size=5), 3)
    assert files(run) == before
    assert capsys.readouterr().err == ""


def test_all_damaged(run, capsys):
    for step in (1, 2, 3):
        flip(run / "checkpoints" / str(step))
    with opened(run) as checkpoints:
        with pytest.raises(FileNotFoundError, match="has steps 1, 2, 3, all of them damaged"):
            checkpoints.step("newest")
        capsys.readouterr()
        assert checkpoints.newest_good() is None
    assert sorted(path.name for path in (run / DAMAGED).iterdir()) == ["1", "2", "3"]
    assert capsys.readouterr().err.count("the run begins anew") == 3


def test_a_damaged_older_one_is_set_aside_before_it_is_deleted_as_too_many(run):
    flip(run / "checkpoints" / "1")
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == 3
        assert saved_steps(run / "checkpoints") == [2, 3]
    assert (run / DAMAGED / "1").is_dir()


def test_nothing_set_aside_is_written_over(run):
    for name in ("3", "3.1"):
        (run / DAMAGED / name).mkdir(parents=True)
    flip(run / "checkpoints" / "3")
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == 2
    assert (run / DAMAGED / "3.2" / "default").is_dir()


def test_a_write_that_was_cut_short_is_no_checkpoint(run):
    (run / "checkpoints" / "3").rename(run / "checkpoints" / "4.orbax-checkpoint-tmp")
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == checkpoints.step("newest") == 2
        checkpoints.save(4, state_of(4), None)
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == 4
    assert not (run / DAMAGED).exists()


def test_what_is_too_many_is_gone_from_one_moment_to_the_next(run, monkeypatch):
    with opened(run) as checkpoints:
        with monkeypatch.context() as killed:
            killed.setattr("shutil.rmtree", lambda path, **_: None)  # as if killed before it was deleted
            for step in (4, 5):
                checkpoints.save(step, state_of(step), None)
            assert checkpoints.newest_good() == 5
        assert saved_steps(run / "checkpoints" / DISCARDED) == [1, 2]
        assert checkpoints.newest_good() == 5
        assert not (run / "checkpoints" / DISCARDED).exists()
        assert saved_steps(run / "checkpoints") == [3, 4, 5]


def test_a_damaged_one_is_found_while_the_run_goes_on(run):
    with opened(run) as checkpoints:
        checkpoints.save(4, state_of(4), None)
        assert checkpoints.newest_good() == 4
        flip(run / "checkpoints" / "4")
        assert checkpoints.newest_good() == checkpoints.newest == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_full_disk_is_named(run, monkeypatch, number, as_text):
    failure = OSError(number, "injected")
    if as_text:  # as TensorStore does
        failure = ValueError(f"RESOURCE_EXHAUSTED: Failed to write 9 bytes: {os.strerror(number)}")

    def write(folder):
        raise failure

    monkeypatch.setattr(checksums, "write", write)
    told = "step 4 was not saved, the last good checkpoint is of step 3"
    with opened(run) as checkpoints:
        checkpoints.save(4, state_of(4), None)
        with pytest.raises(CheckpointError, match=told) as raised:
            checkpoints.save(5, state_of(5), None)
    assert raised.value.errno == number
    monkeypatch.undo()
    with opened(run) as checkpoints:
        assert checkpoints.newest_good() == 3
        checkpoints.save(4, state_of(4), None)
    assert saved_steps(run / "checkpoints")[-1] == 4


def test_a_full_disk_at_the_last_write_is_named_on_leaving(run, monkeypatch):
    def write(folder):
        raise OSError(errno.ENOSPC, "injected")

    monkeypatch.setattr(checksums, "write", write)
    checkpoints = opened(run)
    checkpoints.save(4, state_of(4), None)
    with pytest.raises(CheckpointError, match="the disk is full"):
        checkpoints.close()


def test_a_full_disk_does_not_hide_behind_another_error(run, monkeypatch):
    def write(folder):
        raise OSError(errno.ENOSPC, "injected")

    monkeypatch.setattr(checksums, "write", write)

    def interrupted():
        with opened(run) as checkpoints:
            checkpoints.save(4, state_of(4), None)
            raise KeyboardInterrupt("stopped; everything is saved")

    with pytest.raises(CheckpointError, match="the disk is full"):
        interrupted()
