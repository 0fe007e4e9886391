"""A tiny encoder-decoder that learns to reverse sequences."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import dlcore as dl
from dlcore.layers.decoding.attention_decoder import AttentionDecoder

KEY = jax.random.key(0)
TOKENS, START, END = 8, 8, 9
LONGEST = 6


class Reverser(nn.Module):
    """A tiny encoder-decoder."""

    attention: nn.Module
    width: int = 32

    def setup(self):
        self.embed = nn.Embed(TOKENS + 2, 16)
        self.encoder = dl.Recurrent(dl.GRUCell(self.width))
        self.decoder = AttentionDecoder(dl.GRUCell(self.width), self.attention)
        self.readout = nn.Dense(TOKENS + 2)

    def encode(self, sources, lengths):
        state, memory = self.encoder(self.embed(sources), lengths)
        return self.decoder.initialize_carry(memory.shape, state), memory

    def __call__(self, sources, lengths, targets):
        carry, memory = self.encode(sources, lengths)
        before = jnp.pad(targets[:, :-1], ((0, 0), (1, 0)), constant_values=START)
        _, outputs = self.decoder(self.embed(before), memory, lengths + 1, lengths, carry)
        return self.readout(outputs)

    def step(self, carry, tokens, memory, lengths):
        carry, outputs = self.decoder.step(carry, self.embed(tokens), memory, lengths)
        return carry, self.readout(outputs)


def reversals(key, rows):
    """Sources, their lengths, their reversals with an end token, and a mask of the rows that are held out."""
    of_tokens, of_lengths = jax.random.split(key)
    sources = jax.random.randint(of_tokens, (rows, LONGEST), 0, TOKENS)
    lengths = jax.random.randint(of_lengths, (rows,), 2, LONGEST + 1)
    place = lengths[:, None] - 1 - jnp.arange(LONGEST + 1)
    targets = jnp.take_along_axis(sources, jnp.clip(place, 0), axis=1)
    valid = jnp.arange(LONGEST) < lengths[:, None]
    return sources, lengths, jnp.where(place >= 0, targets, END), (sources * valid).sum(axis=1) % 5 == 0


def trained(model, steps=600, rows=64):
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def loss(variables, key):
        sources, lengths, targets, held_out = reversals(key, rows)
        logits = model.apply(variables, sources, lengths, targets)
        costs = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        counts = (jnp.arange(LONGEST + 1) <= lengths[:, None]) & ~held_out[:, None]
        return (costs * counts).sum() / counts.sum()

    def body(state, step):
        variables, moments = state
        gradients = jax.grad(loss)(variables, jax.random.fold_in(KEY, step))
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(variables, updates), moments), None

    variables = model.init(KEY, *reversals(KEY, 2)[:3])
    return jax.lax.scan(body, (variables, optimizer.init(variables)), jnp.arange(steps))[0][0]
