"""A callback does nothing until a subclass says otherwise, and a stop has a reason."""

from pathlib import Path

import pytest

from dlcore.training.callbacks.callback import Callback, Start, Stop
from dlcore.training.config import Config


def test_a_callback_does_nothing():
    callback = Callback()
    callback.on_start(Start(Path("run"), 0, Config()))
    callback.on_row(1, {"train/loss": 1.0}, {})
    callback.on_evaluation(1, {"loss": 1.0})
    callback.on_checkpoint(1, Path("run/checkpoints/1"))
    callback.on_end(None)
    assert callback.state() == {}
    callback.restore({})


@pytest.mark.parametrize("reason", ["", None, 3])
def test_a_stop_without_words_is_refused(reason):
    with pytest.raises(ValueError, match=r"reason: got .*, expected why the run stops, in words"):
        Stop(reason)
