"""Tests that ``tests/training/test_mesh.py`` runs in a process with eight devices: a mesh must not change a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from sklearn import metrics as sklearn

import dlcore as dl
from dlcore.training import loop
from dlcore.training.contract import check_model
from dlcore.training.engine import Engine
from dlcore.training.evaluation import evaluate, read_sums
from dlcore.training.mesh import make_mesh
from dlcore.utils.trees import named_leaves
from tests.helpers import library_models, own_optimizer, sequence_toy
from tests.helpers import toy as image_toy
from tests.helpers.bits import assert_close, assert_same_bits

MESHES = {
    "data": dl.MeshConfig(data=8),
    "fully sharded": dl.MeshConfig(data=8, parameters="sharded"),
    "data and model": dl.MeshConfig(data=4, model=2, parameters="by_rules"),
    "model": dl.MeshConfig(data=1, model=8, parameters="by_rules"),
}
ONE = dl.MeshConfig(data=1)


def engine_of(mesh, cell="lstm", **train):
    config = sequence_toy.Config(cell=cell)
    config.train = dataclasses.replace(config.train, steps=40, **train)
    config.mesh = mesh
    return Engine(sequence_toy.experiment(config), config)


def trained(engine, state=None, steps=20):
    state = engine.initial_state() if state is None else state
    start = int(state.step)
    for step in range(start, start + steps):
        batch = engine.batch(range(step, step + 1))
        state, _ = engine.program(batch, 1).call(state, batch)
    return state


@pytest.fixture(scope="module")
def alone(request):
    """The same run on one device."""
    engine = engine_of(ONE, request.param, ema_decay=0.9)
    return request.param, engine, jax.device_get(engine.initial_state()), trained(engine)


@pytest.mark.parametrize(
    ("alone", "mesh"), [*(("lstm", name) for name in MESHES), ("bigru", "data and model")], indirect=["alone"]
)
def test_a_sharded_run_equals_the_run_on_one_device(alone, mesh):
    cell, one, first, expected = alone
    engine = engine_of(MESHES[mesh], cell, ema_decay=0.9)
    assert_same_bits(first, jax.device_get(engine.initial_state()))
    state = trained(engine)
    for name in ("params", "average", "model_state", "opt_state"):
        assert_close(getattr(state, name), getattr(expected, name))
    values, on_one = evaluate(engine, state), evaluate(one, expected)
    assert values == pytest.approx(on_one, rel=1e-5)


def test_parameters_are_split_as_the_mesh_config_says():
    def kernel_of(mesh):
        state = trained(engine_of(mesh), steps=1)
        kernels = [
            leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path((state.params, state.opt_state))
            if "recurrent_kernel" in jax.tree_util.keystr(path)
        ]
        assert len(kernels) == 3  # the parameter and Adam's two moments
        assert len({(kernel.shape, kernel.sharding) for kernel in kernels}) == 1
        return kernels[0]

    kernel = kernel_of(MESHES["data"])
    assert kernel.sharding.is_fully_replicated
    kernel = kernel_of(MESHES["fully sharded"])
    assert (kernel.shape, kernel.sharding.shard_shape(kernel.shape)) == ((8, 32), (8, 4))
    kernel = kernel_of(MESHES["data and model"])
    assert kernel.sharding.shard_shape(kernel.shape) == (8, 16)
    assert [len(kernel.sharding.device_set), tuple(kernel.sharding.spec)] == [8, (None, "model")]


def small_engine(mesh, **optimizer):
    """The small network with the optimizer of its own, or with settings in its place."""
    config = own_optimizer.Config(mesh=mesh)
    experiment = own_optimizer.experiment(config)
    if optimizer:
        config.optimizer = dl.OptimizerConfig(**optimizer)
        experiment = dataclasses.replace(experiment, optimizer=None)
    return Engine(experiment, config)


SETTINGS = {
    "own": {},
    "frozen": {"name": "lion", "clip_norm": 0.05, "frozen": ("^encoder/",), "rates": ("^middle/=0.25",)},
    "muon": {
        "name": "muon",
        "learning_rate": 0.1,
        "weight_decay": 0.1,
        "schedule": "plateau",
        "plateau_window": 1,
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_optimizers_by_path_equal_the_run_on_one_device(settings):
    expected = trained(small_engine(ONE, **settings), steps=3)
    for mesh in ("fully sharded", "data and model"):
        state = trained(small_engine(MESHES[mesh], **settings), steps=3)
        for name in ("params", "opt_state"):
            assert_close(getattr(state, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
        middle = state.params["middle"]["kernel"]
        moments = [
            leaf for path, leaf in named_leaves(state.opt_state).items() if path.endswith("middle/kernel")
        ]
        assert moments
        assert {moment.sharding for moment in moments} == {middle.sharding}
        assert not middle.sharding.is_fully_replicated


def test_a_checkpoint_is_restored_on_any_mesh(tmp_path):
    saved_on = engine_of(MESHES["fully sharded"])
    state = trained(saved_on, steps=3)
    with loop.open_checkpoints(saved_on, tmp_path) as checkpoints:
        checkpoints.save(3, state, None)
    expected = trained(saved_on, jax.tree.map(lambda leaf: leaf.copy(), state), steps=1)
    for mesh in (
        MESHES["fully sharded"], MESHES["data and model"], dl.MeshConfig(data=2), dl.MeshConfig(data=2, model=2), ONE,
    ):  # fmt: skip
        engine = engine_of(mesh)
        with loop.open_checkpoints(engine, tmp_path) as checkpoints:
            restored = checkpoints.restore(engine.abstract_state, checkpoints.set_aside_damaged())
        assert_same_bits(jax.device_get(restored), jax.device_get(state))
        assert type(restored.opt_state) is type(state.opt_state)
        wanted = jax.tree.map(lambda leaf: leaf.sharding, engine.abstract_state)
        assert jax.tree.map(lambda leaf: leaf.sharding, restored) == wanted
        loss = trained(engine, restored, steps=1).metrics["loss"]
        assert float(loss.value()) == pytest.approx(float(expected.metrics["loss"].value()), rel=1e-6)


@pytest.mark.parametrize(
    "train",
    [{"micro_batches": 2}, {"steps_per_call": 4}, {"remat": True}, {"precision": "bfloat16"}],
    ids=str,
)
def test_the_options_of_a_step_work_on_a_mesh(train):
    mesh = dl.MeshConfig(data=4, model=2, parameters="by_rules")
    count = train.get("steps_per_call", 1)
    losses = []
    for shape in (ONE, mesh):
        engine = engine_of(shape, **train)
        batch = engine.batch(range(count))
        state, _ = engine.program(batch, count).call(engine.initial_state(), batch)
        losses.append(float(state.metrics["loss"].value()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-2 if "precision" in train else 1e-5)


@pytest.mark.parametrize("library", ["nnx", "equinox"])
def test_models_of_other_libraries_train_on_a_mesh(library):
    """Also with micro-batches and remat; their parameters are split by rules on their paths."""
    pytest.importorskip({"nnx": "flax"}.get(library, library))
    rules = {"(kernel|weight)$": ("model",), ".*": ()}
    experiment = dataclasses.replace(getattr(library_models, library)(), sharding_rules=rules)
    states = []
    for mesh in (ONE, MESHES["data and model"]):
        config = dl.Config(mesh=mesh, optimizer=dl.OptimizerConfig("momentum", 0.1))
        config.train = dataclasses.replace(
            config.train, steps=2, batch_size=8, micro_batches=2, remat=True, log_every=2, eval_every=2
        )
        states.append(trained(Engine(experiment, config), steps=2))
    for name in ("params", "model_state", "opt_state"):
        assert_close(getattr(states[1], name), getattr(states[0], name), rtol=1e-4)
    kernels = [leaf for leaf in jax.tree.leaves(states[1].params) if leaf.ndim == 2 and leaf.size > 8]
    assert len(kernels) == 2
    assert all(kernel.sharding.spec[0] == "model" for kernel in kernels)


def test_a_run_resumes_on_another_mesh_and_logs_the_same(tmp_path):
    def run(folder, mesh, steps):
        config = image_toy.Config()
        config.train.steps, config.mesh = steps, mesh
        folder.mkdir(exist_ok=True)
        return loop.train(Engine(image_toy.experiment(config), config), folder)

    whole = run(tmp_path / "whole", ONE, 12)
    run(tmp_path / "parts", dl.MeshConfig(data=8), 6)
    parts = run(tmp_path / "parts", dl.MeshConfig(data=2, parameters="sharded"), 12)
    assert parts.evaluation == pytest.approx(whole.evaluation, rel=1e-4)
    names = [
        [line.rsplit(",", 1)[0] for line in (tmp_path / part / "metrics.csv").read_text().splitlines()]
        for part in ("whole", "parts")
    ]
    assert names[0] == names[1]


def test_an_evaluation_set_that_the_mesh_does_not_divide_is_padded_and_masked():
    one, eight = (engine_of(mesh) for mesh in (ONE, MESHES["data"]))
    batch = {name: field[:5] for name, field in sequence_toy.arrays().items()}
    values = []
    for engine in (one, eight):
        data = dataclasses.replace(engine.experiment, eval_data=[batch])
        again = Engine(data, engine.config)
        values.append(evaluate(again, again.initial_state()))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


class StreamModel(nn.Module):
    @nn.compact
    def __call__(self, inputs, lengths, *, resets, train):
        layer = dl.Stateful(dl.DeepRecurrent(dl.LSTMCell(4), layers=2))
        return nn.Dense(1)(layer(inputs, lengths, resets, train=train)[1])


@pytest.mark.parametrize("documents", [8, 5])
def test_rows_of_an_evaluation_of_streams_stay_on_their_devices(documents):
    field = np.random.default_rng(0).normal(size=(7 * documents, 1)).astype(np.float32)
    stream = {"inputs": field, "targets": field[::-1]}
    config = sequence_toy.Config()
    values = []
    for mesh in (ONE, MESHES["data"]):
        experiment = dl.Experiment.from_flax(
            StreamModel(),
            loss=dl.losses.regression,
            train_data=dl.data.StreamBatches(stream, 8, 0, 3),
            eval_data=dl.data.StreamEvaluation(stream, 8, 3, document_lengths=(7,) * documents),
            best="loss",
        )
        engine = Engine(experiment, dataclasses.replace(config, mesh=mesh))
        state = engine.initial_state()
        values.append(evaluate(engine, state))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    batch = engine._place_eval_batch(experiment.eval_data[0])
    _, streams = engine._evaluate_streams(state.params, state.model_state, None, batch)
    for leaf in jax.tree.leaves(streams):
        assert (leaf.shape, leaf.sharding.shard_shape(leaf.shape)) == ((2, 8, 4), (2, 1, 4))


class Tagger:
    """Ragged tags of 3 classes whose predictions do not depend on the parameters; 4 of 5 are right."""

    def __init__(self, rows=40, steps=7):
        generator = np.random.default_rng(0)
        labels = generator.integers(0, 3, (rows, steps))
        wrong = generator.random((rows, steps)) < 0.2
        lengths, mask = generator.integers(0, steps + 1, rows), generator.random((rows, steps)) < 0.8
        self.arrays = {
            "inputs": np.where(wrong, 0, labels),
            "labels": labels,
            "lengths": lengths.astype(np.int32),
            "mask": mask,
        }

    def loss(self, params, model_state, batch, rng, train):
        logits = jax.nn.one_hot(batch["inputs"], 3) + params["bias"]
        value, metrics = dl.losses.classification(logits, batch)
        counts = logits, batch["labels"], dl.metrics.place_weights(batch, batch["labels"].shape)
        f1, matrix = dl.metrics.F1.of(*counts), dl.metrics.ConfusionMatrix.of(*counts)
        per_class = dl.metrics.F1.of(*counts, average=None)
        return value, (model_state, {**metrics, "f1": f1, "matrix": matrix, "per_class": per_class})

    def engine(self, mesh, micro_batches):
        config = sequence_toy.Config()
        config.train = dataclasses.replace(config.train, batch_size=16, micro_batches=micro_batches)
        config.mesh = mesh
        experiment = dl.Experiment(
            init=lambda rng, batch: ({"bias": jnp.zeros(())}, {}),
            loss=self.loss,
            train_data=dl.data.ShuffledBatches(self.arrays, 16, seed=0),
            eval_data=dl.data.PaddedBatches(self.arrays, 13),
            best="f1",
        )
        check_model(experiment)
        return Engine(experiment, config)


def scikit_learns(rows):
    """The metrics of the tags that count, by scikit-learn."""
    valid = rows["mask"] & (np.arange(rows["labels"].shape[1]) < rows["lengths"][:, None])
    truth, predicted = rows["labels"][valid], rows["inputs"][valid]
    return {
        "accuracy": pytest.approx((truth == predicted).mean(), rel=1e-6),
        "f1": pytest.approx(sklearn.f1_score(truth, predicted, average="macro"), rel=1e-6),
        "matrix": sklearn.confusion_matrix(truth, predicted, labels=range(3)).tolist(),
        "per_class": pytest.approx(sklearn.f1_score(truth, predicted, average=None), rel=1e-6),
    }


@pytest.mark.parametrize(("devices", "micro_batches"), [(1, 1), (1, 4), (8, 1), (8, 2)])
def test_metrics_of_ragged_and_padded_rows_equal_scikit_learns(devices, micro_batches):
    tagger = Tagger()
    engine = tagger.engine(dl.MeshConfig(data=devices), micro_batches)
    values = evaluate(engine, engine.initial_state())
    assert {**values, "loss": 0} == {**scikit_learns(tagger.arrays), "loss": 0}
    state = trained(engine, steps=3)
    batches = [engine.experiment.train_data[step] for step in range(3)]
    rows = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    measured = read_sums(state.metrics)
    expected = scikit_learns(rows)
    assert {name: measured[name] for name in expected} == expected


def test_bad_meshes_are_refused():
    with pytest.raises(
        ValueError, match=r"mesh\.data: got 3 with --config\.mesh\.model=4, expected a product of at most 8"
    ):
        make_mesh(dl.MeshConfig(data=3, model=4))
    with pytest.raises(ValueError, match=r"mesh\.data: got none with --config\.mesh\.model=9"):
        make_mesh(dl.MeshConfig(model=9))
    config = sequence_toy.Config()
    config.mesh, config.train.batch_size = dl.MeshConfig(data=8), 12
    with pytest.raises(ValueError, match="batch_size: got 12, expected a multiple of 8"):
        Engine(sequence_toy.experiment(config), config)
