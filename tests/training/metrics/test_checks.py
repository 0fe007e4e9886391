"""Metrics that cannot be sums are refused by their traced shapes."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from dlcore.training.metrics import AUC, F1, ConfusionMatrix, Perplexity
from dlcore.training.metrics.checks import check_metric, check_same_shapes


def traced(metric: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), metric)


class Sums(NamedTuple):
    total: Any

    def value(self):
        return self.total


class Divided(Sums):
    def value(self):
        return 1 / float(self.total)


class Found(Sums):
    def value(self):
        return np.flatnonzero(self.total)


@pytest.mark.parametrize("train", [True, False])
def test_the_metrics_of_dlcore_are_sums(train):
    logits, labels = np.zeros((4, 3), np.float32), np.zeros(4, int)
    known = {
        (3, 3): lambda: ConfusionMatrix.of(logits, labels),
        (3,): lambda: F1.of(logits, labels, average=None),
        (): lambda: F1.of(logits, labels),
    }
    for shape, metric in known.items():
        assert check_metric("f1", jax.eval_shape(metric), train) == shape
    for metric in (lambda: AUC.of(logits[:, 0], labels, bins=8), lambda: Perplexity.of(logits)):
        assert check_metric("f1", jax.eval_shape(metric), train) == ()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "complex64"])
def test_types_that_do_not_add_up_are_refused(dtype):
    with pytest.raises(TypeError, match=rf"loss: got a metric f1 with {dtype} .at total., expected sums"):
        check_metric("f1", traced(Sums(np.zeros(2, dtype))), True)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Sums(None), "loss: got a metric f1 without arrays"),
        (
            Divided(np.float32(0)),
            "f1 whose value.. cannot be read from sums of 0 .ZeroDivisionError: .* rows that do not count",
        ),
        (
            Found(np.zeros(3)),
            r"f1 whose value.. has the shape \(3,\) for sums of 1 and \(0,\) for sums of 0, expected one shape",
        ),
    ],
)
def test_values_that_cannot_be_read_are_refused(metric, message):
    with pytest.raises(TypeError, match=message):
        check_metric("f1", traced(metric), False)


def test_shapes_must_not_depend_on_the_number_of_rows():
    few, many = ({"f1": traced(Sums(np.zeros(rows)))} for rows in (4, 8))
    check_same_shapes(few, 4, few)
    with pytest.raises(
        TypeError, match=r"float64\[4\] at f1/total for 4 rows and float64\[8\] for 8, expected sums"
    ):
        check_same_shapes(few, 4, many)
    with pytest.raises(TypeError, match=r"f1/total for 4 rows and nothing for 8"):
        check_same_shapes(few, 4, {})
