"""What is reached without a network: the baselines of the table of results that no experiment has as a mode.

    python -m benchmarks.baselines                  # all of them, some minutes on a CPU core
    python -m benchmarks.baselines sentiment        # one

Each is measured on the test part of the experiment. Settings of scikit-learn's methods are the best ones of five folds
of the training part.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

import dlcore as dl
from benchmarks.controls import majority
from benchmarks.entries import ENTRIES
from dlcore.cli.command_line import load_command_line

SVC_SETTINGS = {"C": (1, 10, 100), "gamma": tuple(2.0**power for power in range(-8, 1))}


def digits(name: Literal["uci", "mnist5k"] = "uci") -> dict[str, float]:
    """A support vector classifier and the nearest neighbor, of the pixels."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    train, test = dl.data.DigitConfig(name).load()
    pixels = [part["inputs"].reshape(len(part["labels"]), -1) for part in (train, test)]
    methods = {"SVC": GridSearchCV(SVC(), SVC_SETTINGS), "1-NN": KNeighborsClassifier(1)}
    return {
        key: float(method.fit(pixels[0], train["labels"]).score(pixels[1], test["labels"]))
        for key, method in methods.items()
    }


def vowels() -> dict[str, float]:
    """The nearest neighbor by dynamic time warping, regression, and the most frequent speaker of the test part."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = dl.data.japanese_vowels()
    nearest = [
        train["labels"][np.argmin([warped_distance(series, other) for other in _series(train)])]
        for series in _series(test)
    ]
    moments = [
        np.stack([np.r_[series.mean(axis=0), series.std(axis=0)] for series in _series(part)])
        for part in (train, test)
    ]
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    linear = regression.fit(moments[0], train["labels"]).score(moments[1], test["labels"])
    one_nearest = float(np.mean(nearest == test["labels"]))
    return {"1-NN": one_nearest, "moments, regression": float(linear), "most frequent": majority([test])}


def _series(part: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [row[:length] for row, length in zip(part["inputs"], part["lengths"], strict=True)]


def warped_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The sum of squared distances of two series ``[T, F]`` and ``[U, F]`` along the best path of dynamic time warping.

    >>> warped_distance(np.array([[0.0], [1.0]]), np.array([[0.0], [0.0], [1.0], [1.0]]))
    0.0
    """
    steps = np.square(first[:, None] - second).sum(axis=-1)
    total = np.full((len(first) + 1, len(second) + 1), np.inf)
    total[0, 0] = 0
    for t, row in enumerate(steps):
        for u, step in enumerate(row):
            total[t + 1, u + 1] = step + min(total[t, u], total[t, u + 1], total[t + 1, u])
    return float(total[-1, -1])


def sentiment() -> dict[str, float]:
    """Logistic regression of the TF-IDF of words, or of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    train, test = dl.data.movie_sentences()
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    settings = {"tfidfvectorizer__ngram_range": ((1, 1), (1, 2)), "logisticregression__C": (0.25, 1, 4, 16)}
    search = GridSearchCV(model, settings).fit(train.texts, train.labels)
    return {"TF-IDF": float(search.score(test.texts, test.labels))}


def characters(name: str = "docs", context: int = 4) -> dict[str, float]:
    """An n-gram model of characters in bits."""
    text = {"docs": dl.data.python_docs, "shakespeare": dl.data.shakespeare}[name]()
    return {f"{context} characters": ngram_bits(*text, context)}


def ngram_bits(train: str, test: str, context: int) -> float:
    """The bits a character of a test text that follows the training text, by Witten-Bell smoothing.

    ``p_n(c | h) = (count(h c) + kinds(h) p_{n-1}(c | h)) / (count(h) + kinds(h))`` for the last n characters h, and
    ``p_{-1} = 1 / (V + 1)`` with the V characters of the training text and one for those that are unknown. ``kinds(h)``
    is the number of different characters that follow h (Witten & Bell 1991).

    >>> round(2 ** -ngram_bits("aab", "a", context=0), 4)  # p_{-1} = 1/3; (2 + 2/3) / (3 + 2)
    0.5333
    """
    counts: list[defaultdict[str, Counter[str]]] = [defaultdict(Counter) for _ in range(context + 1)]
    for size, found in enumerate(counts):
        for place in range(size, len(train)):
            found[train[place - size : place]][train[place]] += 1
    text, start, bits = train + test, 1 / (len(set(train)) + 1), 0.0
    for place in range(len(train), len(text)):
        probability = start
        for size, found in enumerate(counts):
            followers = found.get(text[place - size : place])
            if followers is None:
                break
            count, kinds = followers.total(), len(followers)
            probability = (followers[text[place]] + kinds * probability) / (count + kinds)
        bits -= np.log2(probability)
    return float(bits / len(test))


def most_frequent(row: str) -> dict[str, float]:
    """The share of the most frequent label in the evaluation set of a row's command."""
    (entry,) = (entry for entry in ENTRIES if entry.name == row)
    name, *flags = entry.arguments.split()
    command_line = load_command_line(f"experiments.{name}")
    return {"most frequent": majority(command_line.experiment(command_line.config(flags)).eval_data)}


BASELINES: Mapping[str, Callable[[], dict[str, float]]] = {
    "digits": digits,
    "digits-mnist5k": partial(digits, "mnist5k"),
    "vowels": vowels,
    "sentiment": sentiment,
    "characters": characters,
    "characters-shakespeare": partial(characters, "shakespeare", 5),
    **{row: partial(most_frequent, row) for row in ("video", "video-motion", "tagging")},
}
"""The baselines by the names of the rows in ``docs/results.csv``."""


def main(names: Sequence[str]) -> None:
    for name in names or BASELINES:
        if name not in BASELINES:
            sys.exit(f"error: {name} names no baseline; expected one of {', '.join(BASELINES)}")
        for method, value in BASELINES[name]().items():
            print(f"{name:24} {method:20} {value:.4g}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
