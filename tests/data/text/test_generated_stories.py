"""Generated stories keep their laws, and an independent reader finds the answers and the supporting facts."""

import pytest

import dlcore as dl
from dlcore.data.text import generated_stories as generated

COUNT = 300


@pytest.fixture(scope="module")
def stories():
    return {facts: dl.data.generated_stories(facts, COUNT, COUNT) for facts in (1, 2)}


def read(story):
    """The answer and the numbers of its facts, found in the text alone."""
    places, things, names = {}, {}, set(generated.THINGS)
    for number, (person, *verb, _, noun) in enumerate(story.sentences, start=1):
        if noun not in names:
            places[person] = noun, number
        elif tuple(verb) in generated.DROPS:
            things[noun] = None, number, places[person]
        else:
            things[noun] = person, number, None
    asked = story.question[-1]
    if asked in places:
        place, number = places[asked]
        return place, (number,)
    holder, number, dropped = things[asked]
    place, other = dropped or places[holder]
    return place, (number, other)


@pytest.mark.parametrize("facts", [1, 2])
def test_a_reader_of_the_text_finds_the_answers_and_the_facts(stories, facts):
    for part in stories[facts]:
        for story in part:
            assert read(story) == (story.answer, story.supporting)
            assert len(story.supporting) == facts


def test_nobody_takes_what_another_has_or_what_lies_elsewhere(stories):
    for story in stories[2][0]:
        places, holders, lying = {}, {}, {}
        for person, *verb, _, noun in story.sentences:
            if noun in generated.PLACES:
                assert places.get(person) != noun
                places[person] = noun
            elif tuple(verb) in generated.DROPS:
                assert holders.pop(noun) == person
                lying[noun] = places[person]
            else:
                assert noun not in holders
                assert lying.get(noun, places[person]) == places[person]
                holders[noun] = person


@pytest.mark.parametrize("facts", [1, 2])
def test_no_test_story_is_in_the_training_part(stories, facts):
    train, test = stories[facts]
    assert len(train) == len(test) == COUNT
    assert not set(train) & set(test)


def test_the_seed_makes_the_training_stories_and_the_test_stories_stay(stories):
    train, test = stories[2]
    assert dl.data.generated_stories(2, COUNT, COUNT) == (train, test)
    other, same = dl.data.generated_stories(2, COUNT, COUNT, seed=1)
    assert same == test
    assert not set(other) & set(train)


def test_stories_have_every_length_every_answer_and_things_that_were_dropped(stories):
    for facts in (1, 2):
        told = [story for part in stories[facts] for story in part]
        assert {len(story.sentences) for story in told} == set(generated.SENTENCES)
        assert {story.answer for story in told} == set(generated.PLACES)
    first = [story.sentences[story.supporting[0] - 1] for story in stories[2][0]]
    assert 0.1 < sum(sentence[1:-2] in generated.DROPS for sentence in first) / COUNT < 0.4


@pytest.mark.parametrize(
    ("facts", "train", "test", "seed"), [(3, 1, 1, 0), (1, 0, 1, 0), (1, 1, 0, 0), (1, 1, 1, -1)]
)
def test_numbers_out_of_their_bounds_are_refused(facts, train, test, seed):
    with pytest.raises(ValueError, match=r"^(facts|train|test|seed): got"):
        dl.data.generated_stories(facts, train, test, seed)
