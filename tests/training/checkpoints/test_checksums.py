"""Checksums hold for the files that were written, and a changed byte in any file is found."""

import json
import shutil

import jax.numpy as jnp
import pytest

from dlcore.training.checkpoints.checksums import NAME, UNCHECKED, find_damage, write_checksums
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
    assert there - set(listed) == {NAME, *UNCHECKED}
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


@pytest.mark.parametrize("name", UNCHECKED)
def test_a_file_that_orbax_writes_last_must_be_there_and_may_hold_anything(tmp_path, name):
    for step in (1, 2):
        with Checkpoints(tmp_path, CheckpointConfig(), "score") as checkpoints:
            checkpoints.save(step, {"kernel": jnp.arange(6.0)}, {"score": 0.5})
        (tmp_path / "1" / name).write_text("\x00")
        assert find_damage(tmp_path / "1") is None
    assert checkpoints.restore({"kernel": jnp.zeros(6)}, 1)["kernel"][5] == 5
    (tmp_path / "1" / name).unlink()
    assert find_damage(tmp_path / "1") == f"{name} is missing"


def test_checksums_of_older_versions_list_a_file_that_has_none_now(folder, tmp_path):
    older = shutil.copytree(folder, tmp_path / "7")
    listed = json.loads((older / NAME).read_text())
    (older / NAME).write_text(json.dumps({**listed, UNCHECKED[0]: [1, 2]}))
    assert find_damage(older) is None


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", '{"a": 1}', '{"a": [1, "b"]}', "{", "\x00\x00"])
def test_a_damaged_file_of_checksums_is_found(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    assert find_damage(tmp_path) == "checksums.json cannot be read"


def test_every_kind_of_damage_is_described(tmp_path):
    assert find_damage(tmp_path) == "checksums.json is missing"
    (tmp_path / "values").mkdir()
    (tmp_path / "values" / "a").write_bytes(b"12345")
    write_checksums(tmp_path)
    for name in UNCHECKED:
        assert find_damage(tmp_path) == f"{name} is missing"
        (tmp_path / name).touch()
    assert find_damage(tmp_path) is None
    (tmp_path / "values" / "a").write_bytes(b"123")
    assert find_damage(tmp_path) == "values/a: got 3 bytes, expected 5"
    (tmp_path / "values" / "a").write_bytes(b"12354")
    assert find_damage(tmp_path) == "values/a: its contents differ from what was written"
    (tmp_path / "values" / "a").unlink()
    assert find_damage(tmp_path) == "values/a is missing"
