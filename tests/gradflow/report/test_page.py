"""The report of a run: tables, figures, and a page that needs no other file."""

import csv
import dataclasses
import html.parser
from pathlib import Path

import numpy as np
import pytest

from dlcore.cli import modes
from dlcore.cli.errors import UsageError
from dlcore.gradflow.measures.gates import Gate
from dlcore.gradflow.report.page import write_report
from dlcore.training import loop
from dlcore.training.run import Run
from dlcore.training.run_folder import claim_folder
from tests.helpers import sequence_toy
from tests.helpers.flows import flow


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


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The paths of a report about two states of training, by name."""
    gate = Gate(*np.full((4, 200, 3), 0.5))._replace(mean_log=np.full((200, 3), -0.7))
    flows = {
        "initial": [flow()],
        "step 20": [flow(), flow(name="a<b", log_triangle=np.zeros((5, 5)), gates={"update": gate})],
    }
    metrics = [
        (step, f"train/{name}", 0.5) for step in (10, 20) for name in ("clipped_fraction", "gradient_norm")
    ]
    metrics += [(step, "train/gradient_norm_clipped", 0.4) for step in (10, 20)]
    folder = tmp_path_factory.mktemp("report") / "new"
    paths = write_report(folder, "run 7", flows, metrics, clip_norm=0.4)
    assert all(path.stat().st_size for path in paths)
    return {path.name: path for path in paths}


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_page_is_whole_and_needs_no_other_file(report):
    text = report["report.html"].read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.sources) == len([name for name in report if name.endswith(".png")]) == 8
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "a&lt;b (2 rows of 200 steps): gradients shrink. After 100 steps, a small change" in text
    assert (
        "<h2>From initial to step 20</h2><ul><li>encoder/cell: gradients hardly changed their pace." in text
    )
    assert "Clipping was active on 50% of the training steps." in text
    assert "<h2>In words: step 20</h2>" in text


def test_cells_that_were_not_measured_are_listed(report, tmp_path):
    assert "Not measured" not in report["report.html"].read_text()
    unmeasured = ["decoder (GRUCell run by AttentionDecoder)", "a<b (GRUCell run by RNN)"]
    write_report(tmp_path, "run 7", {"initial": [flow(steps=3)]}, unmeasured=unmeasured)
    text = (tmp_path / "report.html").read_text()
    assert (
        "but not along these parts:</p><ul><li>decoder (GRUCell run by AttentionDecoder)</li>\n<li>a&lt;b ("
        in text
    )
    assert Page(text).open == []


def test_a_sequence_without_steps_has_a_report(tmp_path):
    nothing = flow(
        steps=0, rate=np.nan, log_triangle=np.zeros((1, 1)), lengths=np.zeros(0, int), rows=np.zeros(1, int)
    )
    paths = write_report(tmp_path, "run 7", {"initial": [nothing]})
    assert "double_sum_encoder_cell" not in [path.stem for path in paths]
    assert rows(tmp_path / "summary.csv")[0]["longest"] == "0"


@pytest.mark.parametrize(("flows", "error"), [({}, ValueError), ([], TypeError), (None, TypeError)])
def test_a_report_about_nothing_is_refused(tmp_path, flows, error):
    with pytest.raises(error, match="flows: got"):
        write_report(tmp_path, "run 7", flows)


def test_a_report_without_training_has_no_word_about_clipping(tmp_path):
    paths = write_report(tmp_path, "run 7", {"initial": [flow(steps=3)]}, clip_norm=1.0)
    assert "clipping" not in [path.stem for path in paths]
    assert "Clipping was" not in (tmp_path / "report.html").read_text()


def test_the_mode_refuses_a_model_without_a_recurrent_layer(make_toy, tmp_path):
    toy = make_toy()
    with pytest.raises((ValueError, UsageError), match="experiment: got a model without a recurrence"):
        modes.gradient_flow(Run(toy.experiment, toy.config, tmp_path / "run"))


@pytest.mark.slow
def test_the_mode_measures_the_initial_state_and_every_checkpoint(tmp_path):
    config = sequence_toy.Config()
    config.train.steps, config.train.eval_every, config.checkpoint.every = 8, 4, 4
    run = Run(sequence_toy.experiment(config), config, tmp_path / "run")
    result = modes.gradient_flow(run)
    assert Path(result["report"]) == tmp_path / "run" / "gradient_flow" / "initial" / "report.html"
    assert any(name.startswith("half_life/") for name in result)
    with claim_folder(run):  # a run that was measured can still be trained
        loop.train(run.engine, run.folder)
    modes.gradient_flow(dataclasses.replace(run, checkpoint="all"))
    states = [row["state"] for row in rows(tmp_path / "run" / "gradient_flow" / "all" / "summary.csv")]
    assert list(dict.fromkeys(states)) == ["initial", "step 4", "step 8"]
    assert [name for name, _ in loop.named_states(run)] == ["step 8"]
    other = dataclasses.replace(config, features=5)
    with pytest.raises(UsageError):  # the folder belongs to another model
        modes.gradient_flow(Run(sequence_toy.experiment(other), other, run.folder, checkpoint="initial"))
