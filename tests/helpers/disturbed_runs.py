"""Does many runs of a toy while workers and the client are killed: each must be in the table once, as without kills.

    python -m tests.helpers.disturbed_runs --runs=2000 --kills=100 --freeze=60 --client_kills=2

Workers get SIGKILL at random moments, one of them is stopped for some seconds, and the client gets SIGKILL and is
started again. The command prints how often a run began. It fails unless the table equals that of a loop in one process,
and a run began again only after the process that did it before had been killed.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers.paths import ROOT

LONGEST = 0.05  # seconds of a run
WITHIN = 10  # seconds in which the workers of a dead client end


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100, help="number of workers that are killed")
    parser.add_argument("--freeze", type=float, default=60, help="seconds for which a worker is stopped")
    parser.add_argument("--client_kills", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        series = DisturbedSeries(Path(name), given.runs, given.workers, given.seed)
        print("result:", json.dumps(series.disturb(given.kills, given.freeze, given.client_kills)))


class DisturbedSeries:
    """A series of toy runs in a folder, whose workers and client are killed."""

    def __init__(self, folder: Path, runs: int, workers: int, seed: int):
        self.folder, self.runs, self.workers, self.chance = folder, runs, workers, random.Random(seed)
        self.journal, self.log = folder / "journal", folder / "log"
        self.sleeps = {seed: round(self.chance.uniform(0, LONGEST), 4) for seed in range(runs)}
        lines = [
            json.dumps({"config.seed": seed, "config.sleep": sleep}) for seed, sleep in self.sleeps.items()
        ]
        (folder / "runs.txt").write_text("\n".join(lines))
        self.killed: set[int] = set()
        self.frozen: set[int] = set()
        self.thaw: threading.Timer | None = None
        self.client: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "dlcore.launch.local", f"--runs={self.folder / 'runs.txt'}"]
        command += [f"--workers={self.workers}", "--", "tests.helpers.many_toy", "--mode=toy"]
        command += [f"--workdir={self.folder / 'series'}", f"--config.journal={self.journal}"]
        with self.log.open("a") as log:
            self.client = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def disturb(self, kills: int, freeze: float, client_kills: int) -> dict[str, float]:
        """Does all runs with so many kills; AssertionError if the table is not that of an undisturbed series."""
        began = time.monotonic()
        kinds = ["worker"] * kills + ["client"] * client_kills
        self.chance.shuffle(kinds)
        if freeze:
            kinds.insert(len(kinds) // 3, "freeze")
        self.start()
        for index, kind in enumerate(kinds):
            self.wait_for(self.runs * (index + 0.5) / (len(kinds) + 0.5) * 0.98)
            time.sleep(self.chance.uniform(0, LONGEST))
            if kind == "worker":
                self.killed.add(self.signal_worker(signal.SIGKILL, self.worker_pids))
            elif kind == "client":
                self.kill_client()
            else:
                self.freeze(freeze)
        assert self.wait() == 0, self.log.read_text()
        return {
            "runs": self.runs,
            "begun": self.check(),
            "kills": kills,
            "freezes": int(freeze > 0),
            "client kills": client_kills,
            "seconds": round(time.monotonic() - began, 1),
        }

    def wait(self) -> int:
        """The exit code of the client, which ends after the stopped worker has gone on."""
        code = self.client.wait()
        if self.thaw is not None:
            self.thaw.join()
        return code

    def ended(self) -> int:
        folder = self.folder / "series" / "runs"
        return sum(name.endswith(".json") for name in os.listdir(folder)) if folder.is_dir() else 0

    def wait_for(self, count: float) -> None:
        """Waits until so many runs have ended."""
        while self.ended() < count:
            assert self.client.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def worker_pids(self) -> set[int]:
        """The worker processes of the client but the stopped one."""
        children = Path(f"/proc/{self.client.pid}/task").glob("*/children")
        pids = {int(pid) for path in children for pid in path.read_text().split()}
        return {pid for pid in pids if is_worker(pid)} - self.frozen

    def running_pids(self) -> set[int]:
        """The worker processes that are in a run at this moment."""
        last = {int(pid): what for _, pid, what in self.read_journal()}
        return {pid for pid in self.worker_pids() if last.get(pid) == "begins"}

    def read_journal(self) -> list[list[str]]:
        """The seed, the process and ``begins`` or ``ends`` for each beginning and end of a run."""
        return [line.split() for line in self.journal.read_text().splitlines()]

    def signal_worker(self, number: signal.Signals, candidates: Callable[[], set[int]]) -> int:
        while not (pids := candidates()):
            assert self.client.poll() is None, self.log.read_text()
        pid = self.chance.choice(sorted(pids))
        os.kill(pid, number)
        return pid

    def freeze(self, seconds: float) -> None:
        """Stops a worker in a run, and lets it go on later; kills go on meanwhile."""
        while not self.frozen:
            pid = self.signal_worker(signal.SIGSTOP, self.running_pids)
            if pid in self.running_pids():  # else it has just ended its run
                self.frozen.add(pid)
            else:
                os.kill(pid, signal.SIGCONT)

        def go_on() -> None:
            if is_worker(pid):
                os.kill(pid, signal.SIGCONT)
            else:  # Dask takes it for dead after a while, see distributed.scheduler.worker-ttl
                self.killed.add(pid)

        self.thaw = threading.Timer(seconds, go_on)
        self.thaw.start()

    def kill_client(self) -> None:
        """Kills the client; its workers must end by themselves, and the next client goes on."""
        pids = self.worker_pids()
        self.killed.update(pids | self.frozen)
        self.client.kill()
        self.client.wait()
        deadline = time.monotonic() + WITHIN
        while any(map(is_worker, pids)):
            assert time.monotonic() < deadline, f"workers of a dead client are alive after {WITHIN} s"
            time.sleep(0.01)
        self.start()

    def check(self) -> int:
        """Compares the table with a loop over the runs; returns how often a run began."""
        with (self.folder / "series" / "runs.csv").open() as file:
            rows = list(csv.DictReader(file))
        found = [(row["seed"], row["sleep"], row["state"], row["square"], row["third"]) for row in rows]
        assert found == [
            (str(seed), str(sleep), "done", str(seed**2), repr(seed / 3))
            for seed, sleep in self.sleeps.items()
        ]
        assert len({row["run"] for row in rows}) == self.runs
        return self.check_journal()

    def check_journal(self) -> int:
        """How often a run began; AssertionError if it began again though nobody had killed the process before."""
        last: dict[str, int] = {}
        lines = self.read_journal()
        for seed, pid, what in lines:
            if what == "begins":
                assert seed not in last or last[seed] in self.killed, f"seed {seed}: {last[seed]}, then {pid}"
                last[seed] = int(pid)
            assert last[seed] == int(pid), f"seed {seed}: {pid} ended the run of {last[seed]}"
        return sum(what == "begins" for _, _, what in lines)


def is_worker(pid: int) -> bool:
    """True for a worker process that runs or is stopped; False for one that has ended."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


if __name__ == "__main__":
    main()
