"""Short stories with a question and its answer: bAbI's files, stories of a user, and their arrays."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.text.tokens import pad_sequences, words
from dlcore.data.text.vocabulary import Vocabulary
from dlcore.utils.checks import check_instance, check_integer
from dlcore.utils.files import read_text, user_path

Words = tuple[str, ...]
LINE = re.compile(r"(?P<number>\d+) (?P<text>[^\t]+)(?:\t(?P<answer>[^\t]+)\t(?P<facts>[\d ]+))?\s*")


@dataclass(frozen=True)
class Story:
    """A story, a question and its answer.

    Attributes:
        sentences: the words of each sentence, in lower case and without punctuation.
        question: the words of the question.
        answer: the answer as one token; empty if it is not known.
        supporting: the numbers of the sentences that the answer follows from, counted from 1, in the order of the
            reasoning.

    Raises:
        TypeError: sentences and question are not tuples of texts, the answer is no text, or a number no integer.
        ValueError: there is no sentence, a sentence or the question has no word, or a number is that of no sentence.
    """

    sentences: tuple[Words, ...]
    question: Words
    answer: str = ""
    supporting: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_instance("sentences", self.sentences, tuple, "a tuple of tuples of words")
        for name, sentence in (
            ("question", self.question),
            *(("sentences", told) for told in self.sentences),
        ):
            check_instance(name, sentence, tuple, "a tuple of words")
            for word in sentence:
                check_instance(name, word, str, "words")
        check_instance("answer", self.answer, str, "a text")
        check_instance("supporting", self.supporting, tuple, "a tuple of numbers of sentences")
        if not self.sentences or not all(self.sentences) or not self.question:
            raise ValueError(
                f"story: got {len(self.sentences)} sentences and a question of {len(self.question)} words, expected "
                "at least one sentence and words in each and in the question"
            )
        for number in self.supporting:
            check_integer("supporting", number)
            if not 1 <= number <= len(self.sentences):
                raise ValueError(
                    f"supporting: got {number}, expected 1 to {len(self.sentences)}, the number of a sentence"
                )

    @property
    def tokens(self) -> Iterator[str]:
        """All words of the sentences and of the question, and the answer if it is known."""
        for sentence in (*self.sentences, self.question, *([(self.answer,)] if self.answer else [])):
            yield from sentence

    @classmethod
    def of(cls, text: str) -> "Story":
        """The story and the question that a person writes; the answer is not known.

        Args:
            text: sentences that end with a full stop or a line, and then a question that ends with a question mark.

        Raises:
            TypeError: the text is none.
            ValueError: it does not end with one question mark, or there is no sentence before the question.

        >>> Story.of("Mary went to the kitchen. John slept. Where is Mary?").question
        ('where', 'is', 'mary')
        """
        check_instance("story", text, str, "a text")
        body, mark, rest = text.strip().partition("?")
        *sentences, question = re.split(r"[.\n]", body)
        told = tuple(_only_words(sentence) for sentence in sentences if _only_words(sentence))
        if not mark or rest or not told or not _only_words(question):
            raise ValueError(
                f"story: got {text!r}, expected sentences that end with a full stop and then a question, such as "
                "'Mary went to the kitchen. Where is Mary?'"
            )
        return cls(told, _only_words(question))


def _only_words(text: str) -> Words:
    return tuple(token for token in words(text) if re.match(r"\w", token))


def babi(folder: str | Path | None, task: int = 1) -> tuple[list[Story], list[Story]]:
    """One of bAbI's 20 tasks from the user's disk (Weston et al. 2015, arXiv 1502.05698; CC BY 3.0).

    The stories are synthetic, too: a simulation wrote them. A story with several questions gives one `Story` for each
    question, with the sentences that precede it. An answer of several words, as "milk,football" in task 8, is one
    token.

    Args:
        folder: holds ``qa1_single-supporting-fact_train.txt`` and so on, as the folders ``en`` (1,000 training
            questions) and ``en-10k`` do; or is the folder above ``en``.
        task: 1 to 20; tasks 1 and 2 ask for one and for two supporting facts.

    Returns:
        ``(train, test)``, two lists of stories.

    Raises:
        FileNotFoundError: the folder or a file of the task is missing.
        TypeError: the folder is no path, or the task no integer.
        ValueError: there is no such task, or a file has another format.
    """
    check_integer("task", task, 1, 20)
    train, test = (read_stories(path) for path in (_find(folder, task, part) for part in ("train", "test")))
    return train, test


def _find(folder: str | Path | None, task: int, part: str) -> Path:
    """The file of one part of a task."""
    named = None if folder is None else user_path("folder", folder)
    for place in [] if named is None else (named, named / "en"):
        found = sorted(place.glob(f"qa{task}_*_{part}.txt"))
        if found:
            return found[0]
    raise FileNotFoundError(
        f"folder: got {named or 'none'}, expected a folder of bAbI, such as en or en-10k, with a file "
        f"qa{task}_*_{part}.txt; or use the generated stories, which need no files"
    )


def read_stories(path: str | Path) -> list[Story]:
    """The stories of a file in bAbI's format.

    A line is ``NUMBER SENTENCE`` or ``NUMBER QUESTION <tab> ANSWER <tab> NUMBERS``, where the last are those of the
    lines that the answer follows from. The number 1 begins a new story.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: the path is no path.
        ValueError: a line has another format, or the file has no question.
    """
    path = user_path("path", path)
    stories: list[Story] = []
    told: dict[int, Words] = {}
    for place, line in enumerate(read_text(path).splitlines(), start=1):
        match = LINE.fullmatch(line)
        number = int(match["number"]) if match else 0
        told = {} if number == 1 else told
        try:
            if match is None or number <= max(told, default=0):
                raise ValueError("no line of a story")
            if match["answer"] is None:
                told[number] = _only_words(match["text"])
                continue
            stories.append(_question(told, match))
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{path}: got {line[:80]!r} in line {place} ({error}), expected 'NUMBER SENTENCE' or 'NUMBER QUESTION' "
                "with an answer and the numbers of earlier lines after tabs; fetch the file anew"
            ) from None
    if not stories:
        raise ValueError(f"{path}: got no question, expected a file in bAbI's format")
    return stories


def _question(told: dict[int, Words], match: re.Match[str]) -> Story:
    """The story of a question: all sentences before it, and the lines of its facts as numbers of sentences."""
    numbers = {line: place for place, line in enumerate(told, start=1)}
    supporting = tuple(numbers[int(line)] for line in match["facts"].split())
    return Story(
        tuple(told.values()), _only_words(match["text"]), match["answer"].strip().lower(), supporting
    )


def story_arrays(stories: Sequence[Story], vocabulary: Vocabulary) -> Batch:
    """Stories as arrays of N rows, padded with `END`.

    Args:
        stories: N stories with up to S sentences of up to W words, and questions of up to Q words.
        vocabulary: numbers the words; a word that it lacks is `UNKNOWN`.

    Returns:
        A batch: ``inputs`` int32 ``[N, S, W]``, words; ``lengths`` int32 ``[N]``, numbers of sentences;
        ``sentence_lengths`` int32 ``[N, S]``, numbers of words, 0 after the end of a story; ``questions`` int32
        ``[N, Q]`` and ``question_lengths`` int32 ``[N]``; ``labels`` int32 ``[N]``, the answer's number in the
        vocabulary; ``supporting`` bool ``[N, S]``, True for the sentences that the answer follows from.

    Raises:
        TypeError: an element is no `Story`, or the vocabulary is none.
        ValueError: there is no story.

    >>> story = Story.of("Mary slept. John went home. Where is John?")
    >>> arrays = story_arrays([story], Vocabulary.of([story.tokens]))
    >>> arrays["inputs"].shape, arrays["sentence_lengths"].tolist()
    ((1, 2, 3), [[2, 3]])
    """
    check_stories("stories", stories)
    check_instance(
        "vocabulary",
        vocabulary,
        Vocabulary,
        "a Vocabulary, such as dl.data.Vocabulary.of(story.tokens for story in stories)",
    )
    lengths = np.array([len(story.sentences) for story in stories], np.int32)
    told = np.arange(lengths.max()) < lengths[:, None]
    sentences, counts = pad_sequences([vocabulary.encode(s) for story in stories for s in story.sentences])
    questions, question_lengths = pad_sequences([vocabulary.encode(story.question) for story in stories])
    inputs, sentence_lengths = (
        np.zeros((*told.shape, sentences.shape[1]), np.int32),
        np.zeros_like(told, np.int32),
    )
    inputs[told], sentence_lengths[told] = sentences, counts
    supporting = np.zeros_like(told)
    for row, story in zip(supporting, stories, strict=True):
        row[[number - 1 for number in story.supporting]] = True
    return {
        "inputs": inputs,
        "lengths": lengths,
        "sentence_lengths": sentence_lengths,
        "questions": questions,
        "question_lengths": question_lengths,
        "labels": vocabulary.encode([story.answer for story in stories]),
        "supporting": supporting,
    }


def check_stories(name: str, stories: Sequence[Story]) -> None:
    """Checks that stories are a list of at least one `Story`.

    Raises:
        TypeError: they are something else; ``name`` is what the message calls them.
        ValueError: there is none.
    """
    check_instance(name, stories, (list, tuple), "a list of stories")
    if not stories:
        raise ValueError(f"{name}: got none, expected at least one")
    for story in stories:
        check_instance(name, story, Story, "stories; dl.data.Story.of(text) makes one")
