"""The words of a report say what was measured."""

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
        (flow(), "The gain half-life is 6.93 steps[.] The largest Lyapunov exponent is -0.2 nats a step, "),
        (flow(), "which means a half-life of 3.47 steps[.] 90 % .* over lags up to 22[.]$"),
        (flow(rate=0.5), "grow by a factor of 10 every 4.61 steps[.] .* 5.2e[+]21 times its size"),
        (flow(rate=0.5), "size[.] The largest Lyapunov exponent is [+]1 nats a step, which means no decay"),
        (flow(rate=0.0), "encoder/cell: gradients keep their size"),
        (flow(rate=-60.0), "a small change of the state has 1.7e-2606 times its size"),
        (flow(steps=1), "After 1 step, a small"),
        (
            flow(lost_signal=0.25),
            "In 25% of the rows no gradient at all reaches the first step [(]it is exactly 0[)]",
        ),
        (flow(first_nonfinite=17), "In some row the state is not finite from step 17 on"),
        (flow(rate=np.nan, exponents=np.array([np.nan])), "there are too few lags .*size[.] 90 %"),
    ],
)
def test_the_verdict_in_words(measured, words):
    assert re.search(words, verdict(measured))
