"""The tables of the page that is the lecture's map, from the table of results, as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.application import PATTERNS, Application
from benchmarks.entry import word
from benchmarks.lecture import APPLICATIONS

Rows = Mapping[str, Mapping[str, str]]
HEADINGS = (
    "application",
    "experiment",
    "data",
    "license",
    "result",
    "baseline",
    "shuffled labels",
    "seconds",
)


def page(rows: Rows, figures: Path) -> str:
    """The overview, and a section for each application with its commands, numbers and figure.

    Args:
        rows: the rows of ``docs/results.csv`` by name. One that is missing or has no numbers leaves empty cells.
        figures: the folder of the figures; one that is not there is left out.
    """
    parts = []
    for pattern in PATTERNS:
        found = [application for application in APPLICATIONS if application.pattern == pattern]
        if found:
            parts += [
                f"## {pattern}",
                table(HEADINGS, [overview(application, rows) for application in found]),
            ]
            parts += [section(application, rows, figures) for application in found]
    return "\n\n".join(parts) + "\n"


def overview(application: Application, rows: Rows) -> tuple[str, ...]:
    first, control = application.commands[0], application.control
    metric, baseline = first.rows[first.name]
    return (
        f"[{application.title}](#{anchor(application)})",
        f"`{application.name}`",
        application.data,
        application.license,
        labeled(metric, rows.get(first.name, {})),
        baseline,
        number(rows.get(control.name, {})),
        rows.get(first.name, {}).get("seconds", ""),
    )


def anchor(application: Application) -> str:
    """The name of the section, one for each application."""
    return f"application-{application.commands[0].name}"


def section(application: Application, rows: Rows, figures: Path) -> str:
    """The commands of an application, and each number that they gave."""
    lines = [
        (
            f"`{entry.command}`",
            word(metric),
            number(rows.get(name, {})),
            baseline,
            rows.get(name, {}).get("seconds", ""),
        )
        for entry in application.entries
        for name, (metric, baseline) in entry.rows.items()
    ]
    drawn = [
        entry for entry in application.commands if entry.figure and (figures / f"{entry.name}.png").is_file()
    ]
    return "\n\n".join(
        [
            f"({anchor(application)})=\n### {application.title}",
            f"Data: {application.data}. License: {application.license}.",
            table(("command", "metric", "median (range)", "baseline", "seconds"), lines),
            *(
                f"![{entry.figure.replace('_', ' ')} of {entry.name}](figures/{entry.name}.png)"
                for entry in drawn
            ),
        ]
    )


def number(row: Mapping[str, str]) -> str:
    """The median with the range of the seeds; empty if it was not measured."""
    median = row.get("median", "")
    low, high = row.get("lowest", ""), row.get("highest", "")
    return f"{median} ({low} to {high})" if low and low != high else median


def labeled(metric: str, row: Mapping[str, str]) -> str:
    shown = number(row)
    return f"{word(metric)} {shown}" if shown else ""


def table(headings: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> str:
    rule = ("---",) * len(headings)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *lines))
