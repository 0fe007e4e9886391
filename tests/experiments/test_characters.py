"""The model of characters is measured over whole pieces, and writes from where its seed ends."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dlcore as dl
from experiments import characters
from tests.helpers.experiment_runs import make_config

TEXT = "".join(np.random.default_rng(0).choice(list("abc d\n"), 3000))


@pytest.fixture(scope="module", name="small")
def small_experiment(tmp_path_factory):
    """The experiment on a short file, with the parameters before training."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    config = make_config(characters, text=str(path), features=4, layers=2, window=7, sampling__steps=9)
    experiment = characters.experiment(config)
    params, model_state = jax.jit(experiment.init)(jax.random.key(0), experiment.train_data[0])
    return SimpleNamespace(config=config, experiment=experiment, params=params, model_state=model_state)


def test_bits_are_those_of_sixteen_whole_pieces(small):
    """The windows of the evaluation, one after the other, give what a model gives that reads each piece at once."""
    state, total = small.model_state, None
    evaluate = jax.jit(lambda *arguments: small.experiment.loss(*arguments, jax.random.key(0), False))
    carry = jax.tree.map(lambda leaf: leaf[: small.experiment.eval_data.batch_size], state["carry"])
    for batch in small.experiment.eval_data:
        _, (changed, metrics) = evaluate(small.params, {**state, "carry": carry}, {**batch, "carry": carry})
        carry = changed["carry"]
        bits = metrics["bits"]
        total = bits if total is None else jax.tree.map(np.add, total, bits)

    vocabulary = dl.data.Vocabulary.of([TEXT[:2700]])
    pieces = np.split(vocabulary.encode(TEXT[2700:]), [300 * part // 16 for part in range(1, 16)])
    model = characters.Model(small.config, len(vocabulary))
    costs, read = (
        [],
        jax.jit(lambda piece: model.apply({"params": small.params, **state}, piece, train=False)),
    )
    for piece in pieces:
        chances = np.exp(np.float64(read(piece[None, :-1])[0]))
        costs.append(-np.log2(chances[np.arange(len(piece) - 1), piece[1:]] / chances.sum(-1)))
    assert len({len(piece) for piece in pieces}) == 2
    assert float(total.weight) == 300 - 16
    assert total.value() == pytest.approx(np.concatenate(costs).mean(), rel=1e-5)


def test_every_text_is_written_on(small):
    files = small.experiment.generate(small, ["ab", "", "☃"])
    assert list(files) == ["text_0.txt", "text_1.txt", "text_2.txt"]
    for content, text in zip(files.values(), ["ab", "", "☃"], strict=True):
        assert content.startswith(text)
        assert content.endswith("\n")
        written = content[len(text) : -1]
        assert len(written) == 9
        assert set(written) <= set(TEXT)
    assert len(set(files.values())) == 3
    assert small.experiment.generate(small, ["ab"])["text_0.txt"] == files["text_0.txt"]


def test_the_figures_are_of_the_test_part(small):
    drawn = small.experiment.figures(small.params, small.model_state)
    assert set(drawn) == {"surprise", "bits_by_context"}
    shown = [text.get_text() for text in drawn["surprise"].axes[0].texts]
    assert "".join(shown).replace("↵", "\n") == TEXT[2701 : 2700 + 300 // 64]


def test_the_part_for_tuning_is_read_by_no_test(small):
    config = make_config(characters, text=small.config.text, features=4, evaluate_on="dev")
    experiment = characters.experiment(config)
    vocabulary = dl.data.Vocabulary.of([TEXT[:2430]])
    first = vocabulary.decode(experiment.eval_data[0]["inputs"][0])
    assert TEXT[2430:].startswith("".join(first))


def test_an_unknown_text_is_named():
    with pytest.raises(FileNotFoundError, match="path: got Bible, expected a text file"):
        characters.experiment(make_config(characters, text="Bible"))
