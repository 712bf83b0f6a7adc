"""Makes Graphviz's SVG fit to be committed and embedded: the same bytes, dark mode, texts that fit."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from kumofire_fsm.drawing._labels import xml
from kumofire_fsm.drawing._theme import dark_style

__all__ = ["finish_svg"]

_FONTS = "Helvetica,Arial,'Liberation Sans','Nimbus Sans',sans-serif"
_TEXT = re.compile(r"<text\b([^>]*)>([^<]*)</text>")
_BOLD = 1
"""The bit of Graphviz's operation ``t`` that says so."""

_Look = tuple[str, float, bool]
"""A text, its size in points, and whether it is bold."""


def finish_svg(drawn: str, *, title: str, adapts: bool) -> str:
    """Return the picture without what changes from one Graphviz to the next.

    Args:
        drawn: what Graphviz wrote as SVG, and behind it as JSON.
        title: read out to those who do not see the picture.
        adapts: whether it turns dark where its reader prefers dark; it is drawn in light colours then.
    """
    svg, end, measured = drawn.partition("</svg>")
    body = re.sub(r"<!--.*?-->\n?", "", svg[svg.index("<svg") :] + end, flags=re.DOTALL)
    body = re.sub(r' font-family="[^"]*"', "", body)
    widths = dict(_widths(json.loads(measured)))
    body = _TEXT.sub(lambda found: _fitted(found, widths), body)
    sheet = "\n".join([f"text{{font-family:{_FONTS}}}", *([dark_style()] if adapts else [])])
    tag, rest = body.split(">", 1)
    label = xml(title)
    head = f'{tag} role="img" aria-label="{label}">\n<title>{label}</title>\n<style>\n{sheet}\n</style>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{rest.rstrip()}\n'


def _fitted(found: re.Match[str], widths: dict[_Look, float]) -> str:
    """Return a text as wide as Graphviz measured it, whatever font the reader has.

    It knows the widths of ASCII alone; others keep those of the reader's font.
    """
    attributes, shown = found[1], html.unescape(found[2])
    size = re.search(r' font-size="([\d.]+)"', attributes)
    look = (shown, float(size[1]) if size else 0.0, ' font-weight="bold"' in attributes)
    if not shown.isascii() or look not in widths:
        return found[0]
    fixed = f' textLength="{widths[look]:.2f}" lengthAdjust="spacingAndGlyphs"'
    return f"<text{attributes}{fixed}>{found[2]}</text>"


def _widths(drawing: Any) -> Iterator[tuple[_Look, float]]:
    """Yield every text of Graphviz's JSON with its width in points."""
    for part in (drawing, *drawing.get("objects", ()), *drawing.get("edges", ())):
        for name, operations in part.items():
            if name.endswith("draw_"):
                yield from _measured(operations)


def _measured(operations: Iterable[Any]) -> Iterator[tuple[_Look, float]]:
    """Yield the texts among drawing operations; font and boldness hold until they are set anew."""
    size, bold = 0.0, False
    for operation in operations:
        match operation["op"]:
            case "F":
                size = operation["size"]
            case "t":
                bold = bool(operation["fontchar"] & _BOLD)
            case "T":
                yield (operation["text"], size, bold), operation["width"]
