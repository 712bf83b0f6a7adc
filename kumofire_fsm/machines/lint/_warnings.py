"""Looks over a lifecycle: the rules that it must keep, and warnings about what it hardly means.

The rules of `kumofire_fsm.machines._rules` are checked when a class is created, so a class that exists
has warnings at most. Guards are judged on a grid of small values (`kumofire_fsm.machines.lint.grid`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import statemachine
from statemachine import State as BaseState

from kumofire_fsm.machines import _rules as rules
from kumofire_fsm.machines.finding import Broken, Finding, Severity
from kumofire_fsm.machines.lifecycle import Lifecycle, spec_of
from kumofire_fsm.machines.lint._overlaps import edge_warnings
from kumofire_fsm.machines.spec import Actor, EdgeSpec, MachineSpec, Role, StateSpec
from kumofire_fsm.values.printable import did_you_mean

__all__ = [
    "lint",
    "unmatched",
]


def lint(machine: type[Lifecycle]) -> list[Finding]:
    """Return what to mend in a lifecycle; an empty list when there is nothing.

    Raises:
        InvalidArgument: the class is not a lifecycle with states.
    """
    spec = spec_of(machine)
    found = list(rules.findings(spec))
    for rule in (edge_warnings, _roles, _bypasses, _doers, _undocumented):
        for name, what, mend, place in rule(spec):
            found.append(Finding(name, Severity.WARNING, spec.name, what, mend, **place))
    for method, known in unmatched(machine):
        what = f"the callback {method!r} is called for no state and no event{did_you_mean(method, known)}"
        mend = "rename it; if it is not a callback, give it a name that does not begin like one"
        found.append(Finding("callback", Severity.WARNING, spec.name, what, mend))
    return found


def _roles(spec: MachineSpec) -> Iterator[Broken]:
    """Warn of states that say two things: what their role promises, and something else."""
    for state in spec.states:
        for what, mend in _contradictions(state):
            yield "role", f"state {state.id!r} is {state.role}, {what}", mend, {"state": state.id}
    for event in spec.events:
        for edge in spec.edges_of(event.id):
            for what, mend in _misfired(spec, edge, event.by):
                yield "role", what, mend, {"state": edge.source, "event": edge.event}


def _misfired(spec: MachineSpec, edge: EdgeSpec, by: Actor) -> Iterator[tuple[str, str]]:
    taken = spec.has_role(edge.target, Role.LEASED) and not spec.has_role(edge.source, Role.LEASED)
    if taken and by is not Actor.CONSUMER:
        what = f"{edge.event} from {edge.source} leads to a lease that nobody owns: {by} fires it"
        yield what, "let a consumer fire it (by=Actor.CONSUMER), or give the target another role"
    if spec.has_role(edge.source, Role.SETTLED) and by is not Actor.PERSON:
        what = f"{edge.event} leads out of {edge.source}, which is settled, and {by} fires it"
        yield what, "let a person fire it, or give the state another role"


def _contradictions(state: StateSpec) -> Iterator[tuple[str, str]]:
    if state.waits and state.role in (Role.CLAIMABLE, Role.LEASED):
        why = "its worker may die" if state.role is Role.LEASED else "its message may be lost"
        yield f"and waits for ever: {why}", "give it deadline=Deadline(...) instead of waits=True"
    if state.waits and state.role is Role.SETTLED:
        yield "which needs no waits=True", "drop waits=True"


def _bypasses(spec: MachineSpec) -> Iterator[Broken]:
    """Warn of ways past the state in which rows wait first: settled there, and claimable right after.

    Of guarded edges nothing is said: their guards may ask for what the first state was to bring.
    """
    first = spec.initial
    early = _before_work(spec) if first.role is Role.WAITING else set()
    for edge in spec.edges:
        leads_past = edge.source in early and spec.has_role(edge.target, Role.CLAIMABLE)
        if leads_past and edge.guard is None and spec.has_role(edge.source, Role.SETTLED):
            what = (
                f"{edge.event} from {edge.source} leads to {edge.target}, past {first.id!r}: "
                f"a row may come to {edge.source} without ever having been claimable"
            )
            mend = f"declare {edge.event} anew, with an edge to {first.id!r} instead; or give it a guard"
            yield "bypass", what, mend, {"state": edge.source, "event": edge.event}


def _before_work(spec: MachineSpec) -> set[str]:
    """Return the states that a row may reach before it has ever been claimable or leased."""
    reach, work = spec.successors(), set(spec.with_role(Role.CLAIMABLE, Role.LEASED))
    found, todo = {spec.initial.id}, [spec.initial.id]
    while todo:
        fresh = reach[todo.pop()] - found - work
        found |= fresh
        todo += fresh
    return found


def _doers(spec: MachineSpec) -> Iterator[Broken]:
    """Warn where who fires an event contradicts the deadlines."""
    for event in spec.events:
        sources = list(dict.fromkeys(edge.source for edge in spec.edges_of(event.id)))
        timed = [source for source in sources if event.id in _fires(spec, source)]
        for state in sources if event.by is Actor.DEADLINE else ():
            if state not in timed:
                what = f"only deadlines fire {event.id!r}, and that of {state!r} does not"
                mend = "let its deadline fire it, drop the edge, or say by= who else fires the event"
                yield "event-actor", what, mend, {"state": state, "event": event.id}
        if timed and event.by is Actor.CONSUMER:
            what = f"a deadline fires {event.id!r}, which says that a consumer does, from {', '.join(timed)}"
            yield "event-actor", what, "give the deadline an event of its own", {"event": event.id}
        if timed == sources and event.by is Actor.PERSON:
            what = f"a deadline fires {event.id!r} wherever it is legal, and yet people may fire it too"
            mend = "say by=Actor.DEADLINE; if people do the same earlier, give them an event of their own"
            yield "event-actor", what, mend, {"event": event.id}


def _fires(spec: MachineSpec, state_id: str) -> tuple[str, ...]:
    """Return the events that the deadline of a state fires."""
    state = spec.state(state_id)
    return state.deadline.fires if state is not None and state.deadline is not None else ()


def _undocumented(spec: MachineSpec) -> Iterator[Broken]:
    for state in spec.states:
        if not state.doc.strip():
            what = f"state {state.id!r} says nothing about itself"
            mend = 'begin its declaration with a sentence: State("Waits for a person.", ...)'
            yield "undocumented-state", what, mend, {"state": state.id}


_PREFIXES = ("prepare_", "before_", "on_", "after_")


def unmatched(machine: type[Lifecycle]) -> Iterator[tuple[str, list[str]]]:
    """Yield each method that is named like a callback and never called, with the names that would be.

    Looked at are the methods of the class and of the lifecycles that it inherits from.
    """
    known = _known(machine)
    own = [each for each in machine.__mro__ if issubclass(each, Lifecycle) and each is not Lifecycle]
    for name in sorted({name for each in own for name in vars(each)}):
        value = getattr(machine, name, None)
        if name.startswith(_PREFIXES) and name not in known and callable(value) and not _declared(value):
            yield name, sorted(known)


def _known(machine: Any) -> set[str]:
    """Return every name that python-statemachine looks up as a callback of this class."""
    edges = [edge for state in machine.states for edge in state.transitions]
    names: set[str] = set()
    for part in (machine, *machine.states, *edges):
        names |= part._specs.conventional_specs
    return names


def _declared(value: object) -> bool:
    return isinstance(value, (BaseState, statemachine.Event))
