"""The options of an experiment besides its model and its loss: their types and their checks."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Required, TypeAlias, TypedDict

from dlcore.data.pipeline import ByStep
from dlcore.training.arguments import check_call
from dlcore.training.callbacks.callback import Callback
from dlcore.training.mesh import ShardingRules, check_rules
from dlcore.training.model import Batch, Metrics, ModelState, Params
from dlcore.training.optimizers.make import MakeOptimizer
from dlcore.training.origin import ORIGIN
from dlcore.utils.checks import check_bool, check_callable, check_instance
from dlcore.utils.run_paths import CONFIG, RESULT, TABLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EvalData: TypeAlias = Iterable[Batch] | Mapping[str, Iterable[Batch]]
"""Batches of one finite set, or of several sets by name."""
Figures: TypeAlias = Callable[[Params, ModelState], Mapping[str, "Figure"]]
Monitor: TypeAlias = Callable[[Params, ModelState], Mapping[str, float]]
EvalMetrics: TypeAlias = Callable[[Params, ModelState, Batch], Metrics]
Scores: TypeAlias = Callable[[Params, ModelState], Mapping[str, float]]
Generate: TypeAlias = Callable[[Any, Sequence[str]], Mapping[str, "str | bytes | Figure"]]
"""The function of ``--mode=generate``: it gets the `TrainedModel` and the user's texts, and returns files by name."""
Mode: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""The function of ``--mode=NAME``: it gets the `Run`, and what it returns is the last line of stdout."""


class Options(TypedDict, total=False):
    """The fields of an `Experiment` besides its model and loss; those that are mappings may also be None."""

    train_data: Required[ByStep[Batch]]
    eval_data: Required[EvalData]
    best: str
    lower_is_better: bool | None
    eval_metrics: EvalMetrics | None
    scores: Scores | None
    figures: Figures | None
    monitor: Monitor | None
    generate: Generate | None
    files: Mapping[str, str] | None
    modes: Mapping[str, Mode] | None
    sharding_rules: ShardingRules | None
    callbacks: Sequence[Callback]
    optimizer: MakeOptimizer | None


OPTIONAL_FUNCTIONS = {
    "eval_metrics": "params, model_state, batch",
    "scores": "params, model_state",
    "figures": "params, model_state",
    "monitor": "params, model_state",
    "generate": "model, texts",
    "predict": "params, model_state, batch",
}
"""The arguments of the functions that an `Experiment` may have, by field."""


def check_options(experiment: Any) -> None:
    """Checks the types of an experiment's options; `contract.check_model` checks the model and its data.

    Raises:
        TypeError, ValueError: as in `Experiment`.
    """
    check_instance("best", experiment.best, str, "the name of an evaluation metric")
    if experiment.lower_is_better is not None:
        check_bool("lower_is_better", experiment.lower_is_better)
    for name, arguments in OPTIONAL_FUNCTIONS.items():
        if getattr(experiment, name) is not None:
            check_callable(name, getattr(experiment, name), f"{name}({arguments})")
    check_files(experiment.files)
    check_instance("modes", experiment.modes, Mapping, "a dict of functions by name")
    for name, mode in experiment.modes.items():
        check_callable(f"modes[{name!r}]", mode, "predict(run)")
    check_rules(experiment.sharding_rules)
    check_instance("callbacks", experiment.callbacks, (list, tuple), "a list of callbacks")
    for callback in experiment.callbacks:
        check_instance("callbacks", callback, Callback, "objects of dl.callbacks.Callback")
    if experiment.optimizer is not None:
        check_callable("optimizer", experiment.optimizer, "lambda config, steps: optax.adam(1e-3)")
        check_call("optimizer", experiment.optimizer, None, 1)  # a config and a number of steps


def check_files(files: Any) -> None:
    """Checks the texts that belong to a run.

    Raises:
        TypeError: they are no dict of texts by file name.
        ValueError: a name is not that of a file, or a run has a file of its own with this name.
    """
    check_instance("files", files, Mapping, "a dict of texts by file name")
    for name, text in files.items():
        check_instance("files", name, str, "file names that are text")
        check_instance(f"files[{name!r}]", text, str, "the text of a file")
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", name) or name in (CONFIG, ORIGIN, RESULT, TABLE):
            raise ValueError(f"files: got {name!r}, expected a name such as 'vocabulary.json'")
