"""Compiles edges into one compare-and-set statement that moves a set of rows.

The statement reads its arguments from a common table expression ``a`` and names the row ``r``:

    WITH a(...) AS (...) UPDATE <table> AS r SET ... FROM a WHERE <match> AND <edges> RETURNING ...

Several events may share a statement (a batch of mixed outcomes; a sweep of all deadlines); then each
column is a CASE over the edges, in the order in which the machine tries them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import EdgeSpec, MachineSpec, Role

__all__ = ["compare_and_set", "deadline_edges", "edge_rows", "event_edges", "quoted", "quoted_list"]

OPTIONAL = frozenset({"facts"})
"""Parameters that a statement may leave out; they are NULL then."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """Edges that test the same and assign the same, whatever state or machine they leave."""

    place: str
    guard: str
    sets: dict[str, str]

    @property
    def test(self) -> str:
        """Whether a row takes the branch."""
        return " AND ".join(part for part in (self.place, self.guard) if part)


_Key = tuple[int, str, str, tuple[tuple[str, str], ...]]
"""What edges must share to be one branch: their turn, event, guard and assignments."""


@dataclass(slots=True)
class _Candidate:
    """An edge of one machine, with how many edges are tried before it from the same state."""

    machine: str
    edge: EdgeSpec
    turn: int


def quoted_list(texts: Iterable[str]) -> str:
    """Return texts as the inside of an SQL ``IN (...)``."""
    return ", ".join(quoted(text) for text in texts)


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


def compare_and_set(
    specs: Sequence[MachineSpec],
    edges: dict[str, list[EdgeSpec]],
    *,
    parameters: Sequence[str],
    source: str,
    match: str,
    returning: str,
    by_event: bool = False,
    done: str = "",
) -> str:
    """Return the statement that moves every matching row along the first open edge.

    Args:
        specs: the machines, all of one table.
        edges: for each machine's name the edges to try, in order.
        parameters: the columns of ``a``; every parameter that an edge names must be among them.
        source: common table expressions, of which one is ``a``.
        match: which rows of ``r`` belong to which row of ``a``.
        returning: the columns to give back.
        by_event: whether ``a.event`` chooses among the events.
        done: a test for rows that an earlier, unanswered call has moved; they are given back as they are.
    """
    branches = _branches(specs, edges, frozenset(parameters), by_event=by_event)
    if done:
        branches.insert(0, _Branch(done, "", {}))
    columns = list(dict.fromkeys(column for branch in branches for column in branch.sets))
    sets = ", ".join(f"{column} = {_case(column, branches)}" for column in columns)
    machines = quoted_list(spec.name for spec in specs)
    tests = " OR ".join(f"({branch.test})" for branch in branches)
    return (
        f"WITH {source} UPDATE {specs[0].table} AS r SET {sets} FROM a "
        f"WHERE {match} AND r.machine IN ({machines}) AND ({tests}) RETURNING {returning}"
    )


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
    return sorted((spec.name, source, target, wakes[target]) for source, target in pairs)


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


def _branches(
    specs: Sequence[MachineSpec],
    edges: dict[str, list[EdgeSpec]],
    parameters: frozenset[str],
    *,
    by_event: bool,
) -> list[_Branch]:
    merged: dict[_Key, list[_Candidate]] = {}
    for spec in specs:
        for candidate in _candidates(spec.name, edges[spec.name], by_event=by_event):
            edge = candidate.edge
            sets = tuple(sorted(_sets(spec, edge, parameters).items()))
            event = edge.event if by_event else ""
            key = (candidate.turn, event, _guard(spec, edge, parameters), sets)
            merged.setdefault(key, []).append(candidate)
    several = len(specs) > 1
    return [
        _Branch(
            (f"a.event = {quoted(event)} AND " if event else "") + _places(candidates, several=several),
            guard,
            dict(sets),
        )
        for (_, event, guard, sets), candidates in sorted(merged.items(), key=lambda m: m[0][0])
    ]


def _candidates(machine: str, edges: list[EdgeSpec], *, by_event: bool) -> list[_Candidate]:
    places = [(edge.source, edge.event if by_event else "") for edge in edges]
    return [
        _Candidate(machine, edge, places[:i].count(place))
        for i, (edge, place) in enumerate(zip(edges, places, strict=True))
    ]


def _places(candidates: list[_Candidate], *, several: bool) -> str:
    """Return the test for the states the edges leave, and for their machines where these differ."""
    states: dict[str, list[str]] = {}
    for each in candidates:
        states.setdefault(each.machine, []).append(each.edge.source)
    machines: dict[tuple[str, ...], list[str]] = {}
    for machine, sources in states.items():
        machines.setdefault(tuple(sources), []).append(machine)
    tests = []
    for places, names in machines.items():
        # "+": rows are looked up by id, not by the index. No IN: each costs a temporary table a statement.
        state = " OR ".join(f"+r.state = {quoted(place)}" for place in places)
        state = f"({state})" if len(places) > 1 else state
        tests.append(f"(r.machine IN ({quoted_list(names)}) AND {state})" if several else state)
    return tests[0] if len(tests) == 1 else "(" + " OR ".join(tests) + ")"


def _resolver(spec: MachineSpec, parameters: frozenset[str]) -> Callable[[str], str]:
    def resolve(name: str) -> str:
        if name in spec.fields:
            return f"r.{name}"
        if name in parameters:
            return f"a.{name}"
        if name in OPTIONAL:
            return "NULL"
        raise DefinitionError(
            f"{spec.name}: an edge that this statement takes reads {name!r}, which only other statements "
            f"give; here are: {', '.join(sorted(parameters))}"
        )

    return resolve


def _guard(spec: MachineSpec, edge: EdgeSpec, parameters: frozenset[str]) -> str:
    return edge.guard.sql(_resolver(spec, parameters)) if edge.guard else ""


def _sets(spec: MachineSpec, edge: EdgeSpec, parameters: frozenset[str]) -> dict[str, str]:
    resolve = _resolver(spec, parameters)
    sets = {column: value.sql(resolve) for column, value in edge.assigns.items()}
    # A self-loop names its state too, so that the guard trigger judges every move.
    return {"state": quoted(edge.target), **sets}


def _case(column: str, branches: list[_Branch]) -> str:
    values = [branch.sets.get(column, f"r.{column}") for branch in branches]
    if len(set(values)) == 1:
        return values[0]
    # Where all branches leave the same place, WHERE has tested it already.
    alike = len({branch.place for branch in branches}) == 1
    cases = " ".join(
        f"WHEN {(alike and branch.guard) or branch.test} THEN {value}"
        for branch, value in zip(branches[:-1], values[:-1], strict=True)
    )
    return f"CASE {cases} ELSE {values[-1]} END"
