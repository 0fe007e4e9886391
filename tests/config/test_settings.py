"""Settings of a nested config: their paths, types and bounds, and copies with other values."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from dlcore.config.settings import Leaf, check, did_you_mean, leaves, replace, setting
from tests.helpers.capitals import Capitals


@dataclass
class Inner:
    rate: float = setting(0.1, "Rate.", minimum=0, below=1)
    undeclared: int = 5


@dataclass
class Outer:
    steps: int = setting(10, "Steps.", minimum=1, may_grow=True)
    limit: float | None = setting(None, "Limit.", above=0, maximum=9)
    sizes: tuple[int, ...] = setting((8, 16), "Sizes.", minimum=1)
    kind: Literal["a", "b"] = setting("a", "Kind.")
    count: int | Capitals = setting(3, "Count.", minimum=1, may_change=True)
    inner: Inner = field(default_factory=Inner)


LEAVES = {leaf.path: leaf for leaf in leaves(Outer())}


def test_leaves_come_in_the_order_of_declaration():
    assert list(LEAVES) == ["steps", "limit", "sizes", "kind", "count", "inner.rate", "inner.undeclared"]
    assert LEAVES["inner.rate"] == Leaf("inner.rate", float, 0.1, "Rate.", {">=": 0, "<": 1})
    assert LEAVES["inner.undeclared"] == Leaf("inner.undeclared", int, 5)


def test_a_leaf_has_a_flag_and_a_text():
    assert LEAVES["inner.rate"].flag == "--config.inner.rate"
    assert {path: leaf.text for path, leaf in LEAVES.items()} == {
        "steps": "10",
        "limit": "none",
        "sizes": "8,16",
        "kind": "a",
        "count": "3",
        "inner.rate": "0.1",
        "inner.undeclared": "5",
    }


def test_a_leaf_knows_what_a_resumed_run_may_do_with_it():
    assert [path for path, leaf in LEAVES.items() if leaf.may_grow] == ["steps"]
    assert [path for path, leaf in LEAVES.items() if leaf.may_change] == ["count"]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("steps", "0", "an integer >= 1"),
        ("steps", "none", "an integer >= 1"),
        ("limit", "0", "a number > 0 and <= 9, or none"),
        ("limit", "9.1", "a number > 0 and <= 9, or none"),
        ("limit", "nan", "a number > 0 and <= 9, or none"),
        ("sizes", "8,0", "comma-separated, each an integer >= 1"),
        ("kind", "c", "one of a, b"),
        ("count", "0", "an integer >= 1, or text in capitals"),
        ("count", "quiet", "an integer >= 1, or text in capitals"),
        ("inner.rate", "1", "a number >= 0 and < 1"),
        ("inner.rate", "-0.1", "a number >= 0 and < 1"),
    ],
)
def test_text_of_another_type_or_out_of_bounds_is_refused(path, text, expected):
    with pytest.raises(ValueError, match=f"^expected {expected}$"):
        LEAVES[path].read(text)


@pytest.mark.parametrize(("path", "value"), [("limit", 9.0), ("count", Capitals("LOUD")), ("sizes", (1,))])
def test_text_within_bounds_is_read(path, value):
    read = LEAVES[path].read(" " + ",".join(map(str, value)) if path == "sizes" else str(value))
    assert read == value
    assert type(read) is type(value)


def test_plain_text_is_converted_if_only_a_subclass_of_str_fits():
    assert type(LEAVES["count"].checked("LOUD")) is Capitals
    assert LEAVES["kind"].checked("b") == "b"
    with pytest.raises(ValueError, match=r"^--config.count: got 'quiet', expected an integer >= 1, or text"):
        LEAVES["count"].checked("quiet")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Outer(steps=0), "--config.steps: got 0, expected an integer >= 1"),
        (Outer(steps=True), "--config.steps: got True"),
        (Outer(inner=Inner(rate="fast")), "--config.inner.rate: got 'fast'"),
        (Outer(inner=Inner(undeclared="many")), "--config.inner.undeclared: got 'many', expected an integer"),
        (Outer(sizes=[8]), r"--config.sizes: got \[8\]"),
        (Outer(count="quiet"), "--config.count: got 'quiet'"),
    ],
)
def test_check_names_the_flag(config, message):
    check(Outer())
    check(Outer(count="LOUD"))
    with pytest.raises(ValueError, match=f"^{message}"):
        check(config)


def test_replace_leaves_the_original_alone():
    config = Outer()
    changed = replace(config, {"inner.rate": 0.7, "steps": 2})
    assert changed == Outer(steps=2, inner=Inner(rate=0.7))
    assert config == Outer()


def test_a_similar_name_is_suggested():
    assert did_you_mean("inner.rat", LEAVES) == "; did you mean 'inner.rate'?"
    assert did_you_mean("xyz", LEAVES) == ""
