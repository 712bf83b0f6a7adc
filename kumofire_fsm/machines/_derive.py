"""Derives the frozen spec from a declared class: resolves every assignment, guard and deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.expression import (
    Call,
    Expression,
    ExpressionError,
    Literal,
    Name,
    Type,
    type_of,
)
from kumofire_fsm.machines.guards import parsed
from kumofire_fsm.machines.payload import PREFIX
from kumofire_fsm.machines.spec import (
    Actor,
    DeadlineSpec,
    EdgeSpec,
    EventSpec,
    MachineSpec,
    StateSpec,
)
from kumofire_fsm.values.printable import did_you_mean

if TYPE_CHECKING:
    from kumofire_fsm.machines._declarations import Edge, Event

__all__ = ["edge_of", "machine_spec"]

Types = Mapping[str, Type]

_KEPT = frozenset({
    "id", "machine", "state", "created_at", "history", "schedule_id", "scheduled_for", "schedule_key",
    "revision",
})  # fmt: skip
_REVISED = parsed("revision + 1", "revision")


def machine_spec(cls: Any, events: Mapping[str, Event]) -> MachineSpec:
    """Return the frozen spec of a lifecycle's class."""
    types = {n: Type.TEXT if n in cls.texts else Type.INTEGER for n in (*cls.fields, *cls.parameters)}
    types |= {f"{PREFIX}{name}": field.holds for name, field in cls.payload_fields.items()}
    states = tuple(_state(cls, types, state) for state in cls.states)
    edges = tuple(
        _edge(cls, types, event_id, event, edge)
        for event_id, event in events.items()
        for edge in event._transitions or ()
    )
    return MachineSpec(
        name=cls.machine_name,
        table=cls.table,
        fields=dict(cls.fields),
        parameters=dict(cls.parameters),
        states=states,
        events=tuple(EventSpec(e, v.by, v.hints, v.doc) for e, v in events.items()),
        edges=edges,
        types=types,
        payload=cls.payload_fields,
    )


def edge_of(spec: MachineSpec, transition: Edge, event_id: str) -> EdgeSpec:
    """Return the spec's edge for a transition of its class; several events may share a transition."""
    target = transition.target
    return next(
        edge
        for edge in spec.edges_from(transition.source.id, event_id)
        if target is not None and edge.target == target.id and edge.guard_text == transition.guard_text
    )


def _state(cls: Any, types: Types, state: Any) -> StateSpec:
    declared = state.deadline
    deadline = declared and DeadlineSpec(
        parsed(declared.at, f"deadline of {state.id}"), declared.at, declared.fires, declared.doc
    )
    if deadline:
        where = f"{cls.__name__}: deadline of {state.id}"
        _check(
            types, where, deadline.text, deadline.at, Type.INTEGER, "a time is an integer, in milliseconds"
        )
    return StateSpec(
        state.id, state.role, state.initial, state.waits, deadline, state.doc, state.outcome, state.retired
    )


def _edge(cls: Any, types: Types, event_id: str, event: Event, edge: Any) -> EdgeSpec:
    where = f"{cls.__name__}: {event_id} from {edge.source.id} to {edge.target.id}"
    guard = parsed(edge.guard_text, where) if edge.guard_text else None
    if guard is not None:
        truth = "a guard is a comparison, or an integer of which 0 is false"
        _check(types, where, edge.guard_text, guard, Type.INTEGER, truth)
    assigns = _assignments(cls, types, event_id, event, edge, where)
    return EdgeSpec(event_id, edge.source.id, edge.target.id, guard, edge.guard_text, assigns)


def _check(types: Types, where: str, text: str, expression: Expression, needs: Type, why: str) -> None:
    """Refuse an expression that names what is not known, mixes types, or gives another than it must."""
    for name in expression.names():
        if name.startswith(PREFIX) and name not in types:
            field = name.removeprefix(PREFIX)
            near = did_you_mean(name, [each for each in types if each.startswith(PREFIX)])
            raise DefinitionError(
                f"{where}: {text!r} reads {name}, a field that the class does not declare{near}; "
                f'say payload = {{"{field}": int}} in it, or str, or bool'
            )
        if name not in types:
            raise DefinitionError(
                f"{where}: {name!r} is neither a column nor a parameter of the machine"
                f"{did_you_mean(name, types)}; known are {', '.join(sorted(types))}"
            )
    try:
        gives = type_of(expression, types)
    except ExpressionError as exc:
        raise DefinitionError(f"{where}: {text!r}: {exc}") from exc
    if gives not in (needs, None):
        raise DefinitionError(f"{where}: {text!r} gives {gives.value}, and {why}")


def _assignments(
    cls: Any, types: Types, event_id: str, event: Event, edge: Any, where: str
) -> dict[str, Expression]:
    """Merge what the target's role and state, the event and the edge assign; the nearest to the edge wins."""
    moves = edge.source.id != edge.target.id
    entered = {**cls.role_sets.get(edge.target.role, {}), **edge.target.sets} if moves else {}
    texts = {**entered, **event.sets, **edge.sets}
    if kept := texts.keys() & _KEPT:
        raise DefinitionError(f"{where} assigns {sorted(kept)}, which the library keeps itself")
    if unknown := texts.keys() - cls.fields.keys():
        raise DefinitionError(f"{where} assigns {sorted(unknown)}, which are not columns")
    assigns = {column: _assigned(cls, types, where, column, text) for column, text in texts.items()}
    if moves:
        assigns["state"] = Literal(edge.target.id)
    # What keeps its state is noted where a person did it, so that the history says who, and why.
    if moves or "step" in assigns or event.by is Actor.PERSON:
        facts: Expression = Name("facts")
        if "step" in assigns:  # of a flow: the entry says which one is entered
            facts = Call("noted", (facts, assigns["step"]))
        entry = (Literal(event_id), Literal(edge.target.id), Name("now"), facts)
        assigns["history"] = Call("record", (Name("history"), *entry))
    if "revision" in cls.fields:  # what is decided about a row is fenced by it
        assigns["revision"] = _REVISED
    if "wake_at" not in assigns:
        deadline = edge.target.deadline
        at: Expression = parsed(deadline.at, where) if deadline else Literal(None)
        assigns["wake_at"] = at.substitute(assigns)
    return assigns


def _assigned(cls: Any, types: Types, where: str, column: str, text: str) -> Expression:
    """Return the expression that is assigned to a column, if that can hold it."""
    value, holds = parsed(text, f"{where}, {column}"), types[column]
    _check(types, where, text, value, holds, f"the column {column!r} holds {holds.value}")
    if value == Literal(None) and cls.fields[column] is not None:
        raise DefinitionError(f"{where}: the column {column!r} is never empty, and is assigned None")
    return value
