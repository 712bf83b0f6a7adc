"""The frozen description of a machine, from which everything else is derived.

`MachineSpec` is plain data: states with their roles and deadlines, edges with their guards and
assignments. It is also the transition table: `MachineSpec.step` moves a row in Python exactly as
the compiled SQL moves it in the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final, Protocol, TypeVar

from kumofire_fsm.errors import GuardFailed, InvalidArgument, TransitionNotAllowed
from kumofire_fsm.machines.expression import Expression, Scalar, Type
from kumofire_fsm.machines.payload import PayloadField, values

__all__ = [
    "ADMIT",
    "HOLD",
    "Actor",
    "DeadlineSpec",
    "EdgeSpec",
    "EventSpec",
    "MachineSpec",
    "Outcome",
    "Role",
    "StateSpec",
    "edge_table",
]

HOLD: Final = "hold_back"
ADMIT: Final = "admit"
"""The events by which a claim holds a run whose concurrency key is full, and by which it may start again."""


class Role(StrEnum):
    """What maintenance code may do with a row, whatever its state is called."""

    CLAIMABLE = "claimable"
    """A consumer may start it when it is due."""
    LEASED = "leased"
    """A consumer owns it until its lease expires."""
    WAITING = "waiting"
    """Nothing runs; a deadline or a person moves it on."""
    SETTLED = "settled"
    """Nothing will happen unless a person asks for it."""


class Outcome(StrEnum):
    """How a settled state ended; it is shown in diagrams, and changes nothing that happens."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLATION = "cancellation"


class Actor(StrEnum):
    """Who fires an event."""

    PERSON = "person"
    DISPATCHER = "dispatcher"
    CONSUMER = "consumer"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class DeadlineSpec:
    """At what time which event fires if nothing happened by then.

    ``fires`` lists the events in the order they are tried; the first that has an edge whose guard
    holds is taken, so the last one must always have such an edge.
    """

    at: Expression
    text: str
    fires: tuple[str, ...]
    doc: str = ""


