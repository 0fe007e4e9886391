"""The video experiment learns with every reader and kind of label, and its figures show its predictions."""

import jax
import numpy as np
import pytest

from dlcore.training.contract import check_model
from experiments import video
from tests.helpers.experiment_runs import draw_untrained, make_config, train_experiment

SMALL = {"filters": (2, 3), "features": 4, "test_clips": 20}


@pytest.mark.parametrize("labels", ["clip", "frames"])
@pytest.mark.parametrize("reader", ["lstm", "conv_lstm", "mean", "frame"])
def test_every_reader_fits_both_kinds_of_labels(reader, labels):
    check_model(video.experiment(make_config(video, reader=reader, labels=labels, **SMALL)))


def test_clips_of_larger_digits_fit_too():
    check_model(video.experiment(make_config(video, data__name="mnist5k", **SMALL)))


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["clip", "frames"])
def test_the_figures_show_the_predictions(labels):
    drawn, metrics = draw_untrained(video, labels=labels, train__eval_batch_size=20, **SMALL)
    assert set(drawn) == {"film", "accuracy_over_time"}
    if labels == "frames":
        title = drawn["accuracy_over_time"].axes[0].get_title()
        correct, _, total, _ = title.split()
        assert int(correct) / int(total) == pytest.approx(metrics["accuracy"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["lstm", "mean", "frame"])
def test_a_frame_is_read_with_the_frames_before_it_only(reader):
    """Later frames, and what stands in the padding, do not change a frame's logits."""
    config = make_config(video, reader=reader, **SMALL)
    model, clips = video.Model(config, 10), np.random.default_rng(0).random((2, 5, 16, 16, 1), np.float32)

    @jax.jit
    def logits(clips, lengths):
        variables = model.init(jax.random.key(0), clips, lengths, train=False)
        return model.apply(variables, clips, lengths, train=False)

    whole = logits(clips, np.array([5, 4]))
    later = clips.copy()
    later[:, 3:] = np.nan
    np.testing.assert_array_equal(logits(later, np.array([3, 3]))[:, :3], whole[:, :3])


@pytest.mark.slow
def test_the_accuracy_of_clips_counts_their_last_frames():
    logits = np.zeros((2, 3, 10), np.float32)
    logits[0, 1, 7] = logits[1, 2, 4] = 9
    batch = {"labels": np.array([7, 4]), "lengths": np.array([2, 3])}
    _, metrics = video.clip_loss(jax.numpy.asarray(logits), jax.tree.map(jax.numpy.asarray, batch))
    assert float(metrics["accuracy"].value()) == 1
    assert float(metrics["loss"].value()) > 1  # the loss counts the frames before the last ones, too


@pytest.mark.slow
def test_a_short_run_learns(tmp_path):
    options = {
        "filters": (8, 16),
        "features": 64,
        "hidden": 0.0,
        "test_clips": 50,
        "train__steps": 100,
        "train__batch_size": 32,
    }
    _, trained = train_experiment(video, tmp_path, labels="frames", **options)
    assert trained.evaluation["accuracy"] > 0.6  # always still: 0.3
