"""TODO."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dlcore.config.durations import Duration
from dlcore.config.settings import setting
from dlcore.train.mesh import MeshConfig
from dlcore.train.optimizer import OptimizerConfig

if TYPE_CHECKING:
    pass


@dataclass
class TrainConfig:
    """How long a run takes and how often it speaks."""

    steps: int | Duration = setting(
        1000, "Updates of the parameters in the whole run.", minimum=1, may_grow=True
    )
    batch_size: int = setting(64, "Examples in a training batch.", minimum=1)
    eval_batch_size: int = setting(500, "Examples in an evaluation batch.", minimum=1)
    log_every: int | Duration = setting(50, "Steps between two rows of training metrics.", minimum=1)
    eval_every: int | Duration = setting(200, "Steps between two evaluations on the whole set.", minimum=1)
    monitor_every: int | Duration | None = setting(
        None, "Steps between two measurements of gradient flow by lag; none measures nothing.", minimum=1
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "What the model computes in; parameters, statistics and the update stay float32."
    )
    micro_batches: int = setting(
        1, "Parts of a batch, one after the other, whose gradients add up.", minimum=1
    )
    steps_per_call: int = setting(
        1, "Steps in one call of the device, which pays for tiny models.", minimum=1
    )
    remat: bool = setting(False, "Compute the forward pass again in the backward pass: less memory.")
    ema_decay: float | None = setting(
        None, "Decay of a moving average of the parameters, which is what is evaluated.", above=0, below=1
    )
    on_nan: Literal["stop", "skip", "zero", "raise"] = setting(
        "stop",
        "After a step that is not finite: stop, with batch and state written aside; skip the update; zero the "
        "gradient's bad entries and go by the others, if the loss is finite, else skip; or raise at once, which waits "
        "for every step.",
    )
    prefetch: int = setting(
        2, "Calls whose batches are made before they are needed.", minimum=1, may_change=True
    )
    prefetch_workers: int = setting(1, "Threads that make batches.", minimum=1, may_change=True)
    hang_timeout: float = setting(
        600,
        "Seconds that a call may take, beside compiling, before the run ends as stuck.",
        above=0,
        may_change=True,
    )


@dataclass
class CheckpointConfig:
    """Which states of a run are kept."""

    every: int | Duration = setting(200, "Steps between two checkpoints.", minimum=1)
    keep: int = setting(3, "How many of the newest checkpoints stay, beside the best.", minimum=1)
    grace: float = setting(
        25,
        "Seconds after SIGTERM in which the run saves its state; then it ends with what is saved.",
        above=0,
        may_change=True,
    )


@dataclass
class Config:
    """What every experiment can be told; an experiment's own Config adds its model's and data's settings."""

    seed: int = setting(
        0, "Of initialization, order of the data, augmentation and dropout.", minimum=0, maximum=2**31 - 1
    )
    init_from: str | None = setting(
        None, "Begin with the parameters of this run's folder, where paths and shapes agree (fine-tuning)."
    )
    init_map: tuple[str, ...] = setting(
        (), "Of init_from: old=new, the beginnings of parameter paths there and here; old= leaves them out."
    )
    train: TrainConfig = field(default_factory=TrainConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
