"""The search for the largest batch: on functions from rows to bytes whose answer is known."""

import pytest

from dlcore.runs.inspection.largest import Trial, find_largest


def search(bytes_of, memory, rows, unit=1, empty=0, unknown=False):
    """What is found, and the numbers of rows that were tried."""
    tried = []

    def measure(count):
        tried.append(count)
        needed = bytes_of(count)
        return Trial(count, None if unknown and needed > memory else needed, needed <= memory)

    failed = Trial(rows, None if unknown else bytes_of(rows), False)
    best, over = find_largest(measure, failed, None if unknown else memory, empty, unit)
    assert len(tried) == len(set(tried))
    assert all(count % unit == 0 and 0 < count < rows for count in tried)
    if best is not None:
        assert best.fits
        assert best.rows in tried
    assert not over.fits
    return best, over, tried


@pytest.mark.parametrize("unit", [1, 4, 6])
@pytest.mark.parametrize("memory", [97, 1000, 12345])
def test_bytes_that_grow_evenly_are_found_in_a_few_trials(memory, unit):
    best, over, tried = search(lambda rows: 50 + rows, memory, 10**6, unit=unit, empty=50)
    step = 8 * unit if memory - 50 >= 8 * unit else unit
    assert best.rows == (memory - 50) // step * step
    assert over.rows == best.rows + step
    assert len(tried) <= 4


@pytest.mark.parametrize(
    "bytes_of",
    [lambda rows: rows**2, lambda rows: 1000 * rows**0.5, lambda rows: 300 + rows // 64 * 64],
    ids=["square", "root", "in steps"],
)
@pytest.mark.parametrize("unknown", [False, True])
def test_bytes_that_grow_otherwise_are_narrowed_down(bytes_of, unknown):
    """The gap is the step, or at least much smaller than the number."""
    best, over, _ = search(bytes_of, bytes_of(400), 4000, unknown=unknown)
    assert best.rows <= over.rows - 1
    assert 300 <= best.rows <= 448


def test_rows_that_do_not_fill_a_tile_are_avoided():
    """As on a TPU, where 113 rows need more memory than 120."""
    best, _, tried = search(lambda rows: rows if rows % 8 == 0 else 2 * rows, 112, 128)
    assert best.rows == 112
    assert all(count % 8 == 0 for count in tried)


def test_below_a_tile_any_multiple_of_the_unit_is_tried():
    best, over, _ = search(lambda rows: 10 * rows, 55, 64, unit=1)
    assert (best.rows, over.rows) == (5, 6)


def test_if_nothing_fits_the_smallest_batch_is_named():
    best, over, tried = search(lambda rows: 1000 + rows, 500, 64, unit=2, empty=1000)
    assert best is None
    assert over.rows == 2
    assert len(tried) <= 16


def test_a_batch_of_one_unit_cannot_be_smaller():
    assert find_largest(None, Trial(4, 10, False), 5, 0, 4) == (None, Trial(4, 10, False))
