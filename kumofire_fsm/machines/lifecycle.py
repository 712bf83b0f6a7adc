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

from statemachine import State as BaseState
from statemachine import StateMachine
from statemachine.factory import StateMachineMetaclass
from statemachine.transition import Transition

from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.machines import _body as body
from kumofire_fsm.machines import _derive as derive
from kumofire_fsm.machines import _family as family
from kumofire_fsm.machines import _rules as rules
from kumofire_fsm.machines._declarations import Edge, EdgeList, Event, SealedEdges, State, edges_of
from kumofire_fsm.machines._family import Declared
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.guards import guard_function
from kumofire_fsm.machines.payload import PayloadField
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.values.printable import did_you_mean

__all__ = ["Lifecycle", "spec_of"]

_CONFIGURATION: Any = StateMachine.configuration
_BUILT_IN = ("kumofire_fsm.machines.run", "kumofire_fsm.machines.job")
_TABLES: dict[str, type] = {}
"""The built-in lifecycle of each table, which says what columns there are."""


class LifecycleMeta(StateMachineMetaclass):
    """Builds a lifecycle's class from copies of what it inherits, and derives its spec."""

    spec: MachineSpec

    def __new__(mcs, name: str, bases: tuple[type, ...], ns: dict[str, Any], **options: Any) -> Any:
        body.check_options(name, options)
        cls: Any = super().__new__(mcs, name, bases, ns)
        own = {key: value for key, value in ns.items() if isinstance(value, BaseState)}
        known = family.inherited(cls, own=ns)
        if not (known or own):
            return cls
        body.check_body(cls, ns, known)
        states = _states(cls, known, own)
        cls._declared = _events(cls, known, ns, _Mover(states, own))
        cls._own = {
            key: states.get(key) or cls._declared.get(key)
            for key, value in ns.items()
            if isinstance(value, family.DECLARED) or (value is None and key in known)
        }
        for key, value in {**states, **cls._declared}.items():
            type.__setattr__(cls, key, value)
        return cls

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
        cls.machine_name = _snake(name) if machine is None else machine
        if cls.__module__ in _BUILT_IN:
            _TABLES.setdefault(cls.table, cls)
        body.check_table(cls, _TABLES.get(cls.table))
        body.check_columns(cls)
        cls.payload_fields = family.payload_fields(cls, cls.__dict__.get("payload", {}))
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
    payload: ClassVar[Mapping[str, Any]] = {}
    """The fields of the payload that expressions read as ``payload.amount``, beside those that are inherited:
    int, str or bool by name, such as ``{"amount": int, "country": str | None}``."""
    payload_fields: ClassVar[Mapping[str, PayloadField]] = {}
    """The same as it was read, with what is inherited."""
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

    @property
    def configuration(self) -> Any:
        """The state in which the object is, as the library wants it.

        Raises:
            InvalidArgument: the object is in a state that the lifecycle does not have.
        """
        stored: object = self.current_state_value
        if stored is not None and not (isinstance(stored, str) and self.spec.state(stored)):
            known = [state.id for state in self.spec.states]
            near = did_you_mean(str(stored), known)
            raise InvalidArgument(
                f"{self.spec.name} has no state {stored!r:.80}{near}; it has: {', '.join(known)}"
            )
        return _CONFIGURATION.fget(self)

    @configuration.setter
    def configuration(self, states: Any) -> None:
        _CONFIGURATION.fset(self, states)

    def row(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the model's columns and the event's parameters, as expressions read them.

        Raises:
            InvalidArgument: one holds another type than its column or parameter.
        """
        now = {"now": time.time_ns() // 1_000_000}
        model = {name: getattr(self.model, name, default) for name, default in self.fields.items()}
        known = {name: given[name] for name in self.parameters if name in given}
        for name, value in {**model, **known}.items():
            self.spec.check_value(name, value)
        return self.spec.seen({**model, **now, **known, "state": self.current_state_value})


class _Mover:
    """Moves edges, declared anywhere in the family, to the new class's own states."""

    def __init__(self, states: dict[str, State], own: dict[str, BaseState]) -> None:
        self._states = states
        self._keys = {id(state): key for key, state in own.items()}
        self._moved: dict[int, Edge] = {}
        fresh = [state for state in own.values() if not isinstance(state.transitions, SealedEdges)]
        self._made = [edge for state in fresh for edge in state.transitions]
        for state in states.values():
            state.transitions = EdgeList()  # attached again below, in one way for all

    def move(self, edge: Transition) -> Edge:
        if not isinstance(edge, Edge) or edge.target is None:
            raise DefinitionError(f"{edge!r}: use State and its .to(...) to declare edges")
        if id(edge.origin) not in self._moved:
            moved = edge.between(self._home(edge.source), self._home(edge.target))
            moved.source.transitions.add_transitions(moved)
            moved.cond.add(guard_function(moved.guard_text))
            self._moved[id(edge.origin)] = moved
        return self._moved[id(edge.origin)]

    def check_all_moved(self) -> None:
        """Refuse an edge that was made, and given to no event."""
        for edge in self._made:
            if id(edge) not in self._moved:
                ends = [self._keys.get(id(end), end.id) for end in (edge.source, edge.target)]
                raise DefinitionError(
                    f"an edge from {ends[0]!r} to {ends[1]!r} belongs to no event; give it to one, or drop it"
                )

    def _home(self, state: BaseState) -> State:
        key = self._keys.get(id(state), state.id)
        if key not in self._states:
            raise DefinitionError(f"an edge leads to {state!r}, which is not a state of this class")
        return self._states[key]


def _states(cls: type, known: Mapping[str, Declared], own: Mapping[str, Any]) -> dict[str, State]:
    """Return the states of a class: its own, and copies of those that it inherits or takes from another."""
    if len({id(state) for state in own.values()}) < len(own):
        raise DefinitionError(f"{cls.__name__}: one State has two names in the class; declare two")
    declared = {**{key: each for key, each in known.items() if isinstance(each, State)}, **own}
    states: dict[str, State] = {
        key: each.clone() if isinstance(each.transitions, SealedEdges) else each
        for key, each in declared.items()
    }
    begun = family.first_states(cls, own)
    for key, state in states.items():
        state._initial = state.initial and key in begun
    first = [key for key, state in states.items() if state.initial]
    if len(first) != 1:
        found = ", ".join(first) or "none"
        raise DefinitionError(f"{cls.__name__}: exactly one state must be initial; found: {found}")
    return states


def _events(
    cls: type, known: Mapping[str, Declared], ns: Mapping[str, Any], mover: _Mover
) -> dict[str, Event]:
    """Return the events of a class: its own, and those that it inherits and does not take away."""
    before = {key: each for key, each in known.items() if isinstance(each, Event)}
    given = {k: v for k, v in ns.items() if isinstance(v, family.DECLARED) and not isinstance(v, BaseState)}
    events: dict[str, Event] = {}
    for key in [*before, *(key for key in given if key not in before)]:
        if key in ns and key not in given:
            continue
        value = given.get(key, before.get(key))
        made = value if isinstance(value, Event) else before.get(key) or Event()
        edges = [*dict.fromkeys(mover.move(edge) for edge in edges_of(value))]
        if not edges:
            raise DefinitionError(f"{cls.__name__}.{key}: the event has no edge; give it one or remove it")
        events[key] = made.renewed(key, edges)
    mover.check_all_moved()
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
