"""What a worker does with one run: it locks it, calls the experiment's mode, and publishes how the run ended."""

import functools
import gc
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from dlcore.cli.command_line import load_command_line
from dlcore.cli.errors import UsageError, describe_failure, usage_errors
from dlcore.cli.modes import find_mode
from dlcore.launch.series.isolated import RunError, call_isolated
from dlcore.launch.series.plan import run_name
from dlcore.launch.series.record import Attempts, Record, RunFiles
from dlcore.runs.build import check_run, make_run
from dlcore.training.distributed import check_devices, enable_compilation_cache
from dlcore.utils.files import to_json
from dlcore.utils.streams import printed_into

# A run whose worker died so often in a row, without a further checkpoint, is given up: it may be what kills them.
MOST_DEATHS = 3
LOCK_SECONDS = 2.0
# Compiled programs take of the memory and of the 65,530 memory maps that Linux gives a process. They are dropped so
# often, which takes a quarter of a second. Programs take time to compile, so few come in between.
CLEAR_SECONDS = 30.0


@dataclass(frozen=True)
class Task:
    """A run as a worker gets it.

    Attributes:
        module: the experiment's module.
        mode: what the run does.
        arguments: its flags.
        name: its name.
        series: the folder of the series.
        client: what tells the client that asks from earlier ones.
        isolate: True if the run has a process of its own.
    """

    module: str
    mode: str
    arguments: tuple[str, ...]
    name: str
    series: str
    client: str
    isolate: bool = False


def work(task: Task) -> Record | None:
    """Does one run, unless it is done already.

    Returns:
        How the run ended, which its record on the disk says, too. None: another process works for it, or a signal
        stopped it, and the caller should ask for it again later.
    """
    files = RunFiles(Path(task.series), task.name)
    try:
        with files.locked(LOCK_SECONDS) as attempts:
            known = files.record()
            return known if known is not None and known.error is None else _attempt(task, files, attempts)
    except BlockingIOError:
        return None


def _attempt(task: Task, files: RunFiles, attempts: Attempts) -> Record | None:
    died, began = attempts.begin(task.client), time.monotonic()
    result, error = None, None
    if died >= MOST_DEATHS:
        error = f"given up: its worker died {died} times in this run; --isolate tells how"
    else:
        try:
            result = _call(task, files, attempts)
            if result is None:  # the attempt counts, as if its process had died
                return None
        except RunError as failure:
            error = " ".join(str(failure).split())
    record = Record(list(task.arguments), round(time.monotonic() - began, 6), result, error)
    files.publish(record)
    attempts.end()
    return record


def _call(task: Task, files: RunFiles, attempts: Attempts) -> Mapping[str, Any] | None:
    """What the run's mode returns, as JSON has it; None if a signal stopped it. The run prints into its log.

    Raises:
        RunError: the run failed; the message is one line. The traceback is in the log.
    """
    with printed_into(files.log):
        if task.isolate:
            return call_isolated(task.module, task.mode, task.arguments, files, attempts.lock.fileno())
        try:
            return json.loads(to_json(_call_here(task, files)))
        except RunError as error:
            traceback.print_exception(error.__cause__ or error)
            raise
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            raise RunError(f"{type(error).__name__}: {error}") from error


def _call_here(task: Task, files: RunFiles) -> Mapping[str, Any]:
    """Calls the run's mode in this process.

    Raises:
        RunError: an error that the command line would print as one line.
        Exception: any other error.
    """
    loaded = _loaded(task.module)
    config = loaded.command_line.config(task.arguments)
    if run_name(task.module, task.mode, config) != task.name:
        raise RunError("the worker reads its flags as other settings, expected the client's code and files")
    try:
        with usage_errors(config):
            run = make_run(loaded.command_line.experiment, config, files.folder)
            mode = find_mode(run.experiment, task.mode)
            if task.mode == "train":
                check_run(run)
    except UsageError as error:
        raise RunError(str(error)) from error
    try:
        return mode(run)
    except Exception as error:
        line, _ = describe_failure(error, run)
        if line is None:
            raise
        raise RunError(line) from error
    finally:
        loaded.drop_programs()


class _Loaded:
    """An experiment's command line in a worker, whose programs stay compiled from one run to the next."""

    def __init__(self, module: str):
        check_devices()
        enable_compilation_cache()
        self.command_line = load_command_line(module)
        self._cleared = time.monotonic()

    def drop_programs(self) -> None:
        """Drops compiled programs if that was not done for a while; their files in the compilation cache stay."""
        if time.monotonic() - self._cleared > CLEAR_SECONDS:
            jax.clear_caches()
            gc.collect()
            self._cleared = time.monotonic()


_loaded = functools.cache(_Loaded)
