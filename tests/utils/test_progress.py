"""Progress for people."""

from dlcore.utils.progress import Progress


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys):
    with Progress("training", "step", 10) as progress:
        progress.advance()
        progress.report({"loss": "0.25"}, 5)
        progress.report({"eval accuracy": "0.5"}, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 5/10  loss 0.25  ")
    assert lines[1].startswith("step 10/10  eval accuracy 0.5  ")
    assert all(line.endswith("s left") for line in lines)
