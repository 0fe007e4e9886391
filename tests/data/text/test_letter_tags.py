"""Letters have the labels of their alignment, labels become phones, and the look-up backs off."""

import numpy as np

import dlcore as dl
from dlcore.data.text.letter_tags import UNALIGNED, ContextLookup, LetterTags

KNOWN = {
    "cat": "K AE T",
    "tact": "T AE K T",
    "tax": "T AE K S",
    "axe": "AE K S",
    "ieee": "AY T R IH P L AH IY IY",
}
WORDS = [dl.data.Pronunciation(word, (tuple(phones.split()),)) for word, phones in KNOWN.items()]


def test_labels_become_the_phones_of_their_words():
    tags = LetterTags.learn(WORDS)
    batch = tags.batch(WORDS)
    spoken, counts = tags.spoken(batch["labels"][:4], batch["lengths"][:4])
    said = [" ".join(tags.phones.decode(row[:count])) for row, count in zip(spoken, counts, strict=True)]
    assert said == list(KNOWN.values())[:4]
    assert (batch["labels"][4] == UNALIGNED).all()  # nine phones for four letters
    assert batch["labels"][0, 3] == UNALIGNED
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}


def test_a_letter_without_an_alignment_has_no_phone_and_does_not_count():
    tags = LetterTags.learn(WORDS)
    labels = np.array([[UNALIGNED, 1, UNALIGNED]])
    spoken, counts = tags.spoken(labels, np.array([3]))
    assert counts.tolist() == [1]
    assert tags.phones.decode(spoken[0, :1]) == [tags.names[1]]
    assert ContextLookup(["ab", "a"], [[UNALIGNED, 2], [3]]).predict("ab") == [3, 2]


def test_the_lookup_takes_the_widest_context_that_it_knows():
    lookup = ContextLookup(["ab", "cb", "cb", "ad"], [[1, 2], [3, 4], [3, 4], [5, 6]], width=2)
    assert lookup.predict("ab") == [1, 2]  # as in the training word
    assert lookup.predict("xcb") == [0, 3, 4]  # no word has an x; the others have known neighbors
    assert lookup.predict("b") == [4]  # the most frequent label of the letter
