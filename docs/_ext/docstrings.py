"""Prepares dlcore's docstrings, which are written to be read in an editor, for Sphinx.

An indented block after a blank line is an equation or a program, and is shown as it stands. Bars and asterisks in text
mean themselves: ``|delta_t|`` is a norm and ``[*batch, T, F]`` a shape. Signatures lose what every Flax module has.
"""

import re
from typing import Any

from flax import linen as nn

SECTION = re.compile(
    r"(Args|Arguments|Attributes|Returns|Raises|Yields|Example|Examples|Note|Notes|Errors[^:]*|Args, Raises):.*$"
)
LITERAL = re.compile(r"(``.*?``|`[^`]*`)")
STRONG = re.compile(r"\*\*\w[^*]*\*\*")


def prepare(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [_escape(line) for line in _mark_blocks(lines)]


def _mark_blocks(lines: list[str]) -> list[str]:
    """Puts ``::`` before every indented block that follows a blank line outside of a section such as Args."""
    marked: list[str] = []
    in_section = in_block = False
    previous = 0
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip():
            if in_block and indent == 0:
                in_block = False
                if lines[index - 1].strip():
                    marked.append("")
            if indent == 0:
                in_section = bool(SECTION.match(line))
            after_blank = index and not lines[index - 1].strip()
            if not in_section and not in_block and indent >= 4 and previous == 0 and after_blank:
                marked += ["::", ""]
                in_block = True
            previous = indent
        marked.append("\0" + line if in_block else line)
    return marked


def _escape(line: str) -> str:
    """Escapes bars and asterisks outside of literals, doctests and blocks."""
    if line.startswith("\0"):
        return line[1:]
    if line.lstrip().startswith((">>>", "...")):
        return line
    parts = LITERAL.split(line)
    return "".join(part if index % 2 else _escape_text(part) for index, part in enumerate(parts))


def _escape_text(text: str) -> str:
    strong = STRONG.findall(text)
    text = re.sub(r"([|*])", r"\\\1", text)
    for phrase in strong:
        text = text.replace(phrase.replace("*", r"\*"), phrase)
    return re.sub(r"(\w)_(?!\w)", r"\1\\_", text)


def shorten(app: Any, what: str, name: str, found: Any, options: Any, signature: str, returns: str) -> Any:
    if signature is None:
        return None
    if isinstance(found, type) and issubclass(found, nn.Module):
        signature = re.sub(r",? ?parent: .*\)$", ")", signature, flags=re.DOTALL)
    signature = re.sub(r"<function (\w+\.)?<?(\w+)>?[^>]*>", r"\2", signature)
    return re.sub(r"<(?:[\w.]+ )?object at 0x\w+>|<[^<>]*>", "...", signature), returns


def skip_fields(app: Any, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """A tuple's fields and a module's settings stand in its Attributes already."""
    if type(found).__name__ in ("_tuplegetter", "member_descriptor") or name in ("setup", "parent", "scope"):
        return True
    return None


def setup(app: Any) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", prepare, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
