"""The command line of a launcher: its flags, what stays for the experiment, and one line for a mistake."""

import sys

import pytest
from absl import flags

from dlcore.launch.launcher import FLAGS, check_at_least, check_program, run_launcher

ROWS = [(flags.DEFINE_integer, "nodes", 1, "Number of nodes.")]


def call(monkeypatch, capsys, *arguments, launch=lambda rest: print(FLAGS.nodes, rest) or 0):
    monkeypatch.setattr(sys, "argv", ["launch/x", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_launcher(ROWS, launch)
    return stop.value.code, *capsys.readouterr()


def test_the_flags_of_the_launcher_end_at_the_experiment(monkeypatch, capsys):
    for separator in ([], ["--"]):
        code, out, err = call(
            monkeypatch, capsys, "--nodes=3", *separator, "experiments.a", "--nodes=4", "--", "x"
        )
        assert (code, out, err) == (0, "3 ['experiments.a', '--nodes=4', '--', 'x']\n", "")
    assert "nodes" not in FLAGS


def test_a_mistake_is_one_line_and_exit_code_2(monkeypatch, capsys):
    def refuse(error):
        def launch(_):
            raise error

        return launch

    for error, text in (
        (ValueError("--nodes: no\nmore"), "error: --nodes: no more\n"),
        (
            PermissionError(13, "Permission denied", "/x"),
            "error: /x: Permission denied; allow it to this user",
        ),
    ):
        code, out, err = call(monkeypatch, capsys, launch=refuse(error))
        assert (code, out) == (2, "")
        assert err.startswith(text)
    assert call(monkeypatch, capsys, "--node=3")[2].startswith(
        "error: --node: no such flag, see --help; did you mean"
    )


def test_the_exit_code_is_the_launchers(monkeypatch, capsys):
    assert call(monkeypatch, capsys, launch=lambda _: 75)[0] == 75


def test_a_missing_program_is_named():
    check_program("sh", "call it")
    with pytest.raises(ValueError, match=r"got no no-such-program on the PATH.*; install it"):
        check_program("no-such-program", "install it")


def test_a_number_that_is_too_small_is_refused():
    check_at_least("--nodes", 1, 1)
    with pytest.raises(ValueError, match=r"^--nodes: got 0, expected a number >= 1$"):
        check_at_least("--nodes", 0, 1)
