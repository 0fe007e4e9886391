"""The words of a report: what the measured numbers mean, for a reader who does not know the terms."""

import math
from collections.abc import Sequence

import numpy as np

from dlcore.gradflow.models.flow import Flow

LEVEL = 0.1  # nats; a gain that the rate changes by less than this over all measured lags keeps its size
FAR = 100  # the verdict speaks of this lag if the sequence is that long

INTRODUCTION = (
    "A recurrent cell makes its state s_t from the state s_(t-1), with the same parameters at every time step. A "
    "gradient goes the same way back. It shrinks or grows at each step, and after many steps it may have vanished or "
    "exploded. This page shows what happens along each recurrence of the model, that is along each cell over a "
    "sequence. A lag is a distance in time, counted in steps. Rates are in nats a step: -0.1 means that each step "
    "leaves exp(-0.1), about 90 %."
)

COLUMNS = {
    "state": "The state of training in which the model was measured.",
    "recurrence": "The path of the cell in the model's parameters.",
    "size": "n, the size of the cell's state.",
    "rate": "Slope of the logarithm of the gain over the lags, in nats a step, fitted by least squares. The gain is "
    "the root-mean-square factor |ds_T / ds_(T-lag)| / √n by which a small random change of the state arrives lag "
    "steps later. Each step from lag to lag compares the same rows.",
    "gain_half_life": "Number of steps in which the fitted line of the gain falls by half: ln 2 / -rate; inf if it "
    "does not fall.",
    "gain_halved_at": "The smallest measured lag at which the gain itself is 1/2 or less; -1 if there is none.",
    "exponent_1": "The largest Lyapunov exponent in nats a step: the mean rate of growth in the direction that grows "
    "fastest, the median over the rows. The first quarter of each row's steps does not count. Below 0 gradients "
    "vanish, above 0 they explode; -inf: a step loses every direction.",
    "half_life": "Number of steps in which a gradient is halved in the long run, by this exponent: ln 2 / -exponent_1; "
    "inf if the exponent is 0 or more. While directions with lower exponents still fade, the gain falls faster.",
    "covering_lag": "The smallest lag up to which the norms of the gradient by lag add up to 90 % of their sum: how "
    "far back the model learns. Norms are added: parts of different lags that cancel in the whole gradient count in "
    "full. "
    "In very long sequences, where not all lags are measured, it is a lower bound; -1 if a norm is not finite.",
    "lost_signal": "Share of the rows in which no gradient reaches the first step at all: it is exactly 0.",
    "first_nonfinite": "The first time step at which the state of some row is not finite; -1 if there is none.",
}

CAPTIONS = {
    "decay": "Gain by lag: the share of a small random change of the state that is left after this many steps, root "
    "mean square over the rows that are so long. The slope of the dashed line is the rate, which compares the same "
    "rows from lag to lag. The triangle marks the gain half-life.",
    "by_lag": "Gradient by lag: how much the parameters learn over which distance in time. Gradients of different lags "
    "can cancel each other; their norms do not show it.",
    "signal": "Backward signal: how much the loss depends on the state after each time step, directly and through "
    "all later steps.",
    "lyapunov_exponents": "Lyapunov exponents: the mean rates of growth in the directions of the state, the largest "
    "first, each the median over the rows. In directions above 0 gradients explode.",
    "double_sum": "Double sum. Left: how much the loss at step t teaches through the use of the parameters in step "
    "k. Right: the same, summed over all pairs of steps with the same distance t - k.",
    "gates": "Gates: each gate's mean by unit and time step, the share of values that are saturated, and half-lives. "
    "The dots are the half-lives that each unit's gate alone would give; the line is the half-life of the gradient in "
    "the long run.",
    "signal_in_training": "Backward signal at each measured state of training.",
    "clipping": "Clipping: the gradient's global norm in training. Each point is a mean over the steps between two "
    "rows of the log.",
}


def caption(name: str) -> str:
    """The caption of a figure of the report, by the figure's name, which may end with an underscore and an index.

    Raises:
        KeyError: there is no figure of this name.

    >>> caption("gates_12") == CAPTIONS["gates"]
    True
    """
    return CAPTIONS[name.rstrip("0123456789").rstrip("_")]


def verdict(flow: Flow) -> str:
    """What was measured along one recurrence, as a string of several sentences."""
    sentences = [
        f"{flow.name}: {_pace(flow)}",
        _gain(flow),
        *_half_lives(flow),
        _exponent(flow),
        _reach(flow),
    ]
    if flow.lost_signal:
        sentences.append(
            f"In {flow.lost_signal:.0%} of the rows no gradient at all reaches the first step (it is exactly 0)"
        )
    if flow.first_nonfinite >= 0:
        sentences.append(f"In some row the state is not finite from step {flow.first_nonfinite} on")
    return ". ".join(sentences) + "."


