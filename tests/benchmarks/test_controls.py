"""The controls: labels of other examples keep their distribution, and a model learns nothing from them."""

import numpy as np
import pytest

import dlcore as dl
from benchmarks import controls
from benchmarks.controls import ShuffledLabels, majority, with_shuffled_labels
from tests.helpers.experiment_runs import make_config


def data(arrays, batch_size=4):
    return dl.data.ShuffledBatches(arrays, batch_size, seed=0)


def test_a_row_gets_all_labels_of_another_row():
    """Each row's labels, their number and its targets tell which row they are of."""
    number = np.arange(64, dtype=np.int32)
    arrays = {
        "inputs": np.tile(number[:, None], 3),
        "labels": np.stack([number, number], 1),
        "label_lengths": number,
        "targets": number.astype(np.float32),
    }
    shuffled, moved = ShuffledLabels(data(arrays)), []
    for step in range(50):
        batch = shuffled[step]
        assert (batch["labels"] == batch["label_lengths"][:, None]).all()
        assert (batch["targets"] == batch["label_lengths"]).all()
        np.testing.assert_array_equal(batch["inputs"], data(arrays)[step]["inputs"])
        moved += (batch["labels"][:, 0] == batch["inputs"][:, 0]).tolist()
        np.testing.assert_array_equal(batch["labels"], shuffled[step]["labels"])
    assert np.mean(moved) < 0.1
    assert (shuffled.batch_size, shuffled.examples) == (4, 64)
    assert not hasattr(shuffled, "rows")


def test_labels_of_steps_come_from_valid_steps_and_padding_stays():
    lengths = np.array([1, 3, 2, 3] * 8, np.int32)
    classes = np.random.default_rng(0).integers(1, 3, (32, 3), np.int32)
    labels = np.where(np.arange(3) < lengths[:, None], classes, 0)
    arrays = {"inputs": labels[..., None].astype(np.float32), "lengths": lengths, "labels": labels}
    same = []
    for step in range(100):
        batch = ShuffledLabels(data(arrays))[step]
        valid = np.arange(3) < batch["lengths"][:, None]
        assert not batch["labels"][~valid].any()
        assert set(batch["labels"][valid].tolist()) <= {1, 2}
        same += (batch["labels"] == batch["inputs"][..., 0])[valid].tolist()
    assert np.mean(same) == pytest.approx(0.5, abs=0.06)


def test_the_majority_counts_valid_places_of_rows_that_count():
    labels = np.array([[1, 1, 0], [2, 0, 0], [2, 2, 2]], np.int32)
    batch = {"inputs": labels, "labels": labels, "lengths": np.array([2, 1, 3]), "mask": np.array([1, 1, 0])}
    assert majority([batch]) == pytest.approx(2 / 3)
    voices = {**batch, "labels": np.stack([labels, labels], axis=2)}
    assert majority([voices]) == pytest.approx(2 / 3)
    assert majority([{"inputs": labels, "labels": np.array([3, 3, 0, 1])}]) == 0.5


def test_a_set_without_labels_is_refused():
    arrays = {"inputs": np.zeros((8, 2), np.float32)}
    with pytest.raises(
        ValueError, match="train_data: got inputs, expected one of labels, label_lengths, targets"
    ):
        ShuffledLabels(data(arrays))[0]


def test_buckets_get_labels_of_the_same_shape_or_say_that_there_are_none():
    class Buckets:
        batch_size = 2

        def __getitem__(self, step):
            length = 3 + step % 3
            labels = np.full((2, length), step)
            return {"inputs": np.zeros((2, 9)), "labels": labels, "label_lengths": labels[:, 0]}

    assert ShuffledLabels(Buckets())[5]["labels"].shape == (2, 5)
    changing = Buckets()
    changing.__class__.__getitem__ = lambda self, step: {"inputs": np.zeros(1), "labels": np.zeros((1, step))}
    with pytest.raises(ValueError, match="no batch with the shapes of step 3 in 2000 later ones"):
        ShuffledLabels(changing)[3]


def test_a_command_without_an_experiment_is_refused():
    for arguments in ([], ["--config.seed=1"]):
        with pytest.raises(SystemExit, match="name an experiment"):
            controls.main(arguments)


@pytest.mark.slow
def test_a_control_of_the_vowels_is_at_chance(tmp_path):
    from experiments import vowels
    from tests.helpers.experiment_runs import train_experiment

    changes = {"cell": "rnn", "features": 8, "train__steps": 60, "label_smoothing": 0.0}
    plain = make_config(vowels, **changes)
    chance = majority(vowels.experiment(plain).eval_data)

    class Shuffled:
        Config = vowels.Config
        experiment = staticmethod(lambda config: with_shuffled_labels(vowels.experiment(config)))

    _, trained = train_experiment(Shuffled, tmp_path, **changes)
    assert trained.evaluation["accuracy"] <= chance + 0.1
