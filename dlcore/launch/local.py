"""Runs an experiment on this machine.

launch/local experiments.digits [--flags]
    one process, without a launcher in between
launch/local --processes=2 --devices_per_process=2 -- experiments.digits [--flags]
    one job of several processes, as on a cluster, on the devices of this machine's CPU
"""

import sys

from absl import flags

from dlcore.cli.errors import one_line_errors
from dlcore.cli.parsing import own_flags, parse_leading_flags
from dlcore.launch.command import read_command
from dlcore.launch.processes import run_processes
from dlcore.utils.streams import open_missing

FLAGS = flags.FLAGS
MOST = 128  # more processes or devices than this only make a laptop stand still


def main() -> None:
    """Reads the launcher's flags and the command after them, and ends this process with the exit code of the job."""
    open_missing()
    with own_flags(FLAGS):
        _define_flags()
        _, *arguments = parse_leading_flags(sys.argv)
        with one_line_errors():
            check_numbers(FLAGS.processes, FLAGS.devices_per_process)
            command = read_command(arguments)
            code = run_processes(command, FLAGS.processes, FLAGS.devices_per_process)
    sys.exit(code)


def _define_flags() -> None:
    program = sys.argv[0]
    for name, meaning in (
        ("processes", "Number of processes that form one job."),
        (
            "devices_per_process",
            "Number of devices of each process. The default is 1, or what JAX_NUM_CPU_DEVICES says.",
        ),
    ):
        flags.DEFINE_integer(name, None, meaning, module_name=program)


def check_numbers(processes: int | None, devices: int | None) -> None:
    """Checks the numbers of processes and of devices of each.

    Raises:
        ValueError: there is no number of processes, or one is too small or too large.
    """
    if processes is None:
        raise ValueError(
            "--processes: got none, expected the number of processes; one process needs no launcher's flags"
        )
    for name, number in (("processes", processes), ("devices_per_process", devices)):
        if number is not None and not 1 <= number <= MOST:
            raise ValueError(f"--{name}: got {number}, expected 1 to {MOST}")


if __name__ == "__main__":
    main()
