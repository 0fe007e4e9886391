"""Recurrent layers against flax (linen and nnx), haiku, keras on JAX, equinox, and torch, where they are installed.

    python -m benchmarks.recurrent [--rounds=11] [--only=PART_OF_A_NAME] [--cells=...] [--variants=...] [--peers=...]

Each line is one forward and backward pass. dlcore and its peers run in turn in one process. The columns are dlcore's
milliseconds, the floor, which is the share of dlcore's time that the matrix products alone take, and how many times
faster dlcore is than each peer (median of the rounds' ratios; below 1 it is slower; -: the peer has no such layer). A
GRU has a second line with ``reset="after"``, which all peers except haiku compute. ``--devices=2`` shards the batch
over two devices of the CPU, except for torch, which uses both cores by itself.
"""

import collections
import functools
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags

from benchmarks import recurrent_peers
from benchmarks.recurrent_floor import floor
from benchmarks.recurrent_peers import GATES, PEERS, Problem, Step
from benchmarks.timing import in_turn, speedup

VARIANTS = ["plain", "lengths", "bidirectional"]
ROUNDS = flags.DEFINE_integer("rounds", 11, "Number of times that each is timed.", lower_bound=1)
ONLY = flags.DEFINE_string("only", "", "Time only the cases whose name contains this.")
CELLS = flags.DEFINE_list("cells", list(GATES), "Families of cells.")
CHOSEN = flags.DEFINE_list("variants", VARIANTS, "Variants of each layer.")
OTHERS = flags.DEFINE_list("peers", list(PEERS), "Peers to time.")
DEVICES = flags.DEFINE_integer(
    "devices", 1, "Number of CPU devices that each batch is sharded over.", lower_bound=1
)
CHECK = flags.DEFINE_bool("check", False, "Check the gradients' shapes and values before the timing.")
for _flag, _known in ((CELLS, list(GATES)), (CHOSEN, VARIANTS), (OTHERS, list(PEERS))):
    flags.register_validator(
        _flag,
        lambda names, known=_known: set(names) <= set(known),
        message=f"expected some of {', '.join(_known)}",
    )

SHAPES = [
    (32, 100, 128, 128),
    (32, 100, 256, 256),
    (16, 500, 64, 128),
    (64, 784, 1, 128),
    (32, 50, 512, 512),
    (1, 1000, 64, 64),
    (128, 28, 28, 128),
    (8, 2000, 40, 64),
]
"""Batch, steps, inputs and hidden units."""
RESET_AFTER = "gru after"


class Case(NamedTuple):
    """A layer of the grid: family of cells, variant, and one of the `SHAPES`."""

    family: str
    variant: str
    shape: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        return self.line(self.family)

    def line(self, family: str) -> str:
        batch, steps, inputs, hidden = self.shape
        return f"{family}, {self.variant}, {batch} x {steps} x {inputs} to {hidden}"

    def problem(self) -> Problem:
        batch, steps, inputs, hidden = self.shape
        random, both = np.random.default_rng(0), self.variant == "bidirectional"
        normal = lambda width: random.normal(size=(batch, steps, width)).astype(np.float32)
        data, arriving, lengths = normal(inputs), normal(hidden * (1 + both)), None
        if self.variant == "lengths":
            lengths = random.integers(1, steps + 1, batch).astype(np.int32)
            # Not all peers return zeros in the padding, so no gradient may come from there.
            arriving *= (np.arange(steps) < lengths[:, None])[:, :, None]
        return Problem(self.family, hidden, data, lengths, arriving, both)


class Line(NamedTuple):
    """The measurements of one case.

    Attributes:
        family: family of cells in the table, `RESET_AFTER` for the GRU's second line.
        case: the case.
        milliseconds: median time of dlcore.
        floor: share of that time that the matrix products alone take.
        ratios: how many times faster dlcore is, by peer; None if the peer has no such layer.
    """

    family: str
    case: Case
    milliseconds: float
    floor: float
    ratios: dict[str, float | None]

    def print(self) -> None:
        ratios = ("-" if ratio is None else f"{ratio:.2f}" for ratio in self.ratios.values())
        columns = zip(ratios, map(_width, self.ratios), strict=True)
        print(
            f"{self.case.line(self.family):48}{self.milliseconds:10.2f}{self.floor:7.2f}",
            *(f"{ratio:>{width}}" for ratio, width in columns),
            sep="",
            flush=True,
        )

    def known(self, without: str = "") -> dict[str, float]:
        return {name: ratio for name, ratio in self.ratios.items() if ratio is not None and name != without}


def _width(peer: str) -> int:
    return max(len(peer) + 4, 8)


def measure(case: Case, skipped: collections.Counter[str]) -> list[Line]:
    """Returns the lines of a case; ``skipped`` counts the reasons why peers could not take part."""
    problem = case.problem()
    ours = {case.family: "dlcore"}
    steps = {"dlcore": _started(recurrent_peers.dlcore, problem)}
    if case.family == "gru":
        ours[RESET_AFTER] = "dlcore after"
        steps["dlcore after"] = _started(functools.partial(recurrent_peers.dlcore, reset="after"), problem)
    for name in OTHERS.value:
        try:
            steps[name] = _started(PEERS[name], problem)
        except Exception as error:  # a peer's error must not end the comparison of the others
            reason = (str(error).splitlines() or [""])[0]
            skipped[f"{name}: {type(error).__name__}: {reason}"] += 1
    if CHECK.value:
        for name, step in steps.items():
            _check(name, problem, *step())
    steps["floor"] = _started(floor, problem)
    seconds = in_turn(steps, ROUNDS.value)
    jax.clear_caches()
    return [_line(family, case, seconds, name) for family, name in ours.items()]


