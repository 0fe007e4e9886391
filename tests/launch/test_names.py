"""Names of jobs are labels, differ where runs differ, and are refused where a cluster would refuse them."""

import re
from pathlib import Path

import pytest

from dlcore.launch.command import Command
from dlcore.launch.names import check_label, job_name

RFC_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"


def name(folder, module="experiments.digits", longest=40):
    return job_name(Command(module, (), Path(folder)), longest)


def test_a_plain_name_stays():
    assert name("/w/runs/digits/first") == "digits-first"
    assert name("/w/runs/digits/a-1", module="digits") == "digits-a-1"


FOLDERS = [
    "/w/a_b",
    "/w/a.b",
    "/w/A-B",
    "/w/a-b-",
    "/w/" + "x" * 80,
    "/w/" + "x" * 81,
    "/w/ü",
    "/w/a b",
    "/w/-",
]


def test_every_name_is_a_label_and_has_one_folder():
    names = [name(folder) for folder in FOLDERS]
    assert all(re.fullmatch(RFC_1035, each) and len(each) <= 40 for each in names)
    assert len(set(names)) == len(names)
    assert names == [name(f"/elsewhere{folder}") for folder in FOLDERS]


def test_a_program_whose_name_is_no_label_has_one():
    assert re.fullmatch("rnn-first-[0-9a-f]{6}", name("/w/first", module="_1rnn"))
    assert re.fullmatch("run-[0-9a-f]{6}", name("/w/1", module="_"))


@pytest.mark.parametrize("value", ["a", "a-1", "a" * 63])
def test_labels_are_accepted(value):
    check_label("--name", value, 63)


@pytest.mark.parametrize("value", ["", "A", "1a", "-a", "a-", "a_b", "a.b", "a b", "a\n", "ä", "a" * 64])
def test_other_names_are_refused(value):
    with pytest.raises(ValueError, match=r"^--name: got .*, expected at most 63 of a-z, 0-9 and -"):
        check_label("--name", value, 63)
