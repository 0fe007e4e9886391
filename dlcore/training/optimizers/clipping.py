"""Gradient clipping that is measured, and what an optimizer state says about the last update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlcore.ops import clipping
from dlcore.training.metrics import Average, Metric


class ClipState(NamedTuple):
    """The measurements of `clip_and_measure` in its last update; 0 before the first.

    Attributes:
        norm: global norm of the gradient before clipping, a scalar.
        clipped_norm: global norm of the gradient after clipping, a scalar.
    """

    norm: jax.Array
    clipped_norm: jax.Array


def clip_and_measure(threshold: float | None) -> optax.GradientTransformation:
    """An optax transformation ``if ||g|| > threshold: g <- threshold * g / ||g||`` (lecture: gradient clipping).

    ``||g||`` is the norm over all leaves. The transformation's state is a `ClipState` with the norms before and after
    clipping. In contrast to ``optax.clip_by_global_norm``, it also works if the norm's square overflows float32 (see
    `ops.clipping`).

    Args:
        threshold: the largest norm; None: the gradient is not changed, and only its norm is measured.
    """

    def init(params: optax.Params) -> ClipState:
        return ClipState(jnp.zeros(()), jnp.zeros(()))

    def update(
        updates: optax.Updates, state: ClipState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ClipState]:
        clipped = updates if threshold is None else clipping.clip(updates, threshold)
        return clipped, ClipState(clipping.norm(updates), clipping.norm(clipped))

    return optax.GradientTransformation(init, update)


def find_clip_state(opt_state: optax.OptState) -> ClipState | None:
    """The first `ClipState` in an optimizer state; None if the optimizer has no `clip_and_measure`."""

    def is_clip_state(node: Any) -> bool:
        return isinstance(node, ClipState)

    return next(filter(is_clip_state, jax.tree.leaves(opt_state, is_leaf=is_clip_state)), None)


def is_usable(gradient: optax.Updates, opt_state: optax.OptState) -> jax.Array:
    """True if the square of the clipped gradient's global norm is finite, as Adam needs: a boolean scalar array.

    Args:
        gradient: the gradient before clipping, a tree of arrays. Its norm counts if the optimizer has no
            `clip_and_measure`.
        opt_state: the optimizer state after the update.
    """
    clip_state = find_clip_state(opt_state)
    norm = clipping.norm(gradient) if clip_state is None else clip_state.clipped_norm
    return jnp.isfinite(jnp.square(norm))


def update_count(opt_state: optax.OptState) -> int | None:
    """How many updates the optimizer state counts, without steps that were left out; None if it has no count.

    Those of ``optax.MultiSteps`` that only add a gradient count too.
    """
    names = ("count", "mini_step", "gradient_step")
    counts = [count for name in names for _, count in optax.tree.get_all_with_path(opt_state, name)]
    return max(map(int, jax.device_get(counts)), default=None)


def clip_metrics(opt_state: optax.OptState) -> dict[str, Metric]:
    """A dict of metrics of the last step's clipping; empty if the optimizer has no `clip_and_measure`.

    ``gradient_norm`` and ``gradient_norm_clipped`` are the norms in `ClipState`. ``clipped_fraction`` is 1 if clipping
    changed the gradient and 0 if not; over several steps it averages to the fraction of the clipped ones.
    """
    clip_state = find_clip_state(opt_state)
    if clip_state is None:
        return {}
    # Clipping rounds: only a larger change of the norm counts as clipping.
    changed = clip_state.clipped_norm < clip_state.norm * (1 - 1e-6)
    return {
        "gradient_norm": Average.of(clip_state.norm),
        "gradient_norm_clipped": Average.of(clip_state.clipped_norm),
        "clipped_fraction": Average.of(changed),
    }
