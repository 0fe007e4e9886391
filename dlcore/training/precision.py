"""Mixed precision as one rule: the model computes in one type; parameters and statistics stay float32."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dlcore.training.experiment import Batch, LossFunction, Metrics, ModelState, Params
from dlcore.training.model import Predict

READ_BY_MODELS = ("inputs", "source")
"""Fields that only a model reads; a loss may read any other field, such as targets."""


def with_precision(loss: LossFunction, precision: str) -> LossFunction:
    """A loss function like ``loss`` whose model computes in ``precision``, for instance ``"bfloat16"``.

    ``"float32"`` returns the loss function unchanged. With any other type, the floating-point arrays among the
    parameters and in the batch's ``inputs`` and ``source`` are cast before the model sees them; other fields are not
    cast. The cast is part of the differentiated function, so the gradients have the parameters' type (Micikevicius et
    al. 2018, "Mixed precision training", without loss scaling: bfloat16's range does not need it). The returned loss is
    float32. The model state is not cast, and it keeps its types.

    Args:
        loss: the loss function.
        precision: the name of a floating-point type.
    """
    if precision == "float32":
        return loss

    def cast_loss(
        params: Params, model_state: ModelState, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[ModelState, Metrics]]:
        cast = _cast(params, precision), model_state, _cast_inputs(batch, precision)
        value, (new_state, metrics) = loss(*cast, rng, train)
        kept = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), new_state, model_state)
        return value.astype(jnp.float32), (kept, metrics)

    return cast_loss


def predict_with_precision(predict: Predict, precision: str) -> Predict:
    """A function like ``predict`` whose model computes in ``precision``, see `with_precision`; outputs are float32."""
    if precision == "float32":
        return predict

    def cast_predict(params: Params, model_state: ModelState, batch: Batch) -> Any:
        outputs = predict(_cast(params, precision), model_state, _cast_inputs(batch, precision))
        return _cast(outputs, jnp.float32)

    return cast_predict


def _cast_inputs(batch: Batch, dtype: DTypeLike) -> Batch:
    return {**batch, **{name: _cast(batch[name], dtype) for name in READ_BY_MODELS if name in batch}}


def _cast(tree: Any, dtype: DTypeLike) -> Any:
    """The tree with its floating-point arrays in ``dtype``; integers, masks and keys are unchanged."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if _is_floating(leaf) else leaf, tree)


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
