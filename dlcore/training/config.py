"""The settings that every experiment has: length of the run, precision, checkpoints, mesh, optimizer, logs.

An experiment subclasses `Config` and adds the settings of its model and data. Every setting is a flag of the command
line, and its text is what ``--help`` prints.
"""

from dataclasses import dataclass, field
from typing import Literal

from dlcore.config.durations import Duration
from dlcore.config.settings import Settings, setting
from dlcore.training.mesh import MeshConfig
from dlcore.training.optimizers.config import OptimizerConfig

MAX_COUNT = 2**31 - 1  # steps and rows are 32-bit integers on the devices
MAX_SECONDS = 10**9  # the system's timers take no more than some billions


@dataclass
class TrainConfig(Settings):
    """How long a run trains, how each step is computed, and how often the run logs and evaluates."""

    steps: int | Duration = setting(
        1000,
        "Number of parameter updates in the whole run.",
        minimum=1,
        maximum=MAX_COUNT,
        may_grow=True,
    )
    batch_size: int = setting(64, "Number of examples in a training batch.", minimum=1, maximum=MAX_COUNT)
    eval_batch_size: int = setting(
        500, "Number of examples in an evaluation batch.", minimum=1, maximum=MAX_COUNT
    )
    log_every: int | Duration = setting(50, "Steps between two rows of training metrics.", minimum=1)
    eval_every: int | Duration = setting(
        200, "Steps between two evaluations on the whole evaluation set.", minimum=1
    )
    monitor_every: int | Duration | None = setting(
        None, "Steps between two measurements of gradient flow by lag; none: no measurement.", minimum=1
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32",
        "The type in which the model computes; parameters, statistics and the update stay float32.",
    )
    micro_batches: int = setting(
        1,
        "Number of parts into which a batch is cut; the parts run one after the other and their gradients are added.",
        minimum=1,
    )
    steps_per_call: int = setting(
        1, "Number of steps that one call runs on the device; more than 1 speeds up tiny models.", minimum=1
    )
    remat: bool = setting(
        False, "Compute the forward pass again in the backward pass; this saves memory and costs time."
    )
    ema_decay: float | None = setting(
        None,
        "Decay of a moving average of the parameters; evaluation uses the average. none: no average.",
        above=0,
        below=1,
    )
    on_nan: Literal["stop", "skip", "zero", "raise"] = setting(
        "stop",
        "What happens after a step that is not finite. stop: the run ends, and saves the batch and the state. skip: "
        "the update is left out. zero: entries of the gradient that are not finite become 0 if the loss is finite; "
        "else the update is left out. raise: as stop, but at once, which waits for every step.",
    )
    prefetch: int = setting(
        2, "Number of calls whose batches are made ahead of time.", minimum=1, maximum=1000, may_change=True
    )
    prefetch_workers: int = setting(
        1, "Number of threads that make batches.", minimum=1, maximum=1000, may_change=True
    )
    hang_timeout: float = setting(
        600,
        "Seconds that a call may take, without compilation, before the run ends because it hangs.",
        minimum=0.001,
        maximum=MAX_SECONDS,
        may_change=True,
    )


@dataclass
class CheckpointConfig(Settings):
    """Which states of a run are saved, and where."""

    folder: str | None = setting(
        None,
        "Where the checkpoints are: a folder, or a bucket such as gs://bucket/run; none: checkpoints in the run's "
        "folder.",
    )
    every: int | Duration = setting(200, "Steps between two checkpoints.", minimum=1)
    keep: int = setting(3, "Number of newest checkpoints to keep; the best one is kept too.", minimum=1)
    grace: float = setting(
        25,
        "Seconds that the run has after SIGTERM to save its state; then it ends with the newest checkpoint.",
        above=0,
        maximum=MAX_SECONDS,
        may_change=True,
    )


@dataclass
class GradientFlowConfig(Settings):
    """On which rows of the training data gradient flow is measured, by ``--mode=gradient_flow`` and while training."""

    rows: int = setting(
        16,
        "Number of rows of a batch on which gradient flow is measured: its first ones.",
        minimum=1,
        maximum=MAX_COUNT,
        may_change=True,
    )
    batches: int = setting(
        1,
        "Number of batches from the first step on whose rows are measured together.",
        minimum=1,
        maximum=10**6,
        may_change=True,
    )


@dataclass
class StopConfig(Settings):
    """When a run ends before its last step."""

    patience: int | None = setting(
        None,
        "Number of evaluations in a row without an improvement of the best metric after which the run stops; none: it "
        "goes on to the last step.",
        minimum=1,
        maximum=MAX_COUNT,
    )
    min_change: float = setting(
        0.0, "For patience: the smallest change of the metric that counts as an improvement.", minimum=0
    )


@dataclass
class LogConfig(Settings):
    """What a run writes in addition to metrics.csv and its checkpoints."""

    figures: bool = setting(True, "Draw figures at the end of the run.", may_change=True)
    tensorboard: bool = setting(True, "Write TensorBoard events into the run's folder.", may_change=True)
    wandb: str | None = setting(
        None, "Project of Weights & Biases to which the run is logged; none: no such log.", may_change=True
    )
    mlflow: str | None = setting(
        None, "Tracking URI of MLflow to which the run is logged; none: no such log.", may_change=True
    )


@dataclass
class Config(Settings):
    """The settings of every experiment; a subclass adds the settings of its model and data."""

    seed: int = setting(
        0,
        "Seed of initialization, data order, augmentation and dropout.",
        minimum=0,
        maximum=MAX_COUNT,
    )
    init_from: str | None = setting(
        None,
        "Folder of a run whose parameters this run starts from, where paths and shapes agree (fine-tuning).",
    )
    init_map: tuple[str, ...] = setting(
        (),
        "For init_from: old=new replaces the beginning of a parameter's path there by that here; old= skips those "
        "parameters.",
    )
    init_weights: Literal["evaluated", "trained"] = setting(
        "evaluated",
        "For init_from, if that run kept a moving average of its parameters. evaluated: the average, which its "
        "evaluations used. trained: the parameters themselves.",
    )
    train: TrainConfig = field(default_factory=TrainConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    gradient_flow: GradientFlowConfig = field(default_factory=GradientFlowConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    log: LogConfig = field(default_factory=LogConfig)
