"""Leaves of a Config: reading, bounds, and the way through JSON."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from dlcore import config as configs
from dlcore.config import setting


@dataclass
class Inner:
    rate: float = setting(0.1, "Rate.", least=0, below=1)
    folder: str | None = setting(None, "Folder.")


@dataclass
class Outer:
    steps: int = setting(10, "Steps.", least=1, may_grow=True)
    limit: float | None = setting(None, "Limit.", above=0)
    sizes: tuple[int, ...] = setting((8, 16), "Sizes.", least=1)
    kind: Literal["a", "b"] = setting("a", "Kind.")
    flag: bool = setting(False, "Flag.")
    name: str = setting("none", "Name.")
    inner: Inner = field(default_factory=Inner)


LEAVES = {leaf.path: leaf for leaf in configs.leaves(Outer())}


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
            configs.check(config)
    configs.check(Outer())


def test_json_and_back_is_the_same_config():
    config = Outer(steps=3, limit=0.5, sizes=(1, 2), inner=Inner(folder="x"))
    assert configs.from_dict(Outer(), json.loads(json.dumps(configs.to_dict(config))), "file") == config


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
        configs.from_dict(Outer(), values, "file")


def test_replace_leaves_the_original_alone():
    config = Outer()
    changed = configs.replace(config, {"inner.rate": 0.7, "steps": 2})
    assert (changed.inner.rate, changed.steps) == (0.7, 2)
    assert config == Outer()
    assert dataclasses.is_dataclass(changed)
