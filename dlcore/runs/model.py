"""A trained model: what a training returns and a run's folder holds, to be called on any data."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore.data.batch import row_count
from dlcore.ops.lengths import known_lengths
from dlcore.training.experiment import Batch, Experiment, ModelState, Params
from dlcore.training.precision import predict_with_precision
from dlcore.training.run import Run
from dlcore.training.state import TrainState
from dlcore.utils.checks import check_instance


@dataclass(frozen=True, repr=False, eq=False)
class TrainedModel:
    """A model with the parameters of one step of a run.

    `apply` and `predict` run it in evaluation, so without dropout and with the moving averages. They take one row
    or more and compile once for each shape.

    Attributes:
        run: the run, with its experiment, config and folder.
        state: the `TrainState`; its optimizer state is None if the model was loaded.
    """

    run: Run
    state: TrainState

    @property
    def experiment(self) -> Experiment:
        """The experiment."""
        return self.run.experiment

    @property
    def config(self) -> Any:
        """The config of the run."""
        return self.run.config

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    @property
    def params(self) -> Params:
        """The parameters for evaluation: their moving average if the run kept one."""
        return self.state.evaluated_params

    @property
    def model_state(self) -> ModelState:
        """The model's other variables, such as BatchNorm's statistics."""
        return self.state.model_state

    @functools.cached_property
    def step(self) -> int:
        """The number of training steps after which the parameters were these."""
        return int(self.state.step)

    def apply(self, batch: Batch) -> Any:
        """The model's outputs for a batch, which must have the fields that the model reads.

        Args:
            batch: arrays ``[B, ...]`` by field, of NumPy or JAX, with B >= 1 rows.

        Returns:
            What the experiment's ``predict`` returns: for a Flax model the outputs of the module, as JAX arrays. With
            ``train.precision`` other than float32 the model computes in it, and floats are returned as float32.

        Raises:
            TypeError: the batch is no dict of arrays.
            ValueError: its fields have different numbers of rows, or the experiment has no ``predict``.
            Exception: whatever the model raises if the batch does not fit it.
        """
        row_count(batch, "batch")
        return self._predict(self.params, self.model_state, dict(batch))

    def predict(self, inputs: Any, lengths: Any = None, **fields: Any) -> Any:
        """The model's outputs for inputs; the same as `apply` of a batch of these fields.

        Args:
            inputs: what the model reads, an array ``[B, ...]``.
            lengths: integers ``[B]``, the number of valid steps of each row; None: the batch has no lengths.
            fields: further fields of the batch by name, arrays ``[B, ...]``.

        Returns:
            As in `apply`.

        Raises:
            TypeError, ValueError, Exception: as in `apply`; ValueError: lengths are not from 0 to the number of steps.
        """
        batch = {"inputs": inputs, **fields}
        if lengths is not None:
            row_count({"inputs": inputs, "lengths": lengths})
            if np.ndim(inputs) < 2:
                raise ValueError(f"inputs: got shape {np.shape(inputs)} with lengths, expected [B, T, ...]")
            batch["lengths"] = known_lengths(lengths, np.shape(inputs)).astype(np.int32)
        return self.apply(batch)

    def generate(self, texts: Sequence[str] = ()) -> Mapping[str, Any]:
        """What the experiment generates with this model, as ``--mode=generate`` writes it.

        Args:
            texts: what to begin from, or to answer; none: the experiment chooses its own examples.

        Returns:
            Texts, bytes and matplotlib figures by file name.

        Raises:
            ValueError: the experiment does not generate; or as its function says.
            TypeError: ``texts`` is no list of texts.
        """
        if self.experiment.generate is None:
            raise ValueError(
                "generate: got an experiment without it, expected dl.Experiment(..., generate=function) with "
                "function(model, texts) -> {file name: content}"
            )
        check_instance("texts", texts, (list, tuple), "a list of texts")
        for text in texts:
            check_instance("texts", text, str, "a list of texts")
        files = self.experiment.generate(self, texts)
        check_instance("generate", files, Mapping, "contents by file name")
        return files

    @functools.cached_property
    def _predict(self) -> Callable[[Params, ModelState, Batch], Any]:
        predict = self.experiment.predict
        if predict is None:
            raise ValueError(
                "predict: got an experiment without it, expected dl.Experiment(..., predict=function) with "
                "function(params, model_state, batch) -> outputs"
            )
        return jax.jit(predict_with_precision(predict, self.config.train.precision))

    def __repr__(self) -> str:
        return f"TrainedModel(folder={str(self.folder)!r}, step={self.step})"
