"""Which edges a statement tries, and at which states it looks, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kumofire_fsm.machines.spec import EdgeSpec, MachineSpec, Role

__all__ = [
    "deadline_edges",
    "edge_rows",
    "event_edges",
    "hinted_states",
    "start_events",
    "states_by_urgency",
    "step_edge",
]


def event_edges(specs: Sequence[MachineSpec], events: Sequence[str]) -> dict[str, list[EdgeSpec]]:
    """Return for each machine the edges of these events, in the order they are tried."""
    return {spec.name: list(spec.edges_of(*events)) for spec in specs}


def deadline_edges(
    specs: Sequence[MachineSpec], skip: Iterable[str] = (), then: Sequence[str] = ()
) -> dict[str, list[EdgeSpec]]:
    """Return for each machine what its deadlines fire, in the order they are tried.

    A state whose last event is skipped is left out, because rows could be due there and not move.
    With ``then`` only states that have one of those events are taken; what precedes the skipped event
    is tried first there, and a deadline that a sweep fires is left to the sweep.
    """
    skipped, found = frozenset(skip), {}
    for spec in specs:
        edges: list[EdgeSpec] = []
        for state in spec.states:
            fires = [e for e in (state.deadline.fires if state.deadline else ()) if e not in skipped]
            last = state.deadline.fires[-1] if state.deadline else None
            after = [event for event in then if spec.edges_from(state.id, event)]
            swept = last is not None and last not in skipped
            tried = (*(() if swept else fires), *after) if then and after else fires
            if after if then else swept:
                for event in tried:
                    edges += spec.edges_from(state.id, event)
        found[spec.name] = edges
    return found


def start_events(specs: Sequence[MachineSpec]) -> tuple[str, ...]:
    """Return the events that lead from a claimable state to a leased one."""
    found = (
        edge.event
        for spec in specs
        for edge in spec.edges
        if spec.has_role(edge.source, Role.CLAIMABLE) and spec.has_role(edge.target, Role.LEASED)
    )
    return tuple(dict.fromkeys(found))


def edge_rows(spec: MachineSpec) -> list[tuple[str, str, str, int]]:
    """Return what the database's guard triggers read: (machine, source, target, wakes).

    A source of '' stands for an insert: in the initial state, or in one that an event with a hint
    leads to from there, because a run that is due soon is created and enqueued at once.
    """
    wakes = {state.id: int(state.wakes) for state in spec.states}
    first = spec.initial.id
    hinted = {e.target for e in spec.edges if e.source == first and _hints(spec, e.event)}
    pairs = {(edge.source, edge.target) for edge in spec.edges}
    pairs |= {("", first)} | {("", target) for target in hinted}
    moves = {(spec.name, source, target, wakes[target]) for source, target in pairs}
    moves |= {(spec.name, step_edge(a), step_edge(b), 0) for a, b in spec.steps}
    return sorted(moves | {(spec.name, f"from:{former}", spec.name, 0) for former in spec.former})


def step_edge(step: str) -> str:
    """Return how the edge table names a step of a flow, beside the states of its run."""
    return f"step:{step}"


def hinted_states(spec: MachineSpec) -> tuple[str, ...]:
    """Return the states in which a queue hint is on its way."""
    return tuple(dict.fromkeys(e.target for e in spec.edges if _hints(spec, e.event)))


def states_by_urgency(spec: MachineSpec, states: Iterable[str]) -> list[str]:
    """Order states for a sweep: leases first, then waits, then what a consumer may start.

    Among the claimable ones those whose hint is already on its way come last.
    """
    rank = {Role.LEASED: 0, Role.WAITING: 1, Role.CLAIMABLE: 2, Role.SETTLED: 3}
    roles = {state.id: rank[state.role] for state in spec.states}
    hinted = hinted_states(spec)
    order = [state.id for state in spec.states][::-1]
    return sorted(set(states), key=lambda s: (roles[s], s in hinted, order.index(s)))


def _hints(spec: MachineSpec, event_id: str) -> bool:
    event = spec.event(event_id)
    return event is not None and event.hints
