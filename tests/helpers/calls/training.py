"""Good calls of losses, metrics and the experiment's contract, with the kind of each argument."""

import dataclasses
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import optax

import dlcore as dl
from dlcore.config.settings import check, leaves, replace
from dlcore.training.contract import check_model
from tests.helpers import toy
from tests.helpers.calls.kinds import (
    Argument,
    Call,
    choice,
    fields,
    flag,
    floats,
    function,
    integer,
    integers,
    kind,
    number,
    text,
    thing,
)

LABELS = {"labels": np.array([0, 1], np.int32)}
TARGETS = {"targets": np.ones((2, 3), np.float32)}


def call(run: Callable[..., Any], name: str = "", /, **arguments: Argument) -> Call:
    return Call(f"train: {name or run.__name__}", run, arguments, traced=False)


def masks(shape: tuple[int, ...]) -> dict[str, Any]:
    """What a mask may be wrong in."""
    good = np.ones(shape, bool)
    return {
        "a mask of text": "text",
        "a mask that is a list": good.tolist(),
        "a mask of -1": np.full(shape, -1),
        "a mask of shape [1]": np.ones(1, bool),
        "a 0-d mask": np.array(True),
        "a mask with too many axes": np.ones((*shape, 1, 1, 1), bool),
        "a masked array": np.ma.masked_array(good, ~good),
    }


def training() -> Iterator[Call]:
    yield from losses()
    yield from more_losses()
    yield from measures()
    yield from contract()
    yield from constructors()
    yield from optimizers()
    yield from settings()
    yield from callbacks()


def losses() -> Iterator[Call]:
    wrong = {name: {**LABELS, "mask": mask} for name, mask in masks((2,)).items()}
    labels = {
        "labels that are floats": {"labels": np.array([0.0, 1.0], np.float32)},
        "labels that are booleans": {"labels": np.array([False, True])},
        "labels of rank 2": {"labels": np.array([[0, 1]])},
    }
    batch = fields(LABELS, more=wrong | labels, names=("batch", "mask", "logits"))
    batch = batch._replace(
        taken=frozenset({"labels that are a list", "labels that are booleans", "a mask that is a list"})
    )
    logits = floats(2, 3, taken=("a list", "integers"))
    yield call(
        dl.losses.classification,
        logits=logits,
        batch=batch,
        label_smoothing=number(0.1, wrong=(-0.1, 2.0)),
        class_weights=weights_of(3, optional=True),
        ignore_index=integer(-100, -(2**31), optional=True),
    )
    wrong = {name: {**TARGETS, "mask": mask} for name, mask in masks((2,)).items()}
    targets = {
        "targets of another shape": {"targets": np.ones((2, 2), np.float32)},
        "complex targets": {"targets": np.ones((2, 3), np.complex64)},
    }
    batch = fields(TARGETS, more=wrong | targets, names=("batch", "mask", "outputs"))
    batch = batch._replace(taken=frozenset({"targets that are a list", "a mask that is a list"}))
    outputs = floats(2, 3, taken=("a list", "integers"))._replace(names=("targets",))
    yield call(dl.losses.regression, outputs=outputs, batch=batch)
    values = floats(2, 3, taken=("a list", "integers", "nothing", "rank 1", "a 0-d array"))
    bad = {name.replace("a mask ", ""): mask for name, mask in masks((2,)).items()}
    mask = kind(np.ones(2, bool), bad, "that is a list")
    yield call(
        dl.metrics.Average.of, "Average", values=values.without("rank 1", "a 0-d array", "nothing"), mask=mask
    )
    known = integers(0, 1, taken=("a list", "booleans")).without("-1")
    yield call(
        dl.metrics.accuracy,
        logits=logits.without("nothing"),
        labels=known._replace(names=("logits",)),
        mask=mask,
    )
    shape = kind((2, 3), {"None": None, "text": "text", "3": 3, "text in it": ("a",)}, names=("mask",))
    yield call(dl.metrics.expand_mask, mask=mask, shape=shape)
    places = fields({"mask": np.ones(2, bool), "lengths": np.array([3, 1])}, names=("batch", "mask"))
    optional = ("nothing", "no mask", "no lengths", "mask that are None", "lengths that are None")
    places = places._replace(taken=frozenset({*optional, "mask that are a list", "lengths that are a list"}))
    yield call(dl.metrics.place_weights, batch=places, shape=shape._replace(names=("mask", "lengths")))


