"""The words of a report: what the measured numbers mean, for a reader who does not know the terms."""

import math
from collections.abc import Sequence

import numpy as np

from dlcore.gradflow.measures.rows import FEW_ROWS, few_rows
from dlcore.gradflow.models.flow import Flow

LEVEL = 0.1  # nats; a gain that the rate changes by less than this over all measured lags keeps its size
FAR = 100  # the verdict speaks of this lag if enough rows are that long
SAME = 0.05  # rates that differ by less than this share count as equal

INTRODUCTION = (
    "A recurrent network makes its state s_t from the state s_(t-1), by the same step at every time. A gradient "
    "goes the same way back. It shrinks or grows at each step, and after many steps it may have vanished or "
    "exploded. This page shows what happens along each recurrence of the model: a cell over a sequence, or another "
    "scan. A lag is a distance in time, counted in steps. Rates are in nats a step: -0.1 means that each step "
    "leaves exp(-0.1), about 90 %. Three numbers say how fast a gradient shrinks: the lag at which the gain itself "
    "is halved is what was measured; the gain half-life follows from a line through all measured lags; the "
    "asymptotic half-life is what would hold over many more steps."
)


def verdict(flow: Flow) -> str:
    """What was measured along one recurrence, as a string of several sentences."""
    sentences = [
        f"{_called(flow)} ({_measured_on(flow)}): {_pace(flow)}",
        *_gain(flow),
        *_half_lives(flow),
        *_exponent(flow),
        _reach(flow),
    ]
    if flow.lost_signal:
        sentences.append(
            f"In {flow.lost_signal:.0%} of the rows no gradient at all reaches the first step (it is exactly 0)"
        )
    if flow.first_nonfinite >= 0:
        sentences.append(f"In some row the state is not finite from step {flow.first_nonfinite} on")
    return ". ".join(sentences) + "."


def changes(first: Flow, last: Flow) -> str:
    """How one recurrence changed between two states of training, as a string of several sentences."""
    numbers = [
        f"{name} {_change(_number(before), _number(after))}{unit}"
        for name, unit, before, after in (
            ("The lag at which the gain is halved", "", first.gain_halved_at, last.gain_halved_at),
            ("The gain half-life", " steps", first.gain_half_life, last.gain_half_life),
            ("The largest Lyapunov exponent", " nats a step", first.exponents[0], last.exponents[0]),
            ("The covering lag", "", first.covering_lag, last.covering_lag),
        )
    ]
    return ". ".join([f"{last.name}: gradients {_pace_change(first.rate, last.rate)}", *numbers]) + "."


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


def rows_in_words(flow: Flow) -> str:
    """The number of rows and of their steps, such as ``"16 rows of 7 to 23 steps"``."""
    rows, lengths = len(flow.lengths), flow.lengths
    count = "1 row" if rows == 1 else f"{rows} rows"
    if not rows or lengths.min() == lengths.max():
        return f"{count} of {_steps(_lags(flow))}"
    return f"{count} of {lengths.min()} to {_steps(lengths.max())}"


def _called(flow: Flow) -> str:
    """The name of a cell; that of a scan with its source line, unless this is the name."""
    if not flow.source:
        return flow.name
    return (
        f"{flow.name}, a scan"
        if flow.name.startswith(flow.source)
        else f"{flow.name}, a scan at {flow.source}"
    )


def _measured_on(flow: Flow) -> str:
    order = "reads each row from its end; " if flow.reverse else ""
    few = np.flatnonzero(few_rows(flow.rows))
    gray = f", fewer than {min(FEW_ROWS, flow.rows[0])} at lags above {few[0] - 1}" if len(few) else ""
    return f"{order}{rows_in_words(flow)}{gray}"


def _lags(flow: Flow) -> int:
    """T, the largest lag of the gain."""
    return len(flow.log_gain) - 1


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _number(value: float) -> str:
    return "none" if value == -1 else f"{value:.3g}"


def _change(before: str, after: str) -> str:
    return f"stayed at {after}" if before == after else f"was {before} and is {after}"


def _is_level(flow: Flow, rate: float) -> bool:
    """True if this rate hardly changes a gradient over all measured lags."""
    return abs(rate) * _lags(flow) < LEVEL


def _pace(flow: Flow) -> str:
    if math.isnan(flow.rate):
        return "there are too few lags to say how gradients change"
    end = flow.log_gain[_far_lag(flow)]
    if abs(end) >= LEVEL and not _is_level(flow, flow.rate):
        return "gradients shrink" if end < 0 else "gradients grow"
    largest = math.exp(np.abs(flow.log_gain[np.isfinite(flow.log_gain)]).max())
    if largest < 2:
        return f"gradients keep their size within a factor of {largest:.3g} over {_steps(_lags(flow))}"
    return f"gradients change, but neither shrink nor grow steadily over {_steps(_lags(flow))}"


