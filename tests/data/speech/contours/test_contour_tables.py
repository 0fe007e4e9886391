"""Tables with either delimiter and any line end have the same contours; faults are named."""

import numpy as np
import pytest

from dlcore.data.speech.contours.contour_tables import read_contours

ROWS = [(0.0, 9.0, 9.0), (0.04, 1.0, -1.0), (0.08, 2.0, -2.5)]


def write(path, delimiter=",", end="\n", names=("time", "a ", " b"), rows=ROWS, after=""):
    lines = [delimiter.join(names), *(delimiter.join(f" {cell}" for cell in row) for row in rows)]
    path.write_bytes(end.join([*lines, after]).encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_of_0_s_is_left_out(tmp_path, delimiter, end):
    names, values = read_contours(write(tmp_path / "a.csv", delimiter, end))
    assert names == ("a", "b")
    assert values.tolist() == [[1.0, -1.0], [2.0, -2.5]]
    assert read_contours(tmp_path / "a.csv", frames=1).values.tolist() == [[1.0, -1.0]]


def test_columns_of_texts_are_left_out(tmp_path):
    rows = [(time, "P16", value) for time, value, _ in ROWS]
    table = read_contours(write(tmp_path / "a.csv", names=("time", "name", "b"), rows=rows))
    assert table.names == ("b",)
    np.testing.assert_array_equal(table.values, [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"names": ("t", "a", "b")}, "got the columns t, a, b, expected time among them"),
        ({"rows": [("0.04", "x", "y")]}, "got the columns time, a, b, expected one of numbers"),
        ({"rows": []}, "got no line with numbers"),
        ({"rows": [*ROWS, (0.12, 1.0)]}, "expected the 3 columns time, a, b"),
        ({"rows": [*ROWS, (0.125, 1.0, 1.0), (0.2, 1.0, 1.0)]}, "got the time 0.2 s in place of 0.16 s"),
        ({"rows": [*ROWS, (0.12, "nan", 1.0)]}, "got 'nan', expected a number that is known"),
    ],
)
def test_faults_are_named(tmp_path, changes, named):
    with pytest.raises(ValueError, match=rf"a\.csv: .*{named}"):
        read_contours(write(tmp_path / "a.csv", **changes))
