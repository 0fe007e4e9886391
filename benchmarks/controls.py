"""Trains an experiment on labels of other examples: what it reaches then is chance, or there is a mistake.

    python -m benchmarks.controls vowels                         # as python -m experiments.vowels, with its flags
    python -m benchmarks.controls harmonize --config.seed=1

The inputs of the training set stay, and each batch gets the labels of another batch. So the labels keep their
distribution and say nothing about the inputs. The evaluation set stays as it is. A result above chance would mean that
the evaluation measures something else than what was learned from the labels, for instance that the model is given the
test labels among its inputs.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import dlcore as dl
from dlcore.cli.command_line import load_command_line
from dlcore.data.batch import Batch

FIELDS = ("labels", "label_lengths", "targets")
DISTANCE = 100_003  # steps from a batch to the one whose labels it gets
TRIES = 2000  # batches of rare lengths are far from each other


class ShuffledLabels:
    """A training set whose batches have the labels of other batches.

    Where the labels are one for each time step of ``inputs``, each gets a label of any step of the other batch, since
    rows have different lengths. Else a row gets all labels of another row, in their order.

    Args:
        data: the training set; ``data[step]`` is a batch.
        seed: the seed of the choice.
    """

    def __init__(self, data: Any, seed: int = 0):
        self._data, self._seed = data, seed

    def __getattr__(self, name: str) -> Any:
        if name == "rows":  # which would load a part of the batch with its own labels
            raise AttributeError(name)
        return getattr(self._data, name)

    def __getitem__(self, step: int) -> Batch:
        batch = self._data[step]
        generator = np.random.default_rng([self._seed, step])
        other = self._other(step, batch)
        if not any(name in batch for name in FIELDS):
            raise ValueError(f"train_data: got {', '.join(batch)}, expected one of {', '.join(FIELDS)}")
        if has_label_of_each_step(batch):
            return {**batch, "labels": draw_labels(batch, other, generator)}
        rows = generator.permutation(len(next(iter(other.values()))))
        return {**batch, **{name: other[name][rows] for name in FIELDS if name in batch}}

    def _other(self, step: int, batch: Batch) -> Batch:
        """The batch of another step whose labels have the same shapes."""
        for turn in range(TRIES):
            other = self._data[step + DISTANCE + turn]
            if all(other[name].shape == batch[name].shape for name in FIELDS if name in batch):
                return other
        raise ValueError(f"train_data: got no batch with the shapes of step {step} in {TRIES} later ones")


def has_label_of_each_step(batch: Mapping[str, np.ndarray]) -> bool:
    """True if each time step of the inputs ``[B, T, ...]`` has a label ``[B, T, ...]``."""
    labels, inputs = batch.get("labels"), batch["inputs"]
    if labels is None or labels.ndim < 2 or "label_lengths" in batch:
        return False
    return labels.shape[:2] == inputs.shape[:2]


def draw_labels(batch: Batch, other: Batch, generator: np.random.Generator) -> np.ndarray:
    """Labels ``[B, T, ...]``, each drawn from the valid steps of another batch; padding stays."""
    labels = batch["labels"].copy()
    found = other["labels"][valid_steps(other)]
    valid = valid_steps(batch)
    labels[valid] = found[generator.integers(len(found), size=int(valid.sum()))]
    return labels


def valid_steps(batch: Batch) -> np.ndarray:
    """``[B, T]``, False in padding."""
    count, steps = batch["labels"].shape[:2]
    lengths = batch.get("lengths", np.full(count, steps))
    return np.arange(steps) < np.asarray(lengths)[:, None]


def majority(batches: Any) -> float:
    """The share of the most frequent label of an evaluation set: what a guess without inputs reaches."""
    counts: np.ndarray = np.zeros(0, int)
    for batch in batches:
        labels = batch["labels"]
        mask = batch.get("mask", np.ones(len(labels), bool)).reshape(-1, *[1] * (labels.ndim - 1))
        valid = np.broadcast_to(mask.astype(bool), labels.shape) & (labels >= 0)
        if has_label_of_each_step(batch):
            steps = valid_steps(batch)
            valid = valid & steps.reshape(*steps.shape, *[1] * (labels.ndim - 2))
        found = np.bincount(labels[valid])
        counts = np.pad(counts, (0, max(0, len(found) - len(counts))))
        counts[: len(found)] += found
    return float(counts.max() / counts.sum())


def with_shuffled_labels(experiment: dl.Experiment, seed: int = 0) -> dl.Experiment:
    """The experiment with `ShuffledLabels`; its evaluation stays."""
    return dataclasses.replace(experiment, train_data=ShuffledLabels(experiment.train_data, seed))


def main(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0].startswith("-"):
        sys.exit("error: name an experiment: python -m benchmarks.controls vowels [its flags]")
    name, *flags = arguments
    command_line = load_command_line(f"experiments.{name}")
    sys.argv[1:] = flags
    dl.run(
        command_line.config_class,
        lambda config: with_shuffled_labels(command_line.experiment(config), config.seed),
        presets=command_line.presets,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
