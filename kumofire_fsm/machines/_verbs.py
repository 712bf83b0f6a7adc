"""The verbs: the events that the code fires by name, and what a lifecycle must answer to each.

A move that finds no open edge moves nothing, and mostly nobody is told: the outcome of a handler is
dropped, say, and the handler called again. So each verb says from which states it must find an edge, where
that must lead, and whether it must be open whatever the row holds; a class that does not answer so does not
come to exist. A deadline names its own events, which `kumofire_fsm.machines._rules` checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from kumofire_fsm.machines.expression import parse
from kumofire_fsm.machines.finding import Broken
from kumofire_fsm.machines.spec import ADMIT, HOLD, Actor, MachineSpec, Outcome, Role

__all__ = ["VERBS", "Verb", "unanswered"]

_OUT: Final = (Role.CLAIMABLE, Role.WAITING, Role.SETTLED)
_AT_REST: Final = (Role.SETTLED, Role.WAITING)


class Verb(NamedTuple):
    """An event that the code fires by name.

    Attributes:
        event: its name.
        by: who fires it.
        when: when it is fired, as a sentence.
        lost: what happens where it finds no open edge.
        sources: the roles of the states from each of which it must have an edge; none where whoever fires it
            is told that it is not allowed.
        only: which of those states are meant: all, the "hinted" (a hint is on its way), the "timed" (with a
            deadline).
        leads: the roles of the states to which its edges there lead.
        always: whether one of them must be open whatever the row holds.
        assigns: the columns that each edge must assign, with what the built-in lifecycle assigns.
        exactly: whether it must assign just that: the fence of an attempt stands on it.
        outcome: how the state ended that a message proposes as its target.
    """

    event: str
    by: Actor
    when: str
    lost: str
    sources: tuple[Role, ...] = ()
    only: str = ""
    leads: tuple[Role, ...] = tuple(Role)
    always: bool = True
    assigns: Mapping[str, str] = MappingProxyType({})
    exactly: bool = False
    outcome: Outcome | None = None

    def states(self, spec: MachineSpec) -> tuple[str, ...]:
        """Return the states of a lifecycle from each of which the verb must have an edge."""
        hinted = {e.target for event in spec.events if event.hints for e in spec.edges_of(event.id)}
        timed = {state.id for state in spec.states if state.wakes}
        among = {"hinted": hinted, "timed": timed}.get(self.only)
        return tuple(s for s in spec.with_role(*self.sources) if among is None or s in among)


def _ending(event: str, when: str, lost: str, **more: Any) -> Verb:
    """Return a verb by which a consumer ends an attempt."""
    return Verb(event, Actor.CONSUMER, when, lost, (Role.LEASED,), **{"leads": _OUT, **more})


def _asked(event: str, when: str) -> Verb:
    """Return a verb of a person, who is told when it is not allowed."""
    return Verb(event, Actor.PERSON, when, "whoever asks is told so", always=False)


_AGAIN: Final = "the handler is called again and again"
_RUN: Final = (
    Verb(
        "start",
        Actor.CONSUMER,
        "A consumer claims a run that is due.",
        "no consumer ever starts the run",
        sources=(Role.CLAIMABLE,),
        leads=(Role.LEASED,),
        always=False,
        assigns={"starts": "starts + 1", "claim": "token", "timeout_at": "now + timeout_ms"},
        exactly=True,
    ),
    Verb(
        "heartbeat",
        Actor.CONSUMER,
        "The handler or its worker renews the lease.",
        "a handler longer than its lease is stopped each time",
        sources=(Role.LEASED,),
        leads=(Role.LEASED,),
        assigns={"progress": "when(value is None, progress, value)"},
    ),
    _ending(
        "succeed",
        "The handler returned.",
        f"its result is lost, and {_AGAIN}",
        assigns={"result": "value"},
        outcome=Outcome.SUCCESS,
    ),
    _ending(
        "retry",
        "The handler failed; the edges say whether it is tried again.",
        f"the error is lost, and {_AGAIN}",
        assigns={"error": "value"},
        outcome=Outcome.FAILURE,
    ),
    _ending(
        "fail",
        "The handler failed, and it or its retry policy said never to try again.",
        "the error is lost, and the handler is called again all the same",
        leads=_AT_REST,
        assigns={"error": "value"},
        outcome=Outcome.FAILURE,
    ),
    _ending(
        "stop",
        "The handler stopped itself, or answered a cancellation.",
        "the handler is called again all the same",
        leads=_AT_REST,
        assigns={"error": "value"},
        outcome=Outcome.CANCELLATION,
    ),
    _ending(
        "snooze",
        "The handler asked to be called later.",
        "it is called again when its lease ends, at the cost of an attempt",
    ),
    _ending(
        "release",
        "A consumer gives a run back unfinished.",
        "nobody works on it until its lease ends, at the cost of an attempt",
    ),
    Verb(
        "nudge",
        Actor.DISPATCHER,
        "The queue refused a hint.",
        "the run waits until its hint counts as lost",
        sources=(Role.CLAIMABLE,),
        only="hinted",
        leads=(Role.CLAIMABLE,),
    ),
    Verb(
        HOLD,
        Actor.CONSUMER,
        "A consumer finds a run's concurrency key full.",
        "a job with a `key_limit` refuses the lifecycle",
        always=False,
    ),
    Verb(
        ADMIT,
        Actor.DEADLINE,
        "Another run of its key has ended, or a held run looks for room.",
        "a job with a `key_limit` refuses the lifecycle",
        always=False,
    ),
    _asked("cancel", '`jobs.cancel`, or the next occurrence with `overlap="cancel_previous"`.'),
    _asked("reschedule", "`jobs.reschedule`."),
    _asked("redrive", "`jobs.redrive`."),
)
_SCHEDULE: Final = (
    Verb(
        "advance",
        Actor.DEADLINE,
        "Occurrences are due.",
        "they stay due, and become no runs",
        sources=(Role.WAITING,),
        only="timed",
        leads=(Role.WAITING, Role.SETTLED),
        assigns={"next_at": "occurrence", "tick": "token"},
    ),
    Verb(
        "suspend",
        Actor.DISPATCHER,
        "A row cannot be evaluated.",
        "it is tried again at every look, and its error is not stored",
        sources=(Role.WAITING,),
        only="timed",
        leads=(Role.WAITING, Role.SETTLED),
    ),
    Verb(
        "end",
        Actor.PERSON,
        "`jobs.end_schedule`, or `jobs.sync_schedules` of code that no longer declares it.",
        "`sync_schedules` fails at each deploy",
        sources=(Role.WAITING,),
        leads=(Role.SETTLED,),
    ),
    Verb(
        "revise",
        Actor.PERSON,
        "`jobs.update_schedule`, or `jobs.sync_schedules` of code that declares it otherwise.",
        "`sync_schedules` fails at each deploy",
        sources=(Role.WAITING, Role.SETTLED),
        leads=(Role.WAITING,),
        always=False,
        assigns={"next_at": "occurrence", "tick": "token"},
    ),
    _asked("pause", "`jobs.pause_schedule`."),
    _asked("resume", "`jobs.resume_schedule`."),
)
VERBS: Final = MappingProxyType({"kumofire_runs": _RUN, "kumofire_schedules": _SCHEDULE})
"""The verbs of each table."""


def unanswered(spec: MachineSpec) -> Iterator[Broken]:
    """Yield each verb that a lifecycle does not answer as its table's verbs ask."""
    for verb in VERBS.get(spec.table, ()):
        event, place = spec.event(verb.event), {"event": verb.event}
        if event is not None and event.by is not verb.by:
            what = f"{verb.event!r} is declared for a {event.by}, but a {verb.by} fires it"
            yield "verb", what, f"say `by={_actor(verb.by)}`", place
        missing = [state for state in verb.states(spec) if not spec.edges_from(state, verb.event)]
        if missing:
            what = f"no edge of {verb.event!r} leads from {' and '.join(map(repr, missing))}, so {verb.lost}"
            yield "verb", what, _to_add(spec, verb, missing), place
        for state in verb.states(spec):
            yield from _at_deadline(spec, verb, state)
            for what, mend in _wrong(spec, verb, state):
                yield "verb", what, mend, {"state": state, **place}


