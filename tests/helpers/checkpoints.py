"""Checkpoints for tests: one with checksums but without Orbax, and ways to damage one."""

import shutil
from pathlib import Path

from dlcore.training.checkpoints.checksums import UNCHECKED, write_checksums


def fake_checkpoint(run: Path, step: int) -> Path:
    """Makes a checkpoint in a run's folder that counts as whole, though it holds no state."""
    folder = run / "checkpoints" / str(step)
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "values").write_bytes(bytes(range(40)))
    write_checksums(folder)
    for name in UNCHECKED:
        (folder / name).touch()
    return folder


def largest_file(folder: Path) -> Path:
    return max((folder / "default").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)


def truncate(folder: Path) -> None:
    path = largest_file(folder)
    path.write_bytes(path.read_bytes()[:-10])


def empty(folder: Path) -> None:
    largest_file(folder).write_bytes(b"")


def flip_bit(folder: Path) -> None:
    path = largest_file(folder)
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 16
    path.write_bytes(contents)


def delete_metadata(folder: Path) -> None:
    (folder / "default" / "_METADATA").unlink()


def delete_values(folder: Path) -> None:
    shutil.rmtree(folder / "default" / "d")
    (folder / "default" / "manifest.ocdbt").unlink()


def empty_metrics(folder: Path) -> None:
    (folder / "metrics" / "metrics").write_bytes(b"")


def read_files(folder: Path) -> dict[Path, bytes]:
    """The contents of all files below a folder, by relative path."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
