"""The command line of a sweep: flags -> Config -> a table and its figures, in a run's folder."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from absl import app, flags

from dlcore.cli.command_line import choose_folder, parse_flags
from dlcore.cli.errors import one_line_errors
from dlcore.config import settings
from dlcore.config.files import read_config, to_dict
from dlcore.config.flags import define_flags, with_flags
from dlcore.sweep import execute
from dlcore.sweep.plan import Sweep
from dlcore.train import distributed
from dlcore.train.faults.signals import INTERRUPTED
from dlcore.train.run_folder import CONFIG, check_unused
from dlcore.utils.files import atomic_write, to_json

FLAGS = flags.FLAGS
TABLE = "sweep.csv"


@dataclass
class SweepConfig:
    """What every sweep can be told; a tuple is all the values that a setting takes."""

    memory: float | None = settings.setting(
        None,
        "GiB that a batch of configurations may take; none: half of what is free.",
        above=0,
        may_change=True,
    )


C = TypeVar("C", bound=SweepConfig)


def run_sweep(config_class: type[C], plan: Callable[[C], Sweep]) -> None:
    """Runs a sweep from its command line; the last line of stdout is ``result: {JSON}``.

    Started again with the same ``--run`` it measures what is not in its table yet; with more values, these.

    Args:
        config_class: a dataclass derived from `SweepConfig`; each leaf is a flag ``--config.PATH``.
        plan: ``plan(config) -> Sweep``.
    """
    program = sys.argv[0]
    flags.DEFINE_string("run", None, "Name of the run, whose folder is runs/SWEEP/NAME.", module_name=program)
    flags.DEFINE_string("workdir", None, "The run's folder itself, instead of --run.", module_name=program)
    define_flags(config_class(), program, FLAGS)

    def main(_: list[str]) -> None:
        began = time.monotonic()
        with one_line_errors(config_class(), " (--verbosity=1 shows where)"):
            distributed.enable_compilation_cache()
            folder = choose_folder(FLAGS.run or None, FLAGS.workdir)
            config = _config(config_class(), folder)
            planned = plan(config)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(folder / CONFIG) as file:
                file.write(to_json(to_dict(config), indent=2) + "\n")
            try:
                rows = execute.run(
                    planned, folder / TABLE, None if config.memory is None else config.memory * 2**30
                )
            except KeyboardInterrupt:
                print(f"stopped by Ctrl-C; to go on: --workdir={folder}", file=sys.stderr)
                sys.exit(INTERRUPTED)
        (folder / "figures").mkdir(exist_ok=True)
        for name, figure in planned.figures(rows).items():
            path = folder / "figures" / f"{name}.png"
            figure.savefig(path)
            print(f"figure: {path}", file=sys.stderr)
        result = {
            "configurations": len(rows),
            "seconds": round(time.monotonic() - began, 2),
            "folder": str(folder),
        }
        print("result:", to_json(result))

    app.run(main, flags_parser=parse_flags)


def _config(config: C, folder: Path) -> C:
    """What the folder's sweep had, under the flags given."""
    path, stored = folder / CONFIG, None
    if path.is_file():
        stored = config = read_config(config, path, "--workdir" if FLAGS.workdir else "--run")
    else:
        check_unused(folder)
    config = with_flags(config, FLAGS)
    settings.check(config)
    _check_values(config)
    if stored is not None and (folder / TABLE).is_file():
        _check_same(config, stored, folder)
    return config


def _check_values(config: SweepConfig) -> None:
    """ValueError where a setting has no value, or the same twice."""
    for leaf in settings.leaves(config):
        if not isinstance(leaf.value, tuple):
            continue
        if not leaf.value:
            raise ValueError(f"{leaf.flag}: got no value, expected one at least")
        again = [value for value in leaf.value if leaf.value.count(value) > 1]
        if again:
            raise ValueError(f"{leaf.flag}: got {again[0]} twice, expected each value once")


def _check_same(config: SweepConfig, stored: SweepConfig, folder: Path) -> None:
    """ValueError where a setting that has one value for all rows of the table is not that of the table."""
    for new, old in zip(settings.leaves(config), settings.leaves(stored), strict=True):
        if new.value != old.value and not isinstance(new.value, tuple) and not new.may_change:
            raise ValueError(
                f"{new.flag}: got {new.text} for {folder}, whose table was measured with {old.text}; choose another "
                "--run name"
            )
