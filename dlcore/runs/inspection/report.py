"""What an inspection found, as fields, as text for people and as numbers for programs."""

import collections
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcore.config.sources import DEFAULT, SourcedSetting
from dlcore.runs.inspection.parts import BatchField, Parameter, Part
from dlcore.runs.inspection.steps import Step
from dlcore.training.targets.target import Target
from dlcore.utils.hlo import Collective
from dlcore.utils.text import bytes_text, columns, count_text


@dataclass(frozen=True, repr=False, eq=False)
class Inspection:
    """What a run would be on a machine; it prints as tables.

    Attributes:
        target: the machine: its ``name``, ``devices``, ``kind``, and ``memory``, the bytes of each device that a
            program may use.
        settings: the settings of the config: ``path``, ``text`` and ``source`` of each.
        mesh: the number of devices by the name of the mesh's axis.
        batches: the fields of a training batch and of the first batch of each evaluation set: ``data``, ``name``,
            ``shape`` and ``dtype`` of each.
        parameters: the model's parameters: ``path``, ``shape``, ``dtype``, ``size`` and ``spec`` of each.
        state: the parts of the state, and at the end a training batch: ``name``, ``arrays``, ``bytes``,
            ``device_bytes`` and ``spec`` of each.
        steps: the compiled training step, and the evaluation for each shape of its batches: ``memory``, ``flops``,
            ``compile_seconds``, ``collectives``, ``calls`` and ``needed`` of each; empty if nothing was compiled.
        problem: what does not fit, with the largest batch that fits; None if all does.
    """

    target: Target
    settings: Sequence[SourcedSetting]
    mesh: Mapping[str, int]
    batches: Sequence[BatchField]
    parameters: Sequence[Parameter]
    state: Sequence[Part]
    steps: Sequence[Step]
    problem: str | None

    @property
    def text(self) -> str:
        """The tables."""
        return "\n".join(
            [
                *self._setting_lines(),
                *self._data_lines(),
                *self._parameter_lines(),
                *self._state_lines(),
                *(line for step in self.steps for line in step_lines(step)),
                "",
                *self._verdict_lines(),
            ]
        )

    def __repr__(self) -> str:
        return self.text

    @property
    def result(self) -> dict[str, Any]:
        """The main numbers by name, of types that JSON knows; sizes are bytes, and those of steps are a device's."""
        state = self.state[:-1]
        return {
            "target": self.target.name or None,
            "device": self.target.kind,
            "devices": math.prod(self.mesh.values()),
            "device_memory": self.target.memory,
            "parameters": sum(parameter.size for parameter in self.parameters),
            "state_bytes": sum(part.bytes for part in state),
            "state_device_bytes": sum(part.device_bytes for part in state),
            **{step.name: step_result(step) for step in self.steps},
            "fits": None if not self.steps else self.problem is None,
        }

    def _setting_lines(self) -> Iterator[str]:
        changed = [setting for setting in self.settings if setting.source != DEFAULT]
        kept = [f"{path}={text or '()'}" for path, text, source in self.settings if source == DEFAULT]
        yield f"settings: {len(changed)} of {len(self.settings)} given"
        if changed:
            yield from _indent(columns([("setting", "value", "from"), *changed], left=3))
        yield "  defaults:"
        yield from textwrap.wrap(
            "  ".join(kept), 100, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
        )

    def _data_lines(self) -> Iterator[str]:
        yield "\nbatches"
        rows = [(field.data, field.name, str(field.shape), field.dtype) for field in self.batches]
        yield from _indent(columns([("data", "field", "shape", "type"), *rows], left=4))

    def _parameter_lines(self) -> Iterator[str]:
        yield "\nparameters"
        rows = [
            (parameter.path, str(parameter.shape), parameter.dtype, parameter.spec, f"{parameter.size:,}")
            for parameter in self.parameters
        ]
        total = ("total", "", "", "", f"{sum(parameter.size for parameter in self.parameters):,}")
        yield from _indent(columns([("path", "shape", "type", "split", "count"), *rows, total], left=4))

    def _state_lines(self) -> Iterator[str]:
        mesh = " x ".join(f"{axis}={size}" for axis, size in self.mesh.items())
        yield f"\nstate and batch on the mesh {mesh}"
        rows = [_part_row(part) for part in self.state]
        *state, _ = self.state
        total = (
            "state",
            str(sum(part.arrays for part in state)),
            "",
            bytes_text(sum(part.bytes for part in state)),
            bytes_text(sum(part.device_bytes for part in state)),
        )
        head = ("part", "arrays", "split", "in all", "a device")
        yield from _indent(columns([head, *rows[:-1], total, rows[-1]], left=3))

    def _verdict_lines(self) -> Iterator[str]:
        yield str(self.target)
        for step in self.steps:
            needed = "more memory than there is" if step.needed is None else bytes_text(step.needed)
            yield f"{'fits' if step.fits else 'does not fit'}: {step.name} needs {needed} of a device"


