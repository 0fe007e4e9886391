"""What is saved is what was, though the state is donated while it is written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.train.checkpoints.manager import Checkpoints
from dlcore.train.config import CheckpointConfig
from dlcore.train.state import TrainState


def state_of(value, size=4):
    kernel = jnp.full((size, size), value, jnp.float32)
    step, bad_step = jnp.asarray(int(value), jnp.int32), jnp.asarray(-1, jnp.int32)
    return TrainState(step, {"kernel": kernel}, {}, (kernel + 1,), {}, average=None, bad_step=bad_step)


def test_a_state_may_be_donated_at_once(tmp_path):
    advance = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    size = 2000  # large enough for the write to be under way
    with Checkpoints(tmp_path, CheckpointConfig(keep=10), "accuracy") as checkpoints:
        state = state_of(0.0, size)
        for step in range(4):
            checkpoints.save(step, state, None)
            for _ in range(5):
                state = advance(state)
    with Checkpoints(tmp_path, CheckpointConfig(keep=10), "accuracy") as checkpoints:
        for step in range(4):
            restored = checkpoints.restore(state_of(0.0, size), step)
            assert (np.asarray(restored.params["kernel"]) == 5 * step).all()
            assert (np.asarray(restored.opt_state[0]) == 5 * step + 1).all()


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_newest_and_the_best_are_kept(tmp_path, lower_is_better):
    scores = [0.5, 0.9, 0.1, 0.6, 0.4]
    with Checkpoints(tmp_path, CheckpointConfig(keep=2), "score", lower_is_better) as checkpoints:
        for step, score in enumerate(scores):
            checkpoints.save(step, state_of(step), {"score": score})
    with Checkpoints(tmp_path, CheckpointConfig(keep=2), "score", lower_is_better) as checkpoints:
        best = 2 if lower_is_better else 1
        assert sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()) == [best, 3, 4]
        assert checkpoints.step("best") == best
        assert checkpoints.step("newest") == checkpoints.newest == 4
        assert checkpoints.step("3") == 3
        with pytest.raises(FileNotFoundError, match=r"--checkpoint: got 0, but .* has steps"):
            checkpoints.step(0)
        with pytest.raises(ValueError, match="--checkpoint: got 'last', expected newest, best or a step"):
            checkpoints.step("last")


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_nan_is_never_the_best(tmp_path, lower_is_better):
    with Checkpoints(tmp_path, CheckpointConfig(keep=1), "score", lower_is_better) as checkpoints:
        for step, score in enumerate([0.5, float("nan"), float("nan")]):
            checkpoints.save(step, state_of(step), {"score": score})
    with Checkpoints(tmp_path, CheckpointConfig(keep=1), "score", lower_is_better) as checkpoints:
        assert checkpoints.step("best") == 0
        assert checkpoints.step("newest") == 2


def test_without_an_evaluation_there_is_no_best(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig(), "score") as checkpoints:
        checkpoints.save(1, state_of(1), None)
    with (
        Checkpoints(tmp_path, CheckpointConfig(), "score") as checkpoints,
        pytest.raises(FileNotFoundError, match=r"--checkpoint: got best, but .* has steps 1"),
    ):
        checkpoints.step("best")


def test_a_checkpoint_of_something_else_is_named(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig(), "score") as checkpoints:
        checkpoints.save(1, state_of(1), None)
    with Checkpoints(tmp_path, CheckpointConfig(), "score") as checkpoints:
        other = state_of(1).replace(params={"other": jnp.zeros(3)})
        with pytest.raises(
            ValueError, match=f"{tmp_path}/1: params/other: checkpoint has none, this experiment"
        ):
            checkpoints.restore(other, 1)


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig(), "score") as checkpoints:
        assert checkpoints.newest is None
        for which in ("newest", "best", 3):
            with pytest.raises(FileNotFoundError, match="no checkpoint; train first"):
                checkpoints.step(which)
