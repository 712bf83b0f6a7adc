"""The base of every lifecycle, and the metaclass that derives its spec.

A lifecycle is a class: states are `State`, events are `Event`, edges are ``source.to(target)``.
When the class is created its frozen `MachineSpec` is derived and checked; a class that could hold
or lose a run does not come to exist.

python-statemachine shares State objects between a class and its subclasses, so that an edge added
in a subclass would change the base. `LifecycleMeta` therefore gives each class copies of what it
inherits, and seals finished classes. It leans on private names of python-statemachine 3.2
(``Event._transitions``, ``State._initial``, ``StateMachineMetaclass.add_inherited``), which is why the
minor version is pinned and ``tests/machines/test_inheritance.py`` tests each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

import statemachine
from statemachine import State as BaseState
from statemachine import StateMachine
from statemachine.factory import StateMachineMetaclass
from statemachine.transition import Transition
from statemachine.transition_list import TransitionList

from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.machines import _derive as derive
from kumofire_fsm.machines import _rules as rules
from kumofire_fsm.machines._declarations import Edge, EdgeList, Event, SealedEdges, State, edges_of
from kumofire_fsm.machines._guard import guard_function
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.spec import MachineSpec, Role

__all__ = ["Lifecycle", "spec_of"]


class LifecycleMeta(StateMachineMetaclass):
    """Builds a lifecycle's class from copies of what it inherits, and derives its spec."""

    spec: MachineSpec

    def __new__(mcs, name: str, bases: tuple[type, ...], ns: dict[str, Any], **_options: str) -> Any:
        parent: Any = next((base for base in bases if getattr(base, "states", None)), None)
        own = {key: value for key, value in ns.items() if isinstance(value, BaseState)}
        if parent is None and not own:
            return super().__new__(mcs, name, bases, ns)
        inherited = {state.id for state in parent.states} if parent else ()
        rules.check_names(name, ns, inherited, parent._declared if parent else ())
        states = _states(name, parent, own)
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
            state.transitions = SealedEdges(state.transitions)
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
    texts: ClassVar[AbstractSet[str]] = frozenset()
    """The columns and parameters that hold texts; all others hold integers."""
    role_sets: ClassVar[Mapping[Role, Mapping[str, str]]] = {}
    """What is assigned whenever a state of a role is entered from another state, before its own ``sets``."""
    spec: ClassVar[MachineSpec]

    def on_transition(self, transition: Edge, event_data: Any) -> None:
        """Assign what the edge assigns to the model; the library itself moves the state."""
        row = self.row(event_data.trigger_data.kwargs)
        edge = derive.edge_of(self.spec, transition, event_data.event.id)
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

    def __init__(self, states: dict[str, State], own: dict[str, BaseState]) -> None:
        self._states = states
        self._keys = {id(state): key for key, state in own.items()}
        self._moved: dict[int, Edge] = {}
        for state in states.values():
            state.transitions = EdgeList()  # attached again below, in one way for all

    def move(self, edge: Transition) -> Edge:
        if not isinstance(edge, Edge) or edge.target is None:
            raise DefinitionError(f"{edge!r}: use State and its .to(...) to declare edges")
        if id(edge) not in self._moved:
            moved = edge.between(self._home(edge.source), self._home(edge.target))
            moved.source.transitions.add_transitions(moved)
            moved.cond.add(guard_function(moved.guard_text))
            self._moved[id(edge)] = moved
        return self._moved[id(edge)]

    def _home(self, state: BaseState) -> State:
        key = self._keys.get(id(state), state.id)
        if key not in self._states:
            raise DefinitionError(f"an edge leads to {state!r}, which is not a state of this class")
        return self._states[key]


def _states(name: str, parent: Any, own: dict[str, BaseState]) -> dict[str, State]:
    for key, state in own.items():
        if not isinstance(state, State):
            raise DefinitionError(
                f"state {key!r} is a plain State of python-statemachine: declare it as State(..., role=...)"
            )
    inherited = {s.id: own.get(s.id) or s.clone() for s in (parent.states if parent else ())}
    states: dict[str, Any] = inherited | own
    if any(state.initial for state in own.values()):
        for key in states.keys() - own.keys():
            states[key]._initial = False
    first = [key for key, state in states.items() if state.initial]
    if len(first) != 1:
        found = ", ".join(first) or "none"
        raise DefinitionError(f"{name}: exactly one state must be initial; found: {found}")
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


def spec_of(machine: type[Lifecycle]) -> MachineSpec:
    """Return a lifecycle's spec.

    Raises:
        InvalidArgument: the class is not a lifecycle with states.
    """
    spec = getattr(machine, "spec", None)
    if not isinstance(spec, MachineSpec):
        raise InvalidArgument(f"{machine!r:.100} is not a lifecycle: give a class such as RunMachine")
    return spec
