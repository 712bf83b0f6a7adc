"""The lifecycle of a flow's instance: that of a run, with a second region, the step.

`FlowMachine` has what all flows share. `machine_of` adds the edges of one flow: its signals, its deadlines,
and where a failure or a cancellation leads. Out of a task a consumer moves the step, under its lease; out of
a wait one statement does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from kumofire_fsm.flows.spec import CANCEL, FAIL, FlowSpec, Kind, StepEdge, StepSpec
from kumofire_fsm.machines import Deadline, Edge, Event, State
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.machines.spec import Actor, MachineSpec, Outcome, Role
from kumofire_fsm.values.limits import MAIL_LETTERS

__all__ = ["TRIES", "FlowMachine", "machine_of", "rests_in"]

TRIES: Final = 3
"""How often a step is tried where neither it nor the application says so."""
_ENTERED: Final = {
    "step": "to_step",
    "payload": "data",
    "visit": "visit + 1",
    "undo": "to_undo",
    "max_attempts": "tries",
    "mail": "without(mail, taken)",
    "letter": "told",
    "progress": "None",
    "suspect": "0",
    "expires_at": "None",
}
"""What a consumer's move to another step assigns."""
_AGAIN: Final = {"attempt": "0", "run_at": "now", "deliveries": "0"}
"""What a row assigns that a consumer is to take up anew, for a step that is entered."""
_LOOKED_AT: Final = {"attempt": "attempt - 1", "run_at": "now"}
_ONCE: Final = "visit == was_visit"
"""The claim stays as it is, so that the visit has to tell a move from the same one that was stored before."""
_FRESH: Final = "(signal_key is None or contains(keys, signal_key) == 0)"
_KNOWN: Final = {"keys": "when(signal_key is None, keys, added(keys, signal_key))"}
_KEPT: Final = {**_KNOWN, "mail": "posted(mail, letters + 1, {signal}, value)", "letters": "letters + 1"}


class FlowMachine(RunMachine, machine="flow"):
    """The lifecycle that all flows share: a run that rests in waits between its tasks."""

    waiting = State(
        "A step waits for a signal, and for its deadline at the latest.",
        role=Role.WAITING,
        deadline=Deadline("now", "lapse", doc="the wait's own deadline"),
    )
    parked = State("A step waits for a signal, or for a person.", role=Role.WAITING, waits=True)

    advance = Event(
        RunMachine.running.to.itself(cond=_ONCE, sets={"attempt": "1", "timeout_at": "now + step_ms"})
        | RunMachine.canceling.to(RunMachine.canceled, cond=_ONCE),
        by=Actor.CONSUMER,
        sets=_ENTERED,
        doc="A step is done, and its consumer goes on with the next one.",
    )
    hand_on = Event(
        RunMachine.running.to(RunMachine.queued, sets=_AGAIN) | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
        sets=_ENTERED,
        doc="A step is done, and another consumer goes on with the next one.",
    )
    rest = Event(
        RunMachine.running.to(RunMachine.ready, cond="letters > seen", sets=_AGAIN)
        | RunMachine.running.to(waiting, cond="rests == 1", sets={"attempt": "0"})
        | RunMachine.running.to(parked, sets={"attempt": "0"})
        | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
        sets={**_ENTERED, "visit": "when(step == to_step, visit, visit + 1)"},  # a look at a wait enters none
        doc="A step is done, and the next one waits; unless a signal came meanwhile.",
    )
    succeed = Event(
        RunMachine.running.to(RunMachine.succeeded) | RunMachine.canceling.to(RunMachine.succeeded),
        by=Actor.CONSUMER,
        sets={**_ENTERED, "result": "value", "error": "None"},
        doc="It has reached an end that is a success.",
    )
    end_failed = Event(
        RunMachine.running.to(RunMachine.failed) | RunMachine.canceling.to(RunMachine.failed),
        by=Actor.CONSUMER,
        sets=_ENTERED,
        doc="It has reached an end that is a failure.",
    )
    end_canceled = Event(
        RunMachine.running.to(RunMachine.canceled) | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
        sets=_ENTERED,
        doc="It has reached an end that is a cancellation.",
    )
    lapse = Event(
        waiting.to(RunMachine.queued, sets=_AGAIN),
        by=Actor.DEADLINE,
        doc="A wait's deadline has passed, and none of its events leads on: a consumer looks.",
    )
    cancel = Event(
        RunMachine.cancel | waiting.to(RunMachine.canceled) | parked.to(RunMachine.canceled),
        doc="Somebody wants it to stop.",
    )
    redrive = Event(
        RunMachine.redrive,
        sets={
            **RunMachine.redrive.sets,
            "step": "when(to_step == '', step, to_step)",
            "visit": "visit + 1",
        },
        doc="Somebody wants it to go on from the step that failed, or from another.",
    )