def _started(build: Callable[[Problem], Step], problem: Problem) -> Step:
    """Builds a step and runs it once, so that it is compiled and known to work."""
    step = build(problem)
    step()
    return step


def _check(name: str, problem: Problem, params_gradient: Any, inputs_gradient: Any) -> None:
    params = [np.asarray(leaf) for leaf in jax.tree.leaves(params_gradient)]
    inputs = np.asarray(inputs_gradient)
    if inputs.shape != problem.inputs.shape:
        raise AssertionError(
            f"{name}: got an input gradient of shape {inputs.shape}, expected {problem.inputs.shape}"
        )
    weights = (problem.inputs.shape[-1] + problem.features) * GATES[problem.family] * problem.features
    if sum(leaf.size for leaf in params) < weights * (1 + problem.bidirectional):
        raise AssertionError(
            f"{name}: got gradients of too few parameters, {[leaf.shape for leaf in params]}"
        )
    if not all(np.isfinite(leaf).all() and leaf.any() for leaf in (*params, inputs)):
        raise AssertionError(f"{name}: got a gradient that is not finite or is 0 everywhere")
    if problem.lengths is not None:
        padding = np.arange(problem.inputs.shape[1]) >= problem.lengths[:, None]
        if inputs[padding].any():
            raise AssertionError(f"{name}: got an input gradient that is not 0 in the padding")


def _line(family: str, case: Case, seconds: Mapping[str, list[float]], ours: str) -> Line:
    ratios = {
        name: round(speedup(seconds, ours, name), 2) if name in seconds else None for name in OTHERS.value
    }
    milliseconds = statistics.median(seconds[ours]) * 1e3
    return Line(family, case, round(milliseconds, 2), round(speedup(seconds, ours, "floor"), 2), ratios)


def summary(lines: list[Line]) -> dict[str, dict[str, float | None]]:
    """Returns the means over each family, each variant and all; the GRU with ``reset="after"`` has its own row."""
    grid = [line for line in lines if line.family != RESET_AFTER]
    rows = {name: [line for line in lines if line.family == name] for name in (*GATES, RESET_AFTER)}
    rows |= {name: [line for line in grid if line.case.variant == name] for name in VARIANTS}
    rows |= {"all": grid, "all, gru after": [line for line in lines if line.family != "gru"]}
    return {name: _means(members) for name, members in rows.items() if members}


def _means(lines: list[Line]) -> dict[str, float | None]:
    jax_peers = [known for line in lines if (known := line.known(without="torch"))]
    return {
        "x fastest of JAX": _geometric_mean(min(known.values()) for known in jax_peers),
        "x torch": _geometric_mean(line.known()["torch"] for line in lines if "torch" in line.known()),
        "minimum": min((ratio for line in lines for ratio in line.known().values()), default=None),
        "floor, H >= 256": _mean(line.floor for line in lines if line.case.shape[-1] >= 256),
    }


def _geometric_mean(ratios: Iterable[float]) -> float | None:
    logarithm = _mean(math.log(max(ratio, 0.005)) for ratio in ratios)  # a ratio may have been rounded to 0
    return None if logarithm is None else math.exp(logarithm)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.fmean(known) if known else None


def _print_summary(rows: Mapping[str, Mapping[str, float | None]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n{'geometric means':18}", *(f"{column:>19}" for column in columns), sep="")
    for name, means in rows.items():
        values = ("-" if value is None else f"{value:.2f}" for value in means.values())
        print(f"{name:18}", *(f"{value:>19}" for value in values), sep="")


def main(_: list[str]) -> None:
    if DEVICES.value > 1:
        jax.config.update("jax_num_cpu_devices", DEVICES.value)
    grid = [
        Case(family, variant, shape) for family in CELLS.value for variant in CHOSEN.value for shape in SHAPES
    ]
    print(
        f"{'':48}{'dlcore ms':>10}{'floor':>7}",
        *(f"{'x ' + name:>{_width(name)}}" for name in OTHERS.value),
        sep="",
    )
    lines: list[Line] = []
    skipped: collections.Counter[str] = collections.Counter()
    for case in grid:
        if ONLY.value in case.name:
            for line in measure(case, skipped):
                line.print()
                lines.append(line)
    for reason, count in skipped.items():
        print(f"skipped {count} times: {reason}", file=sys.stderr)
    means = summary(lines)
    if means:
        _print_summary(means)
    results = {
        line.case.line(line.family): {
            "milliseconds": line.milliseconds,
            "floor": line.floor,
            "ratios": line.ratios,
        }
        for line in lines
    }
    print("result:", json.dumps({"cases": results, "means": means}))


if __name__ == "__main__":
    app.run(main)
