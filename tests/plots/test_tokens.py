"""Every token stands at its place with the color of its number."""

import numpy as np
import pytest

import dlcore as dl


def written(axes):
    """The texts of a figure with their places (column, line)."""
    return {(text.get_position(), text.get_text()) for text in axes.texts}


def test_words_stand_side_by_side_with_the_colors_of_their_numbers(drawn):
    figure = drawn(
        dl.plots.token_values(
            [["not", "so", "good"], ["$1"]],
            [[-2.0, 1.0, 0.5], [0.0]],
            ["first", "second"],
            label="worth",
            width=8,
        )
    )
    axes = figure.axes[0]
    assert written(axes) == {
        ((0, 0), "first"),
        ((1.5, 1), "not"),
        ((5.0, 1), "so"),
        ((2.0, 2), "good"),
        ((0, 4), "second"),
        ((1.0, 5), "$1"),
    }
    colors = np.asarray(axes.images[0].get_array().filled(np.nan))
    np.testing.assert_array_equal(colors[1, :6], [-2, -2, -2, np.nan, 1, 1])
    np.testing.assert_array_equal(colors[2, :4], [0.5] * 4)
    assert np.isnan(colors[[0, 3, 4]]).all()
    low, high = axes.images[0].get_clim()
    assert low == -high < -2
    assert figure.axes[1].get_xlabel() == "worth"


def test_characters_have_no_space_between_them_and_end_their_lines(drawn):
    axes = drawn(dl.plots.token_values([list("ab\nc\n")], [np.arange(5.0)])).axes[0]
    assert written(axes) == {
        ((0.5, 0), "a"),
        ((1.5, 0), "b"),
        ((2.5, 0), "↵"),
        ((0.5, 1), "c"),
        ((1.5, 1), "↵"),
    }
    assert axes.images[0].get_clim()[0] == 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tokens": []}, ValueError, "values: got 1 for 0 texts"),
        ({"tokens": [["a"]]}, ValueError, r"values: got shape \(2,\) for 1 tokens"),
        ({"tokens": ["ab"]}, TypeError, "tokens: got 'ab'"),
        ({"values": [[1.0, np.nan]]}, ValueError, "expected a finite number for each"),
        ({"titles": ["a", "b"]}, ValueError, "titles: got 2 for 1 texts"),
        ({"width": 0}, ValueError, "width: got 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        dl.plots.token_values(**{"tokens": [["a", "b"]], "values": [[1.0, 2.0]], **changes})


def test_bits_are_grouped_by_powers_of_two(drawn):
    bits = np.array([[8.0, 3.0, 5.0, 2.0, 2.0], [8.0, 4.0, 4.0, 4.0, 4.0]])
    (axes,) = drawn(dl.plots.bits_by_context(bits, "letters")).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2-3", "4-5"]
    assert [float(bits) for bits in axes.lines[0].get_ydata()] == [8, 4, 3]
    assert axes.get_legend_handles_labels()[1] == ["mean: 4.400"]
    assert axes.get_xlabel() == "letters read before"