def machine_of(spec: FlowSpec, tries: int = TRIES) -> MachineSpec:
    """Return the lifecycle of a flow's instances, from which their statements and triggers derive.

    Args:
        spec: the flow.
        tries: how often a step is tried that does not say so itself.
    """
    empty: dict[str, Scalar] = {"visit": 0, "letters": 0, "mail": "[]", "keys": "[]", "undo": "[]"}
    begins = {"step": spec.first.id, **empty}
    return replace(_Edges(spec, tries).lifecycle().spec, steps=spec.moves, former=spec.former, begins=begins)


_SETTLED: Final = {
    Outcome.SUCCESS: FlowMachine.succeeded,
    Outcome.FAILURE: FlowMachine.failed,
    Outcome.CANCELLATION: FlowMachine.canceled,
}
_CLAIMABLE: Final = (FlowMachine.ready, FlowMachine.queued, FlowMachine.retrying)
_HELD: Final = (FlowMachine.held,)
_RESTING: Final = (FlowMachine.waiting, FlowMachine.parked)
_LEASED: Final = (FlowMachine.running, FlowMachine.canceling)
_GIVES_UP: Final = {"retry": FAIL, "fail": FAIL, "lose": FAIL, "stop": CANCEL}
"""Events by which a running step gives up; a flow's `fail`, or its `cancel`, says where that leads."""
_DONE: Final = ("advance", "hand_on", "rest")
"""Events by which a step that is done is left for another that is no end."""
_STOPPED: Final = (*_DONE, "retry", "fail", "stop", "snooze", "release", "lose")
"""Events by which a run leaves `canceling`; a flow's `cancel` says where that leads."""


def rests_in(step: StepSpec) -> State:
    """Return the state of an instance that has come to an end, or rests in a wait."""
    if step.kind is Kind.END:
        return _SETTLED[step.outcome or Outcome.SUCCESS]
    return FlowMachine.parked if step.waits else FlowMachine.waiting


