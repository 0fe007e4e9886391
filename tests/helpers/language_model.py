"""A random recurrent language model, as a step for dlcore and as a NumPy loop in float64."""

import jax.numpy as jnp
import numpy as np

VOCABULARY, END, FEATURES = 4, 3, 3


def random_weights(seed, vocabulary=VOCABULARY):
    generator = np.random.default_rng(seed)
    return {
        "embedding": generator.normal(size=(vocabulary, FEATURES)),
        "recurrent": generator.normal(size=(FEATURES, FEATURES)),
        "readout": generator.normal(size=(FEATURES, vocabulary)),
    }


def random_hidden(seed, rows=2):
    return np.random.default_rng(seed + 100).normal(size=(rows, FEATURES))


def model(weights):
    """The step ``hidden, tokens -> hidden, logits``."""

    def step(hidden, tokens):
        hidden = jnp.tanh(weights["embedding"][tokens] + hidden @ weights["recurrent"])
        return hidden, hidden @ weights["readout"]

    return step


def reference(weights, hidden, token):
    """The step of one row: ``h, token -> h, log p``."""
    hidden = np.tanh(weights["embedding"][token] + hidden @ weights["recurrent"])
    logits = hidden @ weights["readout"]
    return hidden, logits - np.log(np.exp(logits).sum())


def markov(probabilities):
    """A model whose next token depends on the last one only; its carry counts the steps of each row."""
    return lambda counts, tokens: (counts + 1, jnp.log(probabilities)[tokens])


def padded(tokens, steps, end):
    """The tokens, with ``end`` after them."""
    return [*tokens, *[end] * (steps - len(tokens))]
