"""Processes that do not outlive the process that started them."""

import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1

# Asks Linux for the signal, which stays asked for in the program that takes the place of this one.
_BOUND = f"""
import ctypes, os, sys
parent, number, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, int(number))
if os.getppid() == int(parent):
    os.execv(command[0], command)
"""


def bound_to_this_process(command: Sequence[str], number: signal.Signals = signal.SIGTERM) -> list[str]:
    """A command that runs another one, which gets a signal when the thread that started it, or its process, ends.

    Linux alone sends the signal. Elsewhere the command is only not started if the process has ended before.

    Args:
        command: the path of a program, and its arguments.
        number: the signal.
    """
    return [sys.executable, "-S", "-c", _BOUND, str(os.getpid()), str(int(number)), *command]
