"""Sentences are judged alone as in a batch, and the words that decide are those that move the logit."""

import csv
import io
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dlcore as dl
from experiments import sentiment
from tests.helpers.experiment_runs import make_config, train_experiment
from tests.helpers.packages import needs_package

TEXTS = ["A moving , warm and funny film.", "Dull!", "Not a good film, and far too long for what it says."]
ENCODER = dl.data.TextEncoder.of(TEXTS)


def make_model(**changes):
    config = make_config(sentiment, features=4, embedding=5, **changes)
    model = sentiment.Model(config, len(ENCODER.vocabulary))
    shapes = jax.eval_shape(
        lambda key: model.init(key, **ENCODER.batch(TEXTS), train=False), jax.random.key(0)
    )
    normal = np.random.default_rng(0).standard_normal
    return model, jax.tree.map(lambda leaf: normal(leaf.shape, np.float32), shapes["params"])


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "architecture", ["convolution", pytest.param("gru", marks=SLOW), pytest.param("lstm", marks=SLOW)]
)
def test_a_sentence_alone_has_its_probability_of_the_batch(architecture):
    model, params = make_model(architecture=architecture)
    apply = jax.jit(lambda batch: model.apply({"params": params}, **batch, train=False))
    together = apply(ENCODER.batch(TEXTS))
    assert together.shape[0] == 3
    alone = [apply(ENCODER.batch([text]))[0] for text in TEXTS]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_a_word_s_share_is_how_its_vector_moves_the_logit(monkeypatch):
    model, params = make_model()
    drawn = {}
    monkeypatch.setattr(
        dl.plots,
        "token_values",
        lambda tokens, shares, titles, label: drawn.update(tokens=tokens, shares=shares),
    )
    sentiment.explain(model, ENCODER, params, TEXTS)
    assert drawn["tokens"] == [dl.data.words(text) for text in TEXTS]
    batch = ENCODER.batch(TEXTS)
    step, apply = (
        1e-3,
        jax.jit(lambda scale: model.apply({"params": params}, **batch, scale=scale, train=False)),
    )
    for row, place in ((0, 2), (1, 0), (2, 11)):
        logits = []
        for sign in (1, -1):
            scale = np.ones(batch["inputs"].shape, np.float32)
            scale[row, place] += sign * step
            logits.append(np.ravel(apply(scale))[row])
        expected = (logits[0] - logits[1]) / (2 * step)
        assert drawn["shares"][row][place] == pytest.approx(expected, abs=2e-2)


def test_the_table_has_a_probability_for_each_sentence():
    model, params = make_model()
    files = sentiment.generate(model, ENCODER, SimpleNamespace(params=params), [*TEXTS, "", "  "])
    header, *rows = csv.reader(io.StringIO(files["predictions.csv"]))
    assert header == ["text", "positive"]
    logits = np.ravel(model.apply({"params": params}, **ENCODER.batch(TEXTS), train=False))
    assert [text for text, _ in rows] == TEXTS  # lines without a word are left out
    np.testing.assert_allclose([float(share) for _, share in rows], 1 / (1 + np.exp(-logits)), atol=1e-4)
    assert files["words.png"].axes[0].texts


@needs_package("vaderSentiment")
def test_the_longest_text_may_be_shorter_than_half_of_them():
    batch = sentiment.experiment(make_config(sentiment, longest=10)).train_data[0]
    assert batch["inputs"].shape[1] <= 10


@needs_package("vaderSentiment")
@pytest.mark.slow
def test_a_short_run_beats_the_larger_class(tmp_path):
    _, trained = train_experiment(sentiment, tmp_path, train__steps=250, train__ema_decay=None)
    assert trained.evaluation["accuracy"] > 0.68
