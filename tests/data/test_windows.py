"""Windows of documents: their steps by a plain loop, and documents that do not fit."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.data.windows import Windows

STREAM = {"inputs": np.arange(1, 21).reshape(10, 2), "labels": np.arange(1, 11, dtype=np.int8)}


@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("shifted", [None, {"next": "labels", "same": "labels"}])
def test_windows_hold_the_steps_of_one_document(steps, shifted):
    lengths = (4, 0, 1, 5)
    windows = Windows.of(STREAM, steps, lengths, shifted)
    documents = np.split(STREAM["labels"], np.cumsum(lengths)[:-1])
    for number, document in enumerate(documents):
        usable = document[: len(document) - bool(shifted)]
        assert windows.counts[number] == -(-len(usable) // steps)
        for index in range(windows.counts[number]):
            batch = windows.batch(np.array([-1, number]), np.array([0, index]), np.array([False, True]))
            expected = usable[index * steps : (index + 1) * steps]
            count = len(expected)
            assert batch["lengths"].tolist() == [0, count]
            assert batch["resets"].tolist() == [False, True]
            assert batch["labels"][1].tolist() == [*expected, *[0] * (steps - count)]
            assert (batch["labels"].dtype, batch["inputs"].shape) == (np.int8, (2, steps, 2))
            np.testing.assert_array_equal(batch["inputs"][1, :count, 1], 2 * expected)
            if shifted:
                following = document[index * steps + 1 :][:steps]
                assert batch["next"][1].tolist() == [*following, *[0] * (steps - len(following))]
            assert not any(field[0].any() for field in batch.values())


def test_arrays_of_jax_are_read_on_the_host():
    windows = Windows.of({"inputs": jnp.arange(4.0)}, 3, None, None)
    batch = windows.batch(np.array([0]), np.array([1]), np.array([False]))
    assert isinstance(windows.arrays["inputs"], np.ndarray)
    assert batch["inputs"].tolist() == [[3, 0, 0]]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"arrays": {}}, ValueError, "arrays: got fields of lengths {}"),
        ({"arrays": {**STREAM, "lengths": np.arange(10)}}, ValueError, "arrays: got the field lengths"),
        ({"shifted": {"resets": "labels"}}, ValueError, "arrays: got the field resets"),
        ({"shifted": {"carry": "labels"}}, ValueError, "arrays: got the field carry"),
        ({"steps": 0}, ValueError, "steps: got 0, expected an integer >= 1"),
        (
            {"document_lengths": (4, 5)},
            ValueError,
            "document_lengths: got lengths whose sum is 9, expected 10",
        ),
        ({"document_lengths": (-1, 11)}, ValueError, "document_lengths: got -1"),
        ({"document_lengths": 10}, TypeError, "document_lengths: got 10, expected a sequence of integers"),
        ({"document_lengths": (4.0, 6.0)}, TypeError, "document_lengths: got 4.0, expected an integer"),
        (
            {"shifted": {"labels": "inputs"}},
            ValueError,
            "shifted: got 'labels' from 'inputs', expected a new",
        ),
        (
            {"shifted": {"next": "bogus"}},
            ValueError,
            "shifted: got 'next' from 'bogus', expected .* inputs, labels",
        ),
        ({"shifted": "labels"}, TypeError, "shifted: got 'labels', expected a dict"),
        (
            {"document_lengths": (1,) * 10, "shifted": {"next": "labels"}},
            ValueError,
            "arrays: got 10 steps, expected a document with at least 2 steps",
        ),
    ],
)
def test_documents_that_do_not_fit_are_refused(change, error, message):
    arguments = {"arrays": STREAM, "steps": 3, "document_lengths": None, "shifted": None, **change}
    with pytest.raises(error, match=message):
        Windows.of(**arguments)
