"""An experiment whose own mode ``toy`` takes a few milliseconds, and ends in ways that tests ask for.

python -m dlcore.launch.series --runs=FILE --workers=4 -- tests.helpers.many_toy --mode=toy
"""

import dataclasses
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import dlcore as dl
from dlcore.training.run import Run
from tests.helpers import plain_toy


@dataclass
class Config(plain_toy.Config):
    sleep: float = dl.setting(0.01, "Seconds that the mode toy sleeps.", minimum=0)
    end: Literal["well", "raise", "exit", "segv", "kill", "print"] = dl.setting(
        "well", "How the mode toy ends."
    )
    journal: str | None = dl.setting(None, "File to which the mode toy adds a line when it begins and ends.")


def experiment(config: Config) -> dl.Experiment:
    return dataclasses.replace(plain_toy.experiment(config), modes={"toy": toy})


def toy(run: Run) -> Mapping[str, Any]:
    config = run.config
    note(config, "begins")
    time.sleep(config.sleep)
    if config.end == "raise":
        raise RuntimeError(f"seed {config.seed}\nis bad")
    if config.end == "exit":
        raise SystemExit(3)
    if config.end in ("segv", "kill"):
        os.kill(os.getpid(), getattr(signal, f"SIG{config.end.upper()}"))
    if config.end == "print":
        print("printed")
        os.system("echo from a program")
    note(config, "ends")
    return {"square": config.seed**2, "third": config.seed / 3, "nan": float("nan"), "list": [1, 2]}


def note(config: Config, what: str) -> None:
    """Adds a line to the journal; the system adds it as a whole, also if other processes write, too."""
    if config.journal is not None:
        journal = os.open(config.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(journal, f"{config.seed} {os.getpid()} {what}\n".encode())
        os.close(journal)


if __name__ == "__main__":
    dl.run(Config, experiment, presets={"slow": Config(sleep=0.05)})
