"""Reads the text of a compiled program (XLA's HLO): which collectives it runs and how often, and calls of libraries."""

import collections
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
INTERNAL = {"AllocateBuffer", "AsyncCollectiveStart", "AsyncCollectiveDone"}
"""Targets of custom calls that are no calls: buffers, and the two ends of a collective that is counted already."""

CALLED = re.compile(
    r"\b(?:calls|to_apply|body|branch_computations|true_computation|false_computation)=(\{.*?\}|%\S+)"
)
NAME = re.compile(r"%([\w.\-]+)")
ARRAY = re.compile(r"\b([a-z]+\d*)[a-z0-9]*\[([\d,<=]*)\]")


class Collective(NamedTuple):
    """A collective operation of a program.

    Attributes:
        kind: one of `KINDS`.
        bytes: size of the whole array on a device: what goes in or what comes out, whichever is larger. So an
            all-reduce and an all-gather of an array have the array's size.
        devices: number of devices that exchange data with each other.
        runs: how often it runs in a call of the program: the product of the numbers of trips of the loops around it.
        exact: False if a loop does not tell its number of trips, which then counts as 1.
    """

    kind: str
    bytes: int
    devices: int
    runs: int = 1
    exact: bool = True

    @property
    def total(self) -> int:
        """The bytes of all its runs in a call."""
        return self.bytes * self.runs


