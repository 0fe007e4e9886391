"""Where a run's checkpoints are: ``checkpoints/`` in its folder, another folder, or a bucket of Google Cloud Storage.

A bucket has no folders that can be renamed at once, and no locks. There, Orbax writes a checkpoint under its final name
and marks it as whole by a last file. A checkpoint without that file is unfinished and counts as absent.
"""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from dlcore.training.config import CheckpointConfig
from dlcore.utils.files import BUCKET, atomic_write, is_bucket, user_path
from dlcore.utils.run_paths import CHECKPOINTS


def checkpoints_path(run_folder: Path, config: CheckpointConfig) -> Path:
    """The folder of a run's checkpoints.

    Args:
        run_folder: the run's folder.
        config: its ``folder`` names another place; None means ``checkpoints/`` in the run's folder.

    Raises:
        ValueError: as in `open_path`.
        ImportError: as in `open_path`.
    """
    if config.folder is None:
        return run_folder / CHECKPOINTS
    return open_path("--config.checkpoint.folder", config.folder)


def open_path(name: str, text: str | Path) -> Path:
    """The path of a folder on this machine, as `user_path`, or in a bucket, whose path works like a ``pathlib.Path``.

    Args:
        name: what error messages call the path.
        text: the path, or a URL such as ``gs://bucket/run``.

    Raises:
        ValueError: as in `user_path`; or it is a URL of another storage, or names no folder in the bucket.
        ImportError: the package for buckets is not installed.
    """
    if re.match("[a-z0-9]+://", str(text)) and not is_bucket(text):
        raise ValueError(
            f"{name}: got {str(text)!r}, expected a path on this machine or in a bucket gs://, the only one that Orbax "
            "writes to; another bucket can be mounted"
        )
    if not is_bucket(text):
        return user_path(name, text)
    if not re.match(BUCKET + "[^/]+/+[^/]", str(text)):
        raise ValueError(
            f"{name}: got {str(text)!r}, expected a folder in the bucket, such as gs://bucket/run"
        )
    if importlib.util.find_spec("gcsfs") is None:
        raise ImportError(
            f"{name}: got {str(text)!r}, which needs another package: pip install 'dlcore[gcs]'"
        )
    import fsspec
    from etils import epath

    # A list that is kept would not show what another process, or TensorStore in this one, wrote or deleted.
    fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
    return epath.Path(text)


def absolute(path: Path) -> Path:
    """The absolute path, as Orbax asks for; a bucket's path is absolute already."""
    return path if is_bucket(path) else path.absolute()


def walk(folder: Path) -> Iterator[Path]:
    """Yields all files in a folder and below it; a bucket's path knows no ``rglob``."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


def write_whole(path: Path, text: str) -> None:
    """Writes a text so that a reader finds all of it or none; in a bucket every write is so."""
    if is_bucket(path):
        path.write_text(text)
        return
    with atomic_write(path) as file:
        file.write(text)


def move_folder(source: Path, target: Path) -> None:
    """Moves a folder to a place that does not exist yet: at once on a disk, and file by file in a bucket."""
    if is_bucket(source):
        import fsspec

        storage, _ = fsspec.core.url_to_fs(str(source))
        files = list(walk(source))
        storage.copy(list(map(str, files)), [str(target / path.relative_to(source)) for path in files])
        storage.rm(str(source), recursive=True)
        return
    target.parent.mkdir(exist_ok=True)
    source.rename(target)
