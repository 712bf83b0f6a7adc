"""The rules that a lifecycle must keep to exist: each guards against a lost or stuck run.

One is on parameters: an edge that reads one which does not come with its event would find nothing in the
database. What is given where is in `kumofire_fsm.store`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines._verbs import VERBS, unanswered
from kumofire_fsm.machines.finding import Broken, Finding, Severity
from kumofire_fsm.machines.payload import PREFIX
from kumofire_fsm.machines.spec import ADMIT, HOLD, Actor, EdgeSpec, MachineSpec, Role
from kumofire_fsm.values.printable import did_you_mean

__all__ = [
    "CLAIMED",
    "FIRED",
    "SWEPT",
    "check",
    "findings",
    "parameters_given",
]

NAME_LENGTH = 255


def check(spec: MachineSpec) -> None:
    """Raise DefinitionError with the first finding as its text, and all of them as ``findings``."""
    if found := tuple(findings(spec)):
        raise DefinitionError(str(found[0]), found)


def findings(spec: MachineSpec) -> Iterator[Finding]:
    """Yield every broken rule of a lifecycle; a class that exists breaks none."""
    for rule in _RULES:
        for name, what, mend, place in rule(spec):
            yield Finding(name, Severity.ERROR, spec.name, what, mend, **place)


def _names(spec: MachineSpec) -> Iterable[Broken]:
    states, events = [s.id for s in spec.states], [e.id for e in spec.events]
    if not spec.name.isprintable() or not 0 < len(spec.name) <= NAME_LENGTH:
        what = f"the name {spec.name!r:.100} is empty, over {NAME_LENGTH} characters, or not printable"
        yield "name", what, "give the class machine='a_plain_name'", {}
    for name in sorted(set(states) & set(events)):
        place = {"state": name, "event": name}
        yield "name", f"{name!r} names both a state and an event", "rename one", place
    seen: set[tuple[str, str, str, str]] = set()
    for edge in spec.edges:
        key = (edge.event, edge.source, edge.target, edge.guard_text)
        if key in seen:
            place = {"state": edge.source, "event": edge.event}
            what = f"{edge.event} from {edge.source} to {edge.target} is declared twice"
            yield "duplicate-edge", what, "drop one", place
        seen.add(key)


def _roles(spec: MachineSpec) -> Iterable[Broken]:
    for state in spec.states:
        if state.outcome is not None and state.role is not Role.SETTLED:
            what = f"state {state.id!r} has an outcome, but is not settled"
            yield "role", what, "drop one", {"state": state.id}


def _deadlines(spec: MachineSpec) -> Iterable[Broken]:
    for state in spec.states:
        settled, place = state.role is Role.SETTLED, {"state": state.id}
        if state.deadline is None and not settled and not state.waits:
            what = f"state {state.id!r} has no deadline, so a run could stay in it for ever"
            yield "no-deadline", what, "give it deadline=Deadline(...), or say waits=True", place
        if state.deadline is not None and (settled or state.waits):
            what = f"state {state.id!r} has a deadline, and says that it needs none"
            yield "role", what, "drop one", place
        if state.deadline is not None:
            yield from _fires(spec, state.id, state.deadline.fires)


def _fires(spec: MachineSpec, state: str, fires: tuple[str, ...]) -> Iterable[Broken]:
    for event in fires:
        if not spec.edges_from(state, event):
            near = did_you_mean(event, spec.legal(state))
            what = f"the deadline of {state!r} fires {event!r}, which has no edge from there{near}"
            place = {"state": state, "event": event}
            yield "deadline", what, "add one, or drop it from the deadline", place
        elif spec.has_role(state, Role.LEASED) and any(
            e.target == state for e in spec.edges_from(state, event)
        ):
            what = f"the deadline of {state!r} fires {event!r}, which leaves a dead worker's run where it is"
            yield "deadline", what, "lead it elsewhere", {"state": state, "event": event}
    last = spec.edges_from(state, fires[-1]) if fires else ()
    if not any(edge.guard is None for edge in last):
        what = f"the deadline of {state!r} ends in {fires[-1:]}, whose guards may all fail"
        yield "deadline", what, "give the last event an edge without a guard", {"state": state}


def _retired(spec: MachineSpec) -> Iterable[Broken]:
    retired = {state.id for state in spec.states if state.retired}
    if spec.initial.id in retired:
        what = f"state {spec.initial.id!r} is retired, and rows begin in it"
        yield "retired", what, "let another state be initial", {"state": spec.initial.id}
    for edge in spec.edges:
        if edge.target in retired and edge.source not in retired:
            what = f"state {edge.target!r} is retired, and {edge.event!r} leads to it from {edge.source!r}"
            place = {"state": edge.target, "event": edge.event}
            yield "retired", what, "lead it elsewhere, or do not retire the state", place


def _reachable(spec: MachineSpec) -> Iterable[Broken]:
    reach = spec.successors()
    todo = [state.id for state in spec.states if state.initial or state.retired]
    found = set(todo)
    while todo:
        fresh = reach[todo.pop()] - found
        found |= fresh
        todo += fresh
    for state in spec.states:
        if state.id not in found:
            what = f"state {state.id!r} cannot be reached from {spec.initial.id!r}"
            mend = "add an edge to it, or say retired=True if only older code entered it"
            yield "unreachable", what, mend, {"state": state.id}


def _settles(spec: MachineSpec) -> Iterable[Broken]:
    reach, good = spec.successors(), set(spec.with_role(Role.SETTLED))
    while fresh := {s for s, targets in reach.items() if s not in good and targets & good}:
        good |= fresh
    for state in spec.states:
        if state.id not in good:
            what = f"no way leads from {state.id!r} to a settled state"
            yield "no-way-out", what, "add one", {"state": state.id}


def _consumer_events(spec: MachineSpec) -> Iterable[Broken]:
    leased, verbs = spec.with_role(Role.LEASED), {verb.event for verb in VERBS.get(spec.table, ())}
    for event in (each for each in spec.events_by(Actor.CONSUMER) if each not in verbs):
        sources = {edge.source for edge in spec.edges_of(event)}
        missing = [state for state in leased if state not in sources]
        if sources & set(leased) and missing:
            what = (
                f"a consumer fires {event!r} on a leased run, but no edge leads from "
                f"{', '.join(missing)}, so its outcome would be lost"
            )
            yield "consumer-event", what, "add one", {"event": event}


def _begun(spec: MachineSpec) -> Iterable[Broken]:
    """Where a schedule makes a run, the payload stands in the schedule's row, and nobody holds it."""
    first, fields = spec.initial, {f"{PREFIX}{name}" for name in spec.payload}
    mend = "let another state, which that one leads to, read it"
    if first.deadline is not None and (read := sorted(fields.intersection(first.deadline.at.names()))):
        what = f"rows begin in {first.id!r}, and its deadline reads {read[0]}, before the payload is stored"
        yield "payload", what, mend, {"state": first.id}
    for event in (event.id for event in spec.events if event.hints):
        for edge in spec.edges_from(first.id, event):
            if read := sorted(fields & edge.names()):
                what = f"rows begin in {first.id!r}, and {event!r}, which creation fires, reads {read[0]}"
                yield "payload", what, mend, {"state": first.id, "event": event}


