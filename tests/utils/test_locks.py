"""Locks on files."""

import os
import threading
import time

import pytest

from dlcore.utils.locks import is_locked, lock_file, open_lock


def test_a_locked_file_is_busy_for_everyone_else_until_it_is_closed(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as first:
        lock_file(first, "never raised")
        with path.open("w") as second, pytest.raises(BlockingIOError, match=r"^the folder is in use$"):
            lock_file(second, "the folder is in use")
    with path.open("w") as third:
        lock_file(third, "never raised")


def test_the_lock_ends_with_the_process_that_holds_it(tmp_path):
    path = tmp_path / "lock"
    locked_end, child_end = os.pipe()
    child = os.fork()
    if not child:
        lock_file(path.open("w"), "never raised")
        os.write(child_end, b"locked")
        os._exit(1)
    assert os.read(locked_end, 6) == b"locked"
    os.waitpid(child, 0)
    with path.open("w") as file:
        lock_file(file, "never raised")


def test_opening_a_lock_changes_nothing_in_its_file(tmp_path):
    path = tmp_path / "lock"
    with open_lock(path) as file:
        lock_file(file, "never raised")
    assert path.read_bytes() == b""
    path.write_text("what somebody wrote")
    with open_lock(path) as file:
        lock_file(file, "never raised")
    assert path.read_text() == "what somebody wrote"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_no_lock(tmp_path, exists):
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(
        ValueError, match=f"{tmp_path}/lock: got a link, expected a file of its own; delete the link"
    ):
        open_lock(tmp_path / "lock")
    assert victim.exists() == exists
    assert not exists or victim.read_text() == "precious"


def test_a_look_tells_whether_a_file_is_locked_and_leaves_nothing(tmp_path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists()
    with open_lock(path) as file:
        assert not is_locked(path)
        lock_file(file, "never raised")
        assert is_locked(path)
    assert not is_locked(path)


def test_many_looks_never_make_a_lock_busy(tmp_path):
    path, ended = tmp_path / "lock", threading.Event()
    path.touch()

    def look():
        while not ended.is_set():
            is_locked(path)
            time.sleep(0.001)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(300):
            with open_lock(path) as file:
                lock_file(file, "never raised")
    finally:
        ended.set()
        looking.join()
