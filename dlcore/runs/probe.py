"""The rows on which gradient flow is measured: the first rows of the first training batches, as one batch."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from dlcore.data.pipeline import batch_of
from dlcore.training.config import Config, GradientFlowConfig
from dlcore.training.experiment import Batch, Experiment
from dlcore.utils.checks import check_instance


def probe_loss(experiment: Experiment, config: GradientFlowConfig) -> Callable[[Any, Any], jax.Array]:
    """The loss whose gradient flow is measured: that of `probe_batch` in evaluation, so without dropout.

    Args:
        experiment: the experiment.
        config: how many rows of how many batches are measured.

    Returns:
        A function ``loss(params, model_state) -> scalar``.

    Raises:
        ValueError: the batches do not fit together.
    """
    check_instance("experiment", experiment, Experiment, "a dl.Experiment")
    check_instance("config", config, GradientFlowConfig, "a dl.GradientFlowConfig")
    batch = probe_batch(experiment, config)

    def loss(params: Any, model_state: Any) -> jax.Array:
        return experiment.loss(params, model_state, batch, jax.random.key(0), False)[0]

    return loss


def probe_batch(experiment: Experiment, config: GradientFlowConfig) -> Batch:
    """The first ``rows`` rows of each of the first ``batches`` training batches, one after the other.

    Sequences that are cut to several lengths, as those of `BucketedBatches`, are padded with zeros to the longest.

    Args:
        experiment: its ``train_data`` is used.
        config: ``rows`` and ``batches``. A batch with fewer rows gives all of them.

    Raises:
        ValueError: the batches have several fields, or shapes that only sequences with ``lengths`` may have.
    """
    data = experiment.train_data
    batches = [
        {name: field[: config.rows] for name, field in batch_of(data, step, "train_data").items()}
        for step in range(config.batches)
    ]
    return batches[0] if len(batches) == 1 else _concatenate(batches)


def _concatenate(batches: Sequence[Batch]) -> Batch:
    names = [sorted(batch) for batch in batches]
    if any(other != names[0] for other in names):
        several = " and ".join(sorted({", ".join(fields) for fields in names}))
        raise ValueError(
            f"batches: got {len(batches)} batches with the fields {several}, expected the same; 1 is safe"
        )
    return {name: np.concatenate(_same_shapes(name, batches)) for name in batches[0]}


def _same_shapes(name: str, batches: Sequence[Batch]) -> list[np.ndarray]:
    """A field of every batch; one with a time axis is padded to the longest batch."""
    fields = [np.asarray(batch[name]) for batch in batches]
    if len({field.shape[1:] for field in fields}) == 1:
        return fields
    in_time = [
        _steps(field) == _steps(batch.get("inputs")) for field, batch in zip(fields, batches, strict=True)
    ]
    if "lengths" not in batches[0] or not all(in_time) or len({field.shape[2:] for field in fields}) > 1:
        shapes = ", ".join(sorted({str(list(field.shape[1:])) for field in fields}))
        raise ValueError(
            f"batches: got {len(batches)} batches whose {name} have rows of the shapes {shapes}, expected one shape "
            "or sequences [rows, T, ...] with lengths and the T of their inputs; 1 measures the first batch alone"
        )
    longest = max(field.shape[1] for field in fields)
    return [
        np.pad(field, [(0, 0), (0, longest - field.shape[1])] + [(0, 0)] * (field.ndim - 2))
        for field in fields
    ]


def _steps(field: Any) -> int | None:
    """The length of the second axis; None if there is none."""
    return np.shape(field)[1] if np.ndim(field) > 1 else None


def with_monitor(experiment: Experiment, config: Config) -> Experiment:
    """A copy of the experiment with a monitor of gradient flow; the experiment itself if it needs none.

    Args:
        experiment: the experiment; if it has a monitor, it is returned.
        config: its config, in which ``train.monitor_every`` asks for a monitor; if that is None, the experiment is
            returned.
    """
    check_instance("experiment", experiment, Experiment, "a dl.Experiment")
    check_instance("config", config, Config, "a dl.Config")
    if config.train.monitor_every is None or experiment.monitor is not None:
        return experiment
    from dlcore.gradflow.models.monitor import make_monitor

    return dataclasses.replace(experiment, monitor=make_monitor(probe_loss(experiment, config.gradient_flow)))