_ALWAYS: Final = frozenset({"now", "facts", "hint_ms", "ends_at", "turn_at"})
"""The time; and what is empty where it is not given."""
CLAIMED: Final = _ALWAYS | {"token", "alone", "timeout_ms", "lease_ms", "horizon_ms", "full"}
"""What a claim gives: to what starts or holds a run, and to what a deadline tries before its hint."""
_TIMES: Final = _ALWAYS | {"horizon_ms", "redeliver_ms", "lost_ms", "grace_ms"}
SWEPT: Final = _TIMES | {"full"}
"""What a deadline gives."""
FIRED: Final = _TIMES | {"lease_ms", "next_at", "value"} | {
    "step_ms", "to_step", "data", "to_undo", "tries", "seen", "taken", "told", "signal_key", "rests",
    "was_visit",
}  # fmt: skip
"""What whoever else fires an event gives."""
_TABLE: Final = "kumofire_runs"


def parameters_given(spec: MachineSpec) -> Iterator[Broken]:
    """Yield each edge that reads a parameter which does not come with its event."""
    starts = {edge.event for edge in spec.edges if _is_start(spec, edge)}
    for edge in spec.edges if spec.table == _TABLE else ():
        for way, given in _ways(spec, edge, starts):
            if missing := sorted(edge.names() & spec.parameters.keys() - given):
                ends = f"{edge.event!r} from {edge.source!r} to {edge.target!r}"
                what = f"{ends} reads {', '.join(missing)}, which {way} does not give"
                mend = f"it gives {', '.join(sorted(given & spec.parameters.keys()))}"
                yield "parameter", what, mend, {"state": edge.source, "event": edge.event}


def _ways(spec: MachineSpec, edge: EdgeSpec, starts: Collection[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield how an edge may be taken, and what is given then; a person gives all that a deadline does."""
    state = spec.state(edge.source)
    fires = state.deadline.fires if state is not None and state.deadline is not None else ()
    if edge.event in starts or edge.event == HOLD:
        yield "a claim", CLAIMED
    elif edge.event == ADMIT:
        yield "whatever makes room", SWEPT
    elif edge.event not in fires:
        yield "whoever fires it", FIRED
    if edge.event in fires:
        yield "a deadline", SWEPT
        last = spec.event(fires[-1])
        waits_for_hint = last is not None and last.hints and edge.event != last.id
        if waits_for_hint and any(spec.edges_from(edge.source, start) for start in starts):
            yield "a claim, which tries it first,", CLAIMED


def _is_start(spec: MachineSpec, edge: EdgeSpec) -> bool:
    return spec.has_role(edge.source, Role.CLAIMABLE) and spec.has_role(edge.target, Role.LEASED)


_RULES: Final = (
    _names, unanswered, _roles, _deadlines, _retired, _reachable, _settles, _consumer_events,
    parameters_given, _begun,
)  # fmt: skip
