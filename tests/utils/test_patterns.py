"""The first pattern that is found in a path counts; patterns without an effect are refused."""

import pytest

from dlcore.utils.patterns import check_pattern, first_matches

PATHS = ["encoder/kernel", "encoder/bias", "head/kernel"]


def test_the_first_pattern_counts():
    assert first_matches("rules", ["^encoder/k", "kernel"], PATHS) == {
        "encoder/kernel": "^encoder/k", "encoder/bias": None, "head/kernel": "kernel",
    }  # fmt: skip
    assert first_matches("rules", [], PATHS) == dict.fromkeys(PATHS)


@pytest.mark.parametrize("patterns", [["kernel", "^encoder/kernel"], ["gru"], ["Encoder"]])
def test_a_pattern_that_is_the_first_of_no_path_is_refused(patterns):
    with pytest.raises(
        ValueError, match=f"rules: got '.*{patterns[-1][1:]}', expected a rule that is the first"
    ):
        first_matches("rules", patterns, PATHS)


def test_what_is_no_pattern_is_refused():
    check_pattern("rules", "a|b")
    with pytest.raises(ValueError, match=r"rules: got '\(', expected a regular expression \(missing"):
        check_pattern("rules", "(")
