"""Runs an experiment on this machine.

launch/local experiments.digits [--flags]
    one process, without a launcher in between
launch/local --processes=2 --devices_per_process=2 -- experiments.digits [--flags]
    one job of several processes, as on a cluster, on the devices of this machine's CPU
launch/local --workers=4 --runs=FILE -- experiments.digits [--flags]
    many runs, each with the flags of a line of the file, on worker processes that each do one run at a time
launch/local --scheduler=tcp://node1:8786 --runs=FILE -- experiments.digits [--flags]
    the same on the workers of a Dask cluster that runs already
"""

from absl import flags

from dlcore.launch.command import read_command
from dlcore.launch.launcher import FLAGS, FlagRow, run_launcher
from dlcore.launch.processes import run_processes
from dlcore.launch.series.clusters import local_cluster, running_cluster
from dlcore.launch.series.job import FLAG_ROWS, do_runs, plan_runs

MOST = 128  # more processes or devices than this only make a laptop stand still

ROWS: list[FlagRow] = [
    (flags.DEFINE_integer, "processes", None, "Number of processes that form one job."),
    (
        flags.DEFINE_integer,
        "devices_per_process",
        None,
        "Number of devices of each process. The default is 1, or what JAX_NUM_CPU_DEVICES says.",
    ),
    *FLAG_ROWS,
    (flags.DEFINE_integer, "workers", None, "Number of worker processes for --runs."),
    (
        flags.DEFINE_string,
        "scheduler",
        None,
        "For --runs, in place of --workers: the address or the file of the scheduler of a Dask cluster that runs.",
    ),
]
ONE_JOB, MANY_RUNS = ("processes", "devices_per_process"), ("workers", "scheduler", "isolate")


def launch(arguments: list[str]) -> int:
    """Runs the command in the arguments as the launcher's flags say, and returns the exit code of the job.

    Raises:
        ValueError, OSError: the flags or the command are wrong; then nothing was started.
    """
    if FLAGS.runs is None:
        _check_absent(MANY_RUNS, "without --runs, expected a file with a run on each line")
        check_numbers(FLAGS.processes, FLAGS.devices_per_process)
        return run_processes(read_command(arguments), FLAGS.processes, FLAGS.devices_per_process)
    _check_absent(ONE_JOB, "with --runs, each of which is one process, expected --workers")
    workers, scheduler = FLAGS.workers, FLAGS.scheduler
    check_workers(workers, scheduler)
    series = plan_runs(read_command(arguments), FLAGS.runs)
    if scheduler is None:
        return do_runs(series, lambda missing: local_cluster(min(workers, missing)), isolate=FLAGS.isolate)
    return do_runs(series, lambda _: running_cluster(scheduler), isolate=FLAGS.isolate)


def _check_absent(names: tuple[str, ...], why: str) -> None:
    for name in names:
        if FLAGS[name].present:
            raise ValueError(f"--{name}: got it {why}")


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


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Checks what does the runs: workers of this machine, or those of a scheduler.

    Raises:
        ValueError: none of both is named, or both are; or the number is too small or too large.
    """
    if scheduler is not None and workers is not None:
        raise ValueError("--scheduler: got --workers too, expected one of them")
    if scheduler is None and (workers is None or not 1 <= workers <= MOST):
        raise ValueError(f"--workers: got {workers}, expected 1 to {MOST}, or --scheduler")


if __name__ == "__main__":
    run_launcher(ROWS, launch)
