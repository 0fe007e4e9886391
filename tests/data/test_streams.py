"""Streams: every step once in an epoch, rows that go on, and a batch that is a function of its step."""

import numpy as np
import pytest

from dlcore.data import StreamBatches, StreamEvaluation, rows_of
from tests.helpers.bits import assert_same_bits

LENGTHS = (7, 1, 0, 12, 3, 5)
STEPS = sum(LENGTHS)
DOCUMENT = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
STREAM = {"inputs": np.arange(STEPS), "document": DOCUMENT}


def valid(batch, row, name="inputs"):
    return batch[name][row, : batch["lengths"][row]].tolist()


def follows(before, after):
    """True if the steps after are those that come next in the same document."""
    return after == before + 1 and DOCUMENT[before] == DOCUMENT[after]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("documents", [None, LENGTHS])
@pytest.mark.parametrize(("batch_size", "steps"), [(1, 1), (1, 4), (3, 4), (4, 2), (3, 50)])
def test_every_step_is_seen_once_in_each_epoch_and_rows_go_on(documents, batch_size, steps, shuffle):
    if steps == 50 and documents is None:
        batch_size = 1  # there is one window
    data = StreamBatches(STREAM, batch_size, 3, steps, document_lengths=documents, shuffle=shuffle)
    assert data.examples == data.batches_per_epoch * batch_size
    orders = set()
    for epoch in range(3):
        batches = [data[epoch * data.batches_per_epoch + index] for index in range(data.batches_per_epoch)]
        seen = [step for batch in batches for row in range(batch_size) for step in valid(batch, row)]
        assert sorted(seen) == list(range(STEPS))
        orders.add(tuple(seen))
        assert batches[0]["resets"].all()
        empty = [row for batch in batches for row in range(batch_size) if not batch["lengths"][row]]
        assert len(empty) < batch_size
        for row in range(batch_size):
            last = None
            for index, batch in enumerate(batches):
                now = valid(batch, row)
                assert now == list(range(now[0], now[0] + len(now))) if now else index == len(batches) - 1
                if documents:
                    assert len(set(valid(batch, row, "document"))) <= 1
                if now and index:
                    goes_on = follows(last, now[0]) if documents else now[0] == last + 1
                    assert batch["resets"][row] != goes_on
                last = now[-1] if now else last
    assert (len(orders) > 1) == (shuffle and data.batches_per_epoch > 1)


def test_labels_are_the_next_steps_of_the_same_document():
    data = StreamBatches(
        {"inputs": np.arange(STEPS)}, 3, 0, 4, document_lengths=LENGTHS, shifted={"labels": "inputs"}
    )
    pairs = [
        pair
        for index in range(data.batches_per_epoch)
        for row in range(3)
        for pair in zip(valid(data[index], row), valid(data[index], row, "labels"), strict=True)
    ]
    assert sorted(pairs) == [(step, step + 1) for step in range(STEPS - 1) if follows(step, step + 1)]


def add_noise(batch, generator):
    return {**batch, "inputs": batch["inputs"] + generator.normal(size=batch["inputs"].shape)}


@pytest.mark.parametrize("transform", [None, add_noise])
def test_a_batch_is_a_function_of_its_step_and_the_rows_of_processes_are_the_batch(transform):
    def make():
        return StreamBatches(STREAM, 4, 1, 2, document_lengths=LENGTHS, shuffle=True, transform=transform)

    forwards, backwards = make(), make()
    expected = [forwards[step] for step in range(20)]
    for step in reversed(range(20)):
        assert_same_bits(backwards[step], expected[step])
        parts = [rows_of(backwards, step, row, row + 2) for row in (0, 2)]
        assert_same_bits(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, expected[step]
        )
    other = StreamBatches(STREAM, 4, 2, 2, document_lengths=LENGTHS, shuffle=True)
    assert any(not np.array_equal(other[step]["inputs"], expected[step]["inputs"]) for step in range(5))
    assert forwards[2**31 - 1]["inputs"].shape == (4, 2)


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 4), (2, 4), (3, 1), (64, 3), (2, 50)])
def test_an_evaluation_reads_whole_documents_in_order(batch_size, steps):
    data = StreamEvaluation(STREAM, batch_size, steps, document_lengths=LENGTHS)
    rows = min(batch_size, 5)
    batches = list(data)
    assert (len(batches), {batch["inputs"].shape for batch in batches}) == (len(data), {(rows, steps)})
    streams = {}
    for batch in batches:
        for row in range(rows):
            read = valid(batch, row)
            if read:
                document = batch["document"][row, 0]
                assert batch["resets"][row] == (document not in streams) or batch is batches[0]
                streams.setdefault(document, []).extend(read)
    assert batches[0]["resets"].all()
    assert streams == {document: np.flatnonzero(document == DOCUMENT).tolist() for document in streams}
    assert sum(map(len, streams.values())) == STEPS
    with pytest.raises(IndexError, match=f"index: got {len(data)}, expected 0 to {len(data) - 1}"):
        data[len(data)]


def test_one_document_is_one_row():
    data = StreamEvaluation({"inputs": np.arange(5)}, 8, 2)
    assert [batch["inputs"].tolist() for batch in data] == [[[0, 1]], [[2, 3]], [[4, 0]]]


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"batch_size: got 8, expected 1 to 7, the number of windows of 4"):
        StreamBatches(STREAM, 8, 0, 4)
    with pytest.raises(ValueError, match="batch_size: got 1000, expected 1 to 7, the number of windows of 4"):
        StreamBatches(STREAM, 1000, 0, 4)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        StreamEvaluation(STREAM, 0, 4)
    with pytest.raises(TypeError, match="shuffle: got 1, expected True or False"):
        StreamBatches(STREAM, 2, 0, 4, shuffle=1)
