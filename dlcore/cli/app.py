"""The command line of every experiment: flags -> Config -> a mode, in a run's folder."""

import contextlib
import dataclasses
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
from absl import app, flags, logging

from dlcore.cli import modes
from dlcore.cli.command_line import choose_folder, parse_flags
from dlcore.cli.errors import BAD_USAGE, name_flag, one_line_errors
from dlcore.config import settings
from dlcore.config.files import read_config
from dlcore.config.flags import define_flags, find_preset, with_flags
from dlcore.train import distributed
from dlcore.train.config import Config
from dlcore.train.experiment import Experiment, Mode, check_model
from dlcore.train.faults.signals import INTERRUPTED, PREEMPTED, Interrupted
from dlcore.train.run import Run
from dlcore.train.run_folder import CONFIG, claim_folder
from dlcore.utils.files import to_json

C = TypeVar("C", bound=Config)
FLAGS = flags.FLAGS

FAILED = 1
LEADER_SECONDS = 2  # that the others have for their own last words: the first process's end ends them


def run(
    config_class: type[C], experiment: Callable[[C], Experiment], *, presets: Mapping[str, C] | None = None
) -> None:
    """Runs an experiment file from its command line; the last line of stdout is ``result: {JSON}``.

    Exits with 0 when done, 2 for a mistake in flags, config or data (one line on stderr, nothing written
    over), 1 when something failed on the way, 130 after Ctrl-C and 75 after SIGTERM or SIGUSR1, when the state is
    saved and the same command goes on.

    Args:
        config_class: a dataclass, usually derived from `Config`; each leaf is a flag ``--config.PATH``.
        experiment: ``experiment(config) -> Experiment``.
        presets: whole configs by name, for ``--preset=NAME``; flags override them.
    """
    presets = presets or {}
    _define_flags(config_class(), presets)

    def main(_: list[str]) -> None:
        try:
            run_mode()
        except KeyboardInterrupt:  # not at the end of a call of the training loop, which is `Interrupted`
            print(
                "stopped by Ctrl-C at once; what is saved stays, and the same command goes on",
                file=sys.stderr,
            )
            _exit(INTERRUPTED)

    def run_mode() -> None:
        if FLAGS.verbosity < 0:  # what Orbax logs at length is raised, too, and then said in a line
            logging.get_absl_logger().addFilter(lambda record: "/orbax/" not in record.pathname)
        signal.signal(signal.SIGTERM, _stop_early)
        signal.signal(signal.SIGUSR1, _stop_early)
        with contextlib.ExitStack() as stack:
            with one_line_errors(config_class()):
                distributed.initialize(FLAGS.distributed)
                distributed.enable_compilation_cache()
                folder = _folder()
                config = _config(config_class(), presets, folder)
                settings.check(config)
                distributed.check_same_settings(_settings(config, folder))
                built = _monitored(experiment(config), config)
                mode, this_run = _mode(built), Run(built, config, folder, FLAGS.checkpoint, FLAGS.profile)
                with one_line_errors(config, " (--verbosity=1 shows where)"):
                    check_model(built)
                    _ = this_run.engine.abstract_state  # mesh, sharding rules and batch size fit each other
                if FLAGS.mode == "train":
                    stack.enter_context(claim_folder(this_run))
            result = _result(mode, this_run)
        if jax.process_index() == 0:
            print("result:", to_json({**result, "folder": str(folder)}))

    app.run(main, flags_parser=parse_flags)


def _result(mode: Mode, this_run: Run) -> Mapping[str, Any]:
    """What the mode returns; exits where it was stopped or failed."""
    from dlcore.train.checkpoints.manager import CheckpointError
    from dlcore.train.faults.nonfinite import NonFiniteError

    try:
        return mode(this_run)
    except Interrupted as stop:
        print(f"{stop}; to go on: --workdir={this_run.folder}", file=sys.stderr)
        _exit(stop.exit_code)
    except Exception as error:
        mistake = name_flag(error, this_run.config)
        if mistake:
            logging.debug("traceback of the error below", exc_info=True)
            print("error:", " ".join(mistake.split()), file=sys.stderr)
            _exit(BAD_USAGE)
        raises = this_run.config.train.on_nan == "raise"
        if isinstance(error, CheckpointError) or (isinstance(error, NonFiniteError) and not raises):
            print("error:", error, file=sys.stderr)
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(
                f"error: the disk is full ({error}); every checkpoint in {this_run.folder} is whole; free space and "
                "start again",
                file=sys.stderr,
            )
        else:
            traceback.print_exc()
        _exit(FAILED)


