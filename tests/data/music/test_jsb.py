"""The JSB chorales are read from a file of JSON in every form that is passed around; a pickle is refused."""

import json

import numpy as np
import pytest

import dlcore as dl

CHORD, OTHER = [74, 70, 65, 58], [72, 69, 65, 53]


def written(tmp_path, train, **parts):
    path = tmp_path / "jsb-chorales-quarter.json"
    path.write_text(json.dumps({"train": train, "valid": [[CHORD]], "test": [[OTHER, CHORD]], **parts}))
    return path


def test_the_published_split_is_kept(tmp_path):
    train, valid, test = dl.data.jsb_chorales(written(tmp_path, [[CHORD], [CHORD, OTHER]]))
    assert train["lengths"].tolist() == [1, 2]
    assert train["inputs"].tolist() == [[CHORD, [0] * 4], [CHORD, OTHER]]
    assert train["inputs"].dtype == np.int32
    assert valid["inputs"].tolist() == [[CHORD]]
    assert test["inputs"].tolist() == [[OTHER, CHORD]]


@pytest.mark.parametrize(
    ("frame", "voices"),
    [
        (CHORD[::-1], CHORD),
        ([60, 67, 65, 58], [60, 67, 65, 58]),  # voices that cross stay as they are
        ([74, None, 65, 58], [74, 0, 65, 58]),
        ([74, float("nan"), -1, 58.0], [74, 0, 0, 58]),
        ([58, 65, 74], [74, 65, 0, 58]),
        ([74, 58], [74, 0, 0, 58]),
        ([74], [74, 0, 0, 0]),
        ([], [0, 0, 0, 0]),
    ],
)
def test_each_note_gets_its_voice(tmp_path, frame, voices):
    train, _, _ = dl.data.jsb_chorales(written(tmp_path, [[frame]]))
    assert train["inputs"][0, 0].tolist() == voices


@pytest.mark.parametrize(
    "train", [[[[60] * 5]], [[[128]]], [[["a"]]], [], [[]], [[60]], "text", {"a": 3}, [[[-2]]]]
)
def test_a_damaged_file_is_named(tmp_path, train):
    with pytest.raises(ValueError, match=r"quarter\.json: got a file that holds no chorales .*fetch it anew"):
        dl.data.jsb_chorales(written(tmp_path, train))
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: got a file that holds no chorales"):
        dl.data.jsb_chorales(path)


def test_a_pickle_is_refused_and_a_missing_file_is_named(tmp_path):
    (tmp_path / "jsb.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ValueError, match=r"path: got .*jsb\.pkl, .* a pickle is not read"):
        dl.data.jsb_chorales(tmp_path / "jsb.pkl")
    with pytest.raises(
        FileNotFoundError, match=r"path: got .*, which is no file.*bach_chorales needs no file"
    ):
        dl.data.jsb_chorales(tmp_path / "missing.json")
    with pytest.raises(FileNotFoundError, match="path: got none, expected a file"):
        dl.data.jsb_chorales(None)