def weights_of(classes: int, *, optional: bool = False) -> Argument:
    """Weights ``[C]`` of classes."""
    known = floats(classes, optional=optional, taken=("a list", "integers"))
    known = known._replace(good=np.linspace(0.5, 2, classes, dtype=np.float32))
    wrong = {"below 0": -known.good, "too many": np.ones(classes + 1), "NaN": np.full(classes, np.nan)}
    bad = {**known.bad, "a list": known.good.tolist(), "integers": np.ones(classes, np.int32), **wrong}
    return known._replace(bad=bad)


def more_losses() -> Iterator[Call]:
    wrong = {name: {**LABELS, "mask": mask} for name, mask in masks((2,)).items()}
    batch = fields(LABELS, more=wrong, names=("batch", "mask", "logits"))
    taken = ("labels that are a list", "a mask that is a list")
    batch = batch._replace(taken=frozenset(taken))
    logits = floats(2, taken=("a list", "integers"))._replace(names=("labels",))
    weight = number(2.0, wrong=(-1.0, float("inf")))
    yield call(dl.losses.binary, logits=logits, batch=batch, positive_weight=weight.without("an array"))
    wrong = {name: {**TARGETS, "mask": mask} for name, mask in masks((2,)).items()}
    batch = fields(TARGETS, more=wrong, names=("batch", "mask", "logits"))
    batch = batch._replace(taken=frozenset({"targets that are a list", "a mask that is a list"}))
    logits = floats(2, 3, taken=("a list", "integers"))._replace(names=("targets",))
    yield call(
        dl.losses.multi_label, logits=logits, batch=batch, positive_weight=weights_of(3).without("None")
    )
    spelled = {"labels": np.array([[1, 2], [1, 1]], np.int32), "label_lengths": np.array([2, 1], np.int32)}
    wrong = {name: {**spelled, "mask": mask} for name, mask in masks((2,)).items()}
    lengths = {
        "label_lengths above N": {**spelled, "label_lengths": np.array([3, 1])},
        "label_lengths below 0": {**spelled, "label_lengths": np.array([-1, 1])},
        "labels that are floats": {**spelled, "labels": np.ones((2, 2), np.float32)},
    }
    batch = fields(spelled, more=wrong | lengths, names=("batch", "mask", "logits"))
    taken = ("labels that are a list", "label_lengths that are a list", "no label_lengths")
    taken = (*taken, "label_lengths that are None", "a mask that is a list")
    batch = batch._replace(taken=frozenset(taken))
    logits = floats(2, 4, 3, taken=("a list", "integers"))._replace(names=("labels", "blank"))
    places = floats(2, 2, 3, taken=("a list", "integers"))._replace(names=("labels",))
    needed = batch._replace(taken=batch.taken - {"no label_lengths", "label_lengths that are None"})
    smoothing = number(0.1, wrong=(-0.1, 2.0))
    yield call(dl.losses.sequences, logits=places, batch=needed, label_smoothing=smoothing)
    yield call(dl.losses.ctc, logits=logits, batch=batch, blank=integer(0, 0), zero_infinity=flag())


