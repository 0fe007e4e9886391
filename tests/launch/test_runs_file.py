"""A file of runs is read as a shell reads words, and every mistake names its line."""

import pytest

from dlcore.launch.runs_file import read_runs


def written(tmp_path, text):
    path = tmp_path / "runs.txt"
    path.write_bytes(text)
    return path


def test_each_line_is_a_run(tmp_path):
    text = b"""# the first ones
--config.seed=1 --config.name='a b'

  --config.seed 2   --config.name=a#b
\t# the last one
--config.name="it's; $(touch no) `no` %j" --config.other=\xc3\xa4\xff --config.empty=''\r
"""
    assert read_runs("--sweep", written(tmp_path, text)) == [
        ["--config.seed=1", "--config.name=a b"],
        ["--config.seed", "2", "--config.name=a#b"],
        ["--config.name=it's; $(touch no) `no` %j", "--config.other=ä\udcff", "--config.empty="],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "--sweep: got .*runs.txt without a run, expected a line of flags for each run"),
        (b"# none\n\n", "--sweep: got .*runs.txt without a run"),
        (
            b"--a=1\n--b='2\n",
            "--sweep: .*runs.txt, line 2: got .* \\(No closing quotation\\), expected flags",
        ),
        (b"--a=1\\", "--sweep: .*, line 1: got .* \\(No escaped character\\)"),
        (b"experiments.adding --a", "--sweep: .*, line 1: got 'experiments.adding', expected flags such as"),
        (b"''", "--sweep: .*, line 1: got '', expected flags such as"),
        (b"--a\n--b --run=x", "--sweep: .*, line 2: got a --run or --workdir, expected none"),
        (b"--workdir x", "--sweep: .*, line 1: got a --run or --workdir, expected none"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_runs("--sweep", written(tmp_path, text))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_runs("--sweep", tmp_path / "none")
