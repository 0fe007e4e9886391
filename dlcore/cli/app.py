"""The command line of every experiment: reads flags, builds the config and the experiment, and calls a mode."""

import functools
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
from absl import app, flags, logging

from dlcore.cli import modes, process
from dlcore.cli.command_line import CommandLine, hand_over, named_config
from dlcore.cli.config_class import check_config_class
from dlcore.cli.errors import (
    UsageError,
    describe_failure,
    one_line_errors,
    print_error,
    summary,
    usage_errors,
)
from dlcore.cli.parsing import own_flags, parse_flags
from dlcore.config import settings
from dlcore.config.files import read_config
from dlcore.config.flags import define_flags, with_flags
from dlcore.config.sources import DEFAULT, FLAG, sourced_settings
from dlcore.runs.build import check_run, make_run
from dlcore.training import distributed
from dlcore.training.config import Config
from dlcore.training.experiment import Experiment, Mode
from dlcore.training.faults.signals import Interrupted
from dlcore.training.job import INTERRUPTED
from dlcore.training.run import Run
from dlcore.training.run_folder import CONFIG, check_kinds
from dlcore.training.targets.find import find_target, prepare_process
from dlcore.training.telemetry.profile import Trace
from dlcore.utils.checks import check_callable, check_instance, shown
from dlcore.utils.files import to_json
from dlcore.utils.run_paths import choose_folder, program_name
from dlcore.utils.streams import flush, open_missing, say

C = TypeVar("C", bound=Config)
FLAGS = flags.FLAGS
INSPECT, GENERATE = "inspect", "generate"
ONE_MODE = {"target": INSPECT, "compile": INSPECT, "input": GENERATE, "output": GENERATE}
"""Flags that only one mode has, and this mode."""
OF_A_RUN = ("evaluate", "gradient_flow", GENERATE)
"""Modes that restore a checkpoint."""


TEXT_FLAGS: dict[str, tuple[str | None, str]] = {
    "mode": (
        "train",
        "What to do: train, evaluate, gradient_flow, inspect, generate if this experiment does, or one of its own "
        "modes.",
    ),
    "preset": (None, "Start from one of this experiment's presets: {presets}."),
    "from_config": (None, "Start from the config.json of a run; the same settings give the same bits."),
    "run": (None, "Name of the run; its folder is runs/EXPERIMENT/NAME. The default is the time of day."),
    "workdir": (None, "The run's folder itself, in place of --run."),
    "checkpoint": (
        "newest",
        "Which checkpoint the other modes than train read: newest, best or a step; for gradient_flow also initial or "
        "all.",
    ),
    "profile": (None, "Steps to trace into the run's folder profile/, such as 100-110."),
    "distributed": ("auto", "Whether to join the other processes of the job: auto, on or off."),
    "target": (
        None,
        "For --mode=inspect, the machine to compile for, which need not be there: a TPU topology such as v5e:2x4, "
        "GPUs such as h100:8, or cpu:N. The default is this machine.",
    ),
    "output": (
        None,
        "For --mode=generate, the folder of the files. The default is generated in the run's folder.",
    ),
}
"""The default and the meaning of the flags of text that every experiment has."""


def run(
    config_class: type[C], experiment: Callable[[C], Experiment], *, presets: Mapping[str, C] | None = None
) -> None:
    """Runs an experiment from its command line, and ends the process; the last line of stdout is ``result: {JSON}``.

    Exit codes: 0 if all is done; 2 for a mistake in flags, config or data: one line on stderr names it, and nothing is
    overwritten; 1 if something else failed; 130 after Ctrl-C; 75 after SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU or SIGHUP.
    If the first such signal arrives during training, the state is saved after the present call, and the same ``--run``
    continues from there.

    Args:
        config_class: a dataclass, usually derived from `Config`; each setting is a flag ``--config.PATH``.
        experiment: ``experiment(config) -> Experiment``.
        presets: whole configs by name, for ``--preset=NAME``; flags override their settings.

    Raises:
        TypeError: ``config_class`` is no dataclass derived from `Config`, ``experiment`` is no function, or a preset is
            no instance of ``config_class``.
    """
    open_missing()
    presets = presets or {}
    check_config_class(config_class, Config, "dl.Config")
    check_callable("experiment", experiment, "experiment(config) -> dl.Experiment")
    _check_presets(presets, config_class)
    hand_over(CommandLine(config_class, experiment, presets))

    def main(_: list[str]) -> None:
        with process.whole_job():
            run_mode(config_class, experiment, presets)
            flush(sys.stderr)

    try:
        with own_flags(FLAGS):
            define_run_flags(config_class(), presets, FLAGS)
            app.run(main, flags_parser=parse_flags)
    except KeyboardInterrupt:  # outside of the training loop, which raises `Interrupted` after a call
        say("stopped by Ctrl-C at once; what is saved stays, and the same command goes on")
        distributed.tell(INTERRUPTED, "stopped by Ctrl-C")
        process.end(INTERRUPTED)


