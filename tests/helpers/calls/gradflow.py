"""Good calls of the functions of `dlcore.gradflow`, with the kind of each argument."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dlcore as dl
from dlcore.gradflow.measures.cliff import Unit
from dlcore.gradflow.report.sweep_figures import Grid
from tests.helpers.calls.kinds import (
    Argument,
    Call,
    booleans,
    by_name,
    choice,
    flag,
    floats,
    function,
    integer,
    integers,
    kind,
    label,
    number,
    numbers,
    thing,
)
from tests.helpers.calls.plots import ROWS
from tests.helpers.flows import flow

T, B, N = 4, 2, 3
STATES = np.zeros((T + 1, B, N), np.float32)


def step(params: Any, state: Any, inputs: Any) -> Any:
    return params * state + inputs


RECURRENCE = dl.gradflow.Recurrence(
    step, np.float32(0.5), STATES[0], np.ones((T, B, N), np.float32), np.array([T, 1])
)
PARTS = ("recurrence", "step", "params", "initial_state", "inputs", "lengths")


def recurrence(good: Any = RECURRENCE) -> Argument:
    """A `Recurrence`, and what is none, or one whose parts do not fit."""

    def wrong(**parts: Any) -> Any:
        return good._replace(**parts)

    bad = {
        "None": None,
        "text": "text",
        "a tuple": tuple(good),
        "step that is text": wrong(step="text"),
        "step that returns None": wrong(step=lambda params, state, inputs: None),
        "params that are None": wrong(params=None),
        "params that are text": wrong(params="text"),
        "params that are integers": wrong(params=np.array(1)),
        "initial_state that is None": wrong(initial_state=None),
        "initial_state that is a list": wrong(initial_state=[1.0, 2.0]),
        "initial_state of another rank": wrong(initial_state=np.float32(0)),
        "inputs that are None": wrong(inputs=None),
        "inputs that are text": wrong(inputs="text"),
        "inputs of another batch": wrong(inputs=np.ones((T, B + 1, N), np.float32)),
        "inputs of rank 1": wrong(inputs=np.ones(T, np.float32)),
        "lengths that are a list": wrong(lengths=[4, 1]),
        "lengths that are floats": wrong(lengths=np.array([4.0, 1.0])),
        "lengths that are too large": wrong(lengths=np.array([9, 1])),
        "lengths of another batch": wrong(lengths=np.array([1, 1, 1])),
    }
    return kind(good, bad, names=PARTS)


KEY = kind(None, {"3": 3, "text": "text", "a list": [0]})


def call(run: Callable[..., Any], name: str = "", /, *, traced: bool = True, **arguments: Argument) -> Call:
    return Call(f"gradflow: {name or run.__name__}", run, arguments, traced)


def trees(good: np.ndarray) -> Argument:
    """A tree of arrays like ``good``."""
    bad = {
        "None": None,
        "text": "text",
        "a list": [1.0],
        "a 0-d array": np.float32(0),
        "another shape": good[1:],
        "integers": good.astype(np.int32),
        "complex numbers": good.astype(np.complex64),
    }
    return kind(good, bad)


def gradflow() -> Iterator[Call]:
    yield from measures()
    yield from summaries()
    yield from small()
    yield from models()
    yield from figures()


def measures() -> Iterator[Call]:
    g = dl.gradflow
    known, one = recurrence(), recurrence(RECURRENCE._replace(lengths=None))
    states = trees(STATES)._replace(names=("cotangents", "states"))
    yield call(g.trajectory, recurrence=known)
    scalar = kind(
        jnp.sum,
        function(jnp.sum).bad
        | {"returns a vector": lambda states: states[0, 0], "returns None": lambda states: None},
    )
    yield call(
        g.state_cotangents,
        loss=scalar,
        states=trees(STATES).without("another shape", "a list", "a 0-d array"),
    )
    for measure in (g.backward, g.backward_signal, g.log_gradients):
        yield call(measure, recurrence=known, states=states, cotangents=states)
    lags = integer(2, least=0).also(too_many=T + 1)
    for measure in (g.log_by_lag, g.gradients_by_lag):
        yield call(measure, recurrence=known, states=states, cotangents=states, lags=lags)
    norms = floats(4)
    yield call(g.covering_lag, log_by_lag=norms, share=number(0.9, wrong=(0.0, 1.5, -1.0)))
    yield call(g.log_products, recurrence=known, norm=choice("spectral"))
    yield call(g.log_singular_values, recurrence=known)
    yield call(g.log_products_by_probes, recurrence=known, probes=integer(2), key=KEY)
    chosen = kind(
        (0, 2), {"None": None, "text": "text", "floats": (0.5,), "negative": (-1,), "too large": (9,)}
    )
    rounds = integer(2, least=0)
    yield call(
        g.log_products_by_subspace,
        recurrence=known,
        lags=chosen,
        block=integer(1),
        rounds=rounds,
        tolerance=number(1e-5, wrong=(-1.0,)),
        key=KEY,
    )
    warm_up = integer(1, least=0, optional=True).also(too_long=T)
    exponents = integer(2, optional=True).also(too_many=N + 1)
    spectrum = {"recurrence": known, "warm_up": warm_up, "key": KEY}
    yield call(g.lyapunov_spectrum, **spectrum, exponents=exponents, every=integer(1))
    yield call(g.largest_exponent, **spectrum)
    yield call(g.flossing_penalty, **spectrum, exponents=exponents)
    signal = trees(STATES)
    yield call(g.omega_terms, recurrence=known, signal=signal)
    row = RECURRENCE._replace(
        initial_state=STATES[0, :1], inputs=np.ones((T, 1, N), np.float32), lengths=None
    )
    single = recurrence(row).also(two_rows=one.good, lengths=row._replace(lengths=np.array([4])))
    yield call(
        g.summarize, recurrence=single, probes=integer(2), exponents=integer(1).without("None"), key=KEY
    )


def summaries() -> Iterator[Call]:
    g = dl.gradflow
    cell = dl.LSTMCell(2)
    shapes = jax.eval_shape(cell.init, jax.random.key(0), (jnp.ones((B, 2)),) * 2, jnp.ones((B, N)))["params"]
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    carry = (np.zeros((T + 1, B, 2), np.float32),) * 2
    wrong = {"None": None, "text": "text", "a list": [1.0], "3": 3}
    yield call(
        g.gate_statistics,
        cell=thing(cell, more={"without gates": dl.RNNCell(2)}),
        params=kind(params, {**wrong, "no bias": {key: params[key] for key in list(params)[1:]}}),
        states=kind(
            carry,
            {**wrong, "one part": carry[0], "too few steps": jax.tree.map(lambda part: part[1:], carry)},
        ),
        inputs=floats(T, B, N)._replace(names=("states",)),
        lengths=integers(4, 1, most=T, optional=True),
    )
    yield call(g.first_nonfinite, states=trees(STATES).without("another shape", "a list"))
    yield call(g.fit_rate, log_norms=floats(4, 2, taken=("rank 1", "nothing")), first=integer(0, least=0))
    yield call(g.halved_at, log_norms=floats(4, 2, taken=("rank 1", "nothing")))
    yield call(g.half_life, rate=floats(3, taken="a 0-d array"))
    yield call(g.log_bound, recurrent_kernel=floats(2, 2), max_slope=number(1.0, wrong=(-1.0, float("inf"))))
    yield call(g.departure_from_normality, matrix=floats(2, 2))


def small() -> Iterator[Call]:
    """The measures of one unit, and numbers beyond the range of floats."""
    cliff, wide = dl.gradflow.cliff, dl.gradflow.wide_range
    unit = kind(
        Unit(steps=2),
        {
            "None": None,
            "text": "text",
            "no step": Unit(steps=-1),
            "text in it": Unit(steps="2"),
            "NaN": Unit(target=float("nan")),
        },
        names=("steps", "target"),
    )
    point = floats(2).also(three_numbers=np.ones(3, np.float32))
    yield call(cliff.loss, "cliff.loss", point=point, unit=unit)
    yield call(cliff.surface, "cliff.surface", weights=floats(3), biases=floats(2), unit=unit)
    yield call(
        cliff.descend,
        "cliff.descend",
        start=point,
        learning_rate=number(0.1),
        updates=integer(2, least=0),
        clip_norm=number(1.0, optional=True, wrong=(0.0, -1.0)),
        unit=unit,
    )
    values, exponent = floats(2, 3), integers(0, 1).without("-1", "too many")
    wide_number = wide.WideRange(values.good, np.zeros(2, np.int32))
    numbers_ = kind(
        wide_number,
        {
            "None": None,
            "text": "text",
            "floats": values.good,
            "exponents that are floats": wide_number._replace(exponent=np.zeros(2, np.float32)),
            "no values": wide_number._replace(values=None),
        },
        names=("values", "exponent"),
    )
    yield call(
        wide.normalize,
        "wide_range.normalize",
        values=values,
        exponent=exponent.without("a 0-d array")._replace(names=("values",)),
    )
    yield call(
        wide.from_floats,
        "wide_range.from_floats",
        values=values.without("rank 1", "nothing"),
        rows=integer(1, least=0),
    )
    for add in (wide.add, wide.add_unnormalized):
        parts = dict.fromkeys(("these", "others"), numbers_)
        yield call(add, f"wide_range.{add.__name__}", **parts)
    yield call(
        wide.to_common_exponent,
        "wide_range.to_common_exponent",
        numbers=numbers_,
        valid=booleans(True, False, optional=True),
    )
    yield call(wide.to_floats, "wide_range.to_floats", numbers=numbers_)
    yield call(wide.log_norm, "wide_range.log_norm", numbers=numbers_)
    yield call(
        wide.joint_log_norm, "wide_range.joint_log_norm", logs=floats(2, 3).without("a list", "rank 1")
    )
    yield call(
        wide.power_of_two,
        "wide_range.power_of_two",
        exponent=exponent.without("rank 2", "a 0-d array"),
        dtype=kind(jnp.float32, {"None": None, "text": "x", "int32": jnp.int32}),
    )


@functools.cache
def model() -> Any:
    layer = dl.Recurrent(dl.GRUCell(2))
    inputs = np.ones((B, T, N), np.float32)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), inputs)
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    return layer, params, inputs


def models() -> Iterator[Call]:
    g = dl.gradflow
    layer, params, inputs = model()

    def loss(params: Any = params, state: Any = None) -> jax.Array:
        return layer.apply(params, inputs)[1].sum()

    def vector(params: Any = params, state: Any = None) -> jax.Array:
        return layer.apply(params, inputs)[1][0, 0]

    wrong = function(loss).bad | {
        "returns a vector": vector,
        "returns None": lambda *_: None,
        "returns text": lambda *_: "a",
    }
    call_ = kind(loss, wrong, names=("loss",))
    for find in (g.find_recurrences, g.find_unmeasured):
        yield call(find, call=call_.without("returns a vector"))

    def found(term: Callable[..., Any], **options: Any) -> Any:
        return term(**options)(g.find_recurrences(loss)[0])

    yield call(
        functools.partial(found, g.flossing),
        "flossing",
        exponents=integer(1),
        warm_up=integer(0, least=0, optional=True),
    )
    yield call(
        g.omega,
        found=kind(
            g.find_recurrences(loss)[0],
            {"None": None, "text": "text", "a recurrence": RECURRENCE},
            names=("recurrence",),
        ),
    )

    def measured(loss: Any) -> Any:
        return g.measure(loss)(params)

    def monitored(loss: Any) -> Any:
        return g.make_monitor(loss)(params, {})

    # Their good calls compile, which other tests do; here they fail before that.
    yield call(
        lambda loss: None if loss is call_.good else measured(loss), "measure", loss=call_, traced=False
    )
    yield call(
        lambda loss: None if loss is call_.good else monitored(loss), "make_monitor", loss=call_, traced=False
    )

    def whole(params: Any, state: Any, batch: Any, rng: Any, train: bool) -> Any:
        return loss(params), (state, {})

    def trained(**options: Any) -> Any:
        return g.regularized(**options)(params, {}, {}, jax.random.key(0), True)

    returns = {"returns one value": lambda *_: jnp.ones(()), "returns None": lambda *_: None}
    yield call(
        trained,
        "regularized",
        loss=kind(whole, function(whole).bad | returns),
        term=kind(
            g.omega,
            function(g.omega).bad
            | {"returns None": lambda found: None, "returns a vector": lambda found: jnp.ones(2)},
        ),
        weight=number(0.1, wrong=(float("inf"),)),
    )


def figures() -> Iterator[Call]:
    g = dl.gradflow
    curve = numbers(5)
    many = by_name(curve.good, curve, names=("log_signals", "curves", "exponents"))
    yield call(g.plot_decay, curves=many, title=label(), ylabel=label(), fit=flag(True), traced=False)
    yield call(g.plot_signal, log_signals=many, row=label(), traced=False)
    yield call(
        g.plot_double_sum,
        log_gradients=numbers(4, 4),
        log_by_lag=numbers(4),
        covering_lag=integer(2, least=-1, optional=True),
        traced=False,
    )
    sizes = kind({"a": 9}, {"text": "text", "3": 3, "a list": [9], "0": {"a": 0}, "text in it": {"a": "9"}})
    yield call(g.plot_spectra, exponents=many, sizes=sizes, traced=False)
    gate = g.Gate(*np.full((4, T, 2), 0.5, np.float32))
    gates = kind(
        {"forget": gate},
        {"None": None, "text": "text", "3": 3, "nothing": {}, "no gate": {"forget": 3}},
        names=("keeping",),
    )
    yield call(
        g.plot_gates,
        statistics=gates,
        keeping=choice("forget"),
        half_life=number(3.0).without("NaN"),
        traced=False,
    )
    grid = Grid(np.arange(1, 4), np.arange(5), np.zeros((3, 5)), np.zeros((3, 2)))
    wrong = {
        "no grid": {"a": 3},
        "text in it": {"a": grid._replace(scales="text")},
        "other lags": {"a": grid._replace(lags=np.arange(4))},
        "exponents of rank 1": {"a": grid._replace(exponents=np.zeros(3))},
    }
    known = kind(
        {"a": grid},
        {"None": None, "text": "text", "3": 3, "a list": [grid], **wrong},
        names=("scales", "lags", "log_gains", "exponents"),
    )
    yield call(g.plot_gain_map, grids=known, scale=label(), traced=False)
    yield call(g.plot_exponents, grids=known.without("other lags"), scale=label(), traced=False)
    pair = (np.array([0.5, 2.0]), np.array([0.1, 0.9]))
    measured = {
        "None": None,
        "text": "text",
        "3": 3,
        "no pair": {"a": pair[0][:1]},
        "text in it": {"a": ("a", "b")},
        "other lengths": {"a": (pair[0], pair[1][:1])},
    }
    yield call(
        g.plot_success,
        measured=kind({"a": pair}, measured),
        chance=number(0.5, optional=True),
        name=label(),
        reach=label(),
        traced=False,
    )
    yield call(g.plot_lags_in_training, rows=ROWS, traced=False)
    yield call(
        g.plot_clipping,
        steps=numbers(3),
        before=numbers(3),
        after=numbers(3),
        threshold=number(1.0, wrong=(-1.0,)),
        each=label(),
        traced=False,
    )
    paths = by_name(np.ones((2, 2)), numbers(2, 2))
    surface = {"loss": numbers(3, 2), "log_gradient_norm": numbers(3, 2)}
    yield call(g.plot_cliff, weights=numbers(3), biases=numbers(2), **surface, paths=paths, traced=False)
    yield call(reported, "write_report", **report(), traced=False)


def report() -> dict[str, Argument]:
    good = {"initial": [flow(steps=5)]}
    flows = {
        "None": None,
        "text": "text",
        "3": 3,
        "nothing": {},
        "a list": [flow(steps=5)],
        "no flow": {"initial": [3]},
        "no list": {"initial": flow(steps=5)},
    }
    return {
        "folder": kind("folder", {"None": None, "3": 3, "a list": ["a"]}),
        "run": label(),
        "flows": kind(good, flows),
        "metrics": ROWS._replace(names=("metrics", "rows")),
        "clip_norm": number(1.0, optional=True, wrong=(-1.0,)),
    }


def reported(folder: Any, **options: Any) -> None:
    """Writes a report into a folder that is dropped; the good call is another test's, as it draws all figures."""
    if folder == "folder":
        with tempfile.TemporaryDirectory() as place:
            dl.gradflow.write_report(Path(place), **options)
    else:
        dl.gradflow.write_report(folder, **options)
