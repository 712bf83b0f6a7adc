"""Texts in Graphviz's HTML-like labels: escaped, measured and put into cells."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping

__all__ = ["cell", "clock", "font", "gap", "plain", "row", "swatch", "table", "text", "xml"]

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
    """Return markup in a colour and size (points); Graphviz refuses it around nothing."""
    if not value:
        return ""
    inner = f"<B>{value}</B>" if bold else value
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size:g}">{inner}</FONT>'


def cell(
    markup: str,
    *,
    shown: str = "",
    size: float = 10,
    roomy: bool = False,
    align: str = "LEFT",
    **attributes: str,
) -> str:
    """Return a table's cell, wide enough for ``shown`` in ``size`` points.

    Graphviz knows the widths of Latin letters, and takes every other character for a space. Those are of a
    narrow font: ``roomy`` leaves room for a wide one, where a renderer has no other and squeezes none.
    """
    if roomy or not shown.isascii():
        attributes["width"] = f"{_width(plain(shown)) * size:.0f}"
    return f'<TD ALIGN="{align}"{_options(attributes)}>{markup}</TD>'


def row(*cells: str) -> str:
    """Return a table's row."""
    return f"<TR>{''.join(cells)}</TR>"


def table(rows: Iterable[str], **attributes: str) -> str:
    """Return a table without borders, unless ``attributes`` say otherwise."""
    options = {"border": "0", "cellborder": "0", "cellspacing": "0", "cellpadding": "1"} | attributes
    return f"<TABLE{_options(options)}>{''.join(rows)}</TABLE>"


def _options(attributes: Mapping[str, str]) -> str:
    return "".join(f' {name.upper()}="{value}"' for name, value in attributes.items())


def gap(width: int) -> str:
    """Return an empty cell."""
    return cell("", width=str(width))


def clock(colour: str, **attributes: str) -> str:
    """Return a drawn clock, which marks what a deadline fires: most fonts lack one."""
    face = _framed(colour, 10, 10) | {"title": "deadline"} | attributes
    hands = _space(3, 3, border="1", sides="LB", color=colour)
    above, below = (row(_space(8, height, colspan="3")) for height in (1, 4))
    return table([above, row(_space(4, 3), hands, _space(1, 3)), below], **face)


def swatch(fill: str, border: str) -> str:
    """Return a drawn sample of a state's colours."""
    return table([row(_space(8, 6))], **_framed(border, 10, 8), bgcolor=fill)


def _framed(colour: str, width: int, height: int) -> dict[str, str]:
    frame = {"border": "1", "color": colour, "style": "ROUNDED", "cellpadding": "0", "align": "LEFT"}
    return frame | _fixed(width, height)


def _fixed(width: int, height: int) -> dict[str, str]:
    return {"fixedsize": "TRUE", "width": str(width), "height": str(height)}


def _space(width: int, height: int, **attributes: str) -> str:
    return f"<TD{_options(_fixed(width, height) | attributes)}></TD>"


def _width(value: str) -> float:
    """Return about how many ems wide a text is."""
    return sum(1.05 if unicodedata.east_asian_width(c) in "WF" else 0.6 for c in value)
