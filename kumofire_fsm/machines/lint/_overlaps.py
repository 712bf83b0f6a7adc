"""Warnings about edges that one event has from one state: does each fire, and one at a time?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.finding import Broken
from kumofire_fsm.machines.lint.grid import Grid
from kumofire_fsm.machines.payload import PREFIX
from kumofire_fsm.machines.spec import EdgeSpec, MachineSpec

__all__ = ["edge_warnings"]

Warned = tuple[str, str, str]
"""A rule's name, what was found, how to mend it."""


@dataclass(slots=True)
class _Seen:
    """What was seen of edges on a grid: which hold, which are taken, and which hold together."""

    held: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    together: dict[tuple[int, int], dict[str, Scalar]] = field(default_factory=dict)


def edge_warnings(spec: MachineSpec) -> Iterator[Broken]:
    """Yield what is doubtful about edges of the same event from the same state."""
    for state, event in itertools.product(spec.states, spec.events):
        edges = spec.edges_from(state.id, event.id)
        place = {"state": state.id, "event": event.id}
        for name, what, mend in itertools.chain(_hidden(edges), _guards(spec, edges)):
            yield name, what, mend, place


def _hidden(edges: Sequence[EdgeSpec]) -> Iterator[Warned]:
    guarded = _guarded(edges)
    for edge in edges[len(guarded) + 1 :]:
        what = (
            f"{_named(edge)} is never taken: {_named(edges[len(guarded)])} stands before it, without a guard"
        )
        yield "shadowed-edge", what, "put the edge without a guard last"


def _guards(spec: MachineSpec, edges: Sequence[EdgeSpec]) -> Iterator[Warned]:
    """Judge guarded edges by a grid; that something never happens is said only of an exact one."""
    guarded = _guarded(edges)
    if not guarded:
        return
    payload = {f"{PREFIX}{name}": field.plain for name, field in spec.payload.items()}
    named = {"state": guarded[0].source, "machine": spec.name}
    defaults = {**spec.fields, **spec.parameters, **payload, **named}
    guards = [edge.guard for edge in guarded]
    grid = Grid(guards, defaults, texts=spec.texts, fixed=("state", "machine"))
    seen = _look(guarded, grid, defaults)
    for number, edge in enumerate(guarded if grid.exact else ()):
        if number not in seen.held:
            yield (
                "impossible-guard",
                f"the guard of {_named(edge)} never holds",
                "mend the guard, or drop the edge",
            )
        elif number not in seen.taken:
            what = f"{_named(edge)} is never taken: whenever its guard holds, one before it does"
            yield "shadowed-edge", what, "put the narrower guard first, or drop the edge"
    for (first, second), row in seen.together.items():
        if second in seen.taken or not grid.exact:
            example = ", ".join(f"{name}={value!r}" for name, value in row.items())
            what = f"{_named(guarded[first])} and {_named(guarded[second])} both hold for {example}"
            yield "overlapping-guards", what, "let one guard exclude the other: their order alone decides now"


def _look(edges: Sequence[EdgeSpec], grid: Grid, defaults: dict[str, Scalar]) -> _Seen:
    seen = _Seen()
    for changes in grid.rows():
        row = {**defaults, **changes}
        open_now = [number for number, edge in enumerate(edges) if edge.holds(row)]
        seen.held.update(open_now)
        seen.taken.update(open_now[:1])
        for pair in itertools.combinations(open_now, 2):
            if pair not in seen.together and edges[pair[0]].target != edges[pair[1]].target:
                seen.together[pair] = _named_values(edges, pair, row)
    return seen


def _named_values(
    edges: Sequence[EdgeSpec], pair: tuple[int, int], row: dict[str, Scalar]
) -> dict[str, Scalar]:
    """Return what the row holds in the columns that the two guards name."""
    guards = [edges[number].guard for number in pair]
    return {name: row[name] for guard in guards if guard is not None for name in guard.names()}


def _guarded(edges: Sequence[EdgeSpec]) -> tuple[EdgeSpec, ...]:
    """Return the edges before the first one without a guard."""
    return tuple(itertools.takewhile(lambda edge: edge.guard is not None, edges))


def _named(edge: EdgeSpec) -> str:
    guard = f" [{edge.guard_text}]" if edge.guard_text else ""
    return f"{edge.event} from {edge.source} to {edge.target}{guard}"
