"""Checkpoints of a run, on Orbax: written in the background, the newest few and the best kept."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dlcore.train.experiment import CheckpointConfig
from dlcore.train.state import TrainState


class Checkpoints:
    """The checkpoints in a folder, one a step; a context manager that waits for the last write.

    Args:
        folder: where they are; made when the first is written.
        config: how many stay.
        best: the evaluation metric that ranks them.
        lower_is_better: whether the smallest value of it is the best.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, best: str, lower_is_better: bool = False):
        def rank(metrics: Mapping[str, float]) -> float:
            value = metrics.get(best, math.nan)  # none where it was saved between two evaluations
            if math.isnan(value):
                return -math.inf
            return -value if lower_is_better else value

        keep = AnyPreservationPolicy([LatestN(config.keep), BestN(get_metric_fn=rank, n=1)])
        self.folder, self._best_metric = folder.absolute(), best
        # Orbax makes the folder with the first checkpoint, not when somebody only looks into it.
        options = ocp.CheckpointManagerOptions(best_fn=rank, preservation_policy=keep, create=False)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        self._manager.close()

    @property
    def newest(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        return self._manager.latest_step()

    @property
    def _best(self) -> int | None:
        step = self._manager.best_step()
        measured = {} if step is None else self._manager.metrics(step) or {}
        return None if math.isnan(measured.get(self._best_metric, math.nan)) else step

    def save(self, step: int, state: TrainState, metrics: Mapping[str, float] | None) -> None:
        """Starts to write the state of ``step``; it may be donated to the next step at once.

        Args:
            step: its number; a step that is there already is left as it is.
            state: what to write.
            metrics: the evaluation at this step, where there was one.
        """
        if step != self.newest:
            self._manager.save(step, args=ocp.args.StandardSave(state), metrics=dict(metrics or {}))

    def step(self, which: int | str) -> int:
        """The step that ``which`` means: a step itself, ``"newest"`` or ``"best"`` of those that are there.

        Raises:
            FileNotFoundError: there is no such checkpoint. ValueError: it means none.
        """
        steps = sorted(self._manager.all_steps())
        if not re.fullmatch(r"newest|best|[0-9]+", str(which)):
            raise ValueError(f"--checkpoint: got {which!r}, expected newest, best or a step")
        found = {"newest": self.newest, "best": self._best}.get(str(which), which)
        if found is None or int(found) not in steps:
            there = f"steps {', '.join(map(str, steps))}" if steps else "no checkpoint; train first"
            raise FileNotFoundError(f"--checkpoint: got {which}, but {self.folder} has {there}")
        return int(found)

    def restore(self, like: TrainState, step: int) -> TrainState:
        """The state of ``step``, typed, shaped and placed as ``like``, whose values are not used.

        Raises:
            ValueError: the checkpoint is damaged, or of a model or optimizer with other settings.
        """
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:  # Orbax raises many types, for a missing file as for another shape
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{self.folder / str(step)}: got a checkpoint that cannot be read as this experiment's state "
                f"({reason}); if settings differ, leave those flags away; if it is damaged, move its folder elsewhere "
                "to go on from the one before"
            ) from error
