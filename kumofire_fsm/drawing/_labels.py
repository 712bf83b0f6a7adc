"""Texts in Graphviz's HTML-like labels: escaped, measured and put into cells."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["CLOCK", "GAP", "SWATCH", "cell", "font", "plain", "row", "table", "text", "xml"]

CLOCK = "\N{ALARM CLOCK}"
"""Marks what a deadline fires."""

GAP = "&#160;"
"""A space that Graphviz does not drop."""

SWATCH = "\N{BLACK SQUARE}"
"""Shows a colour in the legend."""

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def plain(value: str) -> str:
    """Return a text as one line without the characters that XML forbids."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", re.sub(r"\s+", " ", value)).strip()


def xml(value: str) -> str:
    """Return a text as XML shows it."""
    return html.escape(plain(value))


def text(value: str) -> str:
    """Return a text as an HTML-like label shows it; Graphviz replaces what follows a backslash."""
    return xml(value).replace("\\", "\\\\")


def font(value: str, colour: str, size: float, *, bold: bool = False) -> str:
    """Return markup in a colour and size (points)."""
    inner = f"<B>{value}</B>" if bold else value
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size:g}">{inner}</FONT>'


def cell(markup: str, *, shown: str = "", size: float = 10, align: str = "LEFT", **attributes: str) -> str:
    """Return a table's cell, wide enough for ``shown`` in ``size`` points.

    Graphviz knows the widths of Latin letters, and takes every other character for a space.
    """
    if not shown.isascii():
        attributes["width"] = f"{_width(plain(shown)) * size:.0f}"
    options = "".join(f' {name.upper()}="{value}"' for name, value in attributes.items())
    return f'<TD ALIGN="{align}"{options}>{markup}</TD>'


def row(*cells: str) -> str:
    """Return a table's row."""
    return f"<TR>{''.join(cells)}</TR>"


def table(rows: Iterable[str], **attributes: str) -> str:
    """Return a table without borders, unless ``attributes`` say otherwise."""
    options = {"border": "0", "cellborder": "0", "cellspacing": "0", "cellpadding": "1"} | attributes
    listed = "".join(f' {name.upper()}="{value}"' for name, value in options.items())
    return f"<TABLE{listed}>{''.join(rows)}</TABLE>"


def _width(value: str) -> float:
    """Return about how many ems wide a text is."""
    return sum(1.05 if unicodedata.east_asian_width(c) in "WF" else 0.6 for c in value)