def measures() -> Iterator[Call]:
    """Metrics other than means."""
    bad = {name.replace("a mask ", ""): mask for name, mask in masks((2,)).items()}
    mask = kind(np.ones(2, bool), bad, "that is a list")
    logits = floats(2, 3, taken=("a list",))._replace(names=("classes", "labels", "logits"))
    logits = logits.without("nothing")
    labels = integers(0, 1, taken=("a list", "booleans")).without("-1")
    labels = labels._replace(names=("logits", "predictions"))
    average = choice("macro", optional=True)
    known = {"predictions": logits, "labels": labels, "mask": mask}
    yield call(dl.metrics.ConfusionMatrix.of, "ConfusionMatrix", **known)
    for score in (dl.metrics.F1, dl.metrics.Precision, dl.metrics.Recall):
        yield call(score.of, score.__name__, **known, average=average)
    yield call(
        dl.metrics.top_k_accuracy,
        logits=logits.also(integers=logits.good.astype(np.int32))._replace(
            taken=frozenset({"a list", "integers"})
        ),
        labels=labels,
        mask=mask,
        k=integer(2).also(too_large=4),
    )
    scores = floats(2, taken=("a list", "integers"))._replace(names=("labels",))
    flags = labels._replace(names=("scores", "logits"))
    yield call(dl.metrics.binary_accuracy, logits=scores, labels=flags, mask=mask)
    yield call(dl.metrics.AUC.of, "AUC", scores=scores, labels=flags, mask=mask, bins=integer(8, 2))
    values = floats(2, 3, taken=("a list", "integers"))
    outputs, targets = values._replace(names=("targets",)), values._replace(names=("outputs",))
    center = number(0.5, wrong=(float("inf"),))
    yield call(dl.metrics.R2.of, "R2", outputs=outputs, targets=targets, mask=mask, center=center)
    values = values.without("rank 1", "a 0-d array", "nothing")
    yield call(dl.metrics.BitsPerToken.of, "BitsPerToken", values=values, mask=mask)
    yield call(dl.metrics.Perplexity.of, "Perplexity", values=values, mask=mask)
    bad = {"None": None, "3": 3, "text": "text", "nothing": [], "a number in it": [3], "too many": ["a"] * 3}
    texts = kind(["a b", "c"], bad, names=("hypotheses",))
    optional = texts._replace(bad={value: bad for value, bad in texts.bad.items() if bad is not None})
    yield call(dl.metrics.translation_scores, hypotheses=texts, references=texts, sources=optional)
    yield from edits(mask)


def edits(mask: Argument) -> Iterator[Call]:
    """Metrics of sequences of tokens."""
    tokens = np.array([[1, 2], [1, 1]])
    wrong = {"None": None, "text": "text", "floats": tokens / 2, "a number": 3}
    names = ("predicted", "labels", "label_lengths")
    known = {
        "predicted": kind(tokens, {**wrong, "another batch": tokens[:, None].repeat(3, 1)}, names=names),
        "predicted_lengths": integers(2, 1, taken=("a list", "booleans")).without("-1"),
        "labels": kind(tokens, {**wrong, "another batch": np.ones((3, 2), int)}, names=names),
        "label_lengths": integers(2, 0, taken=("a list", "booleans")).without("-1"),
    }
    for name in ("predicted_lengths", "label_lengths"):
        known[name] = known[name]._replace(names=names)
    yield call(dl.metrics.edit_distance, **known)
    spelled = {"references": tokens[:, None], "reference_lengths": np.array([[2], [-1]])}
    batch = fields(spelled, more={"a number": 3}, names=("batch", *names))
    batch = batch._replace(taken=frozenset(f"{name} that are a list" for name in spelled))
    spoken = {name: known[name] for name in ("predicted", "predicted_lengths")}
    bad = {"None": None, "3": 3, "one name": ("a",), "text": "text"}
    yield call(dl.metrics.error_rates, **spoken, batch=batch, names=kind(("a", "b"), bad))
    for rate in (dl.metrics.token_error_rate, dl.metrics.sequence_error_rate, dl.metrics.exact_match):
        yield call(rate, **known, mask=mask._replace(names=("predicted",)))


