"""An error becomes one line that names the flag, and an exit code."""

import errno
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

import dlcore as dl
from dlcore.cli.errors import (
    UsageError,
    describe_failure,
    explain,
    fail,
    name_flag,
    one_line_errors,
    summary,
    usage_errors,
)
from dlcore.training.checkpoints.disk import CheckpointError
from dlcore.training.faults.nonfinite import NonFiniteError
from dlcore.training.run import Run


@dataclass
class Inner:
    rate: float = dl.setting(0.1, "Rate.")
    size: int = dl.setting(1, "Size.")


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    size: int = dl.setting(1, "Size.")


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("rate: got -1, expected more", "--config.inner.rate: got -1, expected more"),
        ("size: got -1, expected more", None),  # two settings have this name
        ("kernel: got -1", None),
        ("rate got -1", None),
        ("--mode: got x", "--mode: got x"),
        ("checkpoint: got 7", "--checkpoint: got 7"),
        ("target: got 7", "--target: got 7"),
    ],
)
def test_an_argument_is_named_by_its_flag(message, named):
    assert name_flag(ValueError(message), Outer()) == named


@pytest.mark.parametrize("kind", [ValueError, TypeError, FileNotFoundError, ImportError, OverflowError])
def test_an_error_becomes_a_usage_error_with_its_cause(kind):
    with pytest.raises(UsageError, match=r"^--config\.inner\.rate: got -1$") as raised, usage_errors(Outer()):
        raise kind("rate: got -1")
    assert isinstance(raised.value.__cause__, kind)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/root/run"),
            "/root/run: Permission denied; allow it to this user, or choose another place",
        ),
        (OSError(errno.EROFS, "Read-only", b"/run"), "/run: Read-only; choose another place"),
        (OSError(errno.ENAMETOOLONG, "Too long", "x"), "x: Too long; choose a shorter name"),
        (
            OSError(errno.EIO, "Input/output error", "x"),
            "x: Input/output error; choose another place, or mend this one",
        ),
        (FileNotFoundError("--run: no file x"), "--run: no file x"),
        (
            MemoryError(),
            "the memory is full (no more); smaller sizes need less, such as a smaller batch_size",
        ),
        (ValueError("kernel: got 4"), "kernel: got 4"),
    ],
)
def test_an_error_is_explained_to_people(error, text):
    assert explain(error) == text


def test_the_hint_is_added_once_to_an_error_without_a_flag():
    with (
        pytest.raises(UsageError, match=r"^kernel: got 4 \(and more\)$"),
        usage_errors(Outer(), " (twice)"),
        usage_errors(Outer(), " (and more)"),
    ):
        raise ValueError("kernel: got 4")


def test_a_full_memory_becomes_a_usage_error():
    with (
        pytest.raises(UsageError, match=r"^the memory is full \(4 TiB\); smaller sizes"),
        usage_errors(Outer()),
    ):
        raise MemoryError("4 TiB")


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), one_line_errors(Outer()):
        raise ZeroDivisionError


def test_a_program_without_a_config_has_one_line_errors_too(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise ValueError("processes: got 0, expected more")
    assert capsys.readouterr().err == "error: processes: got 0, expected more\n"


def test_others_are_told_of_an_error_before_it_is_printed(capsys):
    told = []
    with (
        pytest.raises(SystemExit),
        one_line_errors(before=lambda *error: told.append((*error, capsys.readouterr().err))),
    ):
        raise ValueError("processes: got 0, expected more")
    assert told == [(2, "processes: got 0, expected more", "")]
    assert capsys.readouterr().err == "error: processes: got 0, expected more\n"


def test_a_long_error_has_a_short_summary():
    assert summary(ValueError(" a\n b" + 1000 * "c")) == "ValueError: a b" + 197 * "c"


def test_the_process_ends_with_2_and_one_line(capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors(Outer(), " (and more)"):
        raise ValueError("kernel: got\n  4")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: kernel: got 4 (and more)\n"
    with pytest.raises(SystemExit) as stop:
        fail("--seed: got\n3")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: --seed: got 3\n"


FULL = "the disk is full ([Errno 28] No space left); every checkpoint in run is whole; free space and start again"


@pytest.mark.parametrize(
    ("error", "line", "exit_code"),
    [
        (UsageError("no checkpoint"), "no checkpoint", 2),
        (ValueError("seed: got 3"), "--config.seed: got 3", 2),
        (KeyError("seed"), None, 1),
        (CheckpointError(errno.ENOSPC, "step 4 was not saved"), "step 4 was not saved", 1),
        (OSError(errno.ENOSPC, "No space left"), FULL, 1),
        (OSError(errno.EPERM, "not permitted"), None, 1),
        (
            MemoryError("4 TiB"),
            "the memory is full (4 TiB); smaller sizes need less, such as a smaller batch_size",
            1,
        ),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes.\nLargest:"),
            "the memory is full (RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes.); smaller sizes need less, such "
            "as a smaller batch_size",
            1,
        ),
        (NonFiniteError(7, "loss has NaN"), "step 7: loss has NaN", 1),
    ],
)
def test_what_the_command_line_says_of_a_failure(error, line, exit_code):
    assert describe_failure(error, Run(SimpleNamespace(optimizer=None), dl.Config(), Path("run"))) == (
        line,
        exit_code,
    )


def test_the_traceback_of_a_step_that_is_not_finite_is_shown_on_request():
    config = dl.Config()
    config.train.on_nan = "raise"
    found = describe_failure(
        NonFiniteError(7, "loss has NaN"), Run(SimpleNamespace(optimizer=None), config, Path("run"))
    )
    assert found == (None, 1)