def _at_deadline(spec: MachineSpec, verb: Verb, state_id: str) -> Iterator[Broken]:
    """Yield a deadline that names another event than the verb that the code fires when it is reached."""
    state = spec.state(state_id)
    deadline = state.deadline if state is not None else None
    if verb.by is Actor.DEADLINE and deadline is not None and deadline.fires != (verb.event,):
        named = ", ".join(deadline.fires)
        what = f"the deadline of {state_id!r} names {named}, but {verb.event!r} is fired then"
        place = {"state": state_id, "event": verb.event}
        yield "verb", what, "name it in the deadline, or say `waits=True`", place


def _wrong(spec: MachineSpec, verb: Verb, state: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the edges of a verb from a state."""
    edges = spec.edges_from(state, verb.event)
    roles = " or ".join(verb.leads)
    for edge in edges:
        where = f"{verb.event!r} leads from {state!r} to {edge.target!r}"
        if not spec.has_role(edge.target, *verb.leads) and "step" not in edge.assigns:
            what = f"{where}, which is {_role(spec, edge.target)}, so {verb.lost}"
            yield what, f"lead it to a {roles} state, such as `{_edge(spec, verb, state)}`"
        for column, text in verb.assigns.items():
            if column in edge.assigns and not (verb.exactly and edge.assigns[column] != parse(text)):
                continue
            fault = "assigns another value to" if column in edge.assigns else "does not assign"
            what = f"{where} and {fault} {column!r}"
            yield what, f"let the event say `sets={dict(verb.assigns)!r}`"
    if verb.always and edges and all(edge.guard is not None for edge in edges):
        what = f"every edge of {verb.event!r} from {state!r} has a guard: where none holds, {verb.lost}"
        yield what, f"add `{_edge(spec, verb, state)}` as its last edge"


def _to_add(spec: MachineSpec, verb: Verb, states: Sequence[str]) -> str:
    """Return what gives a verb edges from these states."""
    edges = " | ".join(_edge(spec, verb, state) for state in states)
    if spec.event(verb.event) is not None:
        return f"add `{edges}` to it"
    sets = f", sets={dict(verb.assigns)!r}" if verb.assigns else ""
    return f"add `{verb.event} = Event({edges}, by={_actor(verb.by)}{sets})`"


def _edge(spec: MachineSpec, verb: Verb, state: str) -> str:
    """Return an edge of a verb as it may be declared.

    It leads to where the verb leads from the state in which handlers start, so that a canceled run, say, does
    not get past a state that the lifecycle put after the handler; else to where the built-in one leads.
    """
    if spec.has_role(state, *verb.leads) and Role.SETTLED not in verb.leads:
        return f"{state}.to.itself()"
    found = [each for role in verb.leads for each in spec.states if each.role is role and each.id != state]
    best = next((each for each in found if each.outcome and each.outcome is verb.outcome), None)
    target = best or (found[0] if found else None)
    usual = target.id if target else f"<a {verb.leads[0]} state>"
    return f"{state}.to({_led_from_start(spec, verb, state) or usual})"


def _led_from_start(spec: MachineSpec, verb: Verb, state: str) -> str | None:
    """Return where a verb leads, at the latest, from another state that a start leads to."""
    started = {edge.target for edge in spec.edges_of("start")} - {state}
    for other in (each for each in verb.states(spec) if each in started):
        for edge in reversed(spec.edges_from(other, verb.event)):
            if edge.guard is None and edge.target != state and spec.has_role(edge.target, *verb.leads):
                return edge.target
    return None


def _role(spec: MachineSpec, state_id: str) -> str:
    state = spec.state(state_id)
    return state.role if state is not None else "unknown"


def _actor(actor: Actor) -> str:
    return f"Actor.{actor.name}"
