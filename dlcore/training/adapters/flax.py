"""Flax linen modules as pure functions."""

from collections.abc import Sequence
from typing import Any

import flax
import jax
from flax import linen as nn

from dlcore.data.batch import STREAMS
from dlcore.training.arguments import mode_options, model_arguments
from dlcore.training.model import Batch, ModelState, Params, PureModel
from dlcore.utils.checks import check_instance, shown
from dlcore.utils.rng import named_key

DROPOUT = "dropout"


def flax_model(model: nn.Module, rngs: Sequence[str] = (DROPOUT,)) -> PureModel:
    """The pure functions of a linen module, see `Experiment.from_flax`.

    Args:
        model: the module.
        rngs: the names of its streams of random keys.

    Raises:
        TypeError: the model is not a linen module, or the names are not a sequence of texts.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model: got {shown(model)}, expected a linen module, such as Model(); from_nnx takes those of NNX"
        )
    check_instance("rngs", rngs, (tuple, list), f'names of streams, such as ("{DROPOUT}", "noise")')
    for name in rngs:
        check_instance("rngs", name, str, "names of streams")

    def arguments(batch: Batch, train: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
        name = f"{type(model).__name__}.__call__"
        return model_arguments(name, model.__call__, batch, mode_options(train), forwarded=("train",))

    def init(rng: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        positional, named = arguments(batch, train=False)
        # A stream without a key of its own draws from that of params.
        variables = model.init({"params": rng}, *positional, **named)
        model_state, params = flax.core.pop(variables, "params")
        return params, dict(model_state)

    def apply(
        params: Params, model_state: Any, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[Any, ModelState]:
        positional, named = arguments(batch, train)
        outputs, changed = model.apply(
            {"params": params, **model_state},
            *positional,
            **named,
            rngs={name: rng if name == DROPOUT else named_key(rng, name) for name in rngs},
            # Only the state of streams changes in an evaluation, if the batch has one.
            mutable=list(model_state) if train else [STREAMS] * (STREAMS in batch),
        )
        return outputs, {**model_state, **changed}

    return PureModel(init, apply)
