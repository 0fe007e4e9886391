"""Leaves of a Config: reading, bounds, and the way through JSON."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from dlcore.config import settings
from dlcore.config.files import from_dict, to_dict
from dlcore.config.settings import setting
from dlcore.config.text import to_text


class Shout(str):
    """Text that checks itself; numbers are none of its concern, but it would take them."""

    expected = "text in capitals"

    def __new__(cls, text):
        if text != text.upper() or not text.isalnum():
            raise ValueError
        return super().__new__(cls, text)


@dataclass
class Inner:
    rate: float = setting(0.1, "Rate.", minimum=0, below=1)
    folder: str | None = setting(None, "Folder.")


@dataclass
class Outer:
    steps: int = setting(10, "Steps.", minimum=1, may_grow=True)
    limit: float | None = setting(None, "Limit.", above=0)
    sizes: tuple[int, ...] = setting((8, 16), "Sizes.", minimum=1)
    kind: Literal["a", "b"] = setting("a", "Kind.")
    flag: bool = setting(False, "Flag.")
    name: str = setting("none", "Name.")
    inner: Inner = field(default_factory=Inner)


@dataclass
class Own:
    """Leaves of a subclass of str beside all that it may stand with."""

    count: int | Shout = setting(3, "Count.", minimum=1)
    reverse: Shout | int | None = setting(None, "The order of declaration does not matter.", minimum=1)
    many: tuple[int | Shout, ...] = setting((), "Many.", minimum=1)
    text: str | Shout = setting("plain", "Plain text is as good.")
    choice: Literal["A", "b"] | Shout = setting("b", "A choice comes first.")
    depth: int = setting(2, "Depth.", minimum=1, may_change=True)


LEAVES = {leaf.path: leaf for leaf in settings.leaves(Outer())}
OWN = {leaf.path: leaf for leaf in settings.leaves(Own())}


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("steps", "12", 12),
        ("steps", "1e4", 10_000),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", "3e-4", 3e-4),
        ("sizes", "8,16,32", (8, 16, 32)),
        ("sizes", "4", (4,)),
        ("kind", "b", "b"),
        ("flag", "true", True),
        ("name", "none", "none"),
        ("inner.rate", "0", 0.0),
        ("inner.folder", "none", None),
        ("inner.folder", "/data", "/data"),
    ],
)
def test_text_is_read_by_type(path, text, value):
    read = LEAVES[path].read(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("steps", "0", "an integer >= 1"),
        ("steps", "1.5", "an integer >= 1"),
        ("steps", "many", "an integer >= 1"),
        ("steps", "none", "an integer >= 1"),
        ("limit", "0", "a number > 0, or none"),
        ("limit", "nan", "a number > 0, or none"),
        ("limit", "inf", "a number > 0, or none"),
        ("sizes", "8,0", "comma-separated, each an integer >= 1"),
        ("sizes", "8,x", "comma-separated, each an integer >= 1"),
        ("kind", "c", "one of a, b"),
        ("flag", "perhaps", "true or false"),
        ("inner.rate", "1", "a number >= 0 and < 1"),
        ("inner.rate", "-0.1", "a number >= 0 and < 1"),
    ],
)
def test_text_that_means_nothing_or_is_out_of_bounds_is_refused(path, text, expected):
    with pytest.raises(ValueError, match=f"^expected {expected}$"):
        LEAVES[path].read(text)


def test_check_names_the_flag():
    for config, message in (
        (Outer(steps=0), "--config.steps: got 0"),
        (Outer(steps=True), "--config.steps: got True"),
        (Outer(inner=Inner(rate="fast")), "--config.inner.rate: got 'fast'"),
        (Outer(sizes=[8]), r"--config.sizes: got \[8\]"),
    ):
        with pytest.raises(ValueError, match=message):
            settings.check(config)
    settings.check(Outer())


def test_json_and_back_is_the_same_config():
    config = Outer(steps=3, limit=0.5, sizes=(1, 2), inner=Inner(folder="x"))
    assert from_dict(Outer(), json.loads(json.dumps(to_dict(config))), "file") == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"rat": 0.5}}, "file: no setting 'inner.rat'; did you mean 'inner.rate'"),
        ({"steps": "ten"}, "file: --config.steps: got 'ten'"),
        ({"steps": None}, "file: --config.steps: got None"),
        ({"inner": 3}, "file: no setting 'inner'"),
    ],
)
def test_a_file_with_other_settings_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(Outer(), values, "file")


def test_replace_leaves_the_original_alone():
    config = Outer()
    changed = settings.replace(config, {"inner.rate": 0.7, "steps": 2})
    assert (changed.inner.rate, changed.steps) == (0.7, 2)
    assert config == Outer()
    assert dataclasses.is_dataclass(changed)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("count", "1000", 1000),
        ("count", "1e4", 10_000),
        ("count", "LOUD", Shout("LOUD")),
        ("reverse", "7", 7),
        ("reverse", "none", None),
        ("reverse", "LOUD", Shout("LOUD")),
        ("text", "LOUD", "LOUD"),
        ("choice", "A", "A"),
        ("choice", "LOUD", Shout("LOUD")),
    ],
)
def test_own_text_is_read_where_nothing_else_reads(path, text, value):
    read = OWN[path].read(text)
    assert read == value
    assert type(read) is type(value)
    assert type(OWN[path].read(to_text(value))) is type(value)


def test_own_text_is_read_in_tuples():
    read = OWN["many"].read("2,LOUD")
    assert read == (2, "LOUD")
    assert list(map(type, read)) == [int, Shout]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("count", "0", "an integer >= 1, or text in capitals"),
        ("count", "1.5", "an integer >= 1, or text in capitals"),
        ("count", "quiet", "an integer >= 1, or text in capitals"),
        ("reverse", "quiet", "text in capitals, or an integer >= 1, or none"),
        ("many", "2,quiet", "comma-separated, each an integer >= 1, or text in capitals"),
        ("depth", "LOUD", "an integer >= 1"),
    ],
)
def test_own_text_says_itself_what_is_expected(path, text, expected):
    with pytest.raises(ValueError, match=f"^expected {expected}$"):
        OWN[path].read(text)


def test_own_text_comes_back_from_json_as_itself():
    config = Own(Shout("LOUD"), Shout("OUT"), (1, Shout("LOUD")), "LOUD", "A")
    back = from_dict(Own(), json.loads(json.dumps(to_dict(config))), "file")
    assert back == config
    types = [type(value) for value in (back.count, back.reverse, *back.many, back.text, back.choice)]
    assert types == [Shout, Shout, int, Shout, str, str]


def test_json_that_own_text_refuses_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^file: --config.count: got 'quiet', expected an integer >= 1, or text in capitals$",
    ):
        from_dict(Own(), {"count": "quiet"}, "file")


def test_plain_text_in_python_is_as_good_as_own_text():
    settings.check(Own(count="LOUD"))
    assert type(OWN["count"].checked("LOUD")) is Shout
    with pytest.raises(ValueError, match=r"--config.count: got 'quiet'"):
        settings.check(Own(count="quiet"))


def test_a_leaf_knows_what_a_run_that_is_started_again_may_do_with_it():
    assert [path for path, leaf in LEAVES.items() if leaf.may_grow] == ["steps"]
    assert [path for path, leaf in OWN.items() if leaf.may_change] == ["depth"]
    assert not any(leaf.may_change for leaf in LEAVES.values())
