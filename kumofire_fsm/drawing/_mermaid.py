"""Draws a lifecycle as Mermaid text, which GitHub and most documentation tools render."""

from __future__ import annotations

from kumofire_fsm.drawing._labels import CLOCK, plain
from kumofire_fsm.drawing._picture import node_names, picture_of
from kumofire_fsm.drawing._theme import LIGHT
from kumofire_fsm.machines.spec import MachineSpec, Role

__all__ = ["mermaid"]

_RESERVED = {"as", "class", "classdef", "click", "default", "direction", "end", "note", "state", "style"}
"""Words that a Mermaid diagram takes for its own where a state's name stands."""

_STROKES = {Role.SETTLED: ",stroke-width:3px", Role.LEASED: ",stroke-dasharray:4"}


def mermaid(spec: MachineSpec) -> str:
    """Return a ``stateDiagram-v2`` of the machine; the same spec gives the same bytes.

    A deadline's event is marked with a clock. Only borders are coloured, so that it reads on a light
    and on a dark page; a settled state's is thick, a leased one's dashed.
    """
    names = {s: f"_{n}" if n.lower() in _RESERVED else n for s, n in node_names(spec).items()}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{_text(state)}" as {name}' for state, name in names.items() if state != name]
    lines.append(f"    [*] --> {names[spec.initial.id]}")
    for arrow in picture_of(spec, grouped=False).arrows:
        labels = dict.fromkeys(
            f"{_text(line.event)} {CLOCK}" if line.timed else _text(line.event) for line in arrow.lines
        )
        lines.append(f"    {names[arrow.source]} --> {names[arrow.target]}: {', '.join(labels)}")
    for kind in dict.fromkeys(state.outcome or state.role for state in spec.states):
        members = [state for state in spec.states if (state.outcome or state.role) is kind]
        lines.append(
            f"    classDef {kind} stroke:{LIGHT.tint(kind).border}{_STROKES.get(members[0].role, '')}"
        )
        lines.append(f"    class {','.join(names[state.id] for state in members)} {kind}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """Return a text in which Mermaid finds nothing to do; its entities are written with a hash."""
    return "".join(f"#{ord(c)};" if c in '#;:"<>&%{}`' else c for c in plain(value))