def _check_presets(presets: Any, config_class: type) -> None:
    check_instance("presets", presets, Mapping, "a dict of configs by name")
    for name, preset in presets.items():
        check_instance("presets", name, str, "names that are text")
        check_instance(f"presets[{name!r}]", preset, config_class, f"a {config_class.__name__}")


def define_run_flags(config: Config, presets: Mapping[str, Config], values: flags.FlagValues) -> None:
    """Defines the flags of an experiment's command line.

    Args:
        config: the experiment's default config; each setting is a flag.
        presets: whole configs by name.
        values: the place where the flags are defined, usually ``absl.flags.FLAGS``.
    """
    program = sys.argv[0]
    names = ", ".join(presets) or "none here"
    for name, (default, meaning) in TEXT_FLAGS.items():
        flags.DEFINE_string(name, default, meaning.format(presets=names), values, module_name=program)
    meaning = "For --mode=inspect, whether to compile the steps; --nocompile checks all else, which is quick."
    flags.DEFINE_boolean("compile", True, meaning, values, program)
    flags.DEFINE_multi_string(
        "input",
        [],
        "For --mode=generate, a text to begin from or to answer; - stands for the lines of stdin. It may be given "
        "several times. Without it the experiment chooses its own examples.",
        values,
        module_name=program,
    )
    define_flags(config, program, values)


def run_mode(config_class: type[C], experiment: Callable[[C], Experiment], presets: Mapping[str, C]) -> None:
    """Builds the run that the parsed flags describe, calls its mode, and prints the result.

    If the settings are wrong or the mode fails, it prints the error and ends the process.

    Args:
        config_class: as in `run`.
        experiment: as in `run`.
        presets: as in `run`.
    """
    if FLAGS.verbosity < 0:  # Orbax also logs at length what it raises, which one line will say
        logging.get_absl_logger().addFilter(lambda record: "/orbax/" not in record.pathname)
    with one_line_errors(config_class(), before=distributed.fail):
        _check_flags()
        process.prepare()
        _find_devices()
        distributed.enable_compilation_cache()
        folder = _folder()
        check_kinds(folder)
        layers = _config_layers(config_class(), presets, folder)
        config = layers[-1][1]
        settings.check(config)
        distributed.check_same_settings(_shared_settings(config, folder))
        options = {"checkpoint": FLAGS.checkpoint, "profile": FLAGS.profile}
        target = None if FLAGS.target is None else find_target(FLAGS.target)
        this_run = make_run(experiment, config, folder, target=target, **options)
        mode = _mode(this_run.experiment, layers)
        with usage_errors(config, " (--verbosity=1 shows where)"):
            check_run(this_run)
        Trace(folder, FLAGS.profile, int(this_run.engine.config.train.steps))  # checks the steps
    result = _call(mode, this_run)
    if jax.process_index() == 0:
        process.print_result(result)


