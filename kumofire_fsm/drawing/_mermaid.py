"""Draws a lifecycle as Mermaid text, which GitHub and most documentation tools render."""

from __future__ import annotations

import json
import re

from kumofire_fsm.drawing._labels import plain
from kumofire_fsm.drawing._picture import picture_of
from kumofire_fsm.drawing._theme import LIGHT
from kumofire_fsm.machines.spec import MachineSpec, Role

__all__ = ["mermaid"]

_CLOCK = "\N{ALARM CLOCK}"
"""Marks what a deadline fires."""

_STROKES = {Role.SETTLED: ",stroke-width:3px", Role.LEASED: ",stroke-dasharray:4"}

_TAKEN = re.compile(r"[^\w ,]|(?<![^\W_])_|_(?![^\W_])|(?i:d(?=irection ))")
"""What may mean something in a label: punctuation, an underscore at the edge of a word, and the statement
"direction TB", which Mermaid's grammar finds anywhere in a line."""


def mermaid(spec: MachineSpec, *, title: str = "", direction: str = "TB", detail: bool = False) -> str:
    """Return a ``stateDiagram-v2`` of the machine; the same spec gives the same bytes.

    A deadline's event is marked with a clock. Only borders are coloured, so that it reads on a light
    and on a dark page; a settled state's is thick, a leased one's dashed.

    Args:
        spec: what is drawn.
        title: stands above it; an empty text for none.
        direction: "TB" from top to bottom, or "LR" from left to right.
        detail: whether what the package does for itself is shown.
    """
    names = _names(spec)
    lines = ["---", f"title: {_quoted(title)}", "---"] if plain(title) else []
    lines.append("stateDiagram-v2")
    lines += [f"    direction {direction}"] if direction != "TB" else []
    lines += [f'    state "{_text(state)}" as {name}' for state, name in names.items()]
    lines.append(f"    [*] --> {names[spec.initial.id]}")
    for arrow in picture_of(spec, grouped=False, detail=detail).arrows:
        labels = dict.fromkeys(
            f"{_text(line.event)} {_CLOCK}" if line.timed else _text(line.event) for line in arrow.lines
        )
        lines.append(f"    {names[arrow.source]} --> {names[arrow.target]}: {', '.join(labels)}")
    for kind in dict.fromkeys(state.outcome or state.role for state in spec.states):
        members = [state for state in spec.states if (state.outcome or state.role) is kind]
        lines.append(
            f"    classDef {kind} stroke:{LIGHT.tint(kind).border}{_STROKES.get(members[0].role, '')}"
        )
        lines.append(f"    class {','.join(names[state.id] for state in members)} {kind}")
    return "\n".join(lines) + "\n"


def _names(spec: MachineSpec) -> dict[str, str]:
    """Return for every state a name of which no version of Mermaid has made a word of its own.

    They begin with ``s_`` or ``s1``. Mermaid's own names do not: among them are ``scale``, ``root_start``
    for the initial marker, and whatever JavaScript finds on every object.
    """
    return {
        state.id: f"s_{state.id}" if re.fullmatch(r"\w+", state.id, re.ASCII) else f"s{number}"
        for number, state in enumerate(spec.states, 1)
    }


def _text(value: str) -> str:
    """Return a text in which Mermaid finds nothing to do; its entities are written with a hash."""
    return _TAKEN.sub(lambda found: f"#{ord(found[0])};", plain(value))


def _quoted(value: str) -> str:
    """Return a text as YAML quotes it, in which Mermaid finds no tag."""
    return json.dumps(plain(value), ensure_ascii=False).replace("<", "\\u003c")