def clipping_in_words(shares: Sequence[float]) -> list[str]:
    """A list with one sentence about how often gradients were clipped; an empty list without shares.

    Args:
        shares: shares of clipped training steps, 0 to 1, each over an equally long part of the training.

    >>> clipping_in_words([0.25, 0.75])
    ['Clipping was active on 50% of the training steps.']
    """
    if not shares:
        return []
    return [f"Clipping was active on {sum(shares) / len(shares):.0%} of the training steps."]


def _lags(flow: Flow) -> int:
    """T, the largest lag of the gain."""
    return len(flow.log_gain) - 1


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _is_level(flow: Flow, rate: float) -> bool:
    """True if this rate hardly changes a gradient over all measured lags."""
    return abs(rate) * _lags(flow) < LEVEL


def _pace(flow: Flow) -> str:
    if math.isnan(flow.rate):
        return "there are too few lags to say how gradients change"
    if not _is_level(flow, flow.rate):
        change = "shrink" if flow.rate < 0 else "grow"
        return f"gradients {change} by a factor of 10 every {math.log(10) / abs(flow.rate):.3g} steps"
    largest = math.exp(np.abs(flow.log_gain[np.isfinite(flow.log_gain)]).max())
    if largest < 2:
        return f"gradients keep their size within a factor of {largest:.3g} over {_steps(_lags(flow))}"
    return f"gradients change, but neither shrink nor grow steadily over {_steps(_lags(flow))}"


def _gain(flow: Flow) -> str:
    lag = min(FAR, _lags(flow))
    size = f"After {_steps(lag)}, a small change of the state has {_power(flow.log_gain[lag])} times its size"
    there, rows = flow.rows[lag], flow.rows[0]
    return size if there == rows else f"{size} in the {there} of {rows} rows that are so long"


def _half_lives(flow: Flow) -> list[str]:
    """The gain half-life, and the lag at which the gain is halved; nothing about a gain that keeps its size."""
    if math.isnan(flow.rate) or (_is_level(flow, flow.rate) and flow.gain_halved_at < 0):
        return []
    sentences = []
    if math.isfinite(flow.gain_half_life) and not _is_level(flow, flow.rate):
        beyond = f", which is beyond the {_lags(flow)} measured" if flow.gain_half_life > _lags(flow) else ""
        sentences.append(f"The gain half-life is {flow.gain_half_life:.3g} steps{beyond}")
    if flow.gain_halved_at >= 0:
        sentences.append(f"The gain is halved at lag {flow.gain_halved_at}")
    return sentences


def _exponent(flow: Flow) -> str:
    exponent, rows = flow.exponents[0], flow.row_exponents[~np.isnan(flow.row_exponents)]
    if not len(rows):
        return "The largest Lyapunov exponent is not known, as no row has a step between finite states"
    if exponent == -math.inf:
        return (
            "The largest Lyapunov exponent is -inf: in at least half of the rows a step loses every direction"
        )
    if _is_level(flow, exponent):
        decay = f"hardly any change over {_steps(_lags(flow))}"
    else:
        decay = "no decay" if exponent > 0 else f"a half-life of {flow.half_life:.3g} steps in the long run"
    spread = f" ({rows.min():+.3g} to {rows.max():+.3g} in {len(rows)} rows)" if len(rows) > 1 else ""
    return f"The largest Lyapunov exponent is {exponent:+.3g} nats a step{spread}, which means {decay}"


def _reach(flow: Flow) -> str:
    if flow.covering_lag < 0:
        return "How far back the parameters learn is not known, as the gradient is not finite at some lag"
    norms = "The norms of the gradient by lag, which ignore that parts may cancel, reach 90 % of their sum"
    measured = len(flow.log_by_lag) - 1
    if flow.covering_lag > measured:
        return f"{norms} at a lag above {measured}, the largest that was measured"
    later = (
        "" if flow.log_longer == -math.inf else f" or later, as lags above {measured} were measured as one"
    )
    return f"{norms} at lag {flow.covering_lag}{later}"


def _power(log: float) -> str:
    """A number in words from its natural logarithm, also if it is beyond the range of floats.

    >>> _power(math.log(2.5e-3)), _power(math.log(9.96e-4)), _power(-math.inf), _power(-2000 * math.log(10))
    ('2.5e-03', '1e-03', '0', '1e-2000')
    """
    if math.isinf(log) or math.isnan(log):
        return "0" if log == -math.inf else str(log)
    exponent = math.floor(log / math.log(10))
    mantissa, shift = f"{math.exp(log - exponent * math.log(10)):.1e}".split("e")  # 9.96 is 1.0e+01
    return f"{float(mantissa):g}e{exponent + int(shift):+03d}"
