"""Generated stories, in the manner of bAbI's tasks 1 and 2: people go to places, take things and drop them.

They are synthetic: a small simulation writes them, and nobody told them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlcore.data.text.stories import Story, Words, check_stories
from dlcore.utils.checks import check_integer
from dlcore.utils.rng import stream_generator

PEOPLE = ("anna", "david", "emma", "george", "maria", "peter")
PLACES = ("attic", "cellar", "garden", "garage", "kitchen", "library", "office", "park")
THINGS = ("apple", "ball", "book", "key", "lamp")
GOES = (("went", "to"), ("walked", "to"), ("moved", "to"), ("ran", "to"))
TAKES = (("took",), ("grabbed",), ("picked", "up"))
DROPS = (("dropped",), ("put", "down"), ("left",))
SENTENCES = range(4, 13)
"""The numbers of sentences that a story may have."""
DRAWS = 1 + 4 * SENTENCES[-1] + 1
"""The number of random numbers that a story needs at most: a person, an action, a verb and a noun for each sentence."""


def generated_stories(facts: int, train: int, test: int, seed: int = 0) -> tuple[list[Story], list[Story]]:
    """Synthetic stories whose question asks where somebody or something is.

    With one supporting fact the question is where a person is, who may have gone to several places: the last one is
    right. With two it is where a thing is. The first fact says who took or dropped it last. The second says where that
    person went last, or, if the thing was dropped, where that person had gone last before. Nobody takes a thing that
    lies elsewhere. Six people, eight places, five things, 4 to 12 sentences.

    Source: the manner of bAbI's tasks 1 and 2 (Weston et al. 2015, arXiv 1502.05698), with other words.

    Args:
        facts: 1 or 2, the number of supporting facts.
        train: number of training stories.
        test: number of test stories; they are the same for every seed.
        seed: seed of the training stories.

    Returns:
        ``(train, test)``, two lists of `Story`. No test story is in the training part: such a training story is drawn
        anew.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: facts is neither 1 nor 2, a number of stories is below 1, or the seed is below 0.

    >>> (story, *_), _ = generated_stories(facts=1, train=3, test=3)
    >>> [" ".join(story.sentences[number - 1]) for number in story.supporting], story.question, story.answer
    (['peter ran to the office'], ('where', 'is', 'peter'), 'office')
    """
    check_integer("facts", facts, 1, 2)
    check_integer("train", train)
    check_integer("test", test)
    check_integer("seed", seed, 0)
    held_out = _draw(stream_generator(0, f"test stories {facts}"), facts, test, frozenset())
    return _draw(
        stream_generator(seed, f"train stories {facts}"), facts, train, frozenset(held_out)
    ), held_out


def _draw(
    generator: np.random.Generator, facts: int, examples: int, unwanted: frozenset[Story]
) -> list[Story]:
    stories: list[Story] = []
    while len(stories) < examples:
        world = _World(iter(generator.random(DRAWS).tolist()))
        for _ in range(world.one_of(SENTENCES)):
            world.go_on()
        story = world.ask(facts)
        if story is not None and story not in unwanted:
            stories.append(story)
    return stories


@dataclass
class _World:
    """What has been told, and where everybody and everything is.

    Attributes:
        draws: uniform random numbers in [0, 1).
        sentences: the words of the sentences told.
        people: by person who went somewhere, the place, and the number of the sentence that says so.
        things: by thing that somebody took, who has it (empty after it was dropped), and the number of the sentence
            that says who took or dropped it last.
        dropped: by thing that somebody dropped, the place where it lies, and the number of the sentence that says so.
    """

    draws: Iterator[float]
    sentences: list[Words] = field(default_factory=list)
    people: dict[str, tuple[str, int]] = field(default_factory=dict)
    things: dict[str, tuple[str, int]] = field(default_factory=dict)
    dropped: dict[str, tuple[str, int]] = field(default_factory=dict)

    def go_on(self) -> None:
        """Tells one more sentence: mostly somebody goes somewhere, else somebody takes or drops a thing."""
        person, action = self.one_of(PEOPLE), next(self.draws)
        held = [thing for thing, (holder, _) in self.things.items() if holder]
        near = [thing for thing in THINGS if thing not in held and self._is_near(thing, person)]
        if 0.55 < action < 0.85 and person in self.people and near:
            thing = self.one_of(near)
            self.things[thing] = person, self._tell(person, *self.one_of(TAKES), "the", thing)
        elif action >= 0.85 and held:
            thing = self.one_of(held)
            holder, _ = self.things[thing]
            self.things[thing] = "", self._tell(holder, *self.one_of(DROPS), "the", thing)
            self.dropped[thing] = self.people[holder]
        else:
            place = self.one_of([place for place in PLACES if place != self.people.get(person, ("",))[0]])
            self.people[person] = place, self._tell(person, *self.one_of(GOES), "the", place)

    def _is_near(self, thing: str, person: str) -> bool:
        """True if nobody has said that the thing lies elsewhere."""
        return thing not in self.dropped or self.dropped[thing][0] == self.people.get(person, ("",))[0]

    def _tell(self, *sentence: str) -> int:
        """Adds a sentence and returns its number."""
        self.sentences.append(sentence)
        return len(self.sentences)

    def one_of(self, choices: Sequence[Any]) -> Any:
        """One of the choices, each with the same probability."""
        return choices[int(next(self.draws) * len(choices))]

    def ask(self, facts: int) -> Story | None:
        """The story with a question; None if there is nothing to ask about."""
        known = self.people if facts == 1 else self.things
        if not known:
            return None
        asked = self.one_of(list(known))
        if facts == 1:
            place, number = self.people[asked]
            return Story(tuple(self.sentences), ("where", "is", asked), place, (number,))
        holder, number = self.things[asked]
        place, other = self.people[holder] if holder else self.dropped[asked]
        return Story(tuple(self.sentences), ("where", "is", "the", asked), place, (number, other))


def story_baselines(train: Sequence[Story], test: Sequence[Story]) -> dict[str, float]:
    """The accuracies of two guesses that need no network; a model has to be better.

    ``question``: the most frequent answer to the same question in the training part, or to any question if it is not
    there. ``recent``: the last word of the story that is an answer in the training part, such as the last place.

    Args:
        train: the training part.
        test: the test part.

    Raises:
        TypeError: a part is no list of stories.
        ValueError: a part is empty.

    >>> train, test = generated_stories(facts=2, train=500, test=200)
    >>> story_baselines(train, test)
    {'question': 0.155, 'recent': 0.255}
    """
    check_stories("train", train)
    check_stories("test", test)
    answers: dict[Words, Counter[str]] = defaultdict(Counter)
    for story in train:
        answers[story.question][story.answer] += 1
    all_answers = sum(answers.values(), Counter[str]())
    usual = [answers.get(story.question, all_answers).most_common(1)[0][0] for story in test]
    told = [[word for words in story.sentences for word in words if word in all_answers] for story in test]
    correct = {
        "question": [guess == story.answer for guess, story in zip(usual, test, strict=True)],
        "recent": [words[-1:] == [story.answer] for words, story in zip(told, test, strict=True)],
    }
    return {name: sum(hits) / len(test) for name, hits in correct.items()}
