"""Schedules equal their formulas; settings that have no effect or contradict each other are refused."""

import math

import jax
import numpy as np
import pytest

from dlcore.training.optimizers.config import OptimizerConfig
from dlcore.training.optimizers.schedules import follows_length, make_schedule

STEPS, WARMUP, PEAK = 100, 10, 0.5


def one_cycle(step, steps, rise):
    """Smith 2018, as two halves of a cosine."""
    low, end, between = (
        PEAK / 25,
        PEAK / 25e4,
        lambda a, b, part: b + (a - b) * (1 + math.cos(math.pi * part)) / 2,
    )
    return (
        between(low, PEAK, step / rise) if step < rise else between(PEAK, end, (step - rise) / (steps - rise))
    )


def after_warmup(formula):
    return lambda step: PEAK * step / WARMUP if step < WARMUP else PEAK * formula(step)


REFERENCES = {
    "constant": ({}, after_warmup(lambda step: 1)),
    "plateau": ({}, after_warmup(lambda step: 1)),
    "cosine": (
        {"final_fraction": 0.2},
        after_warmup(lambda step: 0.2 + 0.8 * (1 + math.cos(math.pi * (step - 10) / 90)) / 2),
    ),
    "linear": ({"final_fraction": 0.2}, after_warmup(lambda step: 1 - 0.8 * (step - 10) / 90)),
    "inverse_sqrt": ({}, after_warmup(lambda step: math.sqrt(10 / step))),
    "piecewise": (
        {"boundaries": (20, 60), "factors": (0.5, 0.1)},
        after_warmup(lambda step: 1 if step < 20 else 0.5 if step < 60 else 0.05),
    ),
    "one_cycle": ({}, lambda step: one_cycle(step, STEPS, WARMUP)),
}


def test_every_schedule_equals_its_formula():
    schedules = {
        name: make_schedule(
            OptimizerConfig(learning_rate=PEAK, schedule=name, warmup_steps=WARMUP, **settings), STEPS
        )
        for name, (settings, _) in REFERENCES.items()
    }
    counts = np.arange(STEPS + 1)
    rates = jax.jit(lambda: {name: jax.vmap(schedule)(counts) for name, schedule in schedules.items()})()
    for name, (_, reference) in REFERENCES.items():
        expected = [reference(step) for step in range(STEPS + 1)]
        np.testing.assert_allclose(rates[name], expected, rtol=1e-4, atol=1e-7, err_msg=name)


def test_without_settings_cosine_and_linear_end_at_0_and_one_cycle_rises_for_30_percent():
    expected = {
        "cosine": {0: PEAK, 10: 0},
        "linear": {0: PEAK, 10: 0},
        "one_cycle": {0: PEAK / 25, 3: PEAK},
        "inverse_sqrt": {3: PEAK / 2},
    }
    schedules = {
        name: make_schedule(OptimizerConfig(learning_rate=PEAK, schedule=name), 10) for name in expected
    }
    rates = jax.jit(
        lambda: {name: jax.vmap(schedule)(np.arange(11)) for name, schedule in schedules.items()}
    )()
    for name, points in expected.items():
        np.testing.assert_allclose(
            np.asarray(rates[name])[list(points)], list(points.values()), rtol=1e-6, atol=1e-7
        )


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps: got 20, expected at most the run's 10 steps"):
        make_schedule(OptimizerConfig(warmup_steps=20), 10)
    schedule = make_schedule(OptimizerConfig(schedule="cosine", warmup_steps=10), 10)
    assert float(schedule(10)) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"boundaries": (3,)}, "boundaries: got .3,. with schedule=constant, expected piecewise"),
        ({"factors": (0.5,), "schedule": "cosine"}, "factors: got .* with schedule=cosine"),
        ({"schedule": "piecewise"}, r"boundaries: got \(\) with factors=\(\), expected at least one"),
        ({"schedule": "piecewise", "boundaries": (3, 4), "factors": (0.1,)}, "and a factor for each"),
        (
            {"schedule": "piecewise", "boundaries": (4, 4), "factors": (1, 1)},
            "each later than the one before",
        ),
        (
            {"schedule": "piecewise", "warmup_steps": 5, "boundaries": (5,), "factors": (0.1,)},
            "expected steps after the 5 of the warm-up",
        ),
        (
            {"schedule": "one_cycle", "warmup_steps": 10},
            "got 10 with schedule=one_cycle, expected less than 10",
        ),
    ],
)
def test_settings_of_a_schedule_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_schedule(OptimizerConfig(**settings), 10)


def test_only_some_schedules_follow_the_length_of_the_run():
    """Those are the ones whose first steps differ between runs of two lengths."""
    configs = {name: OptimizerConfig(schedule=name, **settings) for name, (settings, _) in REFERENCES.items()}
    rates = jax.jit(
        lambda: {
            name: [jax.vmap(make_schedule(config, steps))(np.array([1, 7, 50])) for steps in (100, 200)]
            for name, config in configs.items()
        }
    )()
    for name, (short, long) in rates.items():
        assert follows_length(configs[name]) == (short != long).any(), name
    assert follows_length(OptimizerConfig("custom"))
