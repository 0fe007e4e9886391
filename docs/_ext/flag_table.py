"""The directive ``flag-table``: every leaf of `dl.Config` with its default, what it may be, and its meaning."""

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

import dlcore as dl
from dlcore.config import settings

HEADINGS = ("flag", "default", "expected", "meaning")
WIDTHS = (30, 12, 23, 35)


def flag_rows(config: Any) -> list[tuple[str, str, str, str]]:
    """A row of text for each leaf of a config, in the order of declaration."""
    return [(leaf.flag, leaf.text, leaf.expected, leaf.help) for leaf in settings.leaves(config)]


class FlagTable(Directive):
    """A table of the flags that every experiment has."""

    def run(self) -> list[nodes.Node]:
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in WIDTHS), cols=len(WIDTHS))
        group += nodes.thead("", _row([nodes.Text(heading) for heading in HEADINGS]))
        body = nodes.tbody()
        for flag, default, expected, meaning in flag_rows(dl.Config()):
            cells = [nodes.literal(text=flag), nodes.literal(text=default)]
            body += _row([*cells, nodes.Text(expected), nodes.Text(meaning)])
        group += body
        return [nodes.table("", group)]


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("flag-table", FlagTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
