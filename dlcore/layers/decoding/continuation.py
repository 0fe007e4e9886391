"""Continues token sequences with a model whose `Stateful` layers remember what it has read."""

from typing import Any

import jax
from flax import linen as nn

from dlcore.data.batch import STREAMS
from dlcore.layers.decoding.generate import Generated, Sampler, generate, greedy
from dlcore.ops.arrays import check_integers
from dlcore.utils.checks import check_instance


def continue_stream(
    model: nn.Module,
    params: Any,
    tokens: jax.Array,
    steps: int,
    rng: jax.Array | None = None,
    *,
    sampler: Sampler = greedy,
) -> Generated:
    """Lets a model of language read tokens and go on with them.

    The model reads all tokens but the last one at once, from the initial carry. Then it generates token by token, each
    of which it reads before the next one. It costs one step for each token, however long the text before is.

    Args:
        model: a linen module with `Stateful` layers, ``model(tokens [B, T], train=False) -> logits [B, T, V]``.
        params: its parameters.
        tokens: ``[B, N]`` integers, N >= 2: the beginning of each row.
        steps: number of tokens to generate.
        rng: a key, needed if the sampler draws.
        sampler: as in `generate`.

    Returns:
        `Generated`, whose carry is the state of the `Stateful` layers.

    Raises:
        ValueError: the tokens are not ``[B, N]`` with N >= 2, or the model keeps no state; or as in `generate`.
        TypeError: the model is no linen module, or the tokens are no integers; or as in `generate`.

    >>> import jax.numpy as jnp
    >>> from dlcore.layers.recurrent.cells import GRUCell
    >>> from dlcore.layers.recurrent.layer import Recurrent
    >>> from dlcore.layers.recurrent.stateful import Stateful
    >>> class Model(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, tokens, train):
    ...         _, outputs = Stateful(Recurrent(GRUCell(features=4)))(jax.nn.one_hot(tokens, 5))
    ...         return nn.Dense(5)(outputs)
    >>> tokens = jnp.array([[3, 1, 4], [1, 2, 0]])
    >>> variables = Model().init(jax.random.key(0), tokens, train=False)
    >>> continue_stream(Model(), variables["params"], tokens, steps=7).tokens.shape
    (2, 7)
    """
    check_instance("model", model, nn.Module, "a linen module")
    tokens = check_integers("tokens", tokens)
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(
            f"tokens: got shape {tokens.shape}, expected [B, N] with N >= 2; a line's end can stand before a text"
        )

    def apply(state: Any, tokens: jax.Array) -> tuple[jax.Array, Any]:
        return model.apply({"params": params, **state}, tokens, train=False, mutable=[STREAMS])

    def step(state: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
        logits, state = apply(state, tokens[:, None])
        return state, logits[:, 0]

    _, state = apply({}, tokens[:, :-1])
    if not jax.tree.leaves(state):
        raise ValueError(
            f"model: got {type(model).__name__} without a state, expected one with dl.Stateful layers"
        )
    return generate(step, state, tokens[:, -1], steps, rng, sampler=sampler)
