"""The texts that belong to a run, such as its vocabulary: they are saved with it, and its checkpoints need them."""

from collections.abc import Mapping
from pathlib import Path

from dlcore.utils.files import atomic_write


def write_run_files(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the texts into the run's folder, each of them whole or not at all.

    Args:
        folder: the run's folder.
        files: texts by file name.
    """
    for name, text in files.items():
        with atomic_write(folder / name) as file:
            file.write(text)


def check_run_files(folder: Path, files: Mapping[str, str]) -> None:
    """Checks that the texts in the run's folder are those of its experiment. A missing one is none.

    Args:
        folder: the run's folder.
        files: texts by file name, as the experiment makes them of its data today.

    Raises:
        ValueError: a text is another one, so that the run's checkpoints do not fit the data.
    """
    for name, text in files.items():
        path = folder / name
        if path.is_file() and path.read_bytes() != text.encode():
            raise ValueError(
                f"{path}: got another text than the experiment makes of its data now; the data changed after the run "
                "began. Restore the data, or choose another folder"
            )