class Instruction(NamedTuple):
    """A line of a computation: ``%name = shape opcode(operands), attributes``."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str


class Runs(NamedTuple):
    """How often a computation runs, see `Collective`."""

    runs: int
    exact: bool


def read_collectives(text: str) -> list[Collective]:
    """The collectives of a compiled program, in the order of its text.

    What a TPU does piece by piece beside other work stands in several fusions, all with the same channel. It counts as
    often as its start runs, which is in no deeper loop than its pieces.

    Args:
        text: what ``jax.stages.Compiled.as_text()`` returns.

    >>> read_collectives('''HloModule step, num_partitions=4
    ...
    ... ENTRY %main (x: f32[2,8]) -> f32[2,8] {
    ...   %x = f32[2,8]{1,0} parameter(0)
    ...   ROOT %all-reduce = f32[2,8]{1,0} all-reduce(%x), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
    ... }''')
    [Collective(kind='all-reduce', bytes=64, devices=4, runs=1, exact=True)]
    """
    module = Module(text)
    found: dict[object, Collective] = {}
    for computation, instructions in module.computations.items():
        shapes = {instruction.name: instruction.shape for instruction in instructions}
        ends = {
            one.operands[0]: one.shape
            for one in instructions
            if one.opcode.endswith("-done") and one.operands
        }
        for one in instructions:
            kind = one.opcode.removesuffix("-start")
            if kind not in KINDS:
                continue
            given = sum(size_of(shapes.get(name, "")) for name in one.operands)
            returned = size_of(ends.get(one.name, "") if kind != one.opcode else one.shape)
            devices = group_size(one.attributes) or module.partitions
            collective = Collective(kind, max(given, returned), devices, *module.runs(computation))
            channel = re.search(r"channel_id=(\d+)", one.attributes)
            key = (kind, channel[1]) if channel else (computation, one.name)
            if collective.runs:
                found[key] = min(found.get(key, collective), collective, key=lambda same: same.runs)
    return list(found.values())


def read_calls(text: str) -> dict[str, int]:
    """How often a compiled program calls each library function (a custom call's target), by name.

    Args:
        text: as in `read_collectives`.
    """
    module, calls = Module(text), collections.Counter[str]()
    for computation, instructions in module.computations.items():
        for one in instructions:
            target = re.search(r'custom_call_target="([^"]*)"', one.attributes)
            if one.opcode == "custom-call" and target and target[1] not in INTERNAL:
                calls[target[1]] += module.runs(computation).runs
    return {name: count for name, count in sorted(calls.items()) if count}


class Module:
    """The computations of a program, and how often each runs in one call of it.

    Args:
        text: as in `read_collectives`.

    Attributes:
        computations: the instructions of each computation by its name.
        partitions: number of devices that run the program.
    """

    def __init__(self, text: str):
        self.computations: dict[str, list[Instruction]] = {}
        self._entry = name = ""
        for line in text.splitlines():
            if line.endswith("{") and (head := re.match(r"(ENTRY )?%?([\w.\-]+) .*->", line)):
                name = head[2]
                self._entry = name if head[1] else self._entry
                self.computations[name] = []
            elif name and (instruction := read_instruction(line)):
                self.computations[name].append(instruction)
        partitions = re.search(r"num_partitions=(\d+)", text[: text.find("\n")])
        self.partitions = int(partitions[1]) if partitions else 1
        self._callers = self._find_callers()
        self.runs = functools.cache(self._runs)

    def _find_callers(self) -> Mapping[str, list[tuple[str, int, bool]]]:
        """The computations that call each one, with the trips of the loop of which it is the body."""
        callers = collections.defaultdict(list)
        for caller, instructions in self.computations.items():
            for one in instructions:
                if one.opcode.endswith(("-done", "-update")):  # of the same call as that of the -start
                    continue
                trips = self._trips(one) if one.opcode == "while" else 1
                for called in NAME.findall(" ".join(CALLED.findall(one.attributes))):
                    callers[called].append((caller, 1 if trips is None else trips, trips is not None))
        return callers

    def _runs(self, computation: str) -> Runs:
        if computation == self._entry:
            return Runs(1, True)
        parts = [
            (self.runs(caller), trips, known) for caller, trips, known in self._callers.get(computation, ())
        ]
        return Runs(
            sum(caller.runs * trips for caller, trips, _ in parts),
            all(caller.exact and known for caller, _, known in parts),
        )

    def _trips(self, loop: Instruction) -> int | None:
        """The number of trips of a loop: what the compiler wrote beside it, or the bound of a counter from 0."""
        written = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
        if written:
            return int(written[1])
        condition = re.search(r"condition=%([\w.\-]+)", loop.attributes)
        instructions = self.computations.get(condition[1], []) if condition else []
        constants = {one.name: one.attributes for one in instructions if one.opcode == "constant"}
        for one in instructions:
            if one.opcode == "compare" and "direction=LT" in one.attributes and one.operands[1] in constants:
                return int(constants[one.operands[1]])
        return None


def read_instruction(line: str) -> Instruction | None:
    """The `Instruction` of a line; None if the line holds none. A constant's attributes are its value."""
    head = re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = ", line)
    if not head:
        return None
    rest = line[head.end() :]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
    shape, rest = rest[:end], rest[end:]
    opcode = re.match(r" ([\w\-]+)\(", rest)
    if not opcode:
        return None
    close = _closing(rest, opcode.end() - 1)
    inside, attributes = rest[opcode.end() : close], rest[close + 1 :]
    if opcode[1] == "constant":
        return Instruction(head[1], shape, opcode[1], (), inside)
    return Instruction(head[1], shape, opcode[1], tuple(NAME.findall(inside)), attributes)


def _closing(text: str, start: int) -> int:
    """The index of the parenthesis that closes the one at ``start``."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return len(text)


def size_of(shape: str) -> int:
    """The number of bytes of an array's shape, or of all arrays of a tuple's.

    >>> size_of("f32[2,8]{1,0:T(8,128)}"), size_of("(bf16[4], pred[3], token[])")
    (64, 11)
    """
    return sum(math.ceil(_bits(kind) * math.prod(_sizes(sizes)) / 8) for kind, sizes in ARRAY.findall(shape))


def _bits(kind: str) -> int:
    digits = re.search(r"\d+", kind)
    return int(digits[0]) if digits else 8 * (kind == "pred")


def _sizes(text: str) -> Iterator[int]:
    return (int(size.lstrip("<=")) for size in text.split(",") if size)


def group_size(attributes: str) -> int:
    """The number of devices in each group of a collective; 0 if its attributes mean all devices.

    >>> [group_size(f"replica_groups={groups}") for groups in ("{{0,1},{2,3}}", "[2,4]<=[8]", "{}")]
    [2, 4, 0]
    >>> group_size("replica_groups=mesh['data'=4,'model'=2] {'model'}")
    2
    """
    if pairs := re.search(r"source_target_pairs=\{(\{[\d,{}]*\})\}", attributes):
        return len(set(re.findall(r"\d+", pairs[1])))
    if groups := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return len(groups[1].split(","))
    if shape := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(shape[1])
    if mesh := re.search(r"replica_groups=\w*mesh\w*\[(.*?)\] ?\{(.*?)\}", attributes):
        axes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        return math.prod(int(axes[axis]) for axis in re.findall(r"'(\w+)'", mesh[2]))
    return 0
