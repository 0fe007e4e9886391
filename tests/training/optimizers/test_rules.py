"""Every rule equals optax's; weight decay is decoupled where the settings say so; a plateau lowers the rate."""

import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.config.settings import leaves
from dlcore.training.optimizers.config import CUSTOM, OptimizerConfig
from dlcore.training.optimizers.make import make_optimizer
from dlcore.training.optimizers.rates import shown_rates, used_rates
from dlcore.training.optimizers.rules import RULES, make_rule

PARAMS = {"kernel": jnp.array([[3.0, 4.0], [-1.0, 2.0]]), "bias": jnp.array([2.0, -1.0])}
B1, B2, EPS = 0.8, 0.95, 1e-6
ADAM = {"b1": B1, "b2": B2, "eps": EPS}
REFERENCES = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=B1),
    "nesterov": optax.sgd(0.1, momentum=B1, nesterov=True),
    "adam": optax.adam(0.1, **ADAM),
    "adamw": optax.adamw(0.1, **ADAM, weight_decay=0.0),
    "nadam": optax.nadam(0.1, **ADAM),
    "nadamw": optax.nadamw(0.1, **ADAM, weight_decay=0.0),
    "radam": optax.radam(0.1, **ADAM),
    "adamax": optax.adamax(0.1, **ADAM),
    "amsgrad": optax.amsgrad(0.1, **ADAM),
    "adabelief": optax.adabelief(0.1, **ADAM),
    "adagrad": optax.adagrad(0.1, eps=EPS),
    "rmsprop": optax.rmsprop(0.1, decay=B2, eps=EPS),
    "adafactor": optax.adafactor(0.1),
    "lion": optax.lion(0.1, b1=B1, b2=B2, weight_decay=0.0),
    "lamb": optax.lamb(0.1, **ADAM),
    "lars": optax.lars(0.1, momentum=B1, trust_ratio_mask={"kernel": True, "bias": False}),
    "muon": optax.contrib.muon(0.1, beta=B1, adam_b1=B1, adam_b2=B2),
}
DECOUPLED = {name for name, rule in RULES.items() if rule.decay_mask is not None}


def config_of(name, **settings):
    taken = set(RULES[name].arguments.values())
    settings = {"b2": B2, "eps": EPS} | settings
    for setting in ("b2", "eps"):
        if setting not in taken:
            settings.pop(setting)
    return OptimizerConfig(name, 0.1, momentum=B1, **settings)


def train(optimizer, gradients):
    def step(carry, gradient):
        state, params = carry
        updates, state = optimizer.update(gradient, state, params, value=jnp.float32(1))
        return (state, optax.apply_updates(params, updates)), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
    (state, params), _ = jax.lax.scan(step, (optimizer.init(PARAMS), PARAMS), stacked)
    return params, state


def test_the_names_are_those_of_the_table():
    names = typing.get_args(typing.get_type_hints(OptimizerConfig)["name"])
    assert set(names) == {*RULES, CUSTOM}
    assert set(REFERENCES) == set(RULES)


def test_the_help_of_weight_decay_lists_the_rules_whose_decay_is_decoupled():
    (text,) = (leaf.help for leaf in leaves(OptimizerConfig()) if leaf.path == "weight_decay")
    assert set(re.findall(r"\w+", text)) & set(RULES) == DECOUPLED


