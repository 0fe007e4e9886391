"""A config survives its way through JSON, and files with other content are refused."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from dlcore.config.files import from_dict, read_config, to_dict
from dlcore.config.settings import setting
from tests.helpers.bad_arguments import unclear_errors
from tests.helpers.capitals import Capitals


@dataclass
class Inner:
    rate: float = setting(0.1, "Rate.", minimum=0, below=1)
    folder: str | None = setting(None, "Folder.")


@dataclass
class Outer:
    steps: int = setting(10, "Steps.", minimum=1)
    sizes: tuple[int, ...] = setting((8, 16), "Sizes.", minimum=1)
    count: int | Capitals = setting(3, "Count.", minimum=1)
    many: tuple[int | Capitals, ...] = setting((), "Many.", minimum=1)
    text: str | Capitals = setting("plain", "Plain text fits as it is.")
    choice: Literal["A", "b"] | Capitals = setting("b", "A choice fits before other text.")
    inner: Inner = field(default_factory=Inner)


def through_json(config):
    return from_dict(Outer(), json.loads(json.dumps(to_dict(config))), "file")


def test_json_and_back_is_the_same_config():
    config = Outer(steps=3, sizes=(1, 2), inner=Inner(rate=0.5, folder="x"))
    assert through_json(config) == config
    assert through_json(Outer()) == Outer()


def test_text_that_checks_itself_keeps_its_type():
    config = Outer(count=Capitals("LOUD"), many=(1, Capitals("LOUD")), text="LOUD", choice="A")
    back = through_json(config)
    assert back == config
    types = [type(value) for value in (back.count, *back.many, back.text, back.choice)]
    assert types == [Capitals, int, Capitals, str, str]


def test_settings_that_are_not_named_keep_their_values():
    assert from_dict(Outer(steps=7), {"inner": {"rate": 0.2}}, "file") == Outer(7, inner=Inner(0.2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"rat": 0.5}}, "file: no setting 'inner.rat'; did you mean 'inner.rate'"),
        ({"steps": "ten"}, "file: --config.steps: got 'ten'"),
        ({"steps": None}, "file: --config.steps: got None"),
        ({"inner": 3}, "file: no setting 'inner'"),
        (
            {"count": "quiet"},
            "file: --config.count: got 'quiet', expected an integer >= 1, or text in capitals$",
        ),
    ],
)
def test_other_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        from_dict(Outer(), values, "file")


def test_a_file_is_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_dict(Outer(steps=4))))
    assert read_config(Outer(), path, "--run") == Outer(steps=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", " is not JSON (.*); expected the config.json of a run"),
        ("[1]", " holds no settings; expected the config.json of a run"),
        ('{"stepz": 1}', ": no setting 'stepz'; did you mean 'steps'"),
    ],
)
def test_a_file_with_other_content_is_named(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"^--run: {re.escape(str(path))}{message}"):
        read_config(Outer(), path, "--run")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"^--run: no file .*config.json; expected the config.json of a run"
    ):
        read_config(Outer(), tmp_path / "config.json", "--run")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"steps": {}}, ValueError, "file: --config.steps: got {}, expected an integer"),
        ({"inner.rate": 0.2}, ValueError, "file: got the name 'inner.rate', expected"),
        (
            {"inner": {"folder": {}}},
            ValueError,
            "file: --config.inner.folder: got {}, expected text, or none",
        ),
        ({"iner": {"rate": 0.2}}, ValueError, "file: no setting 'iner'"),
        ({3: 4}, ValueError, "file: no setting '3'; the file may be of another experiment"),
        (None, TypeError, "values: got None, expected a dict of settings"),
        ([("steps", 3)], TypeError, r"values: got \[.*\], expected a dict of settings"),
        ("steps", TypeError, "values: got 'steps', expected a dict of settings"),
    ],
)
def test_nothing_is_taken_in_silence(values, error, message):
    with pytest.raises(error, match=f"^{message}"):
        from_dict(Outer(), values, "file")


def test_a_group_without_values_changes_nothing():
    assert from_dict(Outer(), {"inner": {}}, "file") == Outer()


@pytest.mark.parametrize("config", [None, Outer, {"steps": 3}])
def test_what_is_no_config_is_refused(config):
    with pytest.raises(TypeError, match=r"^config: got .*, expected a dataclass of settings"):
        from_dict(config, {}, "file")


def test_missing_settings_are_told_if_a_file_should_be_whole(tmp_path, caplog):
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({name: value for name, value in to_dict(Outer(steps=4)).items() if name != "count"})
    )
    with caplog.at_level("WARNING", logger="absl"):
        assert read_config(Outer(), path, "--run") == Outer(steps=4)
        assert not caplog.records
        for _ in range(2):  # it is told once
            assert read_config(Outer(), path, "--run", whole=True) == Outer(steps=4)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: lacks settings; taken are count=3"
    ]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (to_dict, {"config": Outer()}),
        (from_dict, {"config": Outer(), "values": {}, "source": "file"}),
        (
            lambda config, path: read_config(config, path, "--run"),
            {"config": Outer(), "path": Path("nowhere")},
        ),
    ],
)
def test_a_bad_argument_is_named(function, arguments):
    assert not unclear_errors(function, arguments)
