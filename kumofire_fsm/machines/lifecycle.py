"""The words in which a lifecycle is declared, on top of python-statemachine.

A lifecycle is a class: states are `Phase`, events are `Event`, edges are ``source.to(target)``.
When the class is created its frozen `MachineSpec` is derived and checked; a class that could hold
or lose a run does not come to exist.

python-statemachine shares State objects between a class and its subclasses, so that an edge added
in a subclass would change the base. `LifecycleMeta` therefore gives each class copies of what it
inherits, and seals finished classes. It leans on private names of python-statemachine 3.2
(``State._specs``, ``Event._transitions``, ``StateMachineMetaclass.add_inherited``), which is why the
minor version is pinned and ``tests/machines/test_inheritance.py`` tests each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import statemachine
from statemachine import State, StateMachine
from statemachine.factory import StateMachineMetaclass
from statemachine.transition import Transition
from statemachine.transition_list import TransitionList

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import derive, rules
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.spec import Actor, MachineSpec, Role

__all__ = ["Deadline", "Edge", "Event", "Lifecycle", "Phase"]


class Deadline:
    """At what time which event fires if nothing happened by then.

    Args:
        at: an expression that gives milliseconds since 1970, read from the row after the move.
        fires: the events in the order they are tried; the last must always find an open edge.
    """

    def __init__(self, at: str, *fires: str) -> None:
        self.at, self.fires = at, fires


class Edge(Transition):
    """A transition that also says what it assigns, and holds its guard as text."""

    def __init__(
        self,
        source: State,
        target: State,
        *,
        cond: str | None = None,
        sets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(source, target)
        self.guard_text = derive.guard_text(cond, f"edge {source.id or '?'} -> {target.id or '?'}")
        self.sets = dict(sets or {})

    def between(self, source: State, target: State) -> Edge:
        """Return the same edge between two other states, as a subclass needs it."""
        return type(self)(source, target, cond=self.guard_text or None, sets=self.sets)


class _To:
    """What ``phase.to`` gives: a maker of edges."""

    def __init__(self, state: Phase) -> None:
        self._state = state

    def __call__(self, *targets: State, **options: Any) -> EdgeList:
        made = EdgeList(Edge(self._state, target, **options) for target in targets)
        self._state.transitions.add_transitions(made)
        return made

    def itself(self, **options: Any) -> EdgeList:
        """Make a self-loop."""
        return self(self._state, **options)


class EdgeList(TransitionList):
    """Edges that one event takes; ``|`` joins them, also with an inherited event's."""

    def __or__(self, other: Any) -> EdgeList:
        return EdgeList([*self, *edges_of(other)])


class _Sealed(EdgeList):
    """The edges of a finished class: ``base.state.to(...)`` makes an edge, the base keeps its own."""

    def add_transitions(self, transition: Any) -> TransitionList:  # noqa: ARG002 -- overrides the library's
        return self


class Phase(State):
    """A state of a lifecycle.

    Args:
        doc: one sentence: how the state is entered, what it means.
        role: what maintenance code may do with a row in it.
        initial: whether rows are created in it.
        deadline: when which event fires by itself; required unless the state is settled or
            ``waits``.
        waits: says out loud that a row may stay for ever (for a person's approval, say).
        sets: what is assigned whenever the state is entered from another.
    """

    def __init__(
        self,
        doc: str = "",
        *,
        role: Role,
        initial: bool = False,
        deadline: Deadline | None = None,
        waits: bool = False,
        sets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(initial=initial)
        self.doc, self.role, self.deadline, self.waits = doc, Role(role), deadline, waits
        self.sets = dict(sets or {})

    @property
    def to(self) -> Any:
        """Make edges from this state to others."""
        return _To(self)

    @property
    def from_(self) -> Any:
        """Refuse: an edge is declared at its source, so that it reads one way."""
        raise DefinitionError("write source.to(target): edges are declared at their source")

    def clone(self) -> Phase:
        """Return a state of the same declaration without edges, for a subclass."""
        return type(self)(
            self.doc,
            role=self.role,
            initial=self.initial,
            deadline=self.deadline,
            waits=self.waits,
            sets=self.sets,
        )


class Event(statemachine.Event):
    """An event of a lifecycle, with who fires it.

    Args:
        edges: the edges it takes, joined with ``|``.
        by: who fires it; only a person's events can be fired through the public API.
        sets: what each of its edges assigns (an edge's own ``sets`` come first).
        hints: whether a queue message follows, to wake a consumer.
        doc: one sentence on when it is fired.
    """

    by: Actor
    sets: dict[str, str]
    hints: bool
    doc: str

    def __new__(
        cls,
        edges: Iterable[Transition] = (),
        *,
        by: Actor = Actor.PERSON,
        sets: Mapping[str, str] | None = None,
        hints: bool = False,
        doc: str = "",
        id: str = "event",  # noqa: A002 -- the library's name for it
    ) -> Self:
        """Make the event; python-statemachine's own is a text with edges."""
        # An id is always given: without one the library calls uuid4, which Workers refuse at import.
        self: Self = super().__new__(cls, EdgeList(edges), id=id)
        self.by, self.sets, self.hints, self.doc = Actor(by), dict(sets or {}), hints, doc
        return self

    def __or__(self, other: Any) -> EdgeList:
        return EdgeList([*edges_of(self), *edges_of(other)])

    def renewed(self, name: str, edges: Iterable[Transition]) -> Event:
        """Return the same declaration under a name, with other edges."""
        return type(self)(edges, by=self.by, sets=self.sets, hints=self.hints, doc=self.doc, id=name)


def edges_of(value: Any) -> list[Transition]:
    """Return the edges of an event or a list of edges."""
    if isinstance(value, statemachine.Event):
        return list(value._transitions or ())
    return list(value) if isinstance(value, (TransitionList, list, tuple)) else []


class LifecycleMeta(StateMachineMetaclass):
    """Builds a lifecycle's class from copies of what it inherits, and derives its spec."""

    spec: MachineSpec

    def __new__(mcs, name: str, bases: tuple[type, ...], ns: dict[str, Any], **_options: str) -> Any:
        parent = next((base for base in bases if getattr(base, "states", None)), None)
        own = {key: value for key, value in ns.items() if isinstance(value, State)}
        if parent is None and not own:
            return super().__new__(mcs, name, bases, ns)
        rules.check_names(name, ns)
        states = _states(parent, own)
        events = _events(name, parent, ns, _Mover(states, own))
        body = {**ns, **states, **events, "_declared": events}
        return super().__new__(mcs, name, bases, body)

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        _ns: dict[str, Any],
        *,
        table: str | None = None,
        machine: str | None = None,
    ) -> None:
        # What `__new__` made of the class body, instead of the body itself.
        super().__init__(name, bases, dict(cls.__dict__))  # type: ignore[arg-type]
        if table is not None:
            cls.table = table
        if not cls.states:
            return
        cls.machine_name = machine or _snake(name)
        declared: dict[str, Event] = cls.__dict__["_declared"]
        for event_id, event in declared.items():
            setattr(cls, event_id, event)
        for state in cls.states:
            state.transitions = _Sealed(state.transitions)
        cls.spec = derive.machine_spec(cls, declared)
        rules.check(cls.spec)

    def add_inherited(cls, bases: tuple[type, ...]) -> None:
        """Inherit nothing: `__new__` has put copies into the class body."""


