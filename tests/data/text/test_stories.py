"""bAbI's files become stories, a person's text becomes one, and arrays hold every word of them."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.text.stories import read_stories

FIRST = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Sandra got the football there.
6 Where is the football? \thallway\t5 4
1 John moved to the office.
2 What is John carrying? \tmilk,football\t1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "en").mkdir()
    for part in ("train", "test"):
        (tmp_path / "en" / f"qa1_single-supporting-fact_{part}.txt").write_text(FIRST)
        (tmp_path / "en" / f"qa12_conjunction_{part}.txt").write_text("1 A.\n2 B? \tc\t1\n")
    return tmp_path


def test_each_question_of_a_file_is_a_story(folder):
    train, test = dl.data.babi(folder)
    assert train == test == dl.data.babi(str(folder / "en"), 1)[0]
    first, second, third = train
    assert first == dl.data.Story(
        (("mary", "moved", "to", "the", "bathroom"), ("john", "went", "to", "the", "hallway")),
        ("where", "is", "mary"),
        "bathroom",
        (1,),
    )
    assert second.sentences[:2] == first.sentences
    assert [second.sentences[number - 1][0] for number in second.supporting] == ["sandra", "daniel"]
    assert third.sentences == (("john", "moved", "to", "the", "office"),)
    assert third.answer == "milk,football"


def test_tasks_one_and_twelve_are_different_files(folder):
    assert len(dl.data.babi(folder, 12)[0]) == 1


@pytest.mark.parametrize("named", [None, "missing", "."])
def test_a_missing_file_is_named_with_what_is_expected(tmp_path, named):
    with pytest.raises(FileNotFoundError, match=r"^folder: got .*qa3_\*_train.txt; or use the generated"):
        dl.data.babi(None if named is None else tmp_path / named, 3)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Mary moved.\n", 1),
        ("1 Mary moved.\n1 \n", 2),
        ("1 Mary moved.\n2 Where? \tx\t3\n", 2),
        ("1 Mary moved.\n2 Where? \tx\ty\n", 2),
        ("2 Mary moved.\n2 John slept.\n", 2),
        ("1 Where? \tx\t\n", 1),
        ("1 Where? \tx\t1\n", 1),
        ("1 Mary moved.\n2 ? \tx\t1\n", 2),
    ],
)
def test_a_line_of_another_format_is_named(tmp_path, text, line):
    (tmp_path / "qa1.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"qa1.txt: got .* in line {line} .*fetch the file anew"):
        read_stories(tmp_path / "qa1.txt")


def test_a_file_without_questions_is_refused(tmp_path):
    (tmp_path / "qa1.txt").write_text("1 Mary moved.\n")
    with pytest.raises(ValueError, match="got no question"):
        read_stories(tmp_path / "qa1.txt")


def test_a_person_writes_a_story():
    story = dl.data.Story.of("  Mary went to the kitchen. John,\nwho slept... Where's Mary?\n")
    assert story.sentences == (("mary", "went", "to", "the", "kitchen"), ("john",), ("who", "slept"))
    assert (story.question, story.answer, story.supporting) == (("where's", "mary"), "", ())


@pytest.mark.parametrize(
    "text", ["", "Where is Mary?", "Mary slept.", "Mary slept. ?", "Mary slept. Where? So."]
)
def test_a_text_that_is_no_story_is_refused(text):
    with pytest.raises(ValueError, match=r"^story: got .*Where is Mary\?"):
        dl.data.Story.of(text)


@pytest.mark.parametrize(
    "parts",
    [
        ((), ("a",)),
        (((),), ("a",)),
        ((("a",),), ()),
        ((("a",),), ("b",), "c", (2,)),
        ((("a",),), ("b",), "c", (0,)),
    ],
)
def test_an_impossible_story_is_refused(parts):
    with pytest.raises(ValueError, match=r"^(story|supporting): got"):
        dl.data.Story(*parts)


def test_arrays_hold_every_word_and_nothing_else():
    stories = [*dl.data.generated_stories(1, 5, 5)[0], *dl.data.generated_stories(2, 5, 5)[1]]
    vocabulary = dl.data.Vocabulary.of(story.tokens for story in stories)
    arrays = dl.data.story_arrays(stories, vocabulary)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int32), np.dtype(bool)}
    for row, story in enumerate(stories):
        told = [tuple(vocabulary.decode(words)) for words in arrays["inputs"][row, : arrays["lengths"][row]]]
        assert tuple(told) == story.sentences
        counts = [len(words) for words in story.sentences]
        padding = [0] * (arrays["inputs"].shape[1] - len(counts))
        assert arrays["sentence_lengths"][row].tolist() == counts + padding
        assert not arrays["inputs"][row, arrays["lengths"][row] :].any()
        question = arrays["questions"][row, : arrays["question_lengths"][row]]
        assert tuple(vocabulary.tokens[number] for number in question) == story.question
        assert vocabulary.tokens[arrays["labels"][row]] == story.answer
        assert (np.flatnonzero(arrays["supporting"][row]) + 1).tolist() == sorted(story.supporting)


def test_words_that_are_not_in_the_vocabulary_are_unknown():
    story = dl.data.Story.of("Mary slept. Where is Mary?")
    arrays = dl.data.story_arrays(
        [dl.data.Story.of("Mary woke. Where is Mary?")], dl.data.Vocabulary.of([story.tokens])
    )
    assert (arrays["inputs"] == 1).sum() == 1
