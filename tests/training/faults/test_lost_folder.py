"""A run notices that its folder, its table or its lock is not where it was."""

import os
import shutil

import jax
import pytest

from dlcore.training.checkpoints.disk import LostFolderError
from dlcore.training.faults.lost_folder import FolderGuard


@pytest.fixture(name="files")
def files_in_a_folder(tmp_path):
    files = [tmp_path / "run" / name for name in ("metrics.csv", ".lock")]
    files[0].parent.mkdir()
    for path in files:
        path.write_text("text")
    return files


def replace(path):
    path.with_suffix(".new").write_text("text")
    os.replace(path.with_suffix(".new"), path)


LOSSES = {
    "deleted": lambda files: files[0].unlink(),
    "replaced": lambda files: replace(files[0]),
    "folder deleted": lambda files: shutil.rmtree(files[0].parent),
    "folder moved": lambda files: files[0].parent.rename(files[0].parent.with_name("elsewhere")),
    "file in place of the folder": lambda files: (shutil.rmtree(files[0].parent), files[0].parent.touch()),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_loss_is_noticed_at_the_next_check(files, lose):
    with FolderGuard(*files) as guard:
        guard.check()
        files[0].write_text("more text is no loss")
        guard.check_all()
        lose(files)
        with pytest.raises(
            LostFolderError, match=f"^{files[0]}: deleted, moved or replaced while the run trained"
        ):
            guard.check()


def test_the_other_files_are_looked_at_before_a_save(files):
    with FolderGuard(*files) as guard:
        files[1].unlink()
        guard.check()
        with pytest.raises(LostFolderError, match=f"^{files[1]}: deleted"):
            guard.check_all()


def test_files_that_do_not_exist_and_other_processes_are_not_watched(files, monkeypatch):
    with FolderGuard(files[0].with_name("none")) as guard:
        guard.check_all()
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with FolderGuard(*files) as guard:
        files[0].unlink()
        guard.check_all()
