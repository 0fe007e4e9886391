"""The command line of a sweep: reads flags, measures every configuration, writes a table and figures."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from absl import app, flags

from dlcore.cli.command_line import hand_over
from dlcore.cli.config_class import check_config_class
from dlcore.cli.errors import one_line_errors
from dlcore.cli.parsing import own_flags, parse_flags
from dlcore.cli.process import print_result
from dlcore.config import settings
from dlcore.config.files import read_config, to_dict
from dlcore.config.flags import define_flags, with_flags
from dlcore.plots.canvas import save_figures
from dlcore.sweep import execute
from dlcore.sweep.plan import Sweep
from dlcore.training import distributed
from dlcore.training.job import INTERRUPTED
from dlcore.training.run_folder import CONFIG, check_kinds, check_unused
from dlcore.utils.checks import check_callable, check_instance
from dlcore.utils.files import to_json, write_json
from dlcore.utils.run_paths import choose_folder, program_name
from dlcore.utils.streams import open_missing, say

FLAGS = flags.FLAGS
TABLE, FIGURES = "sweep.csv", "figures"
BYTES_PER_GIB = 2**30


@dataclass
class SweepConfig(settings.Settings):
    """The settings of every sweep. A sweep's own config adds tuples, each with all values that a setting takes."""

    memory: float | None = settings.setting(
        None,
        "Memory in GiB that a batch of configurations may use; none means half of the free memory.",
        above=0,
        maximum=2**30,
        may_change=True,
    )


C = TypeVar("C", bound=SweepConfig)


def run_sweep(config_class: type[C], plan: Callable[[C], Sweep]) -> None:
    """Runs a sweep from its command line, and ends the process; the last line of stdout is ``result: {JSON}``.

    A sweep that is started again with the same ``--run`` measures only the configurations that its table does not
    have yet, for instance those of added values. Exit codes: 0 if all is done; 2 for a mistake, which one line on
    stderr names; 1 if something else failed; 130 after Ctrl-C.

    Args:
        config_class: a dataclass derived from `SweepConfig`; each setting is a flag ``--config.PATH``.
        plan: ``plan(config) -> Sweep``.
    """
    open_missing()
    check_config_class(config_class, SweepConfig, "dl.SweepConfig")
    check_callable("plan", plan, "plan(config) -> dl.sweep.Sweep")
    hand_over(plan)

    def main(_: list[str]) -> None:
        began = time.monotonic()
        with one_line_errors(config_class(), " (--verbosity=1 shows where)"):
            distributed.check_devices()
            distributed.enable_compilation_cache()
            folder = choose_folder(FLAGS.run, FLAGS.workdir, program_name())
            check_kinds(folder)
            config = stored_config(config_class(), folder, FLAGS)
            sweep = plan(config)
            check_instance("plan", sweep, Sweep, "a dl.sweep.Sweep that it returns")
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / CONFIG, to_dict(config))
            memory = None if config.memory is None else config.memory * BYTES_PER_GIB
            try:
                rows = execute.run(sweep, folder / TABLE, memory)
            except KeyboardInterrupt:
                say(f"stopped by Ctrl-C; to go on: --workdir={folder}")
                sys.exit(INTERRUPTED)
        for path in save_figures(folder / FIGURES, sweep.figures(rows)):
            say(f"figure: {path}")
        seconds = round(time.monotonic() - began, 2)
        print_result(to_json({"configurations": len(rows), "seconds": seconds, "folder": str(folder)}))

    with own_flags(FLAGS):
        _define_sweep_flags(config_class())
        app.run(main, flags_parser=parse_flags)


def _define_sweep_flags(config: SweepConfig) -> None:
    program = sys.argv[0]
    for name, meaning in (
        ("run", "Name of the run; its folder is runs/SWEEP/NAME. The default is the time of day."),
        ("workdir", "The run's folder itself, in place of --run."),
    ):
        flags.DEFINE_string(name, None, meaning, FLAGS, module_name=program)
    define_flags(config, program, FLAGS)


def stored_config(config: C, folder: Path, values: flags.FlagValues) -> C:
    """The config of the sweep in a folder, or ``config`` if there is none, changed by the flags that were given.

    Args:
        config: the default config.
        folder: the run's folder.
        values: the parsed flags.

    Raises:
        ValueError: the folder holds files but no ``config.json``; a setting has another type or is out of bounds; a
            tuple is empty or has a value twice; or the table exists, and a setting that is no tuple and may not change
            differs from the stored one.
    """
    check_instance("folder", folder, Path, "a pathlib.Path")
    check_instance("values", values, flags.FlagValues, "flags such as absl.flags.FLAGS")
    path, stored = folder / CONFIG, None
    if path.is_file():
        flag = "--run" if values.workdir is None else "--workdir"
        stored = config = read_config(config, path, flag, whole=True)
    else:
        check_unused(folder)
    config = with_flags(config, values)
    settings.check(config)
    _check_values(config)
    if stored is not None and (folder / TABLE).is_file():
        _check_same(config, stored, folder)
    return config


def _check_values(config: SweepConfig) -> None:
    """Raises ValueError if a setting has no value, or one value twice."""
    for leaf in settings.leaves(config):
        if not isinstance(leaf.value, tuple):
            continue
        if not leaf.value:
            raise ValueError(f"{leaf.flag}: got no value, expected one at least")
        again = [value for value in leaf.value if leaf.value.count(value) > 1]
        if again:
            raise ValueError(f"{leaf.flag}: got {again[0]} twice, expected each value once")


def _check_same(config: SweepConfig, stored: SweepConfig, folder: Path) -> None:
    """Raises ValueError if a setting with one value for the whole table differs from the stored one."""
    for new, old in zip(settings.leaves(config), settings.leaves(stored), strict=True):
        if new.value != old.value and not isinstance(new.value, tuple) and not new.may_change:
            raise ValueError(
                f"{new.flag}: got {new.text} for {folder}, whose table was measured with {old.text}; choose another "
                "--run name"
            )
