"""Weights & Biases as a logger."""

from collections.abc import Mapping
from typing import Any

from dlcore.config.files import to_dict
from dlcore.training.callbacks.callback import Start
from dlcore.training.callbacks.logger import Logger, read_run_id, write_run_id
from dlcore.utils.checks import check_instance

RUN_ID = "wandb_run.txt"


class WandbLogger(Logger):
    """Writes every row of a run, its rates and its config to Weights & Biases; needs ``pip install 'dlcore[wandb]'``.

    A run that is started again goes on in the same wandb run, whose id is in ``wandb_run.txt`` in the run's folder. The
    rows after the checkpoint are then logged a second time, with equal numbers; wandb ignores steps before its last
    one. wandb's own files are in the run's folder ``wandb/``. With ``WANDB_MODE=offline`` nothing is sent; ``wandb
    sync`` sends it later. If wandb fails, a line says so, and the run goes on without it.

    Args:
        project: the project.
        options: further arguments of ``wandb.init``, such as ``entity``, ``group``, ``tags`` or ``mode``. The default
            of ``name`` is the name of the run's folder.

    Raises:
        ImportError: wandb is not installed.
        TypeError: the project is no text.
    """

    def __init__(self, project: str, **options: Any):
        super().__init__("wandb", "wandb")
        check_instance("project", project, str, "the name of a wandb project")
        self._options: dict[str, Any] = {"project": project, **options}
        self._run: Any = None

    def open(self, start: Start) -> None:
        import wandb

        path = start.folder / RUN_ID
        ours = {
            "id": read_run_id(path),  # None: a new one
            "dir": start.folder,
            "name": start.folder.name,
            "config": to_dict(start.config),
            "resume": "allow",
            "settings": {"console": "off"},  # the last line of stdout is the run's result
        }
        self._run = wandb.init(**{**ours, **self._options})
        write_run_id(path, self._run.id)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, error: BaseException | None) -> None:
        self._run.finish(exit_code=0 if error is None else 1)
