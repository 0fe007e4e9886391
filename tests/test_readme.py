"""What README tells a user to do works as it stands there."""

import doctest
import json
import re
import subprocess
import sys

from tests.helpers.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_the_experiment_of_ones_own_runs(tmp_path):
    _, _, program, plain = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    compile(plain, "README.md", "exec")  # a part; tests/train/test_experiment.py trains such a model
    assert len(program.splitlines()) <= 45
    (tmp_path / "rows.py").write_text(program)
    finished = subprocess.run(
        [sys.executable, "rows.py", "--run=short", "--config.train.steps=400"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout.splitlines()[-1].removeprefix("result: "))
    assert result["accuracy"] > 0.9
    assert (tmp_path / "runs" / "rows" / "short" / "figures" / "learning_curves.png").is_file()


def test_what_it_links_and_names_is_there():
    for path in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
    for path in re.findall(r"`(tests/[\w/]+\.py|dlcore/[\w/]+\.py)`", README):
        assert (ROOT / path).is_file(), path


def test_its_examples_print_what_they_say():
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert (failed, tried > 4) == (0, True)
