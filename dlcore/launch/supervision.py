"""Follows a job on a TPU slice to its end, and starts it again where that helps."""

import subprocess
import time
from collections.abc import Iterable

from dlcore.launch.queued_resource import QueuedResource, read_state
from dlcore.launch.worker import Worker, exit_code_line
from dlcore.training.job import BAD_USAGE, FAILED, PREEMPTED
from dlcore.utils.streams import say

ATTEMPTS = 10  # of a command of gcloud before the launcher gives up
DOCKER_FAILED = (125, 126, 127)  # docker's own exit codes when a container cannot start


class Supervisor:
    """Creates a slice, runs the job on it, and waits for the job's end.

    The state of the slice says what comes next. So the launcher can be stopped and called again at any time, and it
    never starts a second job beside the first.

    Args:
        resource: the queued resource of the slice.
        worker: what each worker of the slice runs.
        max_restarts: how often the job starts again after a process was killed.
        seconds: the time between two looks at the state.
    """

    def __init__(self, resource: QueuedResource, worker: Worker, max_restarts: int, seconds: float = 30):
        self._resource, self._worker, self._seconds = resource, worker, seconds
        self._restarts_left = max_restarts
        self._attempts_left = 1  # a first command that fails is a mistake, not an accident
        self._may_create = True  # nothing was seen yet, or this launcher deleted it
        self._has_ended = False  # the containers on the slice are those of a job that has to start again
        self._last_state: str | None = None

    def run(self) -> int:
        """Runs the job to its end.

        Returns:
            0 if the job finished, else the exit code of the process that ended it.

        Raises:
            OSError: gcloud or docker fails, the slice cannot be had, or someone else deleted it.
        """
        while True:
            state, by_user = self._state()
            if state == "ACTIVE":
                code = self._run_job()
                if code is not None:
                    return code
            elif state == "ABSENT" and self._may_create:
                self._create()
            elif state == "ABSENT" or (state == "SUSPENDED" and by_user):
                raise OSError(f"{self._resource.name}: it was deleted elsewhere, so the job has ended")
            elif state == "FAILED":
                raise OSError(
                    f"{self._resource.name}: Google Cloud cannot fulfill it; gcloud describe says why"
                )
            elif state == "SUSPENDED":  # taken away; the request does not become active again
                self.delete()
            else:
                time.sleep(self._seconds)

    def delete(self) -> None:
        """Deletes the slice.

        Raises:
            OSError: gcloud does not delete it.
        """
        while subprocess.run(self._resource.delete, check=False).returncode and self._state()[0] != "ABSENT":
            self._try_again("gcloud did not delete it")
        self._may_create = True

    def _state(self) -> tuple[str, bool]:
        """The state of the slice, ``ABSENT`` if there is none, and whether a user caused it."""
        attempts = ATTEMPTS if self._last_state else 1
        while True:
            try:
                state, by_user = read_state(self._resource) or ("ABSENT", False)
            except OSError as error:
                attempts -= 1
                if attempts == 0:
                    raise
                say(f"{error}; trying again")
                time.sleep(self._seconds)
                continue
            if state != self._last_state:
                say(f"{self._resource.name}: {state}")
            if state != "ABSENT" and self._last_state in (None, "ABSENT"):
                self._attempts_left = ATTEMPTS
            self._last_state = state
            self._may_create = self._may_create and state in ("ABSENT", "DELETING")
            return state, by_user

    def _create(self) -> None:
        created = subprocess.run(self._resource.create, check=False).returncode == 0
        self._may_create = not created
        if not created:
            self._try_again("gcloud did not create it")

    def _run_job(self) -> int | None:
        """Starts the job unless it runs, and follows it; returns its exit code if it must not start again."""
        script = self._worker.restart if self._has_ended else self._worker.start
        started = subprocess.run(self._resource.ssh(script), check=False).returncode
        if started in DOCKER_FAILED:
            raise OSError(f"{self._resource.name}: docker cannot start the container, see its message above")
        self._has_ended = self._has_ended and started != 0
        codes = [] if started else self._follow()
        if len(codes) < self._resource.tpu.hosts:
            self._try_again("the connection was lost")
            return None
        self._attempts_left = ATTEMPTS
        code = job_exit_code(codes)
        if code in (0, FAILED, BAD_USAGE):
            return code
        if code != PREEMPTED:
            if self._restarts_left == 0:
                return code
            self._restarts_left -= 1
        say(f"{self._resource.name}: exit code {code}; starting the job again")
        self._has_ended = True
        return None

    def _follow(self) -> list[int]:
        """Prints the log of all workers; returns the exit codes of the workers whose process has ended."""
        last = exit_code_line(self._worker.container)
        codes = []
        follow = self._resource.ssh(self._worker.follow)
        with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True, errors="backslashreplace") as gcloud:
            for line in gcloud.stdout or ():
                before, found, code = line.rpartition(last)
                if found:  # after the log's last line, which may have no end
                    codes.append(int(code))
                    line = before
                print(line, end="", flush=True)
        return codes

    def _try_again(self, what: str) -> None:
        """Waits, since gcloud failed; raises OSError if it failed too often."""
        self._attempts_left -= 1
        if self._attempts_left == 0:
            raise OSError(f"{self._resource.name}: {what}, see its message above")
        say(f"{self._resource.name}: {what}; trying again")
        time.sleep(self._seconds)


def job_exit_code(codes: Iterable[int]) -> int:
    """The exit code of a job of several processes.

    A process that was killed explains why the others failed, a failure explains why others stopped, and 0 means that
    all finished.

    Args:
        codes: the exit codes of the processes.

    >>> job_exit_code([1, 137]), job_exit_code([75, 1]), job_exit_code([0, 75]), job_exit_code([0, 0])
    (137, 1, 75, 0)
    """
    order = (BAD_USAGE, FAILED, PREEMPTED, 0)
    return min(codes, key=lambda code: order.index(code) if code in order else -1)
