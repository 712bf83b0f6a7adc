"""Writes a lifecycle as a page of Markdown: its states and its transitions, in tables."""

from __future__ import annotations

import html
from collections.abc import Iterable

from kumofire_fsm.drawing._labels import plain
from kumofire_fsm.machines.spec import EdgeSpec, MachineSpec, StateSpec

__all__ = ["page"]

_KEPT = ("state", "history", "wake_at")
"""What every move writes by itself, and the page does not repeat."""


def page(spec: MachineSpec, *, title: str) -> str:
    """Return the page; the same spec gives the same bytes."""
    lines = [f"## {_text(title)}", ""] if plain(title) else []
    lines += ["### States", ""]
    lines += _table(
        ("state", "role", "meaning", "entered by", "left by", "deadline"),
        (_state(spec, state) for state in spec.states),
    )
    lines += ["", "### Events", ""]
    lines += _table(
        ("event", "fired by", "when"),
        ((_code(e.id), e.by.value, _text(e.doc)) for e in spec.events),
    )
    lines += ["", "### Transitions", ""]
    lines += _table(
        ("event", "from", "to", "guard", "assigns"),
        (_edge(edge) for edge in spec.edges),
    )
    return "\n".join(lines) + "\n"


def _state(spec: MachineSpec, state: StateSpec) -> tuple[str, ...]:
    entered = [edge.event for edge in spec.edges if edge.target == state.id != edge.source]
    left = [edge.event for edge in spec.edges if edge.source == state.id != edge.target]
    return (
        f"**{_code(state.id)}**" + (" (initial)" if state.initial else " (retired)" if state.retired else ""),
        state.role.value + (f", {state.outcome.value}" if state.outcome else ""),
        _text(state.doc),
        _codes(entered),
        _codes(left),
        _deadline(state),
    )


def _deadline(state: StateSpec) -> str:
    if state.deadline is None:
        return "none: it waits" if state.waits else "none"
    words = f"{_text(state.deadline.doc)}: " if state.deadline.doc else ""
    return f"{words}at {_code(state.deadline.text)} fires {_codes(state.deadline.fires)}"


def _edge(edge: EdgeSpec) -> tuple[str, ...]:
    assigns = [name for name in edge.assigns if name not in _KEPT]
    return (
        _code(edge.event),
        _code(edge.source),
        "itself" if edge.source == edge.target else _code(edge.target),
        _code(edge.guard_text) if edge.guard_text else "",
        _codes(assigns) if assigns else "",
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return [lines[0], f"|{'---|' * len(heads)}", *lines[1:]]


def _text(value: str) -> str:
    """Return a text in which Markdown and HTML find nothing to do."""
    escaped = html.escape(plain(value), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|~#" else c for c in escaped)


def _code(value: str) -> str:
    shown = plain(value)
    return f"<code>{_text(shown)}</code>" if {*shown} & {*"`|\\"} or not shown else f"`{shown}`"


def _codes(values: Iterable[str]) -> str:
    return ", ".join(_code(each) for each in dict.fromkeys(values)) or "nothing"
