"""The figure of a text shows every weight beside its sentence and marks the supporting ones."""

import numpy as np
import pytest

import dlcore as dl

SENTENCES = ["mary went home", "john slept", "mary took the book"]
WEIGHTS = np.array([[0.1, 0.2, 0.7], [0.85, 0.1, 0.05]])


def test_weights_stand_beside_their_sentences():
    figure = dl.plots.sentence_attention(SENTENCES, WEIGHTS, (3, 1), "where is the book? home")
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), WEIGHTS.T)
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {(look, place): f"{weight:.2f}" for (look, place), weight in np.ndenumerate(WEIGHTS)}
    lines = [label.get_text() for label in axes.get_yticklabels()]
    assert lines == ["\u2192 mary went home 1", "john slept 2", "\u2192 mary took the book 3"]
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["bold", "normal", "bold"]
    assert figure.get_suptitle() == "where is the book? home"
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("weights", {"weights": WEIGHTS[:, :2]}),
        ("weights", {"weights": 2 * WEIGHTS}),
        ("weights", {"weights": WEIGHTS[0]}),
        ("supporting", {"supporting": (0,)}),
        ("supporting", {"supporting": (4,)}),
    ],
)
def test_what_does_not_fit_is_refused(name, change):
    good = {"sentences": SENTENCES, "weights": WEIGHTS, "supporting": (1,)}
    with pytest.raises(ValueError, match=f"^{name}: got"):
        dl.plots.sentence_attention(**{**good, **change})
