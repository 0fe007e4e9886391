"""The best checkpoint is the newest of those with the best evaluation; NaN and no evaluation are never the best."""

import json

import pytest

from dlcore.training.checkpoints.ranking import NEVER_BEST, Ranking, check_whole
from tests.helpers.checkpoints import fake_checkpoint, flip_bit


def evaluated(run, step, **metrics):
    folder = fake_checkpoint(run, step)
    (folder / "metrics").mkdir()
    (folder / "metrics" / "metrics").write_text(json.dumps(metrics))
    return folder


def test_a_better_evaluation_ranks_higher():
    assert Ranking("score").rank({"score": 0.9}) > Ranking("score").rank({"score": 0.5})
    assert Ranking("loss", lower_is_better=True).rank({"loss": 0.1}) > Ranking("loss", True).rank(
        {"loss": 0.5}
    )
    for ranking in (Ranking("score"), Ranking("score", lower_is_better=True)):
        assert ranking.rank({"score": float("nan")}) == ranking.rank({}) == NEVER_BEST


@pytest.mark.parametrize(("lower_is_better", "best", "rank"), [(False, 4, 0.9), (True, 3, -0.1)])
def test_the_newest_of_the_best_checkpoints_is_found(tmp_path, lower_is_better, best, rank):
    for step, score in enumerate([0.5, 0.9, 0.1, 0.1, 0.9, float("nan")]):
        evaluated(tmp_path, step, score=score)
    evaluated(tmp_path, 6)
    ranking = Ranking("score", lower_is_better)
    assert ranking.best_step(tmp_path / "checkpoints") == best
    assert ranking.best_rank(tmp_path / "checkpoints") == rank


def test_without_an_evaluation_there_is_no_best(tmp_path):
    evaluated(tmp_path, 1)
    for folder in (tmp_path / "checkpoints", tmp_path / "none"):
        assert Ranking("score").best_step(folder) is None
        assert Ranking("score").best_rank(folder) == NEVER_BEST


def test_damage_is_named(tmp_path):
    folder = evaluated(tmp_path, 1, score=0.5)
    check_whole(folder)
    flip_bit(folder)
    (folder / "metrics" / "metrics").write_text("{")
    with pytest.raises(ValueError, match=r"checkpoints/1: damaged \(.*\); choose another checkpoint"):
        Ranking("score").best_step(tmp_path / "checkpoints")
