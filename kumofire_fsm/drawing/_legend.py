"""The legend under a picture: what its colours, lines and notes mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

from kumofire_fsm.drawing._labels import cell, clock, font, gap, row, swatch, table, text
from kumofire_fsm.drawing._picture import SHORT_GUARD, Picture
from kumofire_fsm.drawing._theme import MEANINGS, Palette
from kumofire_fsm.machines.spec import Outcome, Role

__all__ = ["legend", "notes_of"]

_WIDTH = 100
"""So many characters of a note stand on one line; a longer one would tear the columns apart."""


def notes_of(picture: Picture) -> tuple[str, ...]:
    """Return the guards that are too long for their arrow, in the order of the arrows."""
    if picture.steps is not None:
        return ()
    guards = (line.guard for arrow in picture.arrows for line in arrow.lines)
    return tuple(dict.fromkeys(guard for guard in guards if len(guard) > SHORT_GUARD))


def legend(picture: Picture, c: Palette, notes: Sequence[str]) -> str:
    """Return the legend as an HTML-like label; it explains only what the picture shows.

    On the left stands what the colours mean, on the right what arrows and their texts do, below the notes.
    """
    pairs = zip_longest(_kinds(picture, c), _marks(picture, c), fillvalue=cell("", colspan="5"))
    rows = [row(kind, gap(16), mark) for kind, mark in pairs]
    for number, note in enumerate(notes, 1):
        lines = wrap(f"[{number}] {note}", _WIDTH)
        markup = '<BR ALIGN="LEFT"/>'.join(map(text, lines))
        widest = max(lines, key=len)
        rows.append(row(cell(font(markup, c.muted, 9), shown=widest, size=9, colspan="11", balign="LEFT")))
    return table(rows)


def _entry(mark: str, words: str, c: Palette, *, name: str = "") -> str:
    """Return a mark and what it means, after the name of what it marks, in cells of five columns."""
    meaning = font(text(words), c.muted, 9)
    said = [each for each in (font(name, c.ink, 9), meaning) if each]
    span = "1" if len(said) == 2 else "3"
    return cell(mark) + gap(3) + gap(6).join(cell(each, shown=words, size=9, colspan=span) for each in said)


def _kinds(picture: Picture, c: Palette) -> Iterator[str]:
    """Yield what the colours of the roles and outcomes mean that the machine has."""
    states = picture.spec.states
    for kind in (*Role, *Outcome):
        if any(kind in (state.role, state.outcome) for state in states):
            tint = c.tint(kind)
            words = MEANINGS[kind] if isinstance(kind, Role) else ""
            yield _entry(swatch(tint.fill, tint.border), words, c, name=kind.value)


def _marks(picture: Picture, c: Palette) -> Iterator[str]:
    """Yield what arrows and their texts mean."""
    if picture.steps is not None:
        yield _entry(font("1", c.path, 9), "a step of the run, and the time since the first", c)
        return
    lines = [line for arrow in picture.arrows for line in arrow.lines]
    if any(line.timed for line in lines):
        yield _entry(clock(c.clock), "fired by a deadline; dashed: by nothing else", c)
    if any(line.by_person for line in lines):
        yield _entry(font("event", c.person, 9), "a person may fire it", c)
    if any(line.guard for line in lines):
        yield _entry(font("[guard]", c.muted, 9), "must hold", c)
    if any(isinstance(arrow.source, Role) for arrow in picture.arrows):
        yield _entry("", "an arrow from a frame leads from each state in it", c)
    if picture.left_out:
        yield _entry("", f"not shown: {', '.join(picture.left_out)}", c)