class _Edges:
    """The edges that one flow adds to `FlowMachine`."""

    def __init__(self, spec: FlowSpec, tries: int) -> None:
        self._spec, self._tries = spec, tries
        waits = spec.of_kind(Kind.WAIT)
        self._timed = [step for step in waits if step.deadline]
        self._untimed = [step for step in waits if not step.deadline]

    def lifecycle(self) -> type[Lifecycle]:
        """Return the class that derives and checks the flow's `MachineSpec`."""
        body: dict[str, Any] = {
            "__doc__": self._spec.doc,
            "__module__": __name__,
            "waiting": self._waiting(),
        }
        if self._spec.first.kind is Kind.WAIT:
            state = FlowMachine.parked.clone() if self._spec.first.waits else body["waiting"]
            state._initial = True
            body["waiting" if state is body["waiting"] else "parked"] = state
        for event in self._spec.deadline_events:
            edges = self._out_of_waits(event, "", again=FlowMachine.queued)  # the sweep sends the hint
            body[event] = Event(edges, by=Actor.DEADLINE, doc="A wait's deadline has passed.")
        for signal in self._spec.signals:
            body[signal.id] = Event(self._signal(signal.id), doc=signal.doc or f"The signal {signal.id!r}.")
        ends = " and ".join(f"step != '{step.id}'" for step in self._spec.of_kind(Kind.END))
        body |= self._changed() | {"redrive": self._redrive(f"to_step != '' or ({ends})")}
        meta: Any = type(FlowMachine)
        made: type[Lifecycle] = meta(self._spec.name, (FlowMachine,), body, machine=self._spec.machine)
        return made

    def _waiting(self) -> State:
        """Return the state `waiting`, whose deadline is that of the step."""
        at = _by_step("step", {step.id: step.deadline.text for step in self._timed if step.deadline}, "now")
        state = FlowMachine.waiting.clone()
        state.deadline = Deadline(at, *self._spec.deadline_events, "lapse", doc="the wait's own deadline")
        return state

    def _out_of_waits(
        self, event: str, also: str, sets: dict[str, str] | None = None, again: State = FlowMachine.ready
    ) -> list[Edge]:
        """Return the edges of an event that moves waits on, in SQL; see `_entering`."""
        edges: list[Edge] = []
        for edge in (e for e in self._spec.edges if e.event == event):
            source = self._spec.step(edge.source)
            if source is not None and source.kind is Kind.WAIT:
                # A signal finds it in either state: what rests may have come there before the wait's deadline
                # was added or dropped.
                states = _RESTING if sets is not None else (rests_in(source),)
                for target, cond, more in self._entering(edge, again=again):
                    tests = [_at(edge.source), *([f"({edge.guard_text})"] if edge.guard else [])]
                    tests += [each for each in (also, cond) if each]
                    for state in states:
                        edges += state.to(target, cond=" and ".join(tests), sets={**more, **(sets or {})})
        return edges

    def _entering(
        self, edge: StepEdge, left: str = "undo", again: State = FlowMachine.ready
    ) -> Iterator[tuple[State, str, dict[str, str]]]:
        """Yield (state, condition, assignments): how a row enters a step when no consumer goes on with it.

        Args:
            edge: the edge.
            left: where it stands what is to be undone.
            again: the state in which a consumer takes it up.
        """
        step = self._spec.step(edge.enters)
        assert step is not None
        sets = {"step": f"'{step.id}'", "visit": "visit + 1", "attempt": "0", "letter": "None"}
        anew = {**sets, **_AGAIN, "progress": "None", "suspect": "0", "expires_at": "None"}
        anew["max_attempts"] = str(step.max_attempts or self._tries)
        if step.kind is Kind.END:
            ended = {"step": f"'{step.id}'", "visit": "visit + 1"}
            yield rests_in(step), "", ended
        elif step.kind is Kind.WAIT:
            # A letter that has come already is read by a consumer.
            yield rests_in(step), "size(mail) == 0", sets
            yield again, "", anew
        else:
            if edge.undo:  # nothing to undo: it is at its end
                end = self._spec.step(edge.target)
                assert end is not None
                ended = {"step": f"'{end.id}'", "visit": "visit + 1"}
                yield rests_in(end), f"size({left}) == 0", ended
            yield again, "", anew

    def _redrive(self, cond: str) -> Event:
        """Return the event by which it begins again: at another step, as often as that is tried."""
        tasks = self._spec.of_kind(Kind.TASK)
        own = {step.id: str(step.max_attempts) for step in tasks if step.max_attempts is not None}
        tries = _by_step("to_step", own, str(self._tries))
        event = _with("redrive", (), cond)
        event.sets = {
            **event.sets,
            "letter": "when(to_step == '', letter, None)",
            "max_attempts": f"when(to_step == '', max_attempts, {tries})",
        }
        return event

    def _signal(self, signal: str) -> list[Edge]:
        """Return the edges of a signal: it moves a wait that accepts it, and is kept everywhere else."""
        told = {**_KNOWN, "letter": f"posted('[]', letters + 1, '{signal}', value)"}
        edges = self._out_of_waits(signal, _FRESH, told)
        room = f"{_FRESH} and size(mail) < {MAIL_LETTERS}"
        kept = {name: text.format(signal=f"'{signal}'") for name, text in _KEPT.items()}
        for state in (*_CLAIMABLE, *_HELD, *_RESTING, *_LEASED):
            edges += state.to.itself(cond=room, sets={**kept, "wake_at": "wake_at"})
        return edges

    def _changed(self) -> dict[str, Event]:
        """Return the events that every run has, with the edges that this flow's `fail` and `cancel` add."""
        more: dict[str, list[Any]] = {}
        undoing = [step.id for step in self._spec.of_kind(Kind.UNDO)]
        for name, event in _GIVES_UP.items():
            for step in undoing:  # it needs a person, who tries it again or skips it
                more.setdefault(name, []).extend(FlowMachine.running.to(FlowMachine.parked, cond=_at(step)))
            more.setdefault(name, []).extend(self._led(FlowMachine.running, event))
        if waits := " or ".join(_at(step.id) for step in self._spec.of_kind(Kind.WAIT)):
            # No handler is called there: who looked at its mail died, and that is no failure of the instance.
            more["lose"].extend(FlowMachine.running.to(FlowMachine.retrying, cond=waits, sets=_LOOKED_AT))
        for name in _STOPPED:
            left = "to_undo" if name in _DONE else "undo"  # the step that is done is to be undone as well
            also = _ONCE if name == "advance" else ""
            more.setdefault(name, []).extend(self._led(FlowMachine.canceling, CANCEL, left, also))
        for state in (*_CLAIMABLE, *_HELD, *_RESTING):
            more.setdefault("cancel", []).extend(self._led(state, CANCEL))
        events = {name: _with(name, edges) for name, edges in more.items() if edges}
        events |= self._undoing(undoing)
        # What is being undone is not canceled halfway; and what could not be undone needs a person.
        forward = " and ".join(f"step != '{step}'" for step in undoing)
        events["look_again"] = Event(
            FlowMachine.waiting.to(FlowMachine.ready, sets=_AGAIN)
            | FlowMachine.parked.to(FlowMachine.ready, cond=forward or None, sets=_AGAIN),
            doc="Somebody wants the step in which it rests to begin anew, as it is today: a wait looks at "
            "its mail, and its deadline counts from now on.",
        )
        if undoing:
            events["cancel"] = _with("cancel", more.get("cancel", ()), forward)
        return events

    def _undoing(self, steps: Sequence[str]) -> dict[str, Event]:
        """Return what a person may do about an undo that failed for good."""
        if not steps:
            return {}
        there = " or ".join(map(_at, steps))
        skipped = {"letter": "posted('[]', 0, 'skip_undo', None)", **_AGAIN}
        return {
            "retry_undo": Event(
                FlowMachine.parked.to(FlowMachine.ready, cond=there, sets=_AGAIN),
                doc="Somebody wants an undo that failed to be tried again.",
            ),
            "skip_undo": Event(
                FlowMachine.parked.to(FlowMachine.ready, cond=there, sets=skipped),
                doc="Somebody has undone by hand what could not be undone.",
            ),
        }

    def _led(self, state: State, event: str, left: str = "undo", also: str = "") -> list[Edge]:
        """Return the edges out of a state of the run to where a step's failure or cancellation leads.

        Args:
            state: the state.
            event: the flow's event, ``fail`` or ``cancel``.
            left: where it stands what is to be undone.
            also: what has to hold beside.
        """
        sources: dict[tuple[str, bool], list[StepEdge]] = {}
        for edge in self._spec.edges:
            if edge.event == event:
                sources.setdefault((edge.target, edge.undo), []).append(edge)
        edges: list[Edge] = []
        for alike in sources.values():
            for target, cond, sets in self._entering(alike[0], left):
                sets |= {"mail": "mail"}  # no signal leads there
                there = " or ".join(_at(edge.source) for edge in alike)
                tests = [each for each in (also, cond) if each]
                edges += state.to(
                    target, cond=" and ".join([f"({there})", *tests]) if tests else there, sets=sets
                )
        return edges


