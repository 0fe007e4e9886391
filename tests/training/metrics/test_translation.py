"""Scores of translations are those of their definitions, in plain Python."""

import math
import sys
from collections import Counter

import pytest

import dlcore as dl

HYPOTHESES = ["die katze sitzt auf der matte im haus", "der hund bellt", "x"]
REFERENCES = ["die katze saß auf der matte im haus", "der hund bellte laut", "yz"]


def overlap(pairs, n):
    """The numbers of n-grams of both sides of all pairs, and of those that match."""
    counts = [[Counter(zip(*(side[k:] for k in range(n)), strict=False)) for side in pair] for pair in pairs]
    return (
        sum(sum(hypothesis.values()) for hypothesis, _ in counts),
        sum(sum(reference.values()) for _, reference in counts),
        sum(sum((hypothesis & reference).values()) for hypothesis, reference in counts),
    )


def chrf(hypotheses, references):
    pairs = [[text.replace(" ", "") for text in pair] for pair in zip(hypotheses, references, strict=True)]
    sums = [overlap(pairs, n) for n in range(1, 7)]
    precision = sum(match / hypothesis for hypothesis, _, match in sums) / 6
    recall = sum(match / reference for _, reference, match in sums) / 6
    return 100 * 5 * precision * recall / (4 * precision + recall)


def bleu(hypotheses, references):
    pairs = [[text.split() for text in pair] for pair in zip(hypotheses, references, strict=True)]
    sums = [overlap(pairs, n) for n in range(1, 5)]
    shortness = min(1, math.exp(1 - sums[0][1] / sums[0][0]))
    return 100 * shortness * math.prod(match / hypothesis for hypothesis, _, match in sums) ** (1 / 4)


def test_scores_are_those_of_their_definitions():
    scores = dl.metrics.translation_scores(HYPOTHESES, REFERENCES)
    expected = {"chrf": chrf(HYPOTHESES, REFERENCES), "bleu": bleu(HYPOTHESES, REFERENCES), "exact_match": 0}
    assert scores == pytest.approx(expected)
    assert 0 < scores["bleu"] < scores["chrf"] < 100


def test_copying_the_sources_is_scored_beside():
    scores = dl.metrics.translation_scores(["a b", "c"], ["x y", "c"], ["x y", "d"])
    copied = dl.metrics.translation_scores(["x y", "d"], ["x y", "c"])
    assert scores == {
        **dl.metrics.translation_scores(["a b", "c"], ["x y", "c"]),
        **{f"{name}_of_copying": score for name, score in copied.items()},
    }
    assert scores["exact_match"] == scores["exact_match_of_copying"] == 0.5
    assert copied["chrf"] > scores["chrf"] > 0


def test_correct_translations_have_100_and_wrong_ones_0():
    correct = dl.metrics.translation_scores(REFERENCES, REFERENCES)
    assert correct == pytest.approx({"chrf": 100, "bleu": 100, "exact_match": 1})
    assert dl.metrics.translation_scores(["a", ""], ["b", "c"]) == {"chrf": 0, "bleu": 0, "exact_match": 0}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(ImportError, match=r"needs sacrebleu; pip install 'dlcore\[experiments\]'"):
        dl.metrics.translation_scores(["a"], ["b"])


@pytest.mark.parametrize(
    ("hypotheses", "references", "error", "message"),
    [
        ([], [], ValueError, "hypotheses: got 0 texts for 0 references"),
        (["a"], ["b", "c"], ValueError, "hypotheses: got 1 texts for 2 references"),
        ("a", ["b"], TypeError, "hypotheses: got 'a', expected a list of texts"),
        (["a"], [["b"]], TypeError, r"references: got \['b'\], expected texts"),
    ],
)
def test_texts_that_are_no_pairs_are_refused(hypotheses, references, error, message):
    with pytest.raises(error, match=message):
        dl.metrics.translation_scores(hypotheses, references)
