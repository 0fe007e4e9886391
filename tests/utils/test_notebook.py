"""One line below a notebook's cell, through a stand-in for IPython."""

import sys
from types import SimpleNamespace

import pytest

from dlcore.utils import notebook, progress
from dlcore.utils.notebook import NotebookLine
from dlcore.utils.progress import Progress


@pytest.fixture
def shown(monkeypatch):
    """What IPython was told to show: pairs of "new" or "same" line and its text."""
    calls = []

    def display(data, *, raw, display_id):
        assert raw
        assert display_id is True
        calls.append(("new", data["text/plain"]))
        return SimpleNamespace(update=lambda data, *, raw: calls.append(("same", data["text/plain"])))

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return calls


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])
    return now


def test_a_line_changes_in_place_and_not_too_often(shown, clock):
    line = NotebookLine()
    for text in ("a", "b", "c"):
        line.show(text)
    assert shown == [("new", "a")]
    clock[0] += 1
    line.show("d")
    line.show("e")
    line.show("f", at_once=True)
    assert shown[1:] == [("same", "d"), ("same", "f")]
    line.show("g")
    line.flush()
    line.flush()
    assert shown[3:] == [("same", "g")]


def test_progress_in_a_notebook_is_one_line_with_the_last_value_of_every_name(
    shown, clock, monkeypatch, capsys
):
    make_console = progress.Console
    monkeypatch.setattr(progress, "Console", lambda **options: make_console(**options, force_jupyter=True))
    with Progress("training", "step", 10) as bar:
        with bar.paused("compiling the training"):
            pass
        bar.advance(5)
        for loss in range(100):
            bar.report({"loss": str(loss)}, 5)
        bar.report({"eval accuracy": "0.5"}, 5)
    assert shown == [
        ("new", "compiling the training"),
        ("same", "step 5/10  loss 99  eval accuracy 0.5  0 s left"),
    ]
    assert capsys.readouterr() == ("", "")
