"""The edges of an application's machines in the database: which are missing, and which are no longer used.

The guard triggers read them. Edges are added before a deploy (expand) and removed after it (contract), so
that old and new code work side by side in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from kumofire_fsm.errors import MigrationConflict
from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.store._layout import quoted_list, select
from kumofire_fsm.store._selection import edge_rows, step_edge
from kumofire_fsm.store.rows import EDGES, RUNS, SCHEMA

__all__ = ["KNOWN", "Ask", "EdgeRow", "Leftovers", "edges_of", "listed", "missing_edges", "own_machines"]

Ask = Callable[[str], Iterable[Sequence[Any]]]
"""Runs one query and gives its rows; an embedded file's connection and wrangler do it each in its way."""

_ALL: Final = f"(SELECT json_group_array(json_array(machine, source, target, wakes)) FROM {EDGES})"
KNOWN: Final = select(
    ["max(version) AS version", "max(serves) AS serves", f"{_ALL} AS edges"], f"FROM {SCHEMA}"
)
"""What a database says of its schema, and every edge: one question, as wrangler takes seconds for each."""
_BUILT_IN: Final = (RunMachine.spec, JobMachine.spec)
"""Machines whose edges the schema's own migrations bring."""


class EdgeRow(NamedTuple):
    """A row of the edge table; a source of '' stands for an insert."""

    machine: str
    source: str
    target: str
    wakes: int

    def __str__(self) -> str:
        return f"{self.machine}: {self.source or '(new)'} -> {self.target}"

    def insert(self) -> str:
        """Return the statement that adds it, once or again."""
        values = f"{quoted_list(self[:3])}, {self.wakes}"
        return (
            f"INSERT INTO {EDGES} (machine, source, target, wakes) VALUES ({values}) ON CONFLICT DO NOTHING;"
        )

    def delete(self) -> str:
        """Return the statement that removes it, once or again."""
        columns = zip(("machine", "source", "target"), self[:3], strict=True)
        return f"DELETE FROM {EDGES} WHERE {' AND '.join(f'{c} = {quoted(text)}' for c, text in columns)};"


def listed(edges: Sequence[EdgeRow]) -> str:
    """Return how many edges these are, and whose."""
    machines = ", ".join(dict.fromkeys(edge.machine for edge in edges))
    return f"{len(edges)} edge{'s' * (len(edges) > 1)} of {machines}"


def own_machines(specs: Iterable[MachineSpec]) -> list[MachineSpec]:
    """Return the application's own machines among these."""
    return [spec for spec in specs if not any(spec is each for each in _BUILT_IN)]


def edges_of(known: str, specs: Sequence[MachineSpec]) -> list[EdgeRow]:
    """Return the edges of these machines among those that `KNOWN` tells of."""
    names = {spec.name for spec in specs}
    return sorted(edge for edge in (EdgeRow(*row) for row in json.loads(known)) if edge.machine in names)


def missing_edges(specs: Sequence[MachineSpec], known: Iterable[EdgeRow]) -> list[EdgeRow]:
    """Return the edges of these machines that are not known yet.

    Raises:
        MigrationConflict: a state is known with a deadline and has none now, or the other way round.
    """
    there = list(known)
    registered = {(edge.machine, edge.target): edge.wakes for edge in there}
    for machine, state in ((spec.name, state) for spec in specs for state in spec.states):
        if registered.get((machine, state.id), state.wakes) != state.wakes:
            now, then = ("a", "none") if state.wakes else ("no", "one")
            raise MigrationConflict(
                f"the state {state.id!r} of the machine {machine!r} has {now} deadline, and had {then} "
                "when it was registered, on which older code and stored runs rely; give the state another "
                "name, and retire the old one (retired=True)"
            )
    keys = {edge[:3] for edge in there}
    return [edge for spec in specs for row in edge_rows(spec) if (edge := EdgeRow(*row))[:3] not in keys]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Edges that the machines of that name no longer have, and the (machine, state) pairs that go with them.

    A state goes when the machine does not declare it any more. Machines that the application does not know
    are not looked at: another application may own them.
    """

    edges: Sequence[EdgeRow]
    states: Sequence[tuple[str, str]]
    verb: ClassVar = "remove"

    @classmethod
    def of(cls, ask: Ask, specs: Sequence[MachineSpec]) -> Leftovers:
        """Return what a database with this code's schema has of these machines, and they do not declare.

        Raises:
            MigrationConflict: live runs are in a state that goes.
        """
        own = own_machines(specs)
        known = [edge for *_, known in ask(KNOWN) for edge in edges_of(known, own)] if own else []
        declared = {row[:3] for spec in (*own, *_BUILT_IN) for row in edge_rows(spec)}
        states = {(spec.name, state.id) for spec in (*own, *_BUILT_IN) for state in spec.states}
        states |= {(machine, each) for machine, *ends in declared for each in ends}
        edges = [edge for edge in known if edge[:3] not in declared]
        ends = {(edge.machine, state) for edge in edges for state in edge[1:3] if state}
        found = cls(edges, sorted(ends - states))
        found._refuse_live(ask)
        return found

    def __bool__(self) -> bool:
        return bool(self.edges)

    def __str__(self) -> str:
        return listed(self.edges)

    def items(self) -> Iterator[str]:
        """Yield what is removed, one by one, for people."""
        yield from map(str, self.edges)

    def statements(self) -> Iterator[str]:
        """Yield a check that fails while live runs hold a state that goes, and the deletions."""
        if self.states:
            names = ", ".join(dict.fromkeys(state for _, state in self.states))
            text = quoted(f" live runs are in a state that goes ({names})")
            # SQLite quotes a path that it cannot read in its error, and so the text is shown.
            error = f"json_extract('{{}}', 'kumofire: ' || count(*) || {text})"
            yield f"SELECT iif(count(*) = 0, 1, {error}) AS ok {self._live()};"
        for edge in self.edges:
            yield edge.delete()

    def _live(self) -> str:
        pairs = " OR ".join(f"(machine = {quoted(m)} AND {_there(s)})" for m, s in self.states)
        return f"FROM {RUNS} WHERE finished_at IS NULL AND ({pairs})"

    def _refuse_live(self, ask: Ask) -> None:
        query = f"SELECT machine, state, count(*) AS number {self._live()} GROUP BY machine, state"
        if self.states and (held := list(ask(query))):
            states = ", ".join(f"{number} in {state!r} of {machine!r}" for machine, state, number in held)
            raise MigrationConflict(
                f"{sum(row[2] for row in held)} live runs are in a state that goes: {states}; let them "
                "finish, or move them with code that still has the state; nothing was changed"
            )


def _there(name: str) -> str:
    """Return the condition that a row is where the edge table names: in a state, or of a flow at a step."""
    step = name.removeprefix(step_edge(""))
    return f"state = {quoted(name)}" if step == name else f"step = {quoted(step)}"
