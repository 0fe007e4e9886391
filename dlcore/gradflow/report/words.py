"""The words of a report: what the measured numbers mean, for a reader who does not know the terms."""

import math
from collections.abc import Sequence

from dlcore.gradflow.models.flow import Flow

LEVEL = 1e-4  # nats a step; a gain that changes by less keeps its size
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
    "steps later.",
    "gain_half_life": "Number of steps after which half of the gain is left: ln 2 / -rate; inf if the gain does not "
    "fall.",
    "exponent_1": "The largest Lyapunov exponent in nats a step: the mean rate of growth in the direction that grows "
    "fastest, in the first row of the batch. Below 0 gradients vanish, above 0 they explode.",
    "half_life": "Number of steps after which half of a gradient is left by this exponent: ln 2 / -exponent_1; inf "
    "if the exponent is 0 or more.",
    "covering_lag": "The smallest lag within which 90 % of the summed gradient norms by lag lie: how far back the "
    "model learns.",
    "lost_signal": "Share of the rows in which no gradient reaches the first step at all: it is exactly 0.",
    "first_nonfinite": "The first time step at which the state of some row is not finite; -1 if there is none.",
}

CAPTIONS = {
    "decay": "Gain by lag: the share of a small random change of the state that is left after this many steps. The "
    "slope of the dashed line is the rate. The triangle marks the gain half-life.",
    "by_lag": "Gradient by lag: how much the parameters learn over which distance in time.",
    "signal": "Backward signal: how much the loss depends on the state after each time step, directly and through "
    "all later steps.",
    "lyapunov_exponents": "Lyapunov exponents: the mean rates of growth in the directions of the state, the largest "
    "first, in the first row of the batch. In directions above 0 gradients explode.",
    "double_sum": "Double sum. Left: how much the loss at step t teaches through the use of the parameters in step "
    "k. Right: the same, summed over all pairs of steps with the same distance t - k.",
    "gates": "Gates: each gate's mean by unit and time step, the share of values that are saturated, and half-lives. "
    "The dots are the half-lives that each unit's gate alone would give; the line is the half-life of the gradient.",
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
    lag = min(FAR, len(flow.log_gain) - 1)
    steps = "1 step" if lag == 1 else f"{lag} steps"
    sentences = [
        f"{flow.name}: {_pace(flow.rate)}",
        f"After {steps}, a small change of the state has {_power(flow.log_gain[lag])} times its size",
        *_half_lives(flow),
        f"90 % of what the parameters learn is over lags up to {flow.covering_lag}",
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


def _pace(rate: float) -> str:
    if math.isnan(rate):
        return "there are too few lags to say how gradients change"
    if abs(rate) < LEVEL:
        return "gradients keep their size"
    change = "shrink" if rate < 0 else "grow"
    return f"gradients {change} by a factor of 10 every {math.log(10) / abs(rate):.3g} steps"


def _half_lives(flow: Flow) -> list[str]:
    """Both half-lives, each with its name; nothing about one that is not known."""
    sentences = []
    if math.isfinite(flow.gain_half_life):
        sentences.append(f"The gain half-life is {flow.gain_half_life:.3g} steps")
    exponent = flow.exponents[0]
    if math.isfinite(exponent):
        decay = "no decay" if math.isinf(flow.half_life) else f"a half-life of {flow.half_life:.3g} steps"
        sentences.append(f"The largest Lyapunov exponent is {exponent:+.3g} nats a step, which means {decay}")
    return sentences


def _power(log: float) -> str:
    """A number in words from its natural logarithm, also if it is beyond the range of floats.

    >>> _power(math.log(2.5e-3)), _power(-math.inf), _power(-2000 * math.log(10))
    ('2.5e-03', '0', '1e-2000')
    """
    if math.isinf(log) or math.isnan(log):
        return "0" if log == -math.inf else str(log)
    exponent = math.floor(log / math.log(10) + 1e-9)
    mantissa = math.exp(log - exponent * math.log(10))
    return f"{mantissa:.2g}e{exponent:+03d}"
