"""Checksums hold for the files that were written, and a changed byte in any file is found."""

import json

import jax.numpy as jnp
import pytest

from dlcore.training.checkpoints.checksums import COMMITTED, NAME, TIMED, find_damage, write_checksums
from dlcore.training.checkpoints.manager import Checkpoints
from dlcore.training.config import CheckpointConfig


@pytest.fixture(name="folder", scope="module")
def saved_checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with Checkpoints(folder, CheckpointConfig(), "score") as checkpoints:
        checkpoints.save(7, {"kernel": jnp.arange(6.0)}, {"score": 0.5})
    return folder / "7"


def test_a_saved_checkpoint_has_checksums_of_all_its_files(folder):
    assert find_damage(folder) is None
    listed = json.loads((folder / NAME).read_text())
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there - set(listed) == {NAME, COMMITTED}
    assert set(listed) - there == set()


def test_a_changed_byte_anywhere_is_found(folder):
    listed = json.loads((folder / NAME).read_text())
    for name in (*listed, NAME):
        path = folder / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        assert find_damage(folder), name
        path.write_bytes(whole)
    assert find_damage(folder) is None


def test_only_the_time_may_differ(folder):
    path = folder / TIMED
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "commit_timestamp_nsecs": 1}))
    assert find_damage(folder) is None
    path.write_text(json.dumps({**json.loads(whole), "item_handlers": {}}))
    assert find_damage(folder) == f"{TIMED}: its contents differ from what was written"
    path.write_text(whole)


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '{"a": 1}', '{"a": [1, "b"]}', "{", "\x00\x00"])
def test_a_damaged_file_of_checksums_is_found(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    assert find_damage(tmp_path) == "checksums.json cannot be read"


def test_every_kind_of_damage_is_described(tmp_path):
    assert find_damage(tmp_path) == "checksums.json is missing"
    (tmp_path / "values").mkdir()
    (tmp_path / "values" / "a").write_bytes(b"12345")
    write_checksums(tmp_path)
    assert find_damage(tmp_path) == "commit_success.txt is missing"
    (tmp_path / COMMITTED).touch()
    assert find_damage(tmp_path) is None
    (tmp_path / "values" / "a").write_bytes(b"123")
    assert find_damage(tmp_path) == "values/a: got 3 bytes, expected 5"
    (tmp_path / "values" / "a").write_bytes(b"12354")
    assert find_damage(tmp_path) == "values/a: its contents differ from what was written"
    (tmp_path / "values" / "a").unlink()
    assert find_damage(tmp_path) == "values/a is missing"
