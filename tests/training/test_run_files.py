"""The texts of a run are saved with it, and a run whose texts changed is refused."""

import dataclasses
import shutil

import pytest

import dlcore as dl
from dlcore.training.run_files import check_run_files, write_run_files
from tests.helpers import plain_toy

TEXTS = {"vocabulary.json": '{"tokens": ["ä"]}\r\n'}


def experiment(files):
    return dataclasses.replace(plain_toy.experiment(plain_toy.Config()), files=files)


def test_texts_are_kept_to_the_letter(tmp_path):
    write_run_files(tmp_path, TEXTS)
    assert (tmp_path / "vocabulary.json").read_bytes() == TEXTS["vocabulary.json"].encode()
    check_run_files(tmp_path, TEXTS)
    check_run_files(tmp_path / "missing", TEXTS)
    with pytest.raises(ValueError, match=r"vocabulary\.json: got another text .* choose another folder"):
        check_run_files(tmp_path, {"vocabulary.json": "{}"})


def test_a_run_whose_texts_changed_is_neither_continued_nor_read(tmp_path):
    config, folder = plain_toy.Config(), tmp_path / "run"
    dl.train(experiment(TEXTS), config, folder)
    options = {"experiment": experiment({"vocabulary.json": "another"}), "config": config}
    with pytest.raises(ValueError, match=r"vocabulary\.json: got another text"):
        dl.load(folder, **options)
    with pytest.raises(ValueError, match=r"vocabulary\.json: got another text"):
        dl.train(options["experiment"], config, folder)
    assert dl.load(folder, experiment=experiment(TEXTS), config=config).step == 12
    shutil.rmtree(folder / "checkpoints")  # without a checkpoint, other texts lose nothing
    dl.train(options["experiment"], config, folder)
    assert (folder / "vocabulary.json").read_text() == "another"