def step_lines(step: Step) -> Iterator[str]:
    """The tables of a compiled step."""
    calls = f" in calls of {step.steps} steps" if step.steps > 1 else ""
    yield f"\n{step.name}: batches of {step.rows} rows{calls}"
    if step.memory is None or step.compile_seconds is None or step.flops is None:
        yield "  refused by the compiler"
        return
    yield f"  compiled in {step.compile_seconds:.1f} s; {count_text(step.flops)}FLOP a step on all devices"
    memory = step.memory
    rows = [
        ("arguments", bytes_text(memory.arguments)),
        ("+ outputs", bytes_text(memory.outputs)),
        ("- outputs in the place of arguments", bytes_text(memory.aliased)),
        ("+ temporaries", bytes_text(memory.temporaries)),
        ("+ program", bytes_text(memory.code)),
        ("= program in all", bytes_text(memory.total)),
        ("+ rest of the state, batches made ahead", bytes_text(step.beside)),
        ("= memory of a device", bytes_text(memory.total + step.beside)),
    ]
    yield from _indent(columns(rows))
    yield from _indent(collective_lines(step.collectives))
    if step.calls:
        yield "  library calls: " + ", ".join(f"{count} {name}" for name, count in step.calls.items())


def collective_lines(collectives: Sequence[Collective]) -> list[str]:
    """A table with a line for each kind, number of devices and number of runs.

    One in a loop runs once a trip. ``1 a trip`` means that the program does not tell the number of trips.
    """
    if not collectives:
        return ["collectives: none"]
    groups: dict[tuple[str, int, str], list[Collective]] = collections.defaultdict(list)
    for collective in collectives:
        runs = f"{collective.runs:,}" + ("" if collective.exact else " a trip")
        groups[collective.kind, collective.devices, runs].append(collective)
    rows = [
        (kind, str(devices), str(len(group)), runs, bytes_text(sum(one.total for one in group)))
        for (kind, devices, runs), group in sorted(groups.items())
    ]
    return columns(
        [("collectives in a call", "devices", "operations", "runs of each", "bytes in all"), *rows]
    )


def step_result(step: Step) -> dict[str, Any]:
    """The main numbers of a compiled step by name."""
    return {
        "rows": step.rows,
        "needed_bytes": step.needed,
        "program_bytes": None if step.memory is None else step.memory.total,
        "temporary_bytes": None if step.memory is None else step.memory.temporaries,
        "flops": step.flops,
        "compile_seconds": None if step.compile_seconds is None else round(step.compile_seconds, 2),
        "collectives": len(step.collectives),
        "collective_bytes": sum(one.total for one in step.collectives),
    }


def _part_row(part: Part) -> tuple[str, ...]:
    return part.name, str(part.arrays), part.spec, bytes_text(part.bytes), bytes_text(part.device_bytes)


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
