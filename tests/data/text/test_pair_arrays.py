"""Pairs become arrays that decode to their texts, and settings choose the pairs."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.config import settings
from tests.helpers.packages import needs_package

PAIRS = [("a Cat", "eine Katze"), ("cats", "Katzen"), ("no", "")]


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_arrays_decode_to_their_texts(unit):
    encoder = dl.data.TextEncoder.of([text for pair in PAIRS for text in pair], unit)
    batch = dl.data.pair_arrays(PAIRS, encoder)
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
    assert batch["inputs"].shape == batch["labels"].shape
    sources, targets = zip(*PAIRS, strict=True)
    assert encoder.decode(batch["inputs"]) == [encoder.plain(text) for text in sources]
    assert encoder.decode(batch["labels"]) == [encoder.plain(text) for text in targets]
    assert batch["lengths"].tolist() == [len(encoder.tokens(text)) for text in sources]
    assert batch["label_lengths"].tolist() == [len(encoder.tokens(text)) + 1 for text in targets]
    longest = max(batch["lengths"].max(), batch["label_lengths"].max())
    assert batch["inputs"].shape[1] == longest


def test_what_is_no_pair_is_refused():
    encoder = dl.data.TextEncoder.of(["a"])
    with pytest.raises(TypeError, match=r"pairs: got 'ab', expected pairs"):
        dl.data.pair_arrays(["ab"], encoder)
    with pytest.raises(TypeError, match=r"encoder: got .*, expected a dl.data.TextEncoder"):
        dl.data.pair_arrays(PAIRS, encoder.vocabulary)
    with pytest.raises(ValueError, match="sequences: got none"):
        dl.data.pair_arrays([], encoder)


def write_files(folder, count=200):
    numbers = [f"number {n}" + " and so on" * (n == 7) for n in range(count)]
    (folder / "a.en").write_text("\n".join(numbers))
    (folder / "a.de").write_text("\n".join(text.replace("number", "Zahl") for text in numbers))
    return {"name": "files", "source_file": str(folder / "a.en"), "target_file": str(folder / "a.de")}


def test_settings_choose_files_and_leave_out_long_pairs(tmp_path):
    config = dl.data.PairConfig(**write_files(tmp_path), longest=10)
    encoder, parts = config.read()
    assert sum(map(len, parts)) == 199
    assert parts == dl.data.split_pairs([pair for part in parts for pair in part])
    assert set("number Zahl0123456789") <= set(encoder.vocabulary.tokens)
    assert "so" in dl.data.PairConfig(**write_files(tmp_path), unit="words").read()[0].tokens("and so on")
    with pytest.raises(ValueError, match="longest: got 3, which leaves 0, 0, 0 pairs in train, dev and test"):
        dl.data.PairConfig(**write_files(tmp_path), longest=3).read()


def test_missing_paths_are_named():
    for changes, name in (
        ({"name": "multi30k"}, "folder"),
        ({"name": "files"}, "source_file"),
        ({"name": "files", "source_file": "a"}, "target_file"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got none for the pairs '{changes['name']}'"):
            dl.data.PairConfig(**changes).read()
    with pytest.raises(ValueError, match=r"name: got 'text', expected one of packages, bible"):
        settings.check(dl.data.PairConfig(name="text"))


def test_multi30k_is_read_from_its_folder(tmp_path):
    for stem in ("train", "val", "test_2016_flickr"):
        (tmp_path / f"{stem}.en").write_text(f"{stem} one\n{stem} one two")
        (tmp_path / f"{stem}.fr").write_text("un\nun deux")
    config = dl.data.PairConfig("multi30k", "fr", str(tmp_path), unit="words", longest=5)
    encoder, parts = config.read()
    assert parts.dev == [("val one", "un"), ("val one two", "un deux")]
    assert encoder.vocabulary.tokens[2:] == ("one", "train", "un")  # each word that train has twice


@needs_package("django", "pycountry")
def test_the_default_pairs_are_those_of_packages():
    encoder, parts = dl.data.PairConfig().read()
    assert parts.train == [pair for pair in dl.data.package_pairs().train if max(map(len, pair)) <= 40]
    assert 80 < len(encoder.vocabulary) < 200
