"""What comes next? A model of language reads and writes characters, trained on windows of one long stream.

    launch/local experiments.characters                            # LSTM: 1.70 bits a character
    launch/local experiments.characters --preset=full              # Shakespeare with 512 units: 2.07 in 44 min
    launch/local experiments.characters --run=NAME --mode=generate --input='The "for" statement'

Both have the seed 0; the first takes about 4 minutes on a core. Test part: the last tenth of the Python docs, three
plays of Shakespeare. An n-gram model with Witten-Bell smoothing has 1.90 bits on the first, with 4 characters of
context, and 2.29 on the second, with 5. The LSTM halves a gradient in 42 characters of the docs.
Sources: the lecture's language model and truncated BPTT; licenses: PSF (docs), CC-BY 2.5 (Shakespeare).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.cell_config import CellName

TEXTS = {"docs": dl.data.python_docs, "shakespeare": dl.data.shakespeare}


@dataclass
class Config(dl.CellConfig, dl.Config):
    text: str = dl.setting("docs", "docs, shakespeare, or the path of a text file in UTF-8.")
    evaluate_on: Literal["test", "dev"] = dl.setting("test", "dev: the last tenth of the training part.")
    cell: CellName = dl.setting("lstm", "Name of the cell in dl.CELLS.")
    features: int = dl.setting(256, "Number of units of each layer.", minimum=1)
    layers: int = dl.setting(1, "Number of recurrent layers.", minimum=1)
    dropout: float = dl.setting(0.2, "Dropout rate of the outputs of each layer.", minimum=0, below=1)
    window: int = dl.setting(64, "Number of characters from one update to the next.", minimum=1)
    sampling: dl.SamplingConfig = field(default_factory=lambda: dl.SamplingConfig(temperature=0.7))
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(2500, 32, 32, eval_every=500))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adamw", 4e-3, schedule="cosine", warmup_steps=100, weight_decay=1e-2, clip_norm=1.0
        )
    )


class Model(nn.Module):
    config: Config
    vocabulary: int

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: Any = None, resets: Any = None, *, train: bool) -> Any:
        outputs = nn.Embed(self.vocabulary, 64)(inputs)
        for _ in range(self.config.layers):
            layer = dl.Stateful(dl.Recurrent(self.config.make_cell()))
            _, outputs = layer(outputs, lengths, resets, train=train)
            outputs = nn.Dropout(self.config.dropout, deterministic=not train)(outputs)
        return nn.Dense(self.vocabulary)(outputs)


def loss(logits: jax.Array, batch: Mapping[str, jax.Array]) -> Any:
    value, metrics = dl.losses.classification(logits, batch)
    mean: Any = metrics["loss"]
    return value, {**metrics, "bits": dl.metrics.BitsPerToken(*mean)}


def figures(model: Model, test: np.ndarray, text: str, params: Any, model_state: Any) -> dict[str, Any]:
    """The bits of each character of a passage, and the mean of 64 passages by the characters read before."""
    rows = test[: len(test) // 64 * 64].reshape(64, -1)[:, :700]
    logits = jax.jit(partial(model.apply, train=False))({"params": params, **model_state}, rows[:, :-1])
    bits = -jnp.take_along_axis(nn.log_softmax(logits), rows[:, 1:, None], axis=-1)[..., 0] / np.log(2)
    surprise = dl.plots.token_values([list(text[1 : rows.shape[1]])], [np.asarray(bits[0])], label="bits")
    return {"surprise": surprise, "bits_by_context": dl.plots.bits_by_context(np.asarray(bits))}


def generate(
    model: Model, vocabulary: dl.data.Vocabulary, trained: Any, texts: Sequence[str]
) -> dict[str, str]:
    """Each text with its continuation: the text primes the state, from which characters are drawn one by one."""
    sampling: dl.SamplingConfig = trained.config.sampling

    def sampler(rng: jax.Array, logits: jax.Array) -> jax.Array:
        known = logits.at[:, : dl.data.UNKNOWN + 1].set(-jnp.inf)  # neither the end nor an unknown character
        return sampling.make_sampler()(rng, known)

    go_on = jax.jit(partial(dl.continue_stream, model, steps=sampling.steps, sampler=sampler))
    written = {}
    for index, text in enumerate(texts or ["The "]):
        tokens = vocabulary.encode(dl.data.characters(f"\n\n{text}"))[None]
        drawn = go_on(trained.params, tokens, rng=jax.random.key(sampling.seed + index)).tokens[0]
        written[f"text_{index}.txt"] = text + "".join(vocabulary.decode(drawn)) + "\n"
    return written


def experiment(config: Config) -> dl.Experiment:
    text = TEXTS.get(config.text, partial(dl.data.text_file, config.text))()
    text = text.tuning() if config.evaluate_on == "dev" else text
    vocabulary = dl.data.Vocabulary.of([text.train])
    train, test = ({"inputs": vocabulary.encode(part)} for part in text)
    stream: dict[str, Any] = {"steps": config.window, "shifted": {"labels": "inputs"}}
    rows, eval_rows = config.train.batch_size, config.train.eval_batch_size
    pieces = np.diff(np.linspace(0, len(text.test), 17).astype(int))
    model = Model(config, len(vocabulary))
    return dl.Experiment.from_flax(
        model,
        loss=loss,
        train_data=dl.data.StreamBatches(train, rows, config.seed, shuffle=True, **stream),
        eval_data=dl.data.StreamEvaluation(test, eval_rows, document_lengths=pieces, **stream),
        best="loss",
        figures=partial(figures, model, test["inputs"], text.test),
        generate=partial(generate, model, vocabulary),
        files={"vocabulary.json": vocabulary.to_json(), "text.sha256": f"{text.sha256}\n"},
    )


if __name__ == "__main__":
    full = Config(
        text="shakespeare", features=512, window=128, train=dl.TrainConfig(2000, 64, 32, eval_every=500)
    )
    dl.run(Config, experiment, presets={"full": full})