def _pace_change(before: float, after: float) -> str:
    if math.isnan(before) or math.isnan(after):
        return "cannot be compared, as there are too few lags"
    if abs(after - before) <= SAME * max(abs(before), abs(after)):
        return "hardly changed their pace"
    if max(before, after) <= 0:
        return "shrink more slowly" if after > before else "shrink faster"
    if min(before, after) >= 0:
        return "grow faster" if after > before else "grow more slowly"
    return "shrank and now grow" if after > before else "grew and now shrink"


def _gain(flow: Flow) -> list[str]:
    """How large the gain is at the last lag that enough rows have; nothing if that is lag 0."""
    lag = _far_lag(flow)
    if not lag:
        return []
    size = f"After {_steps(lag)}, a small change of the state has {_power(flow.log_gain[lag])} times its size"
    there, rows = flow.rows[lag], flow.rows[0]
    return [size if there == rows else f"{size} in the {there} of {rows} rows that are so long"]


def _far_lag(flow: Flow) -> int:
    """The last lag that enough rows have, but at most `FAR`."""
    return min(FAR, int(np.flatnonzero(~few_rows(flow.rows))[-1]))


def _half_lives(flow: Flow) -> list[str]:
    """The lag at which the gain is halved, and the gain half-life; nothing about a gain that keeps its size."""
    if math.isnan(flow.rate) or (_is_level(flow, flow.rate) and flow.gain_halved_at < 0):
        return []
    sentences = []
    if flow.gain_halved_at >= 0:
        sentences.append(f"The gain itself is halved at lag {flow.gain_halved_at}")
    if math.isfinite(flow.gain_half_life) and not _is_level(flow, flow.rate):
        beyond = f", which is beyond the {_lags(flow)} measured" if flow.gain_half_life > _lags(flow) else ""
        sentences.append(
            f"The line that is fitted to it halves every {flow.gain_half_life:.3g} steps (gain half-life){beyond}"
        )
        if _leaves_the_curve(flow):
            sentences.append(
                "This line is not near the gain: it compares the same rows from lag to lag, and here the longer rows "
                "behave otherwise than the shorter ones"
            )
    return sentences


def _leaves_the_curve(flow: Flow) -> bool:
    """True if rows differ in length and the line is off by a factor of more than 2 at the last lag with enough rows."""
    lag = _far_lag(flow)
    ragged = bool(len(flow.lengths)) and flow.lengths.min() < flow.lengths.max()
    return ragged and abs(flow.rate * lag - flow.log_gain[lag]) > math.log(2)


def _exponent(flow: Flow) -> list[str]:
    """What the largest Lyapunov exponent says, and why it may contradict the gain."""
    exponent, rows = flow.exponents[0], flow.row_exponents[~np.isnan(flow.row_exponents)]
    if not len(rows):
        return ["The largest Lyapunov exponent is not known, as no row has a step between finite states"]
    if exponent == -math.inf:
        return [
            "The largest Lyapunov exponent is -inf: in at least half of the rows a step loses every direction"
        ]
    spread = (
        f" ({rows.min():+.3g} to {rows.max():+.3g} in {len(rows)} rows{_above_0(rows)})"
        if len(rows) > 1
        else ""
    )
    found = f"The largest Lyapunov exponent is {exponent:+.3g} nats a step{spread}"
    if _disagrees(flow):
        return [found, _reason(flow)]
    if _is_level(flow, exponent):
        meaning = f"hardly any change over {_steps(_lags(flow))}"
    else:
        meaning = (
            "growth"
            if exponent > 0
            else f"an asymptotic half-life, that of many steps, of {flow.half_life:.3g} steps"
        )
    return [f"{found}, which means {meaning}"]


def _above_0(rows: np.ndarray) -> str:
    """In how many rows the exponent is above 0, if it is so in some but not in all."""
    above = int((rows > 0).sum())
    return f", above 0 in {above}" if 0 < above < len(rows) else ""


def _disagrees(flow: Flow) -> bool:
    """True if one of gain and exponent says growth and the other decay."""
    exponent, end = flow.exponents[0], flow.log_gain[_far_lag(flow)]
    if math.isnan(end) or abs(end) < LEVEL or _is_level(flow, exponent):
        return False
    return (end > 0) != (exponent > 0)


def _reason(flow: Flow) -> str:
    growth, decay = ("exponent", "gain") if flow.exponents[0] > 0 else ("gain", "exponent")
    return (
        f"The {growth} says growth and the {decay} says decay, because {_steps(_lags(flow))} are too few for the "
        "exponent: it follows the one direction that grows fastest over the last three quarters of each row, while the "
        "gain averages all directions over all lags. Over these lags the gain is what happens; what happens over many "
        "more steps is not known from this measurement"
    )


def _reach(flow: Flow) -> str:
    if np.isneginf([*flow.log_by_lag, flow.log_longer]).all():
        return "No gradient reaches parameters that all steps share"
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
