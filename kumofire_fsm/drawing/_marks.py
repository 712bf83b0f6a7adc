"""The labels in a picture: of a state's box, of an arrow, and of the point where a run begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kumofire_fsm.drawing._labels import CLOCK, GAP, cell, font, row, table, text
from kumofire_fsm.drawing._picture import Arrow, Line, Picture, Step
from kumofire_fsm.drawing._theme import Palette
from kumofire_fsm.machines.spec import StateSpec
from kumofire_fsm.values.times import brief

__all__ = ["SHORT_GUARD", "arrow_label", "box_label", "path_start"]

SHORT_GUARD = 24
"""Guards of up to so many characters stand on their arrow; longer ones are notes under the picture."""

_STEPS = 4
"""So many steps on one arrow are listed; of more, the first ones and the last."""


_PAD = cell("", width="4")
"""Keeps words off the arrow that they stand beside."""


def box_label(picture: Picture, state: StateSpec, c: Palette) -> str:
    """Return a state's name, how many rows are in it, and when its deadline fires."""
    ink = c.ink if state.id in picture.visited else c.muted
    name = cell(font(text(state.id), ink, 13, bold=True), shown=state.id, size=14, align="CENTER")
    count = picture.counts.get(state.id)
    heading = [name] if count is None else [name, cell(GAP * 2), _badge(count, c)]
    rows = [cell(table([row(*heading)]), align="CENTER")]
    if state.deadline is not None and picture.steps is None:
        rows.append(cell(_clock_line(state.deadline.doc or state.deadline.text, c), align="CENTER"))
    return table([row(each) for each in rows])


def _badge(count: int, c: Palette) -> str:
    number = font(f"{count:,}", c.on_badge, 10, bold=True)
    return cell(table([row(cell(number, align="CENTER"))], bgcolor=c.badge, style="rounded", cellpadding="3"))


def _clock_line(words: str, c: Palette) -> str:
    first, *others = _wrapped(words, 30)
    mark = font(CLOCK, c.clock, 9) + font(f"{GAP * 2}{text(first)}", c.muted, 9)
    return "<BR/>".join([mark, *(font(text(each), c.muted, 9) for each in others)])


def _wrapped(words: str, width: int) -> list[str]:
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def arrow_label(picture: Picture, arrow: Arrow, c: Palette, notes: Sequence[str]) -> str:
    """Return the events of an arrow, or the steps that a run took on it; an empty text for none."""
    if picture.steps is None:
        timed = any(line.timed for line in arrow.lines)
        return table([_event(line, c, notes, timed=timed) for line in arrow.lines], cellpadding="1.5")
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
    return table([*listed[:-1], *more, listed[-1]])


def path_start(step: Step, c: Palette) -> str:
    """Return the step that created the run, with its date and time."""
    return table([_step(step, None, c)])


def _event(line: Line, c: Palette, notes: Sequence[str], *, timed: bool) -> str:
    """Return an event's row; ``timed`` says whether any on its arrow has a clock before it."""
    clock = cell(font(CLOCK, c.clock, 10), width="12") if line.timed else cell("")
    name = font(text(line.event), c.person if line.by_person else c.ink, 10.5)
    if line.guard:
        shown = str(notes.index(line.guard) + 1) if line.guard in notes else line.guard
        name += font(f"{GAP * 2}[{text(shown)}]", c.muted, 9)
    return row(_PAD, *([clock] if timed else []), cell(name, shown=line.event, size=10.5))


def _step(step: Step, began: datetime | None, c: Palette) -> str:
    when = ""
    if step.at is not None:
        at = step.at.astimezone(UTC)
        when = f"{at:%Y-%m-%d %H:%M:%S} UTC" if began is None else f"+{brief(step.at - began)}"
    number = font(str(step.number), c.path, 10.5, bold=True)
    said = font(text(step.event), c.ink, 10.5) + font(f"{GAP * 2}{when}", c.muted, 9)
    return row(_PAD, cell(number, align="RIGHT"), cell(said, shown=step.event, size=10.5))
