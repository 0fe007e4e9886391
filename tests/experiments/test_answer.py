"""The answer experiment looks at supporting facts, answers what a person writes, and knows its baselines."""

import types

import jax
import numpy as np
import pytest

import dlcore as dl
from dlcore.training.contract import check_model
from experiments import answer
from tests.helpers.experiment_runs import make_config, train_experiment

SMALL = {"features": 4, "data__train": 40, "data__test": 20, "train__batch_size": 8}
TEXTS = [
    "Anna went to the park. Anna took the ball. Peter ran to the attic. Anna ran to the hall. Where is the ball?",
    "Peter ran to the attic. Where is Peter?",
]


@pytest.fixture(scope="module")
def made():
    """The experiment, and its initial parameters."""
    experiment = answer.experiment(make_config(answer, **SMALL))
    params, _ = jax.jit(experiment.init)(jax.random.key(0), experiment.train_data[0])
    return experiment, params


@pytest.mark.parametrize("cell", ["lstm", *(pytest.param(cell, marks=pytest.mark.slow) for cell in dl.CELLS)])
def test_every_cell_reads(cell):
    check_model(answer.experiment(make_config(answer, cell=cell, looks=3, **SMALL)))


def test_the_parts_are_the_generated_stories_of_both_tasks(made):
    experiment, _ = made
    assert experiment.train_data.examples == 2 * 40
    for facts in (1, 2):
        (batch,) = experiment.eval_data[f"task{facts}"]
        assert batch["supporting"][batch["mask"]].sum(axis=1).tolist() == [facts] * 20
    train = [story for facts in (1, 2) for story in dl.data.generated_stories(facts, 40, 20)[0]]
    assert experiment.files == {
        "vocabulary.json": dl.data.Vocabulary.of(story.tokens for story in train).to_json()
    }


def test_babi_is_read_from_a_folder(tmp_path):
    story = "1 Mary moved to the hall.\n2 Where is Mary? \thall\t1\n"
    for part in ("train", "test"):
        (tmp_path / f"qa4_two-arg-relations_{part}.txt").write_text(story)
    config = make_config(answer, data__folder=str(tmp_path), data__tasks=(4,), train__batch_size=1)
    experiment = answer.experiment(config)
    assert (set(experiment.eval_data), experiment.best) == ({"task4"}, "task4/accuracy")
    with pytest.raises(FileNotFoundError, match="qa1_"):
        answer.experiment(make_config(answer, data__folder=str(tmp_path)))


def test_the_baselines_are_a_mode(made):
    experiment, _ = made
    for facts in (1, 2):
        expected = dl.data.story_baselines(*dl.data.generated_stories(facts, 40, 20))
        assert experiment.modes["baselines"](None)[f"task{facts}"] == expected


def test_a_person_gets_an_answer_and_the_sentences_that_the_model_looks_at(made):
    """The weights are those of the sentences; a story has the same ones alone and beside a longer story."""
    experiment, params = made
    predict = jax.jit(experiment.predict)
    model = types.SimpleNamespace(apply=lambda batch: predict(params, {}, batch))
    files = experiment.generate(model, TEXTS)
    first, second = files["answers.txt"].splitlines()
    assert first.startswith("where is the ball? ")
    assert second.endswith("looked at: peter ran to the attic / peter ran to the attic")
    sentences = [
        "anna went to the park 1",
        "anna took the ball 2",
        "peter ran to the attic 3",
        "anna ran to the hall 4",
    ]
    (axes,) = files["story_1"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == sentences
    weights = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    looked_at = [sentences[place][:-2] for place in weights.argmax(axis=0)]
    assert first.endswith(f"looked at: {' / '.join(looked_at)}")
    assert experiment.generate(model, TEXTS[1:])["answers.txt"] == f"{second}\n"
    with pytest.raises(ValueError, match="story: got 'Where"):
        experiment.generate(model, ["Where is Anna?"])


@pytest.mark.slow
def test_figures_show_test_stories_with_their_facts(made):
    experiment, params = made
    drawn = experiment.figures(params, {})
    assert set(drawn) == {f"story_{number}" for number in range(1, 7)}
    labels = [label.get_text() for label in drawn["story_4"].axes[0].get_yticklabels()]
    _, (story, *_) = dl.data.generated_stories(2, 40, 20)
    arrows = [number for number, label in enumerate(labels, start=1) if label.startswith("\u2192")]
    assert arrows == sorted(story.supporting)


@pytest.mark.slow
def test_a_short_run_learns_to_look_at_the_facts(tmp_path):
    changes = {"features": 32, "data__train": 4000, "data__test": 200, "train__steps": 600}
    experiment, trained = train_experiment(answer, tmp_path, **changes)
    assert trained.evaluation["task1/accuracy"] > 0.9
    (batch,) = experiment.eval_data["task1"]
    _, weights = jax.jit(experiment.predict)(trained.state.params, {}, batch)
    looked_at = (np.asarray(weights) * batch["supporting"][:, None]).sum(axis=-1).max(axis=1)
    assert looked_at[batch["mask"]].mean() > 0.5
