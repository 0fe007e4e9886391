"""The report of a run: tables, figures, and one page that needs no other file and says what it means."""

import csv
import dataclasses
import html.parser
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dlcore.cli import modes
from dlcore.gradflow.measures.gates import Gate
from dlcore.gradflow.models.flow import Flow
from dlcore.gradflow.report import page
from dlcore.gradflow.report.page import write_report
from dlcore.train import loop
from dlcore.train.run import Run
from dlcore.train.run_folder import claim_folder
from tests.helpers import sequence_toy
from tests.helpers.paths import ROOT


def flow(rate=-0.1, steps=200, **fields):
    lags = np.arange(steps + 1)
    values = {
        "name": "encoder/cell", "size": 4, "log_gain": rate * lags, "log_signal": rate * lags[::-1],
        "log_gradient": rate * lags[:0:-1], "log_by_lag": rate * lags[:50], "log_triangle": None,
        "exponents": np.array([rate, 2 * rate]), "rate": rate, "half_life": np.log(2) / -rate if rate < 0 else np.inf,
        "covering_lag": 22, "dead": 0.0, "nonfinite": -1, "gates": {},
    }  # fmt: skip
    return Flow(**(values | fields))


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (
            flow(),
            "encoder/cell: gradients fall by 10x every 23 steps; at lag 100 .* as 4.5e-05 of itself; its half",
        ),
        (
            flow(rate=0.5),
            "grow by 10x every 4.61 steps; at lag 100 a change of the state arrives as 5.2e[+]21 of",
        ),
        (flow(rate=0.0), "encoder/cell: gradients keep their size"),
        (flow(rate=-60.0), "at lag 100 a change of the state arrives as 1.7e-2606 of itself"),
        (flow(dead=0.25), "in 25% of the rows no signal at all reaches the first step [(]exactly 0[)]"),
        (flow(nonfinite=17), "the forward pass leaves the range of its numbers at step 17"),
        (flow(rate=np.nan, exponents=np.array([np.nan])), "too few lags to say how gradients change; at lag"),
    ],
)
def test_the_verdict_in_words(measured, words):
    assert re.search(words, page.verdict(measured))


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.sources = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.sources += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_holds_everything(tmp_path):
    gate = Gate(*np.full((4, 200, 3), 0.5))._replace(mean_log=np.full((200, 3), -0.7))
    flows = {
        "initial": [flow()],
        "step 20": [flow(name="a<b", log_triangle=np.zeros((5, 5)), gates={"update": gate})],
    }
    metrics = [
        (step, f"train/{name}", 0.5) for step in (10, 20) for name in ("clipped_fraction", "gradient_norm")
    ]
    metrics += [(step, "train/gradient_norm_clipped", 0.4) for step in (10, 20)]
    paths = write_report(tmp_path / "report", "run 7", flows, metrics, clip_norm=0.4)
    assert all(path.stat().st_size for path in paths)
    text = (tmp_path / "report" / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.sources) == len([path for path in paths if path.suffix == ".png"]) == 8
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "a&lt;b: gradients fall by 10x every 23 steps" in text
    assert "Clipping was active on 50% of the training steps." in text
    with (tmp_path / "report" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    gains = [float(row["log10"]) for row in rows if (row["state"], row["name"]) == ("initial", "gain")]
    np.testing.assert_allclose(gains, -0.1 * np.arange(201) / np.log(10), rtol=1e-5)
    with (tmp_path / "report" / "summary.csv").open() as file:
        assert [row["chain"] for row in csv.DictReader(file)] == ["encoder/cell", "a<b"]


def test_the_mode_measures_at_the_beginning_and_at_every_checkpoint(tmp_path):
    config = sequence_toy.Config()
    config.train.steps, config.checkpoint.every = 8, 4
    run = Run(sequence_toy.experiment(config), config, tmp_path / "run")
    result = modes.gradient_flow(run)
    assert Path(result["report"]) == tmp_path / "run" / "gradient_flow" / "initial" / "report.html"
    assert any(name.startswith("half_life/") for name in result)
    with claim_folder(run):  # where something was measured, the run can be trained
        loop.train(run.engine, run.folder)
    modes.gradient_flow(dataclasses.replace(run, checkpoint="all"))
    with (tmp_path / "run" / "gradient_flow" / "all" / "summary.csv").open() as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert list(dict.fromkeys(states)) == ["initial", "step 4", "step 8"]
    assert [name for name, _ in loop.named_states(run)] == ["step 8"]
    other = dataclasses.replace(config, features=5)
    with pytest.raises(SystemExit):  # the report of another model has no place there
        modes.gradient_flow(Run(sequence_toy.experiment(other), other, run.folder, checkpoint="initial"))


def test_a_model_without_recurrence_is_refused(tmp_path):
    arguments = [
        sys.executable,
        "-m",
        "tests.helpers.toy",
        f"--workdir={tmp_path / 'run'}",
        "--mode=gradient_flow",
    ]
    finished = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 2
    assert "--mode: got gradient_flow for a model without recurrent layers" in finished.stderr
