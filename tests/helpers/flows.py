"""A `Flow` that decays at a constant rate."""

import numpy as np

from dlcore.gradflow.models.flow import Flow


def flow(rate=-0.1, steps=200, **fields):
    """Lags of 0 to ``steps``; the gain half-life and the half-life differ by a factor of 2."""
    lags = np.arange(steps + 1)
    half_life = np.log(2) / -rate if rate < 0 else np.inf
    halved_at = np.ceil(half_life)
    values = {
        "name": "encoder/cell", "reverse": False, "size": 4, "lengths": np.full(2, steps),
        "log_gain": rate * lags, "rows": np.full(steps + 1, 2),
        "log_signal": rate * lags[::-1], "log_gradient": rate * lags[:0:-1],
        "log_by_lag": rate * lags[: min(50, steps)],
        "log_longer": -np.inf, "log_triangle": None, "exponents": np.array([2 * rate, 4 * rate]),
        "exponent_range": np.outer([1.5, 0.5], [2 * rate, 4 * rate]),
        "row_exponents": np.array([2 * rate]), "rate": rate, "gain_half_life": half_life,
        "gain_halved_at": int(halved_at) if halved_at <= steps else -1, "half_life": half_life / 2, "covering_lag": 22,
        "lost_signal": 0.0, "first_nonfinite": -1, "gates": {},
    }  # fmt: skip
    return Flow(**(values | fields))


def legend(axes):
    """The texts of an axes' legend."""
    return [text.get_text() for text in axes.get_legend().get_texts()]
