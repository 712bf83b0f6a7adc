"""The rules on the ways through a flow: each step is on one, and each edge may be taken."""

from __future__ import annotations

from collections.abc import Iterator

from kumofire_fsm.flows.spec import FlowSpec, Kind, StepEdge
from kumofire_fsm.machines.finding import Broken

__all__ = ["reachable", "taken"]


def reachable(spec: FlowSpec) -> Iterator[Broken]:
    """Yield each step that nothing leads to, or without a way to an end; and edges declared twice."""
    if sum(step.initial for step in spec.steps) != 1:
        return
    reach = _closure({""}, list(spec.moves))
    ends = {step.id for step in spec.of_kind(Kind.END)}
    good = _closure(ends, [(b, a) for a, b in spec.moves])
    for step in spec.steps:
        if step.id not in reach:
            what = f"the step {step.id!r} cannot be reached from {spec.first.id!r}"
            yield "unreachable", what, "add an edge to it, or drop it", {"state": step.id}
        elif step.id not in good:
            yield "no-way-out", f"no way leads from {step.id!r} to an end", "add one", {"state": step.id}
    seen: set[tuple[str, str, str, str]] = set()
    for edge in spec.edges:
        if (key := _key(edge)) in seen:
            what = f"{edge.event} from {edge.source} to {edge.target} is declared twice"
            yield "duplicate-edge", what, "drop one", {"state": edge.source, "event": edge.event}
        seen.add(key)


def taken(spec: FlowSpec) -> Iterator[Broken]:
    """Yield each edge that is never taken, because one that is always open stands before it."""
    open_edges: dict[tuple[str, str], StepEdge] = {}
    for edge in spec.edges:
        place = {"state": edge.source, "event": edge.event}
        first = open_edges.get((edge.source, edge.event))
        if first is not None and _key(first) != _key(edge):
            what = f"{edge.event} from {edge.source} to {edge.target} is never taken: that to {first.target} "
            yield (
                "never-taken",
                what + "stands before it, without a guard",
                "put the guarded one first",
                place,
            )
        elif edge.guard is None:
            open_edges[edge.source, edge.event] = edge


def _key(edge: StepEdge) -> tuple[str, str, str, str]:
    return edge.event, edge.source, edge.enters, edge.guard_text


def _closure(found: set[str], pairs: list[tuple[str, str]]) -> set[str]:
    """Return what is found from ``found`` by following pairs."""
    found = set(found)
    while fresh := {b for a, b in pairs if a in found} - found:
        found |= fresh
    return found
