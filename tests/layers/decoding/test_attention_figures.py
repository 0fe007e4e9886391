"""The figures of a decoder's attention have a row for each token that it wrote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl


def make(attention):
    decoder = dl.SequenceDecoder(5, dl.GRUCell(4), attention, embedding=3)
    return dl.EncoderDecoder(4, dl.Recurrent(dl.GRUCell(4)), decoder, embedding=3)


def test_each_pair_has_the_figure_of_its_tokens():
    model = make(dl.LuongAttention("general"))
    one = jnp.ones((1, 1), int)
    params = jax.jit(model.init)(jax.random.key(0), one, one[0], one)["params"]
    letters = dl.data.Vocabulary.of(["ab"])
    phones = dl.data.Vocabulary.of([["A", "B", "C"]])
    sources, written = (
        [letters.encode("ab"), letters.encode("aba")],
        [phones.encode("A"), phones.encode("CB")],
    )
    figures = dl.attention_figures(model, params, sources, written, (letters, phones))
    for figure, columns, rows in zip(figures, ("ab", "aba"), ("A", "CB"), strict=True):
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.get_xticklabels()] == list(columns)
        assert [text.get_text() for text in axes.get_yticklabels()] == [*rows, "<end>"]
        np.testing.assert_allclose(axes.images[0].get_array().sum(axis=1), 1, rtol=1e-5)


def test_a_model_without_attention_has_no_figures():
    vocabulary = dl.data.Vocabulary.of([])
    assert dl.attention_figures(make(None), {}, [], [], (vocabulary, vocabulary)) == []


def test_another_model_is_refused():
    with pytest.raises(TypeError, match=r"model: got .* expected a dl\.EncoderDecoder"):
        dl.attention_figures(dl.GRUCell(4), {}, [], [], ())