def _exit(code: int) -> NoReturn:
    """Ends the process at once.

    After a failed write, threads of the checkpointing stay and would keep the process for ever; the other processes
    of a job would wait for this one at their exit.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_count() > 1 and jax.process_index() == 0:
        time.sleep(LEADER_SECONDS)
    os._exit(code)


def _stop_early(number: int, _: object) -> None:
    """Before and behind the training loop nothing is to be saved; an exception could get lost in JAX's callbacks."""
    os.write(sys.stderr.fileno(), f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(PREEMPTED)


def _define_flags(config: Config, presets: Mapping[str, Config]) -> None:
    program = sys.argv[0]
    names = ", ".join(presets) or "none here"
    for name, default, meaning in (
        ("mode", "train", "What to do: train, evaluate, gradient_flow, or a mode of this experiment's own."),
        ("preset", None, f"Begin with one of the experiment's whole configs: {names}."),
        ("from_config", None, "Begin with the config.json of a run; the same settings give the same bits."),
        ("run", None, "Name of the run, whose folder is runs/EXPERIMENT/NAME (default: the time of day)."),
        ("workdir", None, "The run's folder itself, instead of --run."),
        (
            "checkpoint",
            "newest",
            "For other modes than train: newest, best, a step; gradient_flow: also initial, all.",
        ),
        ("profile", None, "Trace these steps into the run's profile/, such as 100-110."),
        ("distributed", "auto", "Join the job's other processes: auto, on or off."),
    ):
        flags.DEFINE_string(name, default, meaning, module_name=program)
    define_flags(config, program, FLAGS)


def _folder() -> Path:
    if FLAGS.run is None and not FLAGS.workdir:
        if FLAGS.mode != "train":
            raise ValueError(
                f"--run: got none, expected the name of the run to {FLAGS.mode} (or its --workdir)"
            )
        if jax.process_count() > 1:
            raise ValueError("--run: got none, expected a name, or --workdir, in a job of several processes")
    return choose_folder(FLAGS.run, FLAGS.workdir)


def _config(config: C, presets: Mapping[str, C], folder: Path) -> C:
    """The config to begin with (file, preset, or what the folder's run had), under the flags given."""
    if FLAGS.preset and FLAGS.from_config:
        raise ValueError("--preset: got a --from_config too, expected one of them")
    if FLAGS.from_config:
        config = read_config(config, Path(FLAGS.from_config), "--from_config")
    elif FLAGS.preset:
        config = find_preset(presets, FLAGS.preset)
    elif (folder / CONFIG).is_file():
        config = read_config(config, folder / CONFIG, "--workdir" if FLAGS.workdir else "--run")
    return with_flags(config, FLAGS)


def _monitored(experiment: Experiment, config: Config) -> Experiment:
    """The experiment with a monitor of gradient flow, where the config wants one and it has none of its own."""
    if config.train.monitor_every is None or experiment.monitor is not None:
        return experiment
    from dlcore.gradflow.models.monitor import make_monitor

    return dataclasses.replace(experiment, monitor=make_monitor(modes.probe_loss(experiment)))


def _settings(config: Config, folder: Path) -> dict[str, str]:
    """What has to be the same in every process of a job, by flag."""
    own = {
        "--mode": FLAGS.mode,
        "--workdir": folder,
        "--checkpoint": FLAGS.checkpoint,
        "--profile": FLAGS.profile,
    }
    return {name: str(value) for name, value in own.items()} | {
        leaf.flag: leaf.text for leaf in settings.leaves(config)
    }


def _mode(experiment: Experiment) -> Mode:
    known: dict[str, Mode] = {
        "train": modes.train,
        "evaluate": modes.evaluate,
        "gradient_flow": modes.gradient_flow,
    }
    known |= experiment.modes
    if FLAGS.mode not in known:
        raise ValueError(
            f"--mode: got {FLAGS.mode!r}, expected one of {', '.join(known)}"
            + settings.did_you_mean(FLAGS.mode, known)
        )
    return known[FLAGS.mode]
