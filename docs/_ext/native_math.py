"""Mathematics as MathML, which browsers draw themselves: the pages need no script and no network."""

from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml


def show_inline(self: Any, node: nodes.math) -> None:
    self.body.append(latex2mathml.tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def show_block(self: Any, node: nodes.math_block) -> None:
    self.body.append(latex2mathml.tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("native", (show_inline, None), (show_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
