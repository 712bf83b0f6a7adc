"""The labels in a picture: of a state's box, of an arrow, and of the point where a run begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from textwrap import wrap

from kumofire_fsm.drawing._labels import cell, clock, font, gap, plain, row, table, text
from kumofire_fsm.drawing._picture import Arrow, Line, Picture, Step
from kumofire_fsm.drawing._theme import Palette
from kumofire_fsm.machines.spec import StateSpec
from kumofire_fsm.values.times import brief

__all__ = ["arrow_label", "box_label", "path_start"]

_STEPS = 4
"""So many steps on one arrow are listed; of more, the first ones and the last."""


_PAD = gap(4)
"""Keeps words off the arrow that they stand beside."""


def box_label(picture: Picture, state: StateSpec, c: Palette) -> str:
    """Return a state's name, how many rows are in it, and when its deadline fires."""
    ink = c.ink if state.id in picture.visited else c.muted
    align = "CENTER" if state.id.isascii() else "LEFT"
    name = cell(font(text(state.id), ink, 13, bold=True), shown=state.id, size=14, roomy=True, align=align)
    count = picture.counts.get(state.id)
    rows = [_centred(name) if count is None else _centred(name, gap(6), _badge(count, c))]
    if state.deadline is not None and picture.shows(state.deadline.fires):
        rows.append(
            _centred(cell(clock(c.clock)), gap(4), _wrapped(state.deadline.doc or state.deadline.text, c))
        )
    return table((row(cell(each)) for each in rows), cellpadding="2")


def _badge(count: int, c: Palette) -> str:
    number = font(f"{count:,}", c.on_badge, 10, bold=True)
    return cell(table([row(cell(number, align="CENTER"))], bgcolor=c.badge, style="ROUNDED", cellpadding="3"))


def _wrapped(words: str, c: Palette) -> str:
    """Return a cell of short lines: on its left what Graphviz cannot measure, and so would not centre."""
    lines = wrap(plain(words), 30) or [""]
    align = "CENTER" if words.isascii() else "LEFT"
    markup = f'<BR ALIGN="{align}"/>'.join(map(text, lines))
    return cell(
        font(markup, c.muted, 9), shown=max(lines, key=len), size=9, roomy=True, align=align, balign=align
    )


def _centred(*cells: str) -> str:
    """Return a table of cells that stay together: its width is shared out among all columns evenly."""
    around = [cell("")] * 8
    return table([row(*around, *cells, *around)], cellpadding="0")


def arrow_label(picture: Picture, arrow: Arrow, c: Palette, notes: Sequence[str]) -> str:
    """Return the events of an arrow, or the steps that a run took on it; an empty text for none."""
    if picture.steps is None:
        timed = any(line.timed for line in arrow.lines)
        return _beside(_event(line, c, notes, timed=timed) for line in arrow.lines)
    if not arrow.steps:
        return ""
    began = next((step.at for step in picture.steps if step.at), None)
    kept = arrow.steps
    more: list[str] = []
    if len(kept) > _STEPS:
        hidden = len(kept) - _STEPS
        more = [row(_PAD, cell(""), cell(font(f"and {hidden} more", c.muted, 9)))]
        kept = kept[: _STEPS - 1] + kept[-1:]
    listed = [_step(step, began, c) for step in kept]
    return _beside([*listed[:-1], *more, listed[-1]])


def path_start(step: Step, c: Palette) -> str:
    """Return the step that created the run, with its date and time."""
    return _beside([_step(step, None, c)])


def _beside(rows: Iterable[str]) -> str:
    """Return a table whose words cover the lines behind them, and little more."""
    return table(rows, cellpadding="0", cellspacing="2")


def _event(line: Line, c: Palette, notes: Sequence[str], *, timed: bool) -> str:
    """Return an event's row; ``timed`` says whether any on its arrow has a clock before it."""
    mark = cell(clock(c.clock, bgcolor=c.page), width="13") if line.timed else cell("")
    shown = str(notes.index(line.guard) + 1) if line.guard in notes else line.guard
    colour = c.person if line.by_person else c.ink
    shown = str(notes.index(line.guard) + 1) if line.guard in notes else line.guard
    words = _covering(line.event, colour, f"[{shown}]" if shown else "", c)
    return row(_PAD, *([mark] if timed else []), *words)


def _step(step: Step, began: datetime | None, c: Palette) -> str:
    when = ""
    if step.at is not None:
        at = step.at.astimezone(UTC)
        when = f"{at:%Y-%m-%d %H:%M:%S} UTC" if began is None else f"+{brief(step.at - began)}"
    number = font(str(step.number), c.path, 10.5)
    return row(_PAD, cell(number, align="RIGHT"), *_covering(step.event, c.ink, when, c))


def _covering(event: str, colour: str, more: str, c: Palette) -> list[str]:
    """Return cells for an event and what is said of it, which cover the lines behind them."""
    name = cell(font(text(event), colour, 10.5), shown=event, size=10.5, bgcolor=c.page)
    said = font(text(more), c.muted, 9)
    return [name, _PAD, cell(said, shown=more, size=9, bgcolor=c.page)] if said else [name]