@pytest.mark.parametrize(
    "names", [("adamw", "lion"), pytest.param(tuple(RULES), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_each_rule_equals_optax_after_clipping_and_its_rate_is_read(names):
    gradients = [jax.tree.map(lambda leaf, step=step: leaf * 0.1 + step, PARAMS) for step in range(3)]
    norms = [np.sqrt(sum(np.square(leaf).sum() for leaf in gradient.values())) for gradient in gradients]
    clipped = [
        jax.tree.map(lambda leaf, norm=norm: leaf / max(1, norm), gradient)
        for gradient, norm in zip(gradients, norms, strict=True)
    ]
    assert min(norms) < 1 < max(norms)
    configs = {name: config_of(name, clip_norm=1.0) for name in names}

    def all_rules():
        ours = {name: train(make_optimizer(config, 10), gradients) for name, config in configs.items()}
        own = {name: train(make_rule(name, config, 10), clipped) for name, config in configs.items()}
        rates = {name: used_rates(configs[name], 10)(state) for name, (_, state) in ours.items()}
        shown = {name: shown_rates(state) for name, (_, state) in own.items()}
        references = {
            name: train(optax.with_extra_args_support(REFERENCES[name]), clipped)[0] for name in names
        }
        return (
            {name: ours[name][0] for name in names},
            {name: own[name][0] for name in names},
            references,
            rates,
            shown,
        )

    ours, own, references, rates, shown = jax.jit(all_rules)()
    for name in names:
        for params in (ours[name], own[name]):
            for part, expected in references[name].items():
                np.testing.assert_allclose(params[part], expected, rtol=2e-4, atol=1e-6, err_msg=name)
        assert rates[name] == shown[name] == {"learning_rate": np.float32(0.1)}, name


def test_weight_decay_shrinks_kernels_and_leaves_biases():
    """Without a gradient, decoupled decay is learning_rate * weight_decay; L2 goes through the rule."""
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    optimizers = {name: make_optimizer(config_of(name, weight_decay=0.5), 10) for name in RULES}
    updates = jax.jit(
        lambda: {name: made.update(zeros, made.init(PARAMS), PARAMS)[0] for name, made in optimizers.items()}
    )()
    for name, update in updates.items():
        if name != "muon":  # what is no matrix of the model itself decays nowhere
            assert (np.sign(update["kernel"]) == -np.sign(PARAMS["kernel"])).all(), name
        assert (np.asarray(update["bias"]) == 0).all(), name
        if name in DECOUPLED - {"lamb"}:  # whose trust ratio scales the decay too
            np.testing.assert_allclose(
                update["kernel"], -0.1 * 0.5 * PARAMS["kernel"], rtol=1e-5, err_msg=name
            )


def test_b2_and_eps_are_refused_where_a_rule_has_none():
    for settings in ({"b2": 0.9}, {"eps": 1e-3}):
        (name,) = settings
        with pytest.raises(ValueError, match=rf"{name}: got .* with name=sgd, expected none"):
            make_optimizer(OptimizerConfig("sgd", **settings), 10)
    with pytest.raises(ValueError, match="eps: got 1e-06 with name=lion"):
        make_rule("lion", OptimizerConfig(eps=1e-6), 10)


def test_the_name_custom_is_no_rule():
    with pytest.raises(
        ValueError, match=r"--config.optimizer.name: got custom, but the experiment has no optimizer"
    ):
        make_optimizer(OptimizerConfig("custom"), 10)
    with pytest.raises(ValueError, match="name: got 'custom', expected \"sgd\""):
        make_rule("custom", OptimizerConfig(), 10)


def test_only_matrices_are_orthogonalized_by_muon():
    params = {
        "cell": {"recurrent_kernel": jnp.ones((3, 6)), "bias": jnp.ones((2, 6))},
        "conv": {"kernel": jnp.ones((3, 2, 2))},
        "token_embedding": jnp.ones((5, 2)),
        "w": jnp.ones((2, 2)),
    }
    state = jax.eval_shape(make_optimizer(OptimizerConfig("muon"), 10).init, params)
    ((_, muon),) = optax.tree.get_all_with_path(state, "MuonState")
    assert [leaf.shape for leaf in jax.tree.leaves(muon.mu)] == [(3, 6), (2, 2)]


def test_a_plateau_lowers_the_rate_when_the_mean_loss_of_a_window_stops_falling():
    """Compared with a loop in Python: windows of 2 updates, 2 windows of patience, factor 1/2."""
    losses = [4, 4, 2, 2, 2, 3, 2, 2, 1, 1, 5, 5, 5, 5, 5, 5, 5, 5]
    config = OptimizerConfig("sgd", 0.5, "plateau", plateau_window=2, plateau_patience=2, plateau_factor=0.5)
    expected, scale, best, bad = [], 1.0, np.inf, 0
    for step, loss in enumerate(losses):
        if step % 2:
            mean = (loss + losses[step - 1]) / 2
            best, bad = (mean, 0) if mean < best * (1 - 1e-4) else (best, bad + 1)
            if bad == 2:
                scale, bad = scale / 2, 0
        expected.append(0.5 * scale)
    assert len(set(expected)) == 4

    optimizers = make_optimizer(config, 100), make_rule("sgd", config, 100)

    def step(states, loss):
        results = [
            made.update(PARAMS, state, PARAMS, value=loss)
            for made, state in zip(optimizers, states, strict=True)
        ]
        states = [state for _, state in results]
        rates = [used_rates(config, 100)(states[0]), shown_rates(states[1])]
        return states, ([updates["bias"][0] / PARAMS["bias"][0] for updates, _ in results], rates)

    _, (moved, rates) = jax.lax.scan(step, [made.init(PARAMS) for made in optimizers], jnp.float32(losses))
    for values in (*(-np.array(moved)), *(rate["learning_rate"] for rate in rates)):
        np.testing.assert_allclose(values, expected, rtol=1e-6)
