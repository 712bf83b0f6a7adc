"""The legend under a picture: what its colours, lines and notes mean."""

from __future__ import annotations

from collections.abc import Sequence

from kumofire_fsm.drawing._labels import CLOCK, GAP, SWATCH, cell, font, row, table, text
from kumofire_fsm.drawing._marks import SHORT_GUARD
from kumofire_fsm.drawing._picture import Picture
from kumofire_fsm.drawing._theme import MEANINGS, Palette
from kumofire_fsm.machines.spec import Outcome, Role

__all__ = ["legend", "notes_of"]

_BETWEEN = GAP * 4


def notes_of(picture: Picture) -> tuple[str, ...]:
    """Return the guards that are too long for their arrow, in the order of the arrows."""
    if picture.steps is not None:
        return ()
    guards = (line.guard for arrow in picture.arrows for line in arrow.lines)
    return tuple(dict.fromkeys(guard for guard in guards if len(guard) > SHORT_GUARD))


def legend(picture: Picture, c: Palette, notes: Sequence[str]) -> str:
    """Return the legend as an HTML-like label; it explains only what the picture shows."""
    lines = [*_kinds(picture, c), _marks(picture, c)]
    lines += [_small(f"[{i}]{GAP}{text(note)}", c) for i, note in enumerate(notes, 1)]
    return table(row(cell(line)) for line in lines)


def _small(markup: str, c: Palette) -> str:
    return font(markup, c.muted, 9)


def _swatch(kind: Role | Outcome, c: Palette) -> str:
    return font(SWATCH, c.tint(kind).border, 9) + font(f"{GAP * 2}{kind.value}", c.ink, 9)


def _kinds(picture: Picture, c: Palette) -> list[str]:
    """Return a line for the roles that the machine has, and one for the outcomes."""
    states = picture.spec.states
    roles = [
        f"{_swatch(role, c)}{_small(f'{GAP * 2}{MEANINGS[role]}', c)}"
        for role in Role
        if any(state.role is role for state in states)
    ]
    outcomes = [
        _swatch(outcome, c) for outcome in Outcome if any(state.outcome is outcome for state in states)
    ]
    # Two roles a line, so that the legend is no wider than the picture.
    pairs = [roles[i : i + 2] for i in range(0, len(roles), 2)]
    return [_small(_BETWEEN, c).join(items) for items in [*pairs, outcomes] if items]


def _marks(picture: Picture, c: Palette) -> str:
    """Return the line that explains arrows and their texts."""
    if picture.steps is not None:
        words = "The steps of one run in their order, with the time since the first."
        return font(words, c.path, 9)
    lines = [line for arrow in picture.arrows for line in arrow.lines]
    marks = []
    if any(line.timed for line in lines):
        marks.append(
            font(CLOCK, c.clock, 9) + _small(f"{GAP * 2}fired by a deadline; dashed: by nothing else", c)
        )
    if any(line.by_person for line in lines):
        marks.append(f"{font('event', c.person, 9)}{_small(f'{GAP * 2}a person may fire it', c)}")
    if any(line.guard for line in lines):
        marks.append(_small("[guard] must hold", c))
    if any(isinstance(arrow.source, Role) for arrow in picture.arrows):
        marks.append(_small("an arrow from a frame leads from each state in it", c))
    return _small(_BETWEEN, c).join(marks)
