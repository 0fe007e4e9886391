"""A file of runs is read as a shell reads words, and every mistake names its line."""

import pytest

from dlcore.launch.runs_file import read_each, read_runs


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


def test_a_line_may_be_a_json_object(tmp_path):
    text = b"""{"config.seed": 3, "config.rate": 1e-3, "preset": "a b", "config.features": [8, 16]}
--config.seed=4
{"config.init_from": null, "config.train.remat": true, "config.stages": [], "config.name": "\\u00e4"}
{}"""
    assert read_runs("--sweep", written(tmp_path, text)) == [
        ["--config.seed=3", "--config.rate=0.001", "--preset=a b", "--config.features=8,16"],
        ["--config.seed=4"],
        ["--config.init_from=none", "--config.train.remat=true", "--config.stages=", "--config.name=ä"],
        [],
    ]


def test_mistakes_of_a_reader_are_those_of_the_file(tmp_path):
    def read(number, arguments):
        if "--bad" in arguments:
            raise FileNotFoundError(f"--bad: no file {number}")
        return number, arguments

    assert read_each("--runs", written(tmp_path, b"#\n--a\n--b"), read) == [(2, ["--a"]), (3, ["--b"])]
    with pytest.raises(ValueError, match=r"^--runs: .*runs.txt:2: --bad: no file 2$"):
        read_each("--runs", written(tmp_path, b"#\n--bad\n--b"), read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "--sweep: got .*runs.txt without a run, expected a line of flags for each run"),
        (b"# none\n\n", "--sweep: got .*runs.txt without a run"),
        (
            b"--a=1\n--b='2\n",
            "--sweep: .*runs.txt:2: got .* \\(No closing quotation\\), expected flags",
        ),
        (b"--a=1\\", "--sweep: .*:1: got .* \\(No escaped character\\)"),
        (b"experiments.adding --a", "--sweep: .*:1: got 'experiments.adding', expected flags such as"),
        (b"''", "--sweep: .*:1: got '', expected flags such as"),
        (b"--a\n--b --run=x", "--sweep: .*:2: got a --run or --workdir, expected none"),
        (b'{"run": "x"}', "--sweep: .*:1: got a --run or --workdir, expected none"),
        (b'{"a": 1', "--sweep: .*:1: got .* \\(Expecting ',' delimiter.*\\), expected a JSON object"),
        (b'{"a": 1, "b": 2, "a": 3}', "--sweep: .*:1: --a: got it 2 times, expected it once"),
        (b'{"a": {"b": 2}}', "--sweep: .*:1: --a: got an object or a list in a list, expected a number"),
        (b'{"a": [[2]]}', "--sweep: .*:1: --a: got an object or a list in a list, expected a number"),
        (b"--a\nb\n--c\nd\ne", "--sweep: .*:2: got 'b', .* \\(mistakes also in line 4, 5\\)$"),
        (
            b"b\n" * 13,
            r"--sweep: .*:1: got 'b', .* \(mistakes also in line 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, \.\.\.\)$",
        ),
        (b"--workdir x", "--sweep: .*:1: got a --run or --workdir, expected none"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        read_runs("--sweep", written(tmp_path, text))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_runs("--sweep", tmp_path / "none")
