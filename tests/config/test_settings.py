"""Settings of a nested config: their paths, types and bounds, and copies with other values."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from dlcore.config.settings import Leaf, check, check_config, did_you_mean, leaves, replace, setting
from tests.helpers.bad_arguments import unclear_errors
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([8, 16], "Sizes."), r"default: got \[8, 16\], expected a number, text, None or a tuple"),
        (({}, "Sizes."), "default: got {}, expected"),
        ((np.zeros(2), "Sizes."), "default: got array"),
        ((3, None), "help: got None, expected text"),
        ((3, 3), "help: got 3, expected text"),
    ],
)
def test_a_bad_declaration_names_the_argument(arguments, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        setting(*arguments)


@pytest.mark.parametrize("bound", ["1", [1], True, np.zeros(1)])
@pytest.mark.parametrize("name", ["minimum", "maximum", "above", "below"])
def test_a_bound_that_is_no_number_is_refused(name, bound):
    with pytest.raises(TypeError, match=f"^{name}: got .*, expected a number or None"):
        setting(1, "Size.", **{name: bound})


@dataclass
class Unsupported:
    sizes: list[int] | None = setting(None, "Sizes.")


def test_a_type_that_a_setting_cannot_have_is_named_with_its_flag():
    with pytest.raises(TypeError, match=r"^--config\.sizes: hint: got list\[int\], expected int, float"):
        check(Unsupported())


@pytest.mark.parametrize("config", [None, 3, "x", {"steps": 3}, [Outer()], Outer])
@pytest.mark.parametrize(
    "call", [check, lambda config: list(leaves(config)), lambda config: replace(config, {})]
)
def test_what_is_no_config_is_refused(config, call):
    with pytest.raises(TypeError, match=r"^config: got .*, expected a dataclass of settings"):
        call(config)


def test_a_group_that_is_no_group_is_refused():
    for group in (None, {"rate": 0.1}, Inner):
        with pytest.raises(TypeError, match=r"^inner: got .*, expected a dataclass of settings"):
            check(Outer(inner=group))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            {"stepz": 1},
            ValueError,
            "values: got 'stepz', expected the path of a setting; did you mean 'steps'",
        ),
        ({"steps.x": 1}, ValueError, "values: got 'steps.x', expected the path of a setting"),
        ({"inner.": 1}, ValueError, "values: got 'inner.', expected the path of a setting"),
        ({"": 1}, ValueError, "values: got '', expected the path of a setting"),
        ({None: 1}, ValueError, "values: got None, expected the path of a setting"),
        (None, TypeError, "values: got None, expected values by path"),
        ([("steps", 1)], TypeError, r"values: got \[.*\], expected values by path"),
    ],
)
def test_a_bad_replacement_names_the_argument(values, error, message):
    with pytest.raises(error, match=f"^{message}"):
        replace(Outer(), values)


def test_a_group_can_be_replaced():
    assert replace(Outer(), {"inner": Inner(rate=0.5)}) == Outer(inner=Inner(rate=0.5))


def test_a_number_that_float32_does_not_hold_is_refused_with_its_value_there():
    with pytest.raises(
        ValueError, match=r"^--config.limit: got 1e-50, expected .* or none; in float32 it is 0$"
    ):
        check(Outer(limit=1e-50))
    with pytest.raises(ValueError, match=r"^expected a number > 0 and <= 9, or none; in float32 it is 0$"):
        LEAVES["limit"].read("1e-50")


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (setting, {"default": 1, "help": "Size.", "minimum": 0, "below": 3}),
        (leaves, {"config": Outer(), "prefix": ""}),
        (check, {"config": Outer()}),
        (check_config, {"config": Outer()}),
        (replace, {"config": Outer(), "values": {}}),
        (did_you_mean, {"name": "a", "known": ["ab"]}),
        (LEAVES["limit"].checked, {"value": 1}),
    ],
)
def test_a_bad_argument_is_named(function, arguments):
    assert not unclear_errors(function, arguments)
