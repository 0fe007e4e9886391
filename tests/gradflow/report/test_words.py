"""The words of a report say what was measured."""

import math
import re

import numpy as np
import pytest

from dlcore.gradflow.report.words import verdict
from tests.helpers.flows import flow


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (
            flow(),
            "^encoder/cell: gradients shrink by a factor of 10 every 23 steps[.] After 100 steps, a small ",
        ),
        (flow(), "After 100 steps, a small change of the state has 4.5e-05 times its size[.]"),
        (
            flow(),
            "The gain half-life is 6.93 steps[.] The gain is halved at lag 7[.] The largest ",
        ),
        (
            flow(),
            "exponent is -0.2 nats a step, which means a half-life of 3.47 steps in the long run[.] The norms ",
        ),
        (
            flow(),
            "The norms of the gradient by lag, .* parts may cancel, reach 90 % of their sum at lag 22[.]$",
        ),
        (flow(rate=0.5), "grow by a factor of 10 every 4.61 steps[.] .* 5.2e[+]21 times its size"),
        (flow(rate=0.5), "size[.] The largest Lyapunov exponent is [+]1 nats a step, which means no decay"),
        (flow(rate=0.0), "encoder/cell: gradients keep their size within a factor of 1 over 200 steps"),
        (flow(rate=-60.0), "a small change of the state has 1.7e-2606 times its size"),
        (flow(rate=math.log(9.96e-4) / 100), "a small change of the state has 1e-03 times its size"),
        (flow(steps=1), "After 1 step, a small"),
        (
            flow(rate=-0.003),
            "The gain half-life is 231 steps, which is beyond the 200 measured[.] The largest",
        ),
        (
            flow(rows=np.where(np.arange(201) <= 20, 8, 1)),
            "4.5e-05 times its size in the 1 of 8 rows that are so long",
        ),
        (
            flow(rate=0.0, gain_halved_at=3, log_gain=-np.minimum(np.arange(201), 3.0)),
            "neither shrink nor grow steadily over 200 steps[.] .*[.] The gain is halved at lag 3[.]",
        ),
        (
            flow(row_exponents=np.array([-0.3, np.nan, -0.1])),
            "is -0.2 nats a step [(]-0.3 to -0.1 in 2 rows[)], which means a half-life",
        ),
        (
            flow(exponents=np.array([-np.inf]), row_exponents=np.array([-np.inf, -1])),
            "The largest Lyapunov exponent is -inf: in at least half of the rows a step loses every direction",
        ),
        (
            flow(covering_lag=-1),
            "How far back the parameters learn is not known, as the gradient is not finite",
        ),
        (
            flow(covering_lag=50, log_longer=0.0),
            "90 % of their sum at a lag above 49, the largest that was measured",
        ),
        (
            flow(log_longer=-3.0),
            "90 % of their sum at lag 22 or later, as lags above 49 were measured as one",
        ),
        (
            flow(lost_signal=0.25),
            "In 25% of the rows no gradient at all reaches the first step [(]it is exactly 0[)]",
        ),
        (flow(first_nonfinite=17), "In some row the state is not finite from step 17 on"),
        (
            flow(rate=np.nan, exponents=np.array([np.nan]), row_exponents=np.array([np.nan])),
            "there are too few lags .*size[.] The largest Lyapunov exponent is not known, as no row has a step",
        ),
    ],
)
def test_the_verdict_in_words(measured, words):
    assert re.search(words, verdict(measured))


@pytest.mark.parametrize("rate", [-1.67e-5, 1e-5, -4e-4])
def test_gradients_that_keep_their_size_have_no_half_life(rate):
    """``ln 2 / 1.67e-5`` is 4.16e+04 steps, 200 times as many as were measured."""
    words = verdict(flow(rate=rate, exponents=np.array([rate])))
    assert re.search("gradients keep their size within a factor of 1[.]?[0-9]* over 200 steps", words)
    assert "hardly any change over 200 steps" in words
    assert "half-life" not in words
