"""Puts the lecture's map into its page, in the place of ``<!-- the map -->``."""

from typing import Any

from benchmarks import results
from benchmarks.lecture_page import page

PAGE, PLACE = "applications", "<!-- the map -->"


def fill(app: Any, name: str, source: list[str]) -> None:
    if name == PAGE:
        rows = {row["name"]: row for row in results.read_rows(results.TABLE)}
        source[0] = source[0].replace(PLACE, page(rows, results.FIGURES))


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
