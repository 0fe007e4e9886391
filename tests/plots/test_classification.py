"""Figures of classifiers hold the counts and the mistakes that they are given."""

import numpy as np
import pytest

from dlcore.plots.classification import (
    confusion_counts,
    confusion_matrix,
    image_classifier,
    labeled_images,
    worst_mistakes,
)


def test_the_confusion_matrix_counts_true_by_predicted(drawn):
    figure = drawn(confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), list("abc")))
    axes = figure.axes[0]
    seen = {
        (int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts
    }
    assert seen == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "1"}
    assert axes.get_title() == "3 of 4 correct (75.00%)"


def test_counts_are_drawn_as_they_are(drawn):
    axes = drawn(confusion_counts([[2.0, 0.0], [0.0, 0.5]], list("ab"))).axes[0]
    assert [text.get_text() for text in axes.texts] == ["2", "0.5"]
    assert axes.get_title() == "2.5 of 2.5 correct (100.00%)"


@pytest.mark.parametrize("counts", [[[1, 2]], [[1, -1], [0, 0]], [[np.nan, 1], [1, 1]], np.zeros((2, 2))])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(ValueError, match="counts: got"):
        confusion_counts(counts, list("ab"))


@pytest.mark.parametrize("wrong", [0, 1, 9])
def test_the_worst_mistakes_come_first(wrong):
    labels = np.zeros(10, int)
    truth = np.where(np.arange(10) < wrong, np.arange(10) / 20, 0.9)
    probabilities = np.stack([truth, 1 - truth], axis=-1)
    figure = worst_mistakes(np.ones((10, 4, 4, 1)), labels, probabilities, list("ab"), count=6)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == [
        f"true a: {index / 20:.1%}\npredicted b: {1 - index / 20:.1%}" for index in range(min(wrong, 6))
    ]
    assert f"of {wrong} mistakes among 10 images" in figure.get_suptitle()


def test_a_classifier_of_images_has_four_figures(drawn):
    generator = np.random.default_rng(0)
    test = {"inputs": generator.random((5, 4, 4, 1)), "labels": np.array([0, 1, 0, 1, 0])}
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9], [0.6, 0.4]])
    maps = {"block_0": generator.random((2, 2, 3))}
    figures = image_classifier(test, probabilities, generator.random((3, 3, 1, 3)), maps, ["even", "odd"])
    assert list(figures) == ["confusion_matrix", "filters", "feature_maps", "worst_mistakes"]
    assert figures["confusion_matrix"].axes[0].get_title() == "4 of 5 correct (80.00%)"
    assert drawn(figures["worst_mistakes"]).get_suptitle() == "the 1 worst of 1 mistakes among 5 images"
    assert len(figures["feature_maps"].axes) == 2


def test_the_worst_mistakes_are_drawn_in_color():
    images = np.random.default_rng(0).random((2, 4, 4, 3))
    figure = worst_mistakes(images, np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]), list("ab"))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), images[1])


@pytest.mark.parametrize(
    ("labels", "predictions", "error", "message"),
    [
        ([], [], ValueError, r"labels: got shape \(0,\)"),
        ([[0]], [[0]], ValueError, "labels: got shape"),
        ([0, 1], [0], ValueError, "predictions: got shape"),
        ([0, 3], [0, 1], ValueError, "labels: got 0 to 3 for 3 names, expected 0 to 2"),
        ([0, 1], [0, -1], ValueError, "predictions: got -1 to 0 for 3 names, expected 0 to 2"),
        ([0.0, 1.0], [0, 1], TypeError, "labels: got float64, expected integers"),
    ],
)
def test_classes_that_do_not_fit_are_refused_by_name(labels, predictions, error, message):
    with pytest.raises(error, match=message):
        confusion_matrix(labels, predictions, list("abc"))


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("abc", TypeError, "names: got 'abc', expected a list of names"),
        (None, TypeError, "names: got None"),
        ({"a", "b", "c"}, TypeError, "names: got {"),
        ([], ValueError, "names: got none, expected one for each class"),
        (["a"], ValueError, "labels: got 0 to 1 for 1 names"),
    ],
)
def test_names_that_are_not_one_for_each_class_are_refused(names, error, message):
    with pytest.raises(error, match=message):
        confusion_matrix([0, 1], [1, 1], names)


def test_names_may_be_numbers_and_arrays():
    for names in (range(2), np.array(["0", "1"])):
        axes = confusion_matrix([0, 1], [1, 1], names).axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]


def test_images_and_probabilities_that_do_not_fit_are_refused_by_name():
    labels, probabilities = np.array([0, 1]), np.full((2, 2), 0.5)
    with pytest.raises(ValueError, match=r"images: got shape \(2, 4, 4\), expected \[N, H, W, C\]"):
        worst_mistakes(np.ones((2, 4, 4)), labels, probabilities, list("ab"))
    with pytest.raises(ValueError, match=r"probabilities: .* for 2 labels and 3 names, expected \(2, 3\)"):
        worst_mistakes(np.ones((2, 4, 4, 1)), labels, probabilities, list("abc"))
    with pytest.raises(ValueError, match="images: got 3 for 2 labels, expected one for each"):
        worst_mistakes(np.ones((3, 4, 4, 1)), labels, probabilities, list("ab"))
    with pytest.raises(ValueError, match="count: got 0"):
        worst_mistakes(np.ones((2, 4, 4, 1)), labels, probabilities, list("ab"), count=0)


def test_test_images_are_checked_by_their_fields():
    images, labels, names = labeled_images({"inputs": np.ones((1, 2, 2, 1)).tolist(), "labels": [0]}, ("a",))
    assert (images.shape, labels.tolist(), names) == ((1, 2, 2, 1), [0], ["a"])
    with pytest.raises(ValueError, match=r"test: got the fields \['inputs'\], .*; labels missing"):
        labeled_images({"inputs": images}, names)
    with pytest.raises(TypeError, match="inputs: got None, expected real numbers"):
        labeled_images({"inputs": None, "labels": labels}, names)
