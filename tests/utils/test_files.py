"""Files that a reader finds whole or not at all."""

import json
from pathlib import Path

import pytest

from dlcore.utils.files import PARTIAL, atomic_write, read_text, to_json, user_path, write_json


def test_a_file_takes_its_name_only_after_all_is_written(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")

    def write_half():
        with atomic_write(path) as file:
            file.write("ne")
            raise RuntimeError("out of disk")

    with pytest.raises(RuntimeError, match="out of disk"):
        write_half()
    assert path.read_text() == "old"
    assert (tmp_path / f"result.json{PARTIAL}").exists()


def test_line_ends_are_written_as_they_are(tmp_path):
    with atomic_write(tmp_path / "table.csv") as file:
        file.write("a,b\r\n1,2\n")
    assert (tmp_path / "table.csv").read_bytes() == b"a,b\r\n1,2\n"


def test_numbers_that_are_not_finite_become_null(tmp_path):
    bad, good = float("nan"), {"steps": 3, "name": "run"}
    values = {"loss": bad, "exponent": float("-inf"), "f1": [0.5, [bad]], "more": {"a": bad}, **good}
    expected = {"loss": None, "exponent": None, "f1": [0.5, [None]], "more": {"a": None}, **good}
    assert json.loads(to_json(values)) == expected
    write_json(tmp_path / "result.json", values)
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text) == expected
    assert text.endswith("}\n")


def test_links_are_replaced_and_not_followed(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "config.json"
    victim.write_text("precious")
    for link in (path, tmp_path / f"config.json{PARTIAL}"):
        link.symlink_to(victim)
        write_json(path, {"seed": 1})
        assert not path.is_symlink()
        assert json.loads(path.read_text()) == {"seed": 1}
        assert victim.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == [path, victim]


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / f"config.json{PARTIAL}").write_text("{ half a")
    write_json(tmp_path / "config.json", {})
    assert list(tmp_path.iterdir()) == [tmp_path / "config.json"]


def test_a_users_path_may_begin_with_a_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("folder", "~/runs/a") == Path("/home/me/runs/a")
    assert user_path("folder", "~") == Path("/home/me")
    assert user_path("folder", "./~nouser/a") == Path("~nouser/a")
    for plain in ("runs/a:b/c", "a b", "Ünï", "c:d", "/"):
        assert user_path("folder", plain) == user_path("folder", Path(plain)) == Path(plain)


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("", ValueError, "an empty text, expected a path"),
        (
            "~nouser/a",
            ValueError,
            "'~nouser/a', but the home folder of ~nouser is not known; expected a whole path",
        ),
        (
            "gs://bucket/a",
            ValueError,
            "'gs://bucket/a', expected a path on this machine; a bucket can be mounted",
        ),
        (Path("gs://bucket/a"), ValueError, "'gs:/bucket/a', expected a path on this machine"),
        ("file:///a", ValueError, "'file:///a', expected a path on this machine"),
        ("a\0b", ValueError, r"'a\\x00b', expected a path in UTF-8"),
        ("a\udcff", ValueError, r"'a\\udcff', expected a path in UTF-8"),
        (None, TypeError, "None, expected a path"),
        (3, TypeError, "3, expected a path"),
        (["a"], TypeError, r"\['a'\], expected a path"),
        (b"a", TypeError, "b'a', expected a path"),
    ],
)
def test_a_users_path_that_names_no_place_is_refused(path, error, message):
    with pytest.raises(error, match=f"^folder: got {message}"):
        user_path("folder", path)


def test_a_text_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("Größe".encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"path: got .*words\.txt, which is no text in UTF-8 .*; save it anew"
    ):
        read_text(path, "save it anew")