def contract() -> Iterator[Call]:
    experiment = toy.experiment(toy.Config())

    def build(**parts: Any) -> None:
        check_model(dataclasses.replace(experiment, **parts))

    yield Call(
        "train: Experiment",
        build,
        {
            "init": function(experiment.init),
            "loss": function(experiment.loss),
            "train_data": kind(
                experiment.train_data, {"None": None, "3": 3, "text": "text", "an object": object()}
            ),
            "eval_data": kind(
                experiment.eval_data, {"None": None, "3": 3, "nothing": [], "an object": object()}
            ),
            "best": text(experiment.best).also(another_metric="bogus"),
            "lower_is_better": flag(optional=True),
            "figures": function(lambda params, state: {}, optional=True),
            "monitor": function(lambda params, state: {}, optional=True),
            "modes": kind(
                {},
                {
                    "None": None,
                    "3": 3,
                    "a list": ["a"],
                    "no function": {"draw": 3},
                    "a mode of dlcore": {"train": print},
                },
                "a mode of dlcore",  # the command line refuses it
            ),
            "sharding_rules": kind({}, {"None": None, "3": 3, "a list": ["a"], "no pattern": {"(": ()}}),
            "callbacks": kind((), {"None": None, "3": 3, "text": "text", "a class": [dl.callbacks.Callback]}),
            "optimizer": function(lambda config, steps: optax.sgd(1.0), optional=True),
        },
        traced=False,
    )


def constructors() -> Iterator[Call]:
    experiment = toy.experiment(toy.Config())
    parts = {
        "loss": function(dl.losses.regression),
        "train_data": kind(experiment.train_data, {}),
        "eval_data": kind(experiment.eval_data, {}),
        "best": text("loss"),
        "lower_is_better": flag(optional=True),
    }
    make = function(lambda **random: None)
    streams = kind(("dropout",), {"3": 3, "text": "dropout", "numbers": (1,)})
    model = kind(toy.Model(), {"None": None, "3": 3, "the class": toy.Model})
    yield call(dl.Experiment.from_flax, model=model, rngs=streams, **parts)
    yield call(dl.Experiment.from_nnx, model=make, **parts)
    functions = {"init": function(experiment.init), "apply": function(lambda *arguments: ({}, {}))}
    yield call(dl.Experiment.from_functions, **functions, **parts)
    if find_spec("equinox"):
        yield call(dl.Experiment.from_equinox, model=make, batched=flag(), **parts)


def callbacks() -> Iterator[Call]:
    yield call(dl.callbacks.Stop, reason=text("enough").also(nothing=""))
    yield call(
        dl.callbacks.EarlyStopping,
        metric=text("accuracy"),
        patience=integer(3),
        min_change=number(0.1, wrong=(-0.1, float("inf"))),
        lower_is_better=flag(optional=True),
    )


def optimizers() -> Iterator[Call]:
    config, steps = thing(dl.OptimizerConfig()), integer(10)
    yield call(dl.optimizers.make_schedule, config=config, steps=steps)
    yield call(dl.optimizers.make_rule, name=choice("lion"), config=config, steps=steps)
    bad = {"None": None, "text": "text", "3": 3, "nothing": {}, "a list": [optax.sgd(1.0)]}
    bad |= {"no pattern": {"(": optax.sgd(1.0)}, "no transformation": {".*": optax.sgd}}
    yield call(dl.optimizers.by_path, transformations=kind({".*": optax.sgd(1.0)}, bad))


def settings() -> Iterator[Call]:
    """Every leaf of every config: text, a number that is not finite and an object in its place are refused."""
    for make in (
        dl.Config,
        dl.TrainConfig,
        dl.CheckpointConfig,
        dl.GradientFlowConfig,
        dl.MeshConfig,
        dl.OptimizerConfig,
        dl.StopConfig,
        dl.LogConfig,
        dl.BeamConfig,
        dl.SamplingConfig,
        dl.data.AffineConfig,
        dl.data.ChoraleConfig,
        dl.data.DigitConfig,
        dl.SweepConfig,
    ):
        known = {leaf.path: leaf.value for leaf in leaves(make())}
        bad = {"NaN": float("nan"), "an object": object(), "a list": [1], "-1.5": -1.5}

        def run(make: Any = make, **values: Any) -> None:
            check(replace(make(), values))

        arguments = {path: kind(value, bad) for path, value in known.items()}
        yield Call(f"train: {make.__name__}", run, arguments, traced=False)
    duration = {
        "None": None,
        "3": 3,
        "a word": "bogus",
        "nothing": "",
        "0": "0",
        "-1": "-1steps",
        "a list": [],
    }
    yield Call(
        "train: Duration", dl.Duration, {"text": kind("5epochs", duration, names=("duration",))}, traced=False
    )
