"""The rules that a flow must keep to exist: each guards against an instance that is stuck or lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from kumofire_fsm.flows._reach import reachable, taken
from kumofire_fsm.flows.guards import fields_read
from kumofire_fsm.flows.instance import FlowMachine
from kumofire_fsm.flows.spec import CANCEL, DONE, FAIL, FlowSpec, Kind, StepSpec
from kumofire_fsm.machines.finding import Broken
from kumofire_fsm.values.limits import KEY_LENGTH
from kumofire_fsm.values.printable import did_you_mean

__all__ = ["broken"]

RESERVED: Final = frozenset(event.id for event in FlowMachine.spec.events) - {FAIL, CANCEL}
"""Events of every run, which a flow's own would hide."""


def broken(spec: FlowSpec, odd_names: Iterable[str]) -> Iterator[Broken]:
    """Yield every broken rule: its name, what was found, how to mend it, and where."""
    for name in odd_names:
        yield "name", f"the step {name!r} is not written as small_letters", "rename it", {"state": name}
    for rule in _RULES:
        yield from rule(spec)


def _header(spec: FlowSpec) -> Iterator[Broken]:
    given: Any = spec.version
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        yield "version", f"version={given!r} is not an integer from 1 on", "count versions from 1", {}
    if not spec.name.isprintable() or not 0 < len(spec.name) <= KEY_LENGTH - 20 or "@" in spec.name:
        yield "name", f"the flow's name {spec.name!r:.100} cannot be stored", "give flow='a_plain_name'", {}
    steps = {step.id for step in spec.steps}
    if spec.was and spec.version == 1:
        yield "was", "was names steps of a version before, and this is version 1", "raise version=", {}
    for old, new in spec.was.items():
        if new is not None and new not in steps:
            what = f"was={{{old!r}: {new!r}}} leads to no step{did_you_mean(str(new), steps)}"
            yield "was", what, "name a step of this version", {"state": str(new)}
        elif old in steps:
            yield "was", f"was names {old!r}, which is still a step", "drop it", {"state": old}


def _names(spec: FlowSpec) -> Iterator[Broken]:
    names = [step.id for step in spec.steps]
    steps = set(names)
    for name in steps:
        if names.count(name) > 1:
            what = f"the step {name!r} has the name of one that undoes"
            yield "name", what, "rename it", {"state": name}
    for event in dict.fromkeys(edge.event for edge in spec.edges):
        if event in RESERVED:
            yield "name", f"{event!r} is an event of every run", "choose another name", {"event": event}
        if event in steps:
            place = {"state": event, "event": event}
            yield "name", f"{event!r} names both a step and an event", "rename one", place


def _initial(spec: FlowSpec) -> Iterator[Broken]:
    first = [step for step in spec.steps if step.initial]
    if len(first) != 1:
        found = ", ".join(step.id for step in first) or "none"
        yield "initial", f"exactly one step must be initial; found: {found}", "say initial=True once", {}
    elif first[0].kind is Kind.END:
        yield "initial", f"it begins at its end {first[0].id!r}", "begin at a task or a wait", {}


def _data(spec: FlowSpec) -> Iterator[Broken]:
    if not hasattr(spec.data, "model_fields"):
        what = f"the data {spec.data!r:.100} is not a pydantic model"
        yield "data", what, "derive it from pydantic.BaseModel", {}
    for signal in spec.signals:
        if signal.takes is not None and not hasattr(signal.takes, "model_fields"):
            what = f"the signal {signal.id!r} takes {signal.takes!r:.100}, which is not a pydantic model"
            yield "signal", what, "derive it from pydantic.BaseModel, or say takes=None", {"event": signal.id}


def _ends(spec: FlowSpec) -> Iterator[Broken]:
    for step in spec.of_kind(Kind.END):
        if spec.edges_from(step.id):
            yield "end", f"an edge leads out of the end {step.id!r}", "drop it", {"state": step.id}
    if not spec.of_kind(Kind.END):
        yield "end", "it has no end", "declare one: done_ = End(...)", {}


def _tasks(spec: FlowSpec) -> Iterator[Broken]:
    for step in spec.of_kind(Kind.TASK):
        place = {"state": step.id}
        ways = [event for event in spec.events_from(step.id) if event not in (FAIL, CANCEL)]
        if not ways:
            yield "task", f"no edge leads on from the task {step.id!r}", "add one to done", place
        elif len(ways) == 1 and ways != [DONE]:  # with several, the handler has to choose
            what = f"only {ways[0]!r} leads on from the task {step.id!r}; who returns takes {DONE!r}"
            yield "task", what, f"call it {DONE}", {**place, "event": ways[0]}
        if step.undo and step.pivot:
            what = f"the task {step.id!r} has an undo, and is the pivot from which nothing is undone"
            yield "task", what, "drop one", place
        for event in spec.events_from(step.id):
            if event == DONE or event in (FAIL, CANCEL):
                yield from _open(spec, step, event)


