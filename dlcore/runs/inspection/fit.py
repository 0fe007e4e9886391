"""Compiles the steps of a run for a machine; if one does not fit, finds the largest batch with which it does."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax

from dlcore.data.batch import shapes_of
from dlcore.runs.inspection.largest import Trial, find_largest
from dlcore.runs.inspection.parts import Shapes, batch_part, device_bytes, eval_shapes, train_shapes
from dlcore.runs.inspection.steps import Step, compile_step
from dlcore.training.calls import split_into_calls
from dlcore.training.distributed import say_once
from dlcore.training.engine import Engine
from dlcore.training.experiment import Experiment
from dlcore.training.mesh import DATA
from dlcore.training.targets.target import Target
from dlcore.utils.text import bytes_text

NEED_LESS = "more devices and --config.mesh.parameters=sharded need less"
TRAINING_NEEDS_LESS = f"--config.train.micro_batches, --config.train.remat, {NEED_LESS}"


@dataclass(frozen=True)
class BatchShapes:
    """A training set that knows the shapes of its batches alone, for steps that are compiled and never run.

    Attributes:
        fields: the shapes of a batch.
        batch_size: its rows.
        examples: number of examples in an epoch; None if it has no end.
    """

    fields: Shapes
    batch_size: int
    examples: int | None

    def __getitem__(self, step: int) -> Shapes:
        return self.fields


def compile_steps(engine: Engine, target: Target) -> tuple[tuple[Step, ...], str | None]:
    """The compiled training step and the evaluations, and the first that does not fit, in words; None if all do.

    Evaluation sets whose first batches have the same fields, shapes and types have one evaluation.
    """
    engine.while_compiling = _saying
    train = train_shapes(engine)
    steps = [compile_training(engine, train, target)]
    problem = None if steps[0].fits else train_problem(engine, train, target, steps[0])
    for name, shapes in _distinct(eval_shapes(engine)).items():
        steps.append(compile_evaluation(engine, shapes, train, target, name))
        if not problem and not steps[-1].fits:
            problem = eval_problem(engine, shapes, train, target, steps[-1])
    return tuple(steps), problem


def compile_training(engine: Engine, shapes: Shapes, target: Target) -> Step:
    """The training's first call, with batches of these shapes."""
    steps = len(next(split_into_calls(0, engine.config)))
    stacked = {
        name: jax.ShapeDtypeStruct((steps, *field.shape) if steps > 1 else field.shape, field.dtype)
        for name, field in shapes.items()
    }
    make = lambda: engine.program(stacked, steps)
    return compile_step(
        make, target, "training", row_count_of(shapes), _made_ahead(engine, shapes, steps), steps
    )


def compile_evaluation(engine: Engine, shapes: Shapes, train: Shapes, target: Target, name: str) -> Step:
    """An evaluation of batches of these shapes, beside which the state and training batches stay on the devices."""
    state = engine.abstract_state
    evaluated = jax.tree.leaves((state.evaluated_params, state.model_state))
    rest = device_bytes(jax.tree.leaves(state)) - device_bytes(evaluated)
    steps = len(next(split_into_calls(0, engine.config)))
    beside = rest + _made_ahead(engine, train, steps)
    return compile_step(lambda: engine.eval_program(shapes), target, name, row_count_of(shapes), beside)


def train_problem(engine: Engine, shapes: Shapes, target: Target, failed: Step) -> str:
    """What does not fit in the training, with the largest batch that does."""

    def measure(rows: int) -> Trial:
        other = _with_batch_size(engine, shapes, rows, target)
        say_once(f"trying a training batch of {rows} rows")
        step = compile_training(other, train_shapes(other), target)
        return Trial(rows, step.needed, step.fits)

    state = device_bytes(jax.tree.leaves(engine.abstract_state))
    unit = engine.mesh.shape[DATA] * engine.config.train.micro_batches
    found = find_largest(measure, Trial(failed.rows, failed.needed, False), target.memory, state, unit)
    return _problem("--config.train.batch_size", failed, target, *found, TRAINING_NEEDS_LESS)


def eval_problem(engine: Engine, shapes: Shapes, train: Shapes, target: Target, failed: Step) -> str:
    """What does not fit in an evaluation, with the largest batch that does."""

    def measure(rows: int) -> Trial:
        say_once(f"trying an evaluation batch of {rows} rows")
        step = compile_evaluation(engine, _of_rows(shapes, rows), train, target, failed.name)
        return Trial(rows, step.needed, step.fits)

    state = device_bytes(jax.tree.leaves(engine.abstract_state))
    failure = Trial(failed.rows, failed.needed, False)
    found = find_largest(measure, failure, target.memory, state, engine.mesh.shape[DATA])
    return _problem("--config.train.eval_batch_size", failed, target, *found, NEED_LESS)


def _problem(flag: str, failed: Step, target: Target, best: Trial | None, over: Trial, mend: str) -> str:
    machine = target.name or "this machine"
    memory = "less" if target.memory is None else bytes_text(target.memory)
    got = (
        f"{flag}: got {failed.rows}, with which {failed.name} needs {_needed(failed.needed)} a device, but {machine} "
        f"has {memory}"
    )
    if best is None:
        return f"{got}; a batch of {over.rows} does not fit either ({_needed(over.needed)}); {mend}"
    return (
        f"{got}; the largest that fits is {best.rows}, which needs {_needed(best.needed)} ({over.rows}: "
        f"{_needed(over.needed)}); {mend}"
    )


def _needed(count: int | None) -> str:
    return "more" if count is None else bytes_text(count)


def _with_batch_size(engine: Engine, shapes: Shapes, rows: int, target: Target) -> Engine:
    """The engine of the same experiment with batches of another number of rows, of which it knows the shapes alone."""
    examples = getattr(engine.experiment.train_data, "examples", None)
    data = BatchShapes(_of_rows(shapes, rows), rows, examples)
    experiment: Experiment = dataclasses.replace(engine.experiment, train_data=data)
    return Engine(experiment, engine.config, target if target.name else None)


def _of_rows(shapes: Shapes, rows: int) -> Shapes:
    return {
        name: jax.ShapeDtypeStruct((rows, *field.shape[1:]), field.dtype) for name, field in shapes.items()
    }


def row_count_of(shapes: Shapes) -> int:
    """The number of rows of a batch of these shapes."""
    return next(iter(shapes.values())).shape[0]


def _made_ahead(engine: Engine, shapes: Shapes, steps: int) -> int:
    """The bytes on a device of the batches that are made for the next calls."""
    return engine.config.train.prefetch * steps * batch_part(engine, shapes).device_bytes


def _distinct(batches: Mapping[str, Shapes]) -> dict[str, Shapes]:
    """The batches of different shapes, by the name of the step that evaluates them."""
    names: dict[object, list[str]] = {}
    for name, shapes in batches.items():
        names.setdefault(shapes_of(shapes), []).append(name)
    if len(names) == 1:
        return {"evaluation": next(iter(batches.values()))}
    return {f"evaluation of {', '.join(same)}": batches[same[0]] for same in names.values()}


@contextlib.contextmanager
def _saying(what: str) -> Iterator[None]:
    say_once(what)
    yield
