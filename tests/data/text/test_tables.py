"""A table is what a reader of CSV reads back."""

import csv
import io

import numpy as np
import pytest

import dlcore as dl


def test_a_reader_of_csv_gets_every_entry_back():
    texts = ['He said, "no"', "two\nlines", "", "é; ☃"]
    text = dl.data.csv_text({"text": texts, "a,b": np.array([1, 2, 3, 4])})
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["text", "a,b"], *([entry, str(number)] for number, entry in enumerate(texts, 1))]


def test_columns_of_several_lengths_are_refused():
    with pytest.raises(ValueError, match=r"columns: got \{'a': 1, 'b': 2\}"):
        dl.data.csv_text({"a": [1], "b": [1, 2]})
    with pytest.raises(TypeError, match=r"columns\['a'\]: got str"):
        dl.data.csv_text({"a": "text"})
