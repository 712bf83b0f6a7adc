"""The ways that a row may take in one statement: edges that test and assign the same are one branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.expression import Call, Expression, Literal, Name, quoted
from kumofire_fsm.machines.operators import and_sql, joined
from kumofire_fsm.machines.payload import PREFIX
from kumofire_fsm.machines.spec import EdgeSpec, MachineSpec
from kumofire_fsm.store._answers import field_sql
from kumofire_fsm.store._layout import WIDTH, indented, quoted_list

__all__ = ["Branch", "apart", "branches_of"]

OPTIONAL = frozenset({"ends_at", "facts", "hint_ms", "turn_at"})
"""Parameters that a statement may leave out; they are NULL then."""


class Branch(NamedTuple):
    """Edges that test the same and assign the same, whatever state or machine they leave.

    Attributes:
        event: the event that ``a.event`` must name; empty where the statement fires one way only.
        places: the states that the edges leave, by machine.
        guard: when the branch is open, on columns ``r.…`` and parameters ``a.…``.
        sets: what it assigns, in the order of the machine's columns.
    """

    event: str
    places: Mapping[str, Sequence[str]]
    guard: Expression | None
    sets: dict[str, Expression]

    def test(self, machines: int, plus: str = "") -> str:
        """Return the condition under which a row takes the branch.

        Args:
            machines: of how many machines the statement moves rows.
            plus: what stands before each state; "+" keeps SQLite from looking rows up by it.
        """
        event = [f"a.event = {quoted(self.event)}"] if self.event else []
        parts = [*event, self.place(machines, plus), *_conditions(self.guard)]
        short = joined(and_sql, parts)
        if len(short) <= WIDTH:
            return short
        return joined("{}\n  AND {}".format, [indented(part) for part in parts])

    def place(self, machines: int, plus: str = "") -> str:
        """Return the test for the states the edges leave, and for their machines where these differ."""
        leaving: dict[tuple[str, ...], list[str]] = {}
        for machine, sources in self.places.items():
            leaving.setdefault(tuple(sources), []).append(machine)
        tests = []
        for states, names in leaving.items():
            # No IN: each costs a temporary table a statement.
            state = " OR ".join(f"{plus}r.state = {quoted(source)}" for source in states)
            state = f"({state})" if len(states) > 1 else state
            alike = len(names) == machines
            tests.append(state if alike else f"(r.machine IN ({quoted_list(names)}) AND {state})")
        return tests[0] if len(tests) == 1 else f"({' OR '.join(tests)})"


def _conditions(guard: Expression | None) -> list[str]:
    """Return what must hold for a guard to hold, one condition an item."""
    if guard is None:
        return []
    if isinstance(guard, Call) and guard.operator == "And":
        return [text for each in guard.joined() for text in _conditions(each)]
    text = guard.sql(str)
    return [f"({text})" if isinstance(guard, Call) and guard.operator == "Or" else text]


def apart(first: Branch, second: Branch, machines: int) -> str:
    """Return the shortest test that tells the first branch from the second, for rows that take either."""
    if first.event != second.event:
        return f"a.event = {quoted(first.event)}"
    if first.places == second.places and first.guard:
        return joined(and_sql, _conditions(first.guard))
    both = first.places.keys() & second.places.keys()
    shared = any(set(first.places[machine]) & set(second.places[machine]) for machine in both)
    return first.test(machines) if shared else first.place(machines)


_Key = tuple[int, str, Expression | None, tuple[tuple[str, Expression], ...]]
"""What edges must share to be one branch: their turn, event, guard and assignments."""


def branches_of(
    specs: Sequence[MachineSpec],
    edges: Mapping[str, Sequence[EdgeSpec]],
    parameters: Sequence[str],
    known: Mapping[str, Expression],
    *,
    by_event: bool,
) -> list[Branch]:
    """Return the branches of these edges, in the order in which they are tried."""
    merged: dict[_Key, dict[str, list[str]]] = {}
    for spec in specs:
        names = {**_qualified(spec, parameters), **known}
        seen: list[tuple[str, str]] = []
        decided: set[tuple[str, str]] = set()
        for edge in edges[spec.name]:
            place = edge.source, edge.event if by_event else ""
            guard, sets = _resolved(spec, edge, names)
            if place in decided:
                continue  # an edge before it is always open, as far as this statement knows
            if guard is None:
                decided.add(place)
            key = seen.count(place), place[1], guard, sets
            merged.setdefault(key, {}).setdefault(spec.name, []).append(edge.source)
            seen.append(place)
    # By turn: what a state tries first must be tested first, whatever other states share it.
    return [
        Branch(event, places, guard, dict(sets))
        for (_, event, guard, sets), places in sorted(merged.items(), key=lambda each: each[0][0])
    ]


def _qualified(spec: MachineSpec, parameters: Sequence[str]) -> dict[str, Expression]:
    """Return what stands in SQL for each name that an expression of the machine may use."""
    left_out: dict[str, Expression] = {name: Literal(None) for name in OPTIONAL}
    given = {name: Name(f"a.{name}") for name in parameters}
    payload = {f"{PREFIX}{name}": Name(field_sql("r", name, each)) for name, each in spec.payload.items()}
    return left_out | given | {name: Name(f"r.{name}") for name in spec.fields} | payload


def _resolved(
    spec: MachineSpec, edge: EdgeSpec, names: Mapping[str, Expression]
) -> tuple[Expression | None, tuple[tuple[str, Expression], ...]]:
    """Return an edge's guard and assignments with the names that SQL uses."""
    if lacking := sorted(edge.names() - names.keys()):
        raise DefinitionError(
            f"{spec.name}: an edge that this statement takes reads {lacking[0]!r}, which only other "
            f"statements give; here are: {', '.join(sorted(names.keys() - spec.fields.keys() - OPTIONAL))}"
        )
    # A self-loop names its state too, so that the guard trigger judges every move.
    sets = {"state": Literal(edge.target), **edge.assigns}
    ordered = ((column, sets[column].substitute(names)) for column in spec.fields if column in sets)
    guard = edge.guard and edge.guard.substitute(names)
    return None if guard == Literal(1) else guard, tuple(ordered)
