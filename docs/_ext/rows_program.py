"""The directive ``rows-program``: the program of the README, which a test runs, so that it stands in one place."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

README = Path(__file__).parents[2] / "README.md"


class RowsProgram(Directive):
    """The README's example of an experiment."""

    def run(self) -> list[nodes.Node]:
        programs = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
        program = next(text for text in programs if "dl.run(" in text)
        return [nodes.literal_block(program, program, language="python")]


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("rows-program", RowsProgram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
