"""Columns and amounts for people."""

import pytest

from dlcore.utils.text import bytes_text, columns, count_text


def test_cells_stand_in_columns_and_lines_have_no_blanks_at_their_end():
    lines = columns([("a", "bb", "c"), ("aaa", "b", ""), ("", "", "ccc")], left=2)
    assert lines == ["a    bb    c", "aaa  b", "         ccc"]


def test_rows_have_the_same_number_of_cells():
    with pytest.raises(ValueError, match="shorter"):
        columns([("a", "b"), ("a",)])


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1023.6 * 1024, "0.9996 MiB"),
        (15.75 * 2**30, "15.75 GiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_bytes_have_the_unit_in_which_they_are_a_small_number(count, text):
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (999.6, "1 k"), (1.5e12, "1.5 T"), (1e18, "1e+03 P")]
)
def test_large_numbers_have_a_prefix(count, text):
    assert count_text(count) == text