@dataclass(frozen=True, slots=True)
class StateSpec:
    """One state.

    ``waits`` says out loud that it may hold a row for ever; ``retired`` that no row enters it any more.
    """

    id: str
    role: Role
    initial: bool
    waits: bool
    deadline: DeadlineSpec | None
    doc: str
    outcome: Outcome | None = None
    retired: bool = False

    @property
    def wakes(self) -> bool:
        """Whether a row in this state must have a ``wake_at``."""
        return self.deadline is not None


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """One edge: when it may be taken and what it assigns.

    ``assigns`` is complete (it includes the state, ``wake_at`` and the history) and every
    expression in it reads the row as it was before the move.
    """

    event: str
    source: str
    target: str
    guard: Expression | None
    guard_text: str
    assigns: Mapping[str, Expression]

    def names(self) -> set[str]:
        """Return the columns and parameters that the guard and the assignments read."""
        return self.reads() | {name for expression in self.assigns.values() for name in expression.names()}

    def reads(self) -> set[str]:
        """Return the columns and parameters that the guard reads."""
        return set(self.guard.names()) if self.guard else set()

    def holds(self, row: Mapping[str, Scalar]) -> bool:
        """Return whether the guard lets ``row`` through."""
        return self.guard is None or bool(self.guard.evaluate(row))

    def apply(self, row: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the columns that the edge assigns, computed from ``row``."""
        return {column: value.evaluate(row) for column, value in self.assigns.items()}


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One event: who fires it, and whether a queue hint follows it."""

    id: str
    by: Actor
    hints: bool
    doc: str


class _Leads(Protocol):
    """What leads out of a place, by an event."""

    @property
    def source(self) -> str:
        """From where it leads."""

    @property
    def event(self) -> str:
        """By what."""


E = TypeVar("E", bound=_Leads)


def edge_table(edges: Iterable[E]) -> dict[tuple[str, str], tuple[E, ...]]:
    """Return edges by source and event, each in the order in which they are tried."""
    table: dict[tuple[str, str], tuple[E, ...]] = {}
    for edge in edges:
        key = edge.source, edge.event
        table[key] = (*table.get(key, ()), edge)
    return table


@dataclass(frozen=True)
class MachineSpec:
    """A whole lifecycle, detached from python-statemachine.

    ``fields`` and ``parameters`` give the defaults of columns and parameters, ``types`` what each holds. A
    column whose default is not None never holds None.
    """

    name: str
    table: str
    fields: Mapping[str, Scalar]
    parameters: Mapping[str, Scalar]
    states: tuple[StateSpec, ...]
    events: tuple[EventSpec, ...]
    edges: tuple[EdgeSpec, ...] = field(repr=False)
    types: Mapping[str, Type] = field(default_factory=dict, repr=False)
    payload: Mapping[str, PayloadField] = field(default_factory=dict)
    """The fields of the payload that expressions read, as ``payload.amount``."""
    steps: frozenset[tuple[str, str]] = frozenset()
    """Of a flow: every (step, step) that one move may make; '' stands for creation, '*' for a fresh start."""
    begins: Mapping[str, Scalar] = field(default_factory=dict)
    """Of a flow: what a new row holds beside what every row does."""
    former: tuple[str, ...] = ()
    """Of a flow: the machines of the versions before, whose rows may come to follow this one."""

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change when anything in the lifecycle does, but for its words."""
        states = [
            (s.id, s.role, s.initial, s.waits, s.retired, s.deadline and (s.deadline.text, s.deadline.fires))
            for s in self.states
        ]
        edges = [
            (e.event, e.source, e.target, e.guard_text, sorted((c, repr(x)) for c, x in e.assigns.items()))
            for e in self.edges
        ]
        events = [(e.id, e.by, e.hints) for e in self.events]
        columns = sorted(self.fields.items()), sorted(self.parameters.items())
        payload = [[name, each.kind.__name__, each.optional] for name, each in sorted(self.payload.items())]
        more = [*sorted(self.steps), *payload]
        text = json.dumps([self.name, self.table, columns, states, events, edges, *more])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def texts(self) -> frozenset[str]:
        """The columns and parameters that hold texts."""
        return frozenset(name for name, held in self.types.items() if held is Type.TEXT)

    def check_value(self, name: str, value: object) -> None:
        """Refuse what a column or parameter does not hold; None fits each.

        Raises:
            InvalidArgument: the value is of another type.
        """
        holds = self.types[name]
        if value is not None and type(value) is not (str if holds is Type.TEXT else int):
            unit = "" if holds is Type.TEXT else " (instants and durations in milliseconds)"
            raise InvalidArgument(f"{name}={value!r:.80}: {name} holds {holds.value}{unit}, or None")

    def seen(self, row: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return all that expressions may read of a row: columns and parameters, and fields of its payload.

        Raises:
            InvalidArgument: expressions read the payload, and the row does not hold it as JSON text.
        """
        found = {**self.fields, **self.parameters, **row}
        return {**found, **values(self.payload, found["payload"])} if self.payload else found

    @cached_property
    def initial(self) -> StateSpec:
        """The state in which a row is created."""
        return next(state for state in self.states if state.initial)

    @cached_property
    def endings(self) -> tuple[str, ...]:
        """The events with which a handler may end its attempt, whatever its row holds by then.

        A consumer fires them, and from each leased state they lead to states that are not leased, in the
        end by an edge without a guard.
        """
        leased = self.with_role(Role.LEASED)
        found = []
        for event in self.events_by(Actor.CONSUMER):
            edges = [self.edges_from(state, event) for state in leased]
            ends = not any(edge.target in leased for each in edges for edge in each)
            if ends and all(any(edge.guard is None for edge in each) for each in edges):
                found.append(event)
        return tuple(found)

    @cached_property
    def held(self) -> tuple[str, ...]:
        """The states in which runs wait until there is room for another of their concurrency key."""
        return tuple(dict.fromkeys(edge.target for edge in self.edges_of(HOLD)))

    @cached_property
    def loops(self) -> frozenset[str]:
        """The events that never change a row's state, such as a heartbeat."""
        moving = {edge.event for edge in self.edges if edge.source != edge.target}
        return frozenset(event.id for event in self.events if event.id not in moving)

    @cached_property
    def after_lost_lease(self) -> frozenset[str]:
        """The states into which a deadline moves nothing but leased rows."""
        sources: dict[str, set[str]] = {}
        for edge in self.edges:
            deadline = self._states[edge.source].deadline
            if deadline is not None and edge.event in deadline.fires:
                sources.setdefault(edge.target, set()).add(edge.source)
        leased = set(self.with_role(Role.LEASED))
        return frozenset(target for target, found in sources.items() if found <= leased)

    @cached_property
    def stopping(self) -> frozenset[str]:
        """The leased states that are entered from another: whoever holds the lease is asked to stop."""
        leased = set(self.with_role(Role.LEASED))
        moves = ((e.source, e.target) for e in self.edges if e.source != e.target)
        return frozenset(target for source, target in moves if {source, target} <= leased)

    @cached_property
    def _states(self) -> dict[str, StateSpec]:
        return {state.id: state for state in self.states}

    @cached_property
    def _events(self) -> dict[str, EventSpec]:
        return {event.id: event for event in self.events}

    @cached_property
    def _table(self) -> dict[tuple[str, str], tuple[EdgeSpec, ...]]:
        return edge_table(self.edges)

    def state(self, state_id: str) -> StateSpec | None:
        """Return the state of that id, or None when the machine has none."""
        return self._states.get(state_id)

    def event(self, event_id: str) -> EventSpec | None:
        """Return the event of that id, or None when the machine has none."""
        return self._events.get(event_id)

    def with_role(self, *roles: Role) -> tuple[str, ...]:
        """Return the ids of the states that have one of ``roles``, in declaration order."""
        return tuple(state.id for state in self.states if state.role in roles)

    def has_role(self, state_id: str, *roles: Role) -> bool:
        """Return whether the state is known and has one of ``roles``."""
        state = self.state(state_id)
        return state is not None and state.role in roles

    def outcome_of(self, state_id: str) -> str:
        """Return the outcome of a settled state; the state itself where it has none, or is not known."""
        state = self._states.get(state_id)
        return state_id if state is None or state.outcome is None else state.outcome.value

    def edges_from(self, state_id: str, event_id: str) -> tuple[EdgeSpec, ...]:
        """Return the edges of an event from a state, in the order their guards are tried."""
        return self._table.get((state_id, event_id), ())

    def edges_of(self, *event_ids: str) -> tuple[EdgeSpec, ...]:
        """Return every edge of these events, in declaration order."""
        return tuple(edge for edge in self.edges if edge.event in event_ids)

    def events_by(self, *actors: Actor) -> tuple[str, ...]:
        """Return the ids of the events that these actors fire."""
        return tuple(event.id for event in self.events if event.by in actors)

    def legal(self, state_id: str, *actors: Actor) -> tuple[str, ...]:
        """Return the events that have an edge from a state, of all actors or of these."""
        return tuple(
            event.id
            for event in self.events
            if (not actors or event.by in actors) and self.edges_from(state_id, event.id)
        )

    def step(self, row: Mapping[str, Scalar], event_id: str, **parameters: Scalar) -> dict[str, Scalar]:
        """Return ``row`` as the event leaves it.

        Args:
            row: the row's columns; ``state`` is required, others default as the machine says.
            event_id: the event to fire.
            parameters: what the event's expressions name beside columns, such as ``now``
                (milliseconds since 1970).

        Raises:
            TransitionNotAllowed: no edge leads out of the row's state on this event.
            GuardFailed: edges exist, and no guard holds.
        """
        full = self.seen({**row, **parameters})
        state, row_id = str(full["state"]), str(full.get("id"))
        edges = self.edges_from(state, event_id)
        for edge in edges:
            if edge.holds(full):
                return {**self.fields, **row, **edge.apply(full)}
        legal = self.legal(state)
        facts = {"row_id": row_id, "event": event_id, "state": state, "legal": legal}
        if edges:
            guards = " or ".join(edge.guard_text for edge in edges)
            raise GuardFailed(f"{event_id!r} from {state!r} needs {guards}", **facts)  # type: ignore[arg-type]
        raise TransitionNotAllowed(
            f"{event_id!r} is not allowed from {state!r}; legal there: {', '.join(legal) or 'nothing'}",
            **facts,  # type: ignore[arg-type]
        )

    def targets(self, known: Mapping[str, Scalar], event_id: str) -> tuple[str, ...]:
        """Return the states to which an event may lead a row of which only some columns are known.

        Args:
            known: columns and parameters, ``state`` among them. A guard that names another may hold or not.
            event_id: the event.
        """
        found: dict[str, None] = {}
        for edge in self.edges_from(str(known["state"]), event_id):
            told = edge.reads() <= known.keys()
            if not told or edge.holds(known):
                found[edge.target] = None
            if told and edge.target in found:
                break
        return tuple(found)

    def successors(self) -> dict[str, set[str]]:
        """Return for every state the states that one edge leads to."""
        reach: dict[str, set[str]] = {state.id: set() for state in self.states}
        for edge in self.edges:
            reach[edge.source].add(edge.target)
        return reach
