"""Fine-tuning loads the leaves that fit, keeps the initial values of the others, and reports both."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.training.checkpoints import fine_tune
from dlcore.training.checkpoints.fine_tune import check_init_from, initialize_from
from dlcore.training.checkpoints.manager import Checkpoints
from dlcore.training.config import CheckpointConfig
from dlcore.training.state import TrainState

KERNEL, BIAS = "params/dense/kernel", "params/dense/bias"
MEAN = "model_state/batch_stats/norm/mean"


def make_model(value, classes=3, name="dense", **further):
    params = {
        name: {"kernel": jnp.full((2, 4), value), "bias": jnp.full(4, value)},
        "head": (jnp.full((4, classes), value), None),
        **{layer: {"kernel": jnp.full((4, 4), value)} for layer in further},
    }
    return params, {"batch_stats": {"norm": {"mean": jnp.full(4, value)}}}


@pytest.fixture(name="run", scope="module")
def saved_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    with Checkpoints(run / "checkpoints", CheckpointConfig(), "score") as checkpoints:
        for step in (1, 2):
            params, model_state = make_model(float(step))
            opt_state = optax.adam(0.1).init(params)
            state = TrainState(jnp.int32(step), params, model_state, opt_state, {}, None, jnp.int32(-1))
            checkpoints.save(step, state, None)
    return run


@pytest.fixture(name="averaged", scope="module")
def saved_run_with_an_average(tmp_path_factory):
    """A run whose parameters are 2 and whose moving average is 0.5; its stream is at 7."""
    run = tmp_path_factory.mktemp("averaged")
    with Checkpoints(run / "checkpoints", CheckpointConfig(), "score") as checkpoints:
        params, model_state = make_model(2.0)
        state = {**model_state, "carry": {"state": jnp.full((2, 4), 7.0)}}
        average = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.5), params)
        checkpoints.save(2, TrainState(jnp.int32(2), params, state, (), {}, average, jnp.int32(-1)), None)
    return run


def values(tree):
    return {float(value) for leaf in jax.tree.leaves(tree) for value in np.ravel(leaf)}


@pytest.mark.parametrize("below", ["", "checkpoints", "checkpoints/2"])
def test_the_same_model_is_loaded_whole_with_its_statistics(run, below):
    params, model_state, report = initialize_from(*make_model(0.0), run / below)
    assert values(params) == values(model_state) == {2}
    assert jax.tree.structure(params) == jax.tree.structure(make_model(0.0)[0])
    assert set(report.loaded) == {KERNEL, BIAS, "params/head/0", MEAN}
    assert report.skipped == report.missing == report.mismatched == ()
    assert report.text().startswith(f"initialized from {run}/checkpoints/2:\n  4 loaded: ")


def test_a_check_reports_the_same_and_reads_no_value(run, monkeypatch):
    shapes = jax.eval_shape(lambda: make_model(0.0))
    expected = initialize_from(*make_model(0.0), run)[2]
    monkeypatch.setattr(fine_tune, "restore_leaves", None)
    assert check_init_from(*shapes, run) == expected
    with pytest.raises(ValueError, match="init_map: got 'params/none=', expected a path"):
        check_init_from(*shapes, run, ["params/none="])


def test_one_checkpoint_may_be_chosen(run):
    params, _, _ = initialize_from(*make_model(0.0), run / "checkpoints" / "1")
    assert values(params) == {1}


def test_dtype_and_placement_are_those_of_the_model(run):
    params, model_state = make_model(0.0)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    loaded, _, _ = initialize_from(params, model_state, run)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {jnp.dtype(jnp.bfloat16)}
    assert loaded["dense"]["kernel"].sharding == params["dense"]["kernel"].sharding


def test_the_map_renames_a_layer(run):
    params, _, report = initialize_from(
        *make_model(0.0, name="encoder"), run, ["params/dense=params/encoder"]
    )
    assert values(params) == {2}
    assert report.skipped == report.missing == ()
    params, _, report = initialize_from(*make_model(0.0, name="encoder"), run)
    assert values(params["encoder"]) == {0}
    assert set(report.skipped) == {KERNEL, BIAS}
    assert set(report.missing) == {"params/encoder/kernel", "params/encoder/bias"}


def test_another_number_of_classes_keeps_its_head(run):
    params, _, report = initialize_from(*make_model(0.0, classes=5), run)
    assert values(params["dense"]) == {2}
    assert values(params["head"]) == {0}
    assert report.mismatched == (("params/head/0", (4, 5), (4, 3)),)
    assert "1 of another shape, as initialized: params/head/0 ((4, 5) here, (4, 3) there)" in report.text()


def test_a_layer_that_the_checkpoint_does_not_have_is_reported(run):
    params, _, report = initialize_from(*make_model(0.0, extra=True), run)
    assert values(params["extra"]) == {0}
    assert report.missing == ("params/extra/kernel",)
    assert "1 not filled, as initialized: params/extra/kernel" in report.text()


def test_a_layer_that_the_model_does_not_have_is_reported(run):
    params, model_state = make_model(0.0)
    del params["head"]
    _, _, report = initialize_from(params, model_state, run)
    assert report.skipped == ("params/head/0",)
    assert "1 left in the checkpoint: params/head/0" in report.text()


def test_the_map_leaves_a_layer_out(run):
    params, _, report = initialize_from(*make_model(0.0), run, ["params/head="])
    assert values(params["head"]) == {0}
    assert report.skipped == report.missing == ("params/head/0",)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("params/dense", "expected old/path=new/path, or old/path= to leave it out"),
        ("=params/dense", "expected old/path=new/path"),
        ("params/den=params/dense", "got .params/den=params/dense., expected a path in the checkpoint"),
        ("params/dense=params/none", "got 'params/dense=params/none', expected a path .* one in this model"),
        ("params/dense/kernel=params/head/0", "got both .* for params/head/0; leave one out, as '"),
    ],
)  # fmt: skip
def test_an_entry_of_the_map_without_effect_is_refused(run, entry, message):
    with pytest.raises(ValueError, match=f"init_map: .*{message}"):
        initialize_from(*make_model(0.0), run, [entry])


def test_a_checkpoint_without_a_common_leaf_is_refused(run):
    with pytest.raises(
        ValueError, match=r"init_from: got .* with .*params/dense/bias.* expected .* params/new.*init_map="
    ):
        initialize_from({"new": jnp.ones(3)}, {}, run)


def test_a_path_without_checkpoints_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            ValueError, match=f"init_from: got {path}, expected a run's folder, its checkpoints"
        ):
            initialize_from(*make_model(0.0), path)


def test_a_damaged_checkpoint_is_not_used(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/checkpoints/2/default/_METADATA").unlink()
    params, _, _ = initialize_from(*make_model(0.0), tmp_path / "run")
    assert values(params) == {1}
    with pytest.raises(ValueError, match=r"checkpoints/2, which is damaged \(default/_METADATA is missing\)"):
        initialize_from(*make_model(0.0), tmp_path / "run/checkpoints/2")
    (tmp_path / "run/checkpoints/1/checksums.json").unlink()
    with pytest.raises(ValueError, match="whose checkpoints are all damaged"):
        initialize_from(*make_model(0.0), tmp_path / "run")


def test_what_was_evaluated_is_loaded_unless_the_trained_parameters_are_asked_for(run, averaged):
    loaded, _, report = initialize_from(*make_model(0.0), averaged)
    assert values(loaded) == {0.5}
    assert report.text().startswith(
        f"initialized from {averaged}/checkpoints/2, the moving average:\n  4 loaded: "
    )
    assert set(report.loaded) == {KERNEL, BIAS, "params/head/0", MEAN}
    trained, _, report = initialize_from(*make_model(0.0), averaged, weights="trained")
    assert values(trained) == {2}
    assert not report.averaged
    without, _, _ = initialize_from(*make_model(0.0), run, weights="evaluated")
    assert values(without) == {2}


def test_the_map_renames_a_layer_of_the_moving_average(averaged):
    loaded, _, _ = initialize_from(
        *make_model(0.0, name="encoder"), averaged, ["params/dense=params/encoder"]
    )
    assert values(loaded) == {0.5}


def test_the_state_of_another_stream_is_loaded_only_if_the_map_asks_for_it(averaged):
    params, model_state = make_model(0.0)
    model_state["carry"] = {"state": jnp.zeros((2, 4))}
    _, loaded, report = initialize_from(params, model_state, averaged)
    assert values(loaded["carry"]) == {0}
    assert values(loaded["batch_stats"]) == {2}
    assert report.skipped == report.missing == ("model_state/carry/state",)
    _, loaded, report = initialize_from(
        params, model_state, averaged, ["model_state/carry=model_state/carry"]
    )
    assert values(loaded["carry"]) == {7}
    assert report.skipped == report.missing == ()
