"""Makes Graphviz's SVG fit to be committed and embedded: the same bytes, dark mode, drawn clocks."""

from __future__ import annotations

import re

from kumofire_fsm.drawing._labels import CLOCK, SWATCH, xml
from kumofire_fsm.drawing._theme import DARK, LIGHT, Palette, style_sheet

__all__ = ["finish_svg"]

_FONTS = "Helvetica,Arial,'Liberation Sans','Nimbus Sans',sans-serif"
_MARK = re.compile(rf"<text\b([^>]*)>({CLOCK}|{SWATCH})</text>")
_FILLS = {tint.border: tint.fill for palette in (LIGHT, DARK) for tint in palette.tints()}


def finish_svg(svg: str, palette: Palette, *, title: str, adapts: bool) -> str:
    """Return the picture without what changes from one Graphviz to the next.

    Args:
        svg: what Graphviz wrote.
        palette: the colours that it was drawn in.
        title: read out to those who do not see the picture.
        adapts: whether it turns dark where its reader prefers dark.
    """
    body = re.sub(r"<!--.*?-->\n?", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r' font-family="[^"]*"', "", body)
    body = _MARK.sub(_drawn, body)
    sheet = f"text{{font-family:{_FONTS}}}\n" + style_sheet(palette, adapts=adapts)
    tag, rest = body.split(">", 1)
    label = xml(title)
    head = f'{tag} role="img" aria-label="{label}">\n<title>{label}</title>\n<style>\n{sheet}\n</style>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{rest.rstrip()}\n'


def _drawn(found: re.Match[str]) -> str:
    """Return a drawing in place of a character that few fonts have, or have in colours of their own."""
    attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', found[1]))
    x, y, size = (float(attributes[name]) for name in ("x", "y", "font-size"))
    colour, radius, middle = attributes.get("fill", "currentColor"), size * 0.42, y - size * 0.32
    if found[2] == SWATCH:
        return (
            f'<rect x="{x:.2f}" y="{middle - radius:.2f}" width="{size:.2f}" height="{2 * radius:.2f}"'
            f' rx="2.5" fill="{_FILLS.get(colour, colour)}" stroke="{colour}" stroke-width="1.2"/>'
        )
    hands = f"M{x + radius:.2f},{middle - radius * 0.6:.2f}v{radius * 0.6:.2f}h{radius * 0.5:.2f}"
    return (
        f'<g fill="none" stroke="{colour}" stroke-width="{size / 10:.2f}"><title>deadline</title>'
        f'<circle cx="{x + radius:.2f}" cy="{middle:.2f}" r="{radius:.2f}"/><path d="{hands}"/></g>'
    )
