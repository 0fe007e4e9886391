"""A last layer that predicts several symbols together, such as voices of a choir: each one knows those before it."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.fields import check_fields
from dlcore.ops.arrays import check_floats, check_integers
from dlcore.utils.checks import check_integer


class ChainHead(nn.Module):
    """The logits of V symbols by the chain rule, from a state s of the network below:

        p(x_1, ..., x_V | s) = product over v of p(x_v | s, x_1, ..., x_{v-1})
        logits_v = W_v relu(U_v [s, e(x_1), ..., e(x_{v-1})] + b_v) + c_v

    So the cross-entropies of the V symbols add up to that of all together. Without the chain they would be independent
    for a given state.

    Attributes:
        symbols: V, the number of symbols.
        classes: number of classes of each symbol.
        features: width of the hidden layer of each symbol.
        embedding: width of the embedding e of each known symbol.

    Raises:
        ValueError: a number is below 1.
        TypeError: a number is not an integer.

    >>> head = ChainHead(symbols=4, classes=128, features=16)
    >>> state, frames = jnp.ones((2, 7, 3)), jnp.ones((2, 7, 4), int)
    >>> head.init_with_output(jax.random.key(0), state, frames)[0].shape
    (2, 7, 4, 128)
    """

    symbols: int
    classes: int
    features: int
    embedding: int = 32

    def __post_init__(self) -> None:
        for name in ("symbols", "classes", "features", "embedding"):
            check_integer(name, getattr(self, name))
        check_fields(self)
        super().__post_init__()

    def setup(self) -> None:
        self.known = [nn.Embed(self.classes, self.embedding) for _ in range(self.symbols - 1)]
        self.hidden = [nn.Dense(self.features) for _ in range(self.symbols)]
        self.logits = [nn.Dense(self.classes) for _ in range(self.symbols)]

    def __call__(self, state: jax.Array, frames: jax.Array) -> jax.Array:
        """The logits of all symbols, when they are known: in training and evaluation.

        Args:
            state: ``[..., F]``, floating point numbers.
            frames: integers ``[..., V]`` from 0 to ``classes`` - 1.

        Returns:
            ``[..., V, classes]``.

        Raises:
            TypeError: the state is not floating point, or the frames are not integers.
            ValueError: the shapes do not fit.
        """
        return jnp.stack([self.predict(state, frames, v) for v in range(self.symbols)], axis=-2)

    def predict(self, state: jax.Array, frames: jax.Array, v: int) -> jax.Array:
        """The logits ``[..., classes]`` of symbol v, 0 to V - 1, which do not depend on the symbols from v on.

        Arguments and errors are those of a call; ValueError: there is no symbol v. `generate_frames` calls it.
        """
        state, frames = check_floats("state", state, 1, "[..., F]"), check_integers("frames", frames)
        check_integer("v", v, 0, self.symbols - 1)
        if frames.shape != (*state.shape[:-1], self.symbols):
            raise ValueError(
                f"frames: got shape {frames.shape} for a state of shape {state.shape}, expected "
                f"{(*state.shape[:-1], self.symbols)}"
            )
        known = [self.known[u](frames[..., u]) for u in range(v)]
        return self.logits[v](nn.relu(self.hidden[v](jnp.concatenate([state, *known], axis=-1))))
