"""Where is the ball? A short story and a question become one word: the lecture's sequences of different lengths.

    launch/local experiments.answer                                  # 1.000 and 0.994 in 54 s on one core
    launch/local experiments.answer --mode=baselines                 # 0.323 and 0.247 without a network
    launch/local experiments.answer --run=NAME --mode=generate --input="Emma took the key. Where is the key?"
    launch/local experiments.answer --config.data.folder=en-10k      # bAbI from your disk; not run here

Test accuracies with one and two supporting facts, medians of the seeds 0, 1, 2. The stories are synthetic; each task
has 20,000 for training and 1000 others for testing. A guess is the place mentioned last; the most frequent answer has
0.117 and 0.121. Sources: Weston et al. 2015, arXiv 1502.05698; looks: Sukhbaatar et al. 2015, arXiv 1503.08895.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl


@dataclass
class DataConfig:
    tasks: tuple[int, ...] = dl.setting(
        (1, 2), "Tasks to learn together; 1 and 2 have one and two supporting facts.", minimum=1
    )
    train: int = dl.setting(20_000, "Number of generated training stories of each task.", minimum=1)
    test: int = dl.setting(1000, "Number of generated test stories of each task.", minimum=1)
    folder: str | None = dl.setting(None, "Folder of bAbI, such as en-10k; none: generated stories.")


@dataclass
class Config(dl.CellConfig, dl.Config):
    looks: int = dl.setting(2, "Number of times that the model looks at the sentences.", minimum=1)
    data: DataConfig = field(default_factory=DataConfig)
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(steps=2000, steps_per_call=10))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("adam", 3e-3, schedule="cosine", clip_norm=1.0)
    )


class Model(nn.Module):
    config: Config
    words: int

    @nn.compact
    def __call__(
        self, inputs: jax.Array, lengths: jax.Array, sentence_lengths: jax.Array,
        questions: jax.Array, question_lengths: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:  # fmt: skip
        """The logits of the answers ``[B, words]``, and the weights of the sentences in each look ``[B, looks, S]``."""
        make = lambda name: self.config.make_cell().clone(parent=self, name=name)
        features = self.config.features
        embed = nn.Embed(self.words, features, embedding_init=nn.initializers.normal(1.0))
        _, told = dl.Recurrent(make("sentence"))(embed(inputs), sentence_lengths)
        sentences = jax.vmap(dl.mean_over_time)(told, sentence_lengths)
        _, asked = dl.Recurrent(make("question"))(embed(questions), question_lengths)
        state, looks = dl.mean_over_time(asked, question_lengths), []
        _, story = dl.Bidirectional(make("forward"), make("backward"), merge="sum")(sentences, lengths)
        memory = sentences + story
        for look in range(self.config.looks):
            scores = dl.LuongAttention("general", name=f"look_{look}")(memory, features)
            context, weights = dl.attend(scores(state), memory, lengths)
            state = context + nn.Dense(features, name=f"state_{look}")(state)
            looks.append(weights)
        return nn.Dense(self.words, name="answer")(state), jnp.stack(looks, axis=1)


def answer(words: Any, stories: list[dl.data.Story], apply: Any, texts: Any = ()) -> dict[str, Any]:
    """Files by name: the answers, each with the sentence that every look weights most, and a figure of each story."""
    stories = [dl.data.Story.of(text) for text in texts] or stories
    logits, weights = map(np.asarray, apply(dl.data.story_arrays(stories, words)))
    files: dict[str, Any] = {"answers.txt": ""}
    for number, (story, row, looks) in enumerate(zip(stories, logits, weights, strict=True), start=1):
        looks, sentences = looks[:, : len(story.sentences)], [" ".join(told) for told in story.sentences]
        title = f"{' '.join(story.question)}? {words.tokens[row.argmax()]}"
        title += f" (right: {story.answer})" if story.answer else ""
        looked_at = " / ".join(sentences[place] for place in looks.argmax(-1))
        files["answers.txt"] += f"{title}, p = {jax.nn.softmax(row).max():.3f}, looked at: {looked_at}\n"
        files[f"story_{number}"] = dl.plots.sentence_attention(sentences, looks, story.supporting, title)
    return files


def experiment(config: Config) -> dl.Experiment:
    data = config.data
    generated = partial(dl.data.generated_stories, train=data.train, test=data.test, seed=config.seed)
    load = partial(dl.data.babi, data.folder) if data.folder else generated
    if not 0 < len(set(data.tasks)) == len(data.tasks) or not (data.folder or {1, 2} >= set(data.tasks)):
        raise ValueError(f"tasks: got {data.tasks}, expected different ones; generated stories have 1 and 2")
    parts = {f"task{task}": load(task) for task in data.tasks}
    train = [story for part, _ in parts.values() for story in part]
    vocabulary = dl.data.Vocabulary.of(story.tokens for story in train)
    arrays = partial(dl.data.story_arrays, vocabulary=vocabulary)
    padded = lambda stories: dl.data.PaddedBatches(arrays(stories), config.train.eval_batch_size)
    write = partial(answer, vocabulary, [story for _, test in parts.values() for story in test[:3]])

    def figures(params: Any, model_state: Any) -> Any:
        predict: Any = made.predict
        files = write(partial(jax.jit(predict), params, model_state))
        return {name: file for name, file in files.items() if name != "answers.txt"}

    made = dl.Experiment.from_flax(
        Model(config, len(vocabulary)),
        loss=lambda outputs, batch: dl.losses.classification(outputs[0], batch),
        train_data=dl.data.ShuffledBatches(arrays(train), config.train.batch_size, config.seed),
        eval_data={name: padded(test) for name, (_, test) in parts.items()},
        best=f"{[*parts][-1]}/accuracy",
        figures=figures,
        files={"vocabulary.json": vocabulary.to_json()},
        generate=lambda model, texts: write(model.apply, texts),
        modes={"baselines": lambda _: {name: dl.data.story_baselines(*part) for name, part in parts.items()}},
    )
    return made


if __name__ == "__main__":
    dl.run(Config, experiment)
