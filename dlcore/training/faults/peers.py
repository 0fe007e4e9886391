"""The processes of a job tell each other how they end, so that none waits for a process that has ended.

Process 0 has a connection to each of the others. The system closes the connections of a process that ends, in whatever
way: the others hear of it at once, even while they wait in a collective or compile.

A machine without power and a process that is stopped close no connection. JAX misses their heartbeats after a while,
and aborts the others with a message of its own. A line that names the silent process comes before.
"""

import contextlib
import dataclasses
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlcore.training.faults.links import Link
from dlcore.training.job import INTERRUPTED, KILLED, PREEMPTED, of_the_job
from dlcore.utils.streams import say

# An error of this process may only follow from the end of another one: so long may the news of it take.
NEWS_SECONDS = 1
# A process prints its error and ends so long after it has told the others, so that their lines come before.
LAST_WORDS_SECONDS = 2
FOLLOW_SECONDS = 1  # the others go on so long: if all hang, each has time to print its own tracebacks
BEAT_SECONDS, SILENT_SECONDS = 5, 15
AFTER_SECONDS = 3  # and they end so long after that
HANGING_SECONDS = 10  # process 0 ends when the one that failed has ended, or so long after its word


@dataclass(frozen=True)
class Ending:
    """How a process ended before the work of the job was done.

    Attributes:
        process: its index.
        host: the name of its machine.
        code: its exit code; None if it ended without a word, as a process that is killed does.
        why: its error, or what stopped it.
    """

    process: int
    host: str
    code: int | None = None
    why: str = ""

    @property
    def text(self) -> str:
        """The line that the other processes print."""
        who = of_the_job(self.process, self.host)
        if self.code is None:
            return f"error: {who} died; the same command goes on from the newest checkpoint"
        if self.code in (PREEMPTED, INTERRUPTED):
            return f"{who} ended: {self.why}"
        return f"error: {who} failed: {self.why}"


class Peers:
    """The other processes of a job; a thread listens to them.

    If one of them ends before the work of the job is done, the thread prints a line that names it, and ends this
    process after it with the same exit code; that is 137, as after SIGKILL, if the other one died without a word.

    Args:
        process: the index of this process.
        links: in process 0, those to all others; in the others, the one to process 0.
    """

    def __init__(self, process: int, links: Sequence[Link]):
        self._process, self._links = process, links
        self._ends = threading.Lock()  # the first who acquires it ends this process: the thread, or `tell`
        self._news, self._all_done = threading.Event(), threading.Event()
        self._selector = selectors.DefaultSelector()
        for link in links:
            self._selector.register(link, selectors.EVENT_READ)
        self._next_beat, self._silent = 0.0, set[int]()
        if not links:
            self._all_done.set()
        threading.Thread(target=self._listen, name="peers", daemon=True).start()

    def tell(self, code: int, why: str) -> bool:
        """Tells the others that this process ends before the work is done, and returns when it may end.

        Args:
            code: its exit code.
            why: its error, or what stopped it.

        Returns:
            True if they are told now; False if they know already, or if another process ended first.
        """
        if not self._ends.acquire(blocking=False):
            return False
        self._pass_on(Ending(self._process, socket.gethostname(), code, why))
        time.sleep(LAST_WORDS_SECONDS)
        return True

    def fail(self, code: int, why: str) -> None:
        """Tells the others of an error, and returns when it is to be printed.

        It does not return if the error follows from the end of another process: the thread ends this one.

        Args:
            code: the exit code of this process.
            why: the error.
        """
        if not self._ends.locked():
            self._news.wait(NEWS_SECONDS)
        if self._news.is_set():
            threading.Event().wait()
        self.tell(code, why)

    def leave(self) -> bool:
        """Waits until the work of all others is done, too, unless they were told that this process ends.

        Returns:
            True if the work of all is done.
        """
        if self._ends.locked():
            return False
        if self._process == 0:
            self._all_done.wait()  # the others are told after that
        for link in self._links:
            link.send({"done": True})
        self._all_done.wait()
        return True

    def _listen(self, until: Callable[[], bool] = lambda: False, seconds: float | None = None) -> None:
        """Hears what comes until a condition holds, the time is over, or all others have ended."""
        end = None if seconds is None else time.monotonic() + seconds
        while self._selector.get_map() and not until():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return
            for key, _ in self._selector.select(BEAT_SECONDS if left is None else min(left, BEAT_SECONDS)):
                self._hear(key.fileobj)  # type: ignore[arg-type]
            self._beat()

    def _beat(self) -> None:
        """Gives a sign to the others, and names those that have given none for long.

        It ends nothing: a thread of Python may give no sign for a while, unlike those of JAX.
        """
        now = time.monotonic()
        if now < self._next_beat:
            return
        late = now > self._next_beat + BEAT_SECONDS  # this process had no time to hear the others
        self._next_beat = now + BEAT_SECONDS
        for link in self._links:
            link.send({})
            if late or now - link.heard < SILENT_SECONDS:
                self._silent.discard(link.process)
            elif link.process not in self._silent and not link.done:
                self._silent.add(link.process)
                who = of_the_job(link.process, link.host)
                say(f"waiting for {who}: no sign of it for {now - link.heard:.0f} s")

    def _hear(self, link: Link) -> None:
        for message in link.receive():
            if "done" in message:
                link.done = True
            elif message:
                self._follow(Ending(**message), link)
        if link.closed:
            self._selector.unregister(link)
            if not link.done:
                self._follow(Ending(link.process, link.host), link)
        if all(link.done for link in self._links):
            self._all_done.set()

    def _follow(self, ending: Ending, link: Link) -> None:
        """Ends this process since another one has ended, unless this one ends already."""
        self._pass_on(ending, link)
        if not self._ends.acquire(blocking=False):
            return
        self._news.set()
        say(ending.text)
        if ending.code is None:
            if self._process == 0:
                time.sleep(FOLLOW_SECONDS)  # the others hear of it before they lose process 0
            os._exit(KILLED)
        self._listen(lambda: link.closed, FOLLOW_SECONDS if self._process else HANGING_SECONDS)
        if self._process:
            _become_a_shell(ending.code)
        os._exit(ending.code)

    def _pass_on(self, ending: Ending, source: Link | None = None) -> None:
        for link in self._links:
            if link is not source:
                link.send(dataclasses.asdict(ending))


def _become_a_shell(code: int) -> None:
    """Lets a shell take the place of this process, wait, and end with an exit code.

    The process that failed should end first, and be the one that is reported. If it is process 0, JAX would abort this
    process at the same moment.
    """
    with contextlib.suppress(OSError):  # there is no such shell
        os.execv("/bin/sh", ["sh", "-c", f"sleep {AFTER_SECONDS}; exit {code}"])