class Lifecycle(StateMachine, metaclass=LifecycleMeta):
    """The base of every lifecycle; it can be driven by hand on any object with a ``state``.

    ``RunMachine(row).send("start", now=...)`` evaluates the same guards and makes the same
    assignments as the compiled SQL. Parameters that are not given take the machine's defaults, and
    ``now`` the time.
    """

    # Judged by role (`rules`), not by python-statemachine's idea of final states.
    validate_trap_states = False
    validate_final_reachability = False
    validate_disconnected_states = False

    table: ClassVar[str] = ""
    machine_name: ClassVar[str] = ""
    fields: ClassVar[Mapping[str, Scalar]] = {}
    parameters: ClassVar[Mapping[str, Scalar]] = {}
    spec: ClassVar[MachineSpec]

    def on_transition(self, transition: Edge, event_data: Any) -> None:
        """Assign what the edge assigns to the model; the library itself moves the state."""
        row = self.row(event_data.trigger_data.kwargs)
        edge = derive.edge_of(self.spec, transition)
        for column, value in edge.apply(row).items():
            if column != self.state_field:
                setattr(self.model, column, value)

    def row(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the model's columns and the event's parameters, as expressions read them."""
        now = {"now": time.time_ns() // 1_000_000}
        model = {name: getattr(self.model, name, default) for name, default in self.fields.items()}
        known = {name: given[name] for name in self.parameters if name in given}
        return {**model, **self.parameters, **now, **known, "state": self.current_state_value}


class _Mover:
    """Moves edges, declared anywhere in the family, to the new class's own states."""

    def __init__(self, states: dict[str, Phase], own: dict[str, State]) -> None:
        self._states = states
        self._keys = {id(state): key for key, state in own.items()}
        self._moved: dict[int, Edge] = {}
        for state in states.values():
            state.transitions = EdgeList()  # attached again below, in one way for all

    def move(self, edge: Transition) -> Edge:
        if not isinstance(edge, Edge) or edge.target is None:
            raise DefinitionError(f"{edge!r}: use Phase and its .to(...) to declare edges")
        if id(edge) not in self._moved:
            moved = edge.between(self._home(edge.source), self._home(edge.target))
            moved.source.transitions.add_transitions(moved)
            moved.cond.add(derive.guard_function(moved.guard_text))
            self._moved[id(edge)] = moved
        return self._moved[id(edge)]

    def _home(self, state: State) -> Phase:
        key = self._keys.get(id(state), state.id)
        if key not in self._states:
            raise DefinitionError(f"an edge leads to {state!r}, which is no state of this class")
        return self._states[key]


def _states(parent: Any, own: dict[str, State]) -> dict[str, Phase]:
    for key, state in own.items():
        if not isinstance(state, Phase):
            raise DefinitionError(f"state {key!r} is a plain State: declare it as Phase(..., role=...)")
    inherited = {s.id: own.get(s.id) or s.clone() for s in (parent.states if parent else ())}
    states: dict[str, Any] = inherited | own
    if any(state.initial for state in own.values()):
        for key in states.keys() - own.keys():
            states[key]._initial = False
    return states


def _events(name: str, parent: Any, ns: dict[str, Any], mover: _Mover) -> dict[str, Event]:
    before: dict[str, Event] = dict(parent._declared) if parent else {}
    given = {k: v for k, v in ns.items() if isinstance(v, (TransitionList, statemachine.Event))}
    removed = {key for key in before if key in ns and key not in given}
    events: dict[str, Event] = {}
    for key in [*before, *(key for key in given if key not in before)]:
        if key in removed:
            continue
        value = given.get(key, before.get(key))
        made = value if isinstance(value, Event) else before.get(key) or Event()
        edges = edges_of(value)
        if not edges:
            raise DefinitionError(f"{name}.{key}: the event has no edge; give it one or remove it")
        events[key] = made.renewed(key, [mover.move(edge) for edge in edges])
    return events


def _snake(name: str) -> str:
    """Return ``ApprovedRun`` as ``approved_run``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