def _with(name: str, more: Sequence[Any], cond: str | None = None) -> Event:
    """Return an event of `FlowMachine` with more edges: after its own guarded ones, before those always open.

    Where a canceled instance goes by default comes last as well: a flow's ``cancel`` may lead elsewhere.

    Args:
        name: the event.
        more: the edges.
        cond: when those that were always open are open from now on.
    """
    event: Any = getattr(FlowMachine, name)
    own = list(event._transitions)
    last = [e for e in own if not e.guard_text or e.source == FlowMachine.canceling.id]
    guarded = [e for e in own if e not in last]
    if cond is not None:
        last = [Edge(e.source, e.target, cond=cond, sets=e.sets) for e in last]
    return event.renewed(name, [*guarded, *more, *last])  # type: ignore[no-any-return]


def _by_step(name: str, values: Mapping[str, str], otherwise: str) -> str:
    """Return the expression that has a value for each step; those that have the same stand together.

    Args:
        name: what names the step.
        values: the value for each step.
        otherwise: that for all others.
    """
    steps: dict[str, list[str]] = {}
    for step, value in values.items():
        steps.setdefault(value, []).append(f"{name} == '{step}'")
    for value, tests in reversed(steps.items()):
        otherwise = f"when({' or '.join(tests)}, {value}, {otherwise})"
    return otherwise


def _at(step: str) -> str:
    return f"step == '{step}'"