def _check_flags() -> None:
    """Raises ValueError if a flag has no effect in this mode, or two say the same."""
    if FLAGS.profile is not None and FLAGS.mode in ("evaluate", "gradient_flow"):
        raise ValueError(f"--profile: got {FLAGS.profile!r} with --mode={FLAGS.mode}, expected --mode=train")
    if FLAGS["checkpoint"].present and FLAGS.mode == "train":
        raise ValueError(
            f"--checkpoint: got {FLAGS.checkpoint!r} with --mode=train, which goes on from the newest checkpoint; "
            "expected another mode"
        )
    for name, mode in ONE_MODE.items():
        if FLAGS[name].present and FLAGS.mode != mode:
            raise ValueError(
                f"--{name}: got {FLAGS[name].value!r} with --mode={FLAGS.mode}, expected --mode={mode}"
            )


def _find_devices() -> None:
    """Joins the other processes of the job and makes JAX find its devices; on a target, those of this CPU alone."""
    distributed.check_mode(FLAGS.distributed)
    if FLAGS.target is None:
        distributed.initialize(FLAGS.distributed)
    else:
        prepare_process(FLAGS.target)
    distributed.check_devices()


def _folder() -> Path:
    if FLAGS.run is None and FLAGS.workdir is None:
        if FLAGS.mode in OF_A_RUN:
            raise ValueError(
                f"--run: got none, expected the name of a run for --mode={FLAGS.mode}, or its --workdir"
            )
        if jax.process_count() > 1:
            raise ValueError("--run: got none, expected a name, or --workdir, in a job of several processes")
    return choose_folder(FLAGS.run, FLAGS.workdir, program_name())


def _config_layers(config: C, presets: Mapping[str, C], folder: Path) -> list[tuple[str, C]]:
    """The default config, that of a file, a preset or the folder's run, and last that with the flags that were given.

    Each has the name of its source.
    """
    layers = [(DEFAULT, config)]
    named = named_config(config, presets, FLAGS)
    if named is not None:
        layers.append(named)
    elif (folder / CONFIG).is_file():
        flag = "--run" if FLAGS.workdir is None else "--workdir"
        layers.append((str(folder / CONFIG), read_config(config, folder / CONFIG, flag, whole=True)))
    return [*layers, (FLAG, with_flags(layers[-1][1], FLAGS))]


def _shared_settings(config: Config, folder: Path) -> dict[str, str]:
    """The settings that must agree in all processes of a job, by flag."""
    own = {
        "--mode": FLAGS.mode,
        "--workdir": folder,
        "--checkpoint": FLAGS.checkpoint,
        "--profile": FLAGS.profile,
    }
    return {name: str(value) for name, value in own.items()} | {
        leaf.flag: leaf.text for leaf in settings.leaves(config)
    }


def _mode(experiment: Experiment, layers: Sequence[tuple[str, Config]]) -> Mode:
    given = [
        leaf.path for leaf in settings.leaves(layers[0][1]) if FLAGS[leaf.flag.removeprefix("--")].present
    ]
    inspect = functools.partial(
        modes.inspect, settings=sourced_settings(layers, given), compile=FLAGS.compile
    )
    others: dict[str, Mode] = {INSPECT: inspect}
    if experiment.generate is not None:
        others[GENERATE] = functools.partial(modes.generate, texts=FLAGS.input, output=FLAGS.output)
    return modes.find_mode(experiment, FLAGS.mode, others)


def _call(mode: Mode, this_run: Run) -> str:
    """Calls a mode and returns its result as JSON; ends the process if the mode was stopped or failed."""
    try:
        return _result_text(mode(this_run), this_run.folder)
    except Interrupted as stop:
        say(f"{stop}; to go on: --workdir={this_run.folder}")
        process.end(stop.exit_code)
    except Exception as error:
        line, exit_code = describe_failure(error, this_run)
        distributed.fail(exit_code, line or summary(error))
        if line is None:
            traceback.print_exc()
        else:
            logging.debug("traceback of the error below", exc_info=True)
            print_error(line)
        process.end(exit_code)


def _result_text(result: Any, folder: Path) -> str:
    try:
        named = FLAGS.mode != INSPECT or FLAGS.run is not None or FLAGS.workdir is not None
        return to_json({**result, "folder": str(folder)} if named else result)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--mode: got {shown(result)} from {FLAGS.mode}, expected a dict for JSON ({error})"
        ) from error
