"""Unpacks archives of packages: wheels, sdists, and Debian's packages, which needs no root.

No file leaves the folder, no link is made, and nothing of a package is run.
"""

import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks an archive into a folder that does not exist yet.

    Args:
        archive: ``.whl``, ``.zip``, ``.tar.gz`` or ``.deb``. The top folder that holds everything in a ``.tar.gz`` or
            ``.zip`` is left out.
        folder: gets the files. Its own folder exists.

    Raises:
        OSError: the archive is damaged, a file would leave the folder, or dpkg-deb is missing.
    """
    folder.mkdir()
    try:
        if archive.suffix == ".deb":
            _unpack_deb(archive, folder)
        elif archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)  # drops .. and leading / of names
        else:
            with archive.open("rb") as file:
                _unpack_tar(file, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise OSError(f"{archive}: got a damaged archive ({error}); fetch it anew") from error
    if archive.suffix not in (".deb", ".whl"):
        _strip_top(folder)


def _unpack_tar(file: IO[bytes], folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise OSError("launch/data: got a Python whose tarfile has no filters, expected 3.11.4 or newer")
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        archive.extractall(folder, filter=_data_alone)


def _data_alone(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """Python's filter for data, which also leaves out links: data that is reached twice would count twice."""
    return None if member.issym() or member.islnk() else tarfile.data_filter(member, path)


def _unpack_deb(archive: Path, folder: Path) -> None:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise OSError(f"{archive}: got no dpkg-deb on the PATH, expected the package dpkg to be installed")
    with tempfile.TemporaryFile() as file:
        ended = subprocess.run(
            [program, "--fsys-tarfile", archive],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        if ended.returncode:
            raise tarfile.ReadError(ended.stderr.strip())
        file.seek(0)
        _unpack_tar(file, folder)


def _strip_top(folder: Path) -> None:
    """Moves everything out of the only folder in a folder; nothing is done if there is more in it."""
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        top = inside[0].rename(folder.with_name(folder.name + ".top"))
        folder.rmdir()
        top.rename(folder)