def _open(spec: FlowSpec, step: StepSpec, event: str) -> Iterator[Broken]:
    """Yield if no edge of the event is open whatever a row holds."""
    if all(edge.guard is not None for edge in spec.edges_from(step.id, event)):
        what = f"the guards of {event!r} out of {step.id!r} may all fail"
        place = {"state": step.id, "event": event}
        yield "guard", what, "give its last edge no guard", place


def _waits(spec: FlowSpec) -> Iterator[Broken]:
    for step in spec.of_kind(Kind.WAIT):
        place = {"state": step.id}
        if step.deadline is None and not step.waits:
            what = f"the wait {step.id!r} has no deadline, so an instance could stay in it for ever"
            yield "no-deadline", what, "give it deadline=Deadline(...), or say waits=True", place
        if step.deadline is not None and step.waits:
            what = f"the wait {step.id!r} has a deadline, and says that it needs none"
            yield "wait", what, "drop one", place
        for event in step.deadline.fires if step.deadline else ():
            if not spec.edges_from(step.id, event):
                near = did_you_mean(event, spec.events_from(step.id))
                what = f"the deadline of {step.id!r} fires {event!r}, which has no edge from there{near}"
                yield "deadline", what, "add one, or drop it from the deadline", {**place, "event": event}
        if step.deadline and spec.edges_from(step.id, step.deadline.fires[-1]):
            yield from _open(spec, step, step.deadline.fires[-1])
        if not spec.accepts(step.id) and step.deadline is None:
            what = f"no signal and no deadline moves the wait {step.id!r} on"
            yield "wait", what, "give it one", place
        if any(edge.event == DONE for edge in spec.edges_from(step.id)):
            what = f"{DONE!r} leads out of the wait {step.id!r}, where no handler returns"
            yield "wait", what, "let a signal or a deadline take the edge", {**place, "event": DONE}


def _deadlines(spec: FlowSpec) -> Iterator[Broken]:
    if not spec.deadline_events and any(step.deadline for step in spec.steps):
        orders = "; ".join(
            f"{step.id}: {', '.join(step.deadline.fires)}" for step in spec.steps if step.deadline
        )
        what = f"two waits try the events of their deadlines in opposite orders ({orders})"
        yield "deadline", what, "name the events of one of them apart", {}


def _signals(spec: FlowSpec) -> Iterator[Broken]:
    waits = {step.id for step in spec.of_kind(Kind.WAIT)}
    timed = {e for step in spec.steps if step.deadline for e in step.deadline.fires}
    for signal in spec.signals:
        place = {"event": signal.id}
        for edge in spec.edges:
            if edge.event == signal.id and edge.source not in waits:
                what = f"the signal {signal.id!r} leads out of {edge.source!r}, which is not a wait"
                yield "signal", what, "put a Wait before it", {**place, "state": edge.source}
        if signal.id in timed:
            what = f"{signal.id!r} is a signal, and is fired by a deadline"
            yield "signal", what, "name them apart", place


def _undo(spec: FlowSpec) -> Iterator[Broken]:
    kinds = {step.id: step.kind for step in spec.steps}
    for edge in spec.edges:
        if edge.undo and kinds.get(edge.target) is not Kind.END:
            what = f"{edge.event!r} undoes its way to {edge.target!r}, which is not an end"
            yield "undo", what, "lead it to an End", {"state": edge.target, "event": edge.event}
    if any(step.undo for step in spec.steps) and not any(edge.undo for edge in spec.edges):
        task = next(step for step in spec.steps if step.undo)
        what = f"the task {task.id!r} has an undo, and no edge undoes"
        yield "undo", what, "add fail = Flow.any.undo(end), or drop it", {"state": task.id}


def _guards(spec: FlowSpec) -> Iterator[Broken]:
    fields = set(getattr(spec.data, "model_fields", ()))
    columns = FlowMachine.spec.fields.keys() | {"now"}
    for step in spec.steps:
        for name in sorted(set(step.deadline.at.names()) - columns) if step.deadline else ():
            near = did_you_mean(name, columns)
            what = f"the deadline of {step.id!r} reads {name!r}, which is no column of a run{near}"
            yield "deadline", what, "name a column", {"state": step.id}
    for edge in spec.edges:
        if edge.guard is None:
            continue
        place = {"state": edge.source, "event": edge.event}
        read = fields_read(edge.guard)
        for name in sorted(read - fields):
            near = did_you_mean(name, fields)
            what = f"the guard {edge.guard_text!r} reads data.{name}, which the data does not have{near}"
            yield "guard", what, "name a field of the data", place
        for name in sorted(set(edge.guard.names()) - columns) if not read else ():
            near = did_you_mean(name, columns)
            what = f"the guard {edge.guard_text!r} reads {name!r}, which is no column of a run{near}"
            yield "guard", what, "name a column", place


_RULES: Final = (
    _header,
    _names,
    _initial,
    _data,
    _ends,
    _tasks,
    _waits,
    _deadlines,
    _signals,
    _undo,
    _guards,
    reachable,
    taken,
)
