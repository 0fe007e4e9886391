"""What an optimizer of the user breaks is named before anything is computed."""

import jax
import jax.numpy as jnp
import optax
import pytest

from dlcore.training.optimizers.by_path import by_path
from dlcore.training.optimizers.check import check_optimizer

PARAMS = {
    "kernel": jax.ShapeDtypeStruct((2, 3), jnp.float32),
    "bias": jax.ShapeDtypeStruct((3,), jnp.float32),
}


def transformation(update, init=lambda params: {"count": jnp.zeros((), jnp.int32)}):
    return optax.GradientTransformation(init, update)


GOOD = {
    "adam": optax.adam(1e-3),
    "no state": optax.scale(-0.1),
    "injected": optax.inject_hyperparams(optax.lion)(learning_rate=optax.linear_schedule(1.0, 0.0, 10)),
    "by path": by_path({"kernel": optax.adafactor(1e-3), ".*": optax.set_to_zero()}),
    "of the loss": optax.polyak_sgd(),
    "schedule free": optax.contrib.schedule_free_adamw(1e-3),
    "accumulating": optax.MultiSteps(optax.adam(1e-3), 4).gradient_transformation(),
    "plateau": optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
    "low precision": optax.adam(1e-3, mu_dtype=jnp.bfloat16),
    "prodigy": optax.contrib.prodigy(),
}


@pytest.mark.parametrize("name", GOOD)
def test_optimizers_of_optax_are_accepted(name):
    check_optimizer(optax.chain(GOOD[name]), PARAMS)


@pytest.mark.parametrize(
    ("optimizer", "error", "message"),
    [
        (
            transformation(lambda grads, state, params=None: (grads, {"count": state["count"] + 0.5})),
            TypeError,
            r"optimizer: got a state after update with float32\[\] at 0/count, expected int32\[\] as init made it",
        ),
        (
            transformation(lambda grads, state, params=None: (grads["kernel"], state)),
            TypeError,
            r"optimizer: got updates with nothing at bias, expected \[3\] as the parameters have it",
        ),
        (
            transformation(lambda grads, state, params=None: (grads, {})),
            TypeError,
            "optimizer: got a state after update with nothing at 0/count, expected int32",
        ),
        (
            transformation(lambda grads, state, params=None: (1 / 0, state)),
            ValueError,
            "optimizer: got ZeroDivisionError from its update: division by zero; expected a transformation",
        ),
        (by_path({"kernel": optax.sgd(1.0)}), ValueError, r"ValueError from its init: .* the parameter bias"),
        (optax.scale_by_zoom_linesearch(5), ValueError, r"TypeError from its update: .*grad"),
        (optax.lookahead(optax.sgd(0.1), 5, 0.5), ValueError, r"optimizer: got .* from its update: "),
    ],
)
def test_optimizers_that_break_the_contract_are_named(optimizer, error, message):
    with pytest.raises(error, match=message):
        check_optimizer(optax.chain(optimizer), PARAMS)
