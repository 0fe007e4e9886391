"""Mixed precision as one policy: parameters and statistics stay float32, the model computes in another type."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dlcore.train.experiment import Batch, LossFunction, Metrics, ModelState, Params


def with_precision(loss: LossFunction, precision: str) -> LossFunction:
    """The loss function as ``--config.train.precision`` wants it."""
    return loss if precision == "float32" else computing_in(loss, precision)


def computing_in(loss: LossFunction, dtype: DTypeLike) -> LossFunction:
    """The loss function whose model computes in ``dtype``: parameters and inputs are cast on their way in.

    Parameters and the batch's ``inputs`` are cast; targets are not. The cast is part of what is differentiated, so
    gradients come out in the parameters' type (Micikevicius et al. 2018, "Mixed precision training", without loss
    scaling, which bfloat16's range does not need). The model state is not cast, and comes back in the types that it
    had.
    """

    def cast_loss(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[ModelState, Metrics]]:
        batch = {**batch, "inputs": _cast(batch["inputs"], dtype)} if "inputs" in batch else batch
        value, (new_state, metrics) = loss(_cast(params, dtype), model_state, batch, rng, train)
        kept = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), new_state, model_state)
        return value.astype(jnp.float32), (kept, metrics)

    return cast_loss


def _cast(tree: Any, dtype: DTypeLike) -> Any:
    """Floating-point leaves in another type; integers, masks and keys as they are."""
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
    )
