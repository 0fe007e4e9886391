"""Settings that name parameters are checked texts."""

import pytest

from dlcore.config.settings import check, leaves
from dlcore.training.optimizers.config import OptimizerConfig, PathFactor, PathPattern


def test_patterns_and_factors_are_read_from_text():
    by_path = {leaf.path: leaf for leaf in leaves(OptimizerConfig())}
    assert by_path["frozen"].read("^encoder/,embedding") == ("^encoder/", "embedding")
    assert all(isinstance(pattern, PathPattern) for pattern in by_path["frozen"].read("a,b"))
    (rate,) = by_path["rates"].read("a=b/.*=1e-2")
    assert (rate.pattern, rate.factor, rate) == ("a=b/.*", 0.01, "a=b/.*=1e-2")
    for text in ("(", "a,,b"):
        with pytest.raises(ValueError, match="expected comma-separated, each a regular expression"):
            by_path["frozen"].read(text)
    check(OptimizerConfig(frozen=("plain text",), rates=("plain text=2",)))


@pytest.mark.parametrize(
    "text", ["encoder", "=0.1", "encoder=", "encoder=0", "encoder=-1", "a=nan", "a=inf", "(=1", "a=1e-60"]
)
def test_what_is_no_factor_is_refused(text):
    with pytest.raises(ValueError, match=r"rates: got .*, expected a regular expression"):
        PathFactor(text)


def test_what_is_no_pattern_is_refused():
    for text in ("", "("):
        with pytest.raises(ValueError, match=r"pattern: got .*, expected a regular expression"):
            PathPattern(text)
    for make in (PathPattern, PathFactor):
        with pytest.raises(TypeError, match="got 3, expected text"):
            make(3)
