"""Is a sentence about a film positive or negative? A sequence of words or characters becomes one class.

    launch/local experiments.sentiment                                # convolution: 0.767 in 30 s
    launch/local experiments.sentiment --config.architecture=lstm     # both directions: 0.780 in 58 s
    launch/local experiments.sentiment --run=NAME --mode=generate --input=- <sentences.txt

Test accuracies on one core, medians of the seeds 0, 1, 2. Baselines: logistic regression of TF-IDF 0.793; Kim
2014 (arXiv 1408.5882) reports 0.761 for a convolution with random vectors, on these sentences in ten folds.
Sources: Hutto & Gilbert 2014 (MIT); the lecture's sequence to one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl


@dataclass
class Config(dl.Config):
    imdb: str | None = dl.setting(None, "Folder aclImdb of IMDB's reviews; none: the rated sentences.")
    evaluate_on: Literal["test", "dev"] = dl.setting("test", "dev: a tenth of the training part.")
    unit: Literal["words", "characters"] = dl.setting("words", "What a step of a sequence is.")
    architecture: Literal["lstm", "gru", "convolution"] = dl.setting(
        "convolution", "A bidirectional LSTM or GRU, or convolutions of three widths."
    )
    features: int = dl.setting(64, "Number of units of a direction, or of filters of a width.", minimum=1)
    embedding: int = dl.setting(100, "Width of the vector of a word or character.", minimum=1)
    longest: int = dl.setting(400, "Number of steps after which a text is cut off.", minimum=5)
    dropout: float = dl.setting(0.5, "Dropout rate of vectors and before the last layer.", minimum=0, below=1)
    token_dropout: float = dl.setting(0.2, "Share of steps that training makes unknown.", minimum=0, below=1)
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(1200, 64, ema_decay=0.99))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adamw", 2e-3, schedule="cosine", warmup_steps=50, weight_decay=1e-2, clip_norm=1.0
        )
    )


class Model(nn.Module):
    config: Config
    vocabulary: int

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array, scale: Any = 1.0, *, train: bool) -> jax.Array:
        config, dropout = self.config, nn.Dropout(self.config.dropout, deterministic=not train)
        embed = nn.Embed(self.vocabulary, config.embedding, embedding_init=nn.initializers.normal(0.1))
        vectors = dropout(embed(inputs) * jnp.asarray(scale)[..., None])
        if config.architecture == "convolution":
            blocks = [dl.ConvBlock(config.features, (width,), pool=None) for width in (3, 4, 5)]
            maps = [dl.ConvStack([block])(vectors, lengths, train=train) for block in blocks]
            outputs = jnp.concatenate(maps, axis=-1)
        else:
            cell = partial(dl.CELLS[config.architecture], config.features)
            _, outputs = dl.Bidirectional(cell(name="forward"), cell(name="backward"))(vectors, lengths)
        return nn.Dense(1)(dropout(dl.max_over_time(outputs, lengths)))[..., 0]


def explain(
    model: Model, encoder: dl.data.TextEncoder, params: Any, texts: Sequence[str]
) -> tuple[np.ndarray, Any]:
    """The probability that each text is positive, and a figure of what speaks for (red) and against it (blue)."""
    batch = encoder.batch(texts)
    logits: Any = partial(model.apply, {"params": params}, batch["inputs"], batch["lengths"], train=False)
    probabilities = np.asarray(nn.sigmoid(logits()))
    tokens = [encoder.tokens(text) for text in texts]
    # The gradient by a factor of each vector is the sum of gradient x vector.
    ones = jnp.ones(batch["inputs"].shape)
    gradient = np.asarray(jax.grad(lambda scale: logits(scale=scale).sum())(ones))
    shares = [row[: len(known)] for row, known in zip(gradient, tokens, strict=True)]
    titles = [f"positive with probability {probability:.2f}" for probability in probabilities]
    return probabilities, dl.plots.token_values(tokens, shares, titles, label="gradient x vector")


def figures(
    model: Model, encoder: dl.data.TextEncoder, test: dl.data.Reviews, params: Any, model_state: Any
) -> dict[str, Any]:
    batch, names = encoder.batch(test.texts), ["negative", "positive"]
    logits: Any = model.apply({"params": params}, batch["inputs"], batch["lengths"], train=False)
    matrix = dl.plots.confusion_matrix(test.labels, (np.asarray(logits) > 0).astype(int), names)
    return {"confusion_matrix": matrix, "words": explain(model, encoder, params, test.texts[:8])[1]}


def generate(
    model: Model, encoder: dl.data.TextEncoder, trained: dl.TrainedModel, texts: Sequence[str]
) -> dict[str, Any]:
    """The probability that each text is positive, as a table, and the words that decide."""
    texts = [text for text in texts if encoder.tokens(text)] or ["Not a bad film.", "Not a good film."]
    probabilities, figure = explain(model, encoder, trained.params, texts)
    table = dl.data.csv_text({"text": texts, "positive": probabilities.round(4)})
    return {"predictions.csv": table, "words.png": figure}


def experiment(config: Config) -> dl.Experiment:
    train, test = dl.data.movie_sentences() if config.imdb is None else dl.data.imdb(config.imdb)
    train, test = train.tuning() if config.evaluate_on == "dev" else (train, test)
    encoder = dl.data.TextEncoder.of(train.texts, config.unit, longest=config.longest, min_count=2)
    model = Model(config, len(encoder.vocabulary))
    arrays, held_out = ({**encoder.batch(part.texts), "labels": part.labels} for part in (train, test))
    ends = np.unique(np.quantile(arrays["lengths"], (0.5, 0.9)).astype(int)).tolist()
    dropped, rows = dl.data.token_dropout(config.token_dropout), config.train.batch_size
    return dl.Experiment.from_flax(
        model,
        loss=dl.losses.binary,
        train_data=dl.data.BucketedBatches(arrays, rows, config.seed, ends, dropped),
        eval_data=dl.data.PaddedBatches(held_out, config.train.eval_batch_size),
        figures=partial(figures, model, encoder, test),
        generate=partial(generate, model, encoder),
        files={"vocabulary.json": encoder.vocabulary.to_json()},
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
