"""Looks at a run before it starts: its config, data, model, and what its compiled steps need of a machine."""

from collections.abc import Sequence
from pathlib import Path

from dlcore.config.sources import DEFAULT, SourcedSetting, sourced_settings
from dlcore.runs.build import Build, C, check_run, make_run
from dlcore.runs.inspection.fit import compile_steps
from dlcore.runs.inspection.parts import (
    batch_fields,
    batch_part,
    eval_shapes,
    parameters,
    state_parts,
    train_shapes,
)
from dlcore.runs.inspection.report import Inspection
from dlcore.training.experiment import Experiment
from dlcore.training.run import Run
from dlcore.training.targets.find import find_target
from dlcore.training.targets.target import this_machine


def inspect(
    experiment: Experiment | Build[C], config: C, target: str | None = None, *, compile: bool = True
) -> Inspection:
    """Looks at a run without starting it: shapes, shardings, and the memory and collectives of its compiled steps.

    Nothing is computed or written. The steps are compiled for the target from this machine, by the target's own
    compiler. So what they need is what they will need there, and a batch that is too large is found out before it
    costs anything.

    Args:
        experiment: the experiment, or the function ``experiment(config)`` of an experiment file.
        config: its config.
        target: the machine: a TPU topology such as ``"v5e:2x4"`` (with the extra ``tpu``), a number of GPUs such as
            ``"h100:8"`` (with the extra ``cuda``), or ``"cpu:N"``, N devices of this machine's CPU. None: the devices
            of this process.
        compile: False to compile nothing, which takes no longer than to build the experiment.

    Returns:
        An `Inspection`, which prints as tables. Its ``problem`` says what does not fit the machine's memory, and names
        the largest batch that does.

    Raises:
        TypeError: an argument has another type, or the experiment does not keep its contract.
        ValueError: there is no such target, or its compiler is not installed; the mesh does not use all its devices;
            or a setting, the data, the model or the checkpoint of ``init_from`` do not fit.
        ImportError: the package of a logger that the config asks for is not installed.
    """
    machine = None if target is None else find_target(target)
    run = make_run(experiment, config, Path(), target=machine)
    check_run(run)
    check_start(run)
    layers = [(DEFAULT, type(run.config)()), ("config", run.config)]
    return inspect_run(run, sourced_settings(layers), compile=compile)


def check_start(run: Run) -> None:
    """Makes the checks that a training makes after those of `build.check_run`, before its first step.

    Raises:
        ImportError: the package of a logger is not installed.
        ValueError: the checkpoint of ``init_from`` does not fit the model.
    """
    _ = run.engine.callbacks
    config, state = run.engine.config, run.engine.abstract_state
    if config.init_from is not None:
        from dlcore.training.checkpoints.fine_tune import check_init_from

        check_init_from(
            state.params, state.model_state, config.init_from, config.init_map, config.init_weights
        )


def inspect_run(run: Run, settings: Sequence[SourcedSetting], *, compile: bool = True) -> Inspection:
    """Looks at a run that `build.check_run` accepts, see `inspect`; lines on stderr say what is compiled.

    Args:
        run: the run.
        settings: its settings and their sources.
        compile: as in `inspect`.
    """
    engine, target = run.engine, run.target or this_machine()
    batch = train_shapes(engine)
    steps, problem = compile_steps(engine, target) if compile else ((), None)
    return Inspection(
        target=target,
        settings=settings,
        mesh=dict(engine.mesh.shape),
        batches=batch_fields({"train_data": batch, **eval_shapes(engine)}),
        parameters=parameters(engine),
        state=(*state_parts(engine), batch_part(engine, batch)),
        steps=steps,
        problem=problem,
    )
