"""A run's folder is claimed, never taken from something else."""

import dataclasses
import json

import pytest

import dlcore as dl
from dlcore.cli import modes
from dlcore.train.checkpoints.checksums import COMMITTED, NAME, write_checksums
from dlcore.train.run import Run
from dlcore.train.run_folder import claim_folder
from dlcore.utils.files import to_json


def claim(run):
    with claim_folder(run):
        pass


def run_in(make_toy, folder, **train):
    toy = make_toy(**train)
    return Run(toy.experiment, toy.config, folder)


def test_a_new_folder_gets_its_config(make_toy, tmp_path):
    run = run_in(make_toy, tmp_path / "a" / "b")
    claim(run)
    assert json.loads((run.folder / "config.json").read_text()) == json.loads(
        json.dumps(dataclasses.asdict(run.config))
    )
    claim(run)  # the same run again


def saved(folder, step):
    """A whole checkpoint, as far as its checksums go."""
    checkpoint = folder / "checkpoints" / str(step)
    checkpoint.mkdir(parents=True)
    write_checksums(checkpoint)
    (checkpoint / COMMITTED).touch()


def test_the_steps_may_grow_and_what_computes_nothing_may_change(make_toy, tmp_path):
    claim(run_in(make_toy, tmp_path))
    saved(tmp_path, 6)
    claim(
        run_in(make_toy, tmp_path, steps=100, hang_timeout=200)
    )  # of which nothing that is computed depends
    for wrong in ({"steps": 99}, {"steps": 100, "batch_size": 4}):
        before = (tmp_path / "config.json").read_bytes()
        with pytest.raises(ValueError, match=r"holds a run with other settings: --config\.train"):
            claim(run_in(make_toy, tmp_path, **wrong))
        assert (tmp_path / "config.json").read_bytes() == before


def test_steps_are_compared_as_steps(make_toy, tmp_path):
    claim(run_in(make_toy, tmp_path, steps=dl.Duration("4epochs")))  # of 40 examples in batches of 8
    saved(tmp_path, 6)
    claim(run_in(make_toy, tmp_path, steps=20))
    claim(run_in(make_toy, tmp_path, steps=dl.Duration("168examples"), log_every=dl.Duration("3steps")))
    with pytest.raises(ValueError, match=r"--config\.train\.steps=4epochs \(was 168examples\)"):
        claim(run_in(make_toy, tmp_path, steps=dl.Duration("4epochs")))


def test_a_run_without_a_checkpoint_takes_other_settings(make_toy, tmp_path):
    claim(run_in(make_toy, tmp_path))
    claim(run_in(make_toy, tmp_path, batch_size=4))
    assert json.loads((tmp_path / "config.json").read_text())["train"]["batch_size"] == 4


@pytest.mark.parametrize("name", ["checkpoints", "figures", "events"])
def test_a_file_in_the_place_of_a_folder_is_named(make_toy, tmp_path, name):
    claim(run_in(make_toy, tmp_path))
    (tmp_path / name).touch()
    with pytest.raises(NotADirectoryError, match=f"{name}: got a file, expected a folder of the run"):
        claim(run_in(make_toy, tmp_path))


@pytest.mark.parametrize("content", [b"step,name,value\n1,loss\n", b"step,name,value\n1,loss,\xff\n", None])
def test_a_damaged_table_is_named(make_toy, tmp_path, content):
    claim(run_in(make_toy, tmp_path))
    path = tmp_path / "metrics.csv"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.csv: got a .*, "):
        claim(run_in(make_toy, tmp_path))


def test_what_is_no_run_is_left_alone(make_toy, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match=r"holds files but no config\.json"):
        claim(run_in(make_toy, tmp_path))
    with pytest.raises(NotADirectoryError, match="got a file, expected a folder"):
        claim(run_in(make_toy, tmp_path / "letter.txt"))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("content", ["{", "[]", '{"sed": 1}', '{"seed": "one"}'])
def test_a_damaged_config_is_named_and_left(make_toy, tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json: .*config\.json"):
        claim(run_in(make_toy, tmp_path))
    assert (tmp_path / "config.json").read_text() == content


def test_a_schedule_that_ends_does_not_grow(make_toy, tmp_path):
    run = run_in(make_toy, tmp_path)
    run.config.optimizer.schedule = "cosine"
    claim(run)
    saved(tmp_path, 6)
    run.config.train.steps += 1
    with pytest.raises(ValueError, match=r"--config\.train\.steps: got 13 \(was 12\) with a cosine schedule"):
        claim(run)


def test_json_has_no_nan():
    assert to_json({"loss": float("nan"), "steps": 3, "folder": "a"}) == (
        '{"loss": null, "steps": 3, "folder": "a"}'
    )


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"steps": 3}'])
def test_a_result_that_is_damaged_or_of_fewer_steps_is_made_anew(make_toy, tmp_path, content):
    run = run_in(make_toy, tmp_path)
    (tmp_path / "result.json").write_text(content)
    assert modes._finished(run) is None
    (tmp_path / "result.json").write_text('{"steps": 12}')
    assert modes._finished(run) is None  # without its last checkpoint
    saved(tmp_path, 12)
    assert modes._finished(run) == {"steps": 12}
    (tmp_path / "checkpoints" / "12" / NAME).unlink()
    assert modes._finished(run) is None
