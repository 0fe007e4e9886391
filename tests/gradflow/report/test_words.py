"""The words of a report say what was measured."""

import math
import re

import numpy as np
import pytest

from dlcore.gradflow.report.words import changes, verdict
from tests.helpers.flows import flow


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (
            flow(),
            "^encoder/cell [(]2 rows of 200 steps[)]: gradients shrink[.] After 100 steps, a small ",
        ),
        (flow(), "After 100 steps, a small change of the state has 4.5e-05 times its size[.]"),
        (
            flow(),
            "gain itself is halved at lag 7[.] The line .* halves every 6.93 steps [(]gain half-life[)][.] ",
        ),
        (
            flow(),
            "exponent is -0.2 nats a step, which means an asymptotic half-life, that of many steps, of 3.47 steps[.] ",
        ),
        (
            flow(),
            "The norms of the gradient by lag, .* parts may cancel, reach 90 % of their sum at lag 22[.]$",
        ),
        (flow(rate=0.5), "gradients grow[.] .* 5.2e[+]21 times its size"),
        (flow(rate=0.5), "size[.] The largest Lyapunov exponent is [+]1 nats a step, which means growth[.]"),
        (flow(rate=0.0), "encoder/cell .*: gradients keep their size within a factor of 1 over 200 steps"),
        (flow(rate=-60.0), "a small change of the state has 1.7e-2606 times its size"),
        (flow(rate=math.log(9.96e-4) / 100), "a small change of the state has 1e-03 times its size"),
        (flow(steps=1), "After 1 step, a small"),
        (flow(steps=20), "gradients shrink[.] After 20 steps, .* 1.4e-01 times"),
        (flow(row_exponents=np.array([-0.3, 0.1, -0.2])), "[(]-0.3 to [+]0.1 in 3 rows, above 0 in 1[)]"),
        (
            flow(rate=-0.003),
            "halves every 231 steps [(]gain half-life[)], which is beyond the 200 measured[.] The largest",
        ),
        (
            flow(rows=np.where(np.arange(201) <= 50, 8, np.where(np.arange(201) <= 60, 5, 4))),
            "fewer than 5 at lags above 60[)]: .* After 60 steps, .* 2.5e-03 times its size in the 5 of 8 rows ",
        ),
        (
            flow(lengths=np.array([7, 200]), reverse=True),
            "^encoder/cell [(]reads each row from its end; 2 rows of 7 to 200 steps[)]: gradients shrink",
        ),
        (flow(lengths=np.array([200])), "^encoder/cell [(]1 row of 200 steps[)]"),
        (
            flow(rate=-0.1, steps=30, exponents=np.array([0.05])),
            "exponent is [+]0.05 nats a step[.] The exponent says growth and the gain says decay, because 30 ",
        ),
        (
            flow(rate=0.1, steps=30, exponents=np.array([-0.05])),
            "The gain says growth and the exponent says decay, because 30 steps are too few",
        ),
        (
            flow(rate=0.0, gain_halved_at=3, log_gain=-np.minimum(np.arange(201), 3.0)),
            "neither shrink nor grow steadily over 200 steps[.] .*[.] The gain itself is halved at lag 3[.]",
        ),
        (
            flow(row_exponents=np.array([-0.3, np.nan, -0.1])),
            "is -0.2 nats a step [(]-0.3 to -0.1 in 2 rows[)], which means an asymptotic half-life",
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
        (
            flow(log_by_lag=np.full(5, -np.inf), covering_lag=0),
            "No gradient reaches parameters that all steps ",
        ),
        (
            flow(rows=np.where(np.arange(201) < 1, 2, 0), rate=np.nan),
            "fewer than 2 at lags above 0[)]: there are too few lags to say how gradients change[.] The largest",
        ),
        (flow(steps=0, rate=np.nan, covering_lag=0), "2 rows of 0 steps[)]: there are too few lags"),
        (flow(name="model.py:7#2", source="model.py:7"), "^model.py:7#2, a scan [(]2 rows of 200 steps[)]: "),
        (flow(name="RNN_0", source="model.py:7"), "^RNN_0, a scan at model.py:7 [(]2 rows"),
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


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (-0.2, -0.1, "shrink more slowly"),
        (-0.1, -0.2, "shrink faster"),
        (-0.1, -0.102, "hardly changed their pace"),
        (0.1, 0.2, "grow faster"),
        (0.2, 0.1, "grow more slowly"),
        (-0.1, 0.1, "shrank and now grow"),
        (0.1, -0.1, "grew and now shrink"),
        (math.nan, -0.1, "cannot be compared"),
    ],
)
def test_two_states_are_compared_in_words(before, after, words):
    text = changes(flow(rate=before), flow(rate=after, covering_lag=30))
    assert text.startswith(f"encoder/cell: gradients {words}")
    assert text.endswith("The covering lag was 22 and is 30.")


def test_a_line_that_is_not_near_the_gain_says_why():
    """A row of 200 steps hardly decays, and rows of 20 steps decay fast."""
    ragged = {"lengths": np.array([20] * 7 + [200]), "rows": np.where(np.arange(201) <= 20, 8, 1)}
    assert "This line is not near the gain: it compares" in verdict(
        flow(log_gain=-0.5 * np.arange(201), **ragged)
    )
    assert "This line" not in verdict(flow(**ragged))


def test_what_did_not_change_stayed():
    assert "The lag at which the gain is halved stayed at 7." in changes(flow(), flow())


def test_a_gain_that_is_never_halved_has_no_lag():
    assert "is halved was 7 and is none." in changes(flow(rate=-0.1), flow(rate=0.01))
