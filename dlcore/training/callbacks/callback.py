"""The protocol of callbacks: one class whose methods do nothing until a subclass says otherwise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.training.config import Config


class Stop(Exception):  # noqa: N818  it is a decision, not an error
    """Raised in `Callback.on_row` or `Callback.on_evaluation` to end the run, which then counts as finished.

    The run evaluates the state of this step if it has not done so yet, saves it, draws its figures and writes
    ``result.json``, which has the reason as ``stopped``.

    Args:
        reason: why the run ends, in words.

    Raises:
        ValueError: the reason is empty.
    """

    def __init__(self, reason: str):
        if not reason or not isinstance(reason, str):
            raise ValueError(f"reason: got {reason!r}, expected why the run stops, in words")
        super().__init__(reason)


class Start(NamedTuple):
    """What `Callback.on_start` gets to know about the run.

    Attributes:
        folder: the run's folder.
        step: the step from which this process trains; 0 in a new run.
        config: the run's config, in which every duration is a number of steps.
    """

    folder: Path
    step: int
    config: Config


class Callback:
    """Called by the training loop; a base class whose methods do nothing.

    `on_start` comes first, then `restore` if the checkpoint has a state of this callback. After a step come the rows,
    the evaluation and the checkpoint that are due, in this order, before the next step begins. Callbacks are called in
    the order in which the experiment lists them. In a job of several processes only the first one calls them; if a
    callback stops the run, all processes stop after the same step.

    An error in a method ends the run with a `CallbackError` that names class, method and step. The state of this step
    is saved before.

    Raises:
        TypeError: a subclass has a method ``on_...`` that is none of these, when it is defined.
    """

    def __init_subclass__(cls) -> None:
        for name in vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name):
                known = ", ".join(method for method in vars(Callback) if method.startswith("on_"))
                raise TypeError(f"{cls.__name__}: got a method {name}, expected one of {known}")

    def on_start(self, start: Start) -> None:
        """Called before the first step of this process; a callback that is used for a second run begins anew here.

        Args:
            start: the run's folder, step and config.
        """

    def on_row(self, step: int, values: Mapping[str, float], clock: Mapping[str, float]) -> None:
        """Called after each row of ``metrics.csv``; may raise `Stop`.

        Args:
            step: the number of steps that are done.
            values: numbers by their names in ``metrics.csv``: ``train/NAME`` in a row of training metrics,
                ``flow/NAME`` in one of the monitor, ``eval/NAME`` in an evaluation.
            clock: numbers that depend on the time and so differ from run to run, such as ``train/steps_per_second``;
                empty in a row without ``train/``.
        """

    def on_evaluation(self, step: int, values: Mapping[str, Any]) -> None:
        """Called after each evaluation; may raise `Stop`.

        Args:
            step: the number of steps that are done.
            values: the metrics by name, as `Experiment.best` names them: ``accuracy``; ``SET/accuracy`` if the
                experiment has evaluation sets by name. A metric of several numbers is a nested list.
        """

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """Called after each checkpoint, once all of it is written; it cannot stop the run.

        Training waits for the write if a callback has this method. What it changes in the callback is not in the
        `state` that this checkpoint holds.

        Args:
            step: the step of the checkpoint.
            folder: the checkpoint's folder, which a later checkpoint may delete as surplus.
        """

    def on_end(self, error: BaseException | None) -> None:
        """Called once when training ends, after all checkpoints are written and before figures are drawn.

        Args:
            error: None if the run is finished, also if a callback stopped it; else what ended it, for instance
                a KeyboardInterrupt after Ctrl-C or a signal.
        """

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on: numbers and texts by name, in lists and dicts too, as JSON knows them.

        It is saved in every checkpoint. A run that is killed and started again then goes on as if nothing had
        happened.
        """
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the `state` of the checkpoint from which the run goes on.

        Args:
            state: what `state` returned at the step of the checkpoint, after JSON: tuples are lists.
        """
