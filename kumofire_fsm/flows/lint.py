"""Looks over a flow, or a lifecycle, for what it hardly means; the command is ``kumofire machine lint``.

The rules of a flow are checked when its class is created, so one that exists has warnings at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from kumofire_fsm.flows.fields import FlowData
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.guards import data_name, fields_read
from kumofire_fsm.flows.instance import FlowMachine
from kumofire_fsm.flows.spec import CANCEL, FAIL, FlowSpec, Kind, StepEdge, StepSpec
from kumofire_fsm.flows.view import steps_as_machine
from kumofire_fsm.machines import Lifecycle
from kumofire_fsm.machines import lint as of_machines
from kumofire_fsm.machines.expression import Type
from kumofire_fsm.machines.finding import Broken, Finding, Severity

__all__ = ["lint"]


def lint(machine: type[Lifecycle | Flow[Any]]) -> list[Finding]:
    """Return what to mend in a lifecycle or a flow; an empty list when there is nothing.

    Raises:
        InvalidArgument: the class is neither.
    """
    spec = getattr(machine, "spec", None)
    if not isinstance(spec, FlowSpec):
        return of_machines.lint(machine)  # type: ignore[arg-type]  # it refuses what is no lifecycle
    return [
        Finding(name, Severity.WARNING, spec.name, what, mend, **place)
        for rule in _RULES
        for name, what, mend, place in rule(spec)
    ]


def _guards(flow: FlowSpec) -> Iterator[Broken]:
    """Warn of guards that overlap, or never let through; see the lint of lifecycles."""
    read = sorted({name for edge in flow.edges if edge.guard for name in fields_read(edge.guard)})
    data, columns = FlowData(flow.name, flow.data, read), FlowMachine.spec
    types = {name: Type.TEXT if name in data.texts else Type.INTEGER for name in read}
    table = replace(
        steps_as_machine(flow),
        fields={**columns.fields, **{data_name(name): value for name, value in data.plain.items()}},
        parameters=columns.parameters,
        types={**columns.types, **{data_name(name): kind for name, kind in types.items()}},
    )
    yield from of_machines.edge_warnings(table)


def _unfired(flow: FlowSpec) -> Iterator[Broken]:
    """Warn of events out of a wait that nobody fires: no signal, no deadline, no cancellation."""
    signals = {signal.id for signal in flow.signals}
    for step in flow.of_kind(Kind.WAIT):
        timed = flow.deadline_events if step.deadline else ()
        for event in flow.events_from(step.id):
            if event not in signals and event not in timed and event != CANCEL:
                what = (
                    f"nobody fires {event!r} out of the wait {step.id!r}: it is no signal, and no deadline's"
                )
                mend = f"say {event} = Signal(..., takes=...), name it in the deadline, or drop the edge"
                yield "unfired-event", what, mend, {"state": step.id, "event": event}


def _undo(flow: FlowSpec) -> Iterator[Broken]:
    """Warn of an undo that is never called, and of a pivot before which nothing could be undone."""
    reached: set[str] = set()
    for step in flow.of_kind(Kind.TASK):
        if not step.undo:
            continue
        after = _after(flow, step)
        reached |= after
        # A cancellation undoes the task that it met as well.
        met = any(
            edge.undo and (_returned(flow, edge) or edge.event == CANCEL) for edge in flow.edges_from(step.id)
        )
        if not met and not any(
            edge.undo and _keeps(flow, edge) for at in after for edge in flow.edges_from(at)
        ):
            what = f"the undo of {step.id!r} is never called: no edge undoes from where it leads"
            yield "unused-undo", what, "drop undo=True, or add an edge by .undo(end)", {"state": step.id}
    for step in flow.of_kind(Kind.TASK):
        if step.pivot and step.id not in reached:
            what = (
                f"nothing could be undone before the pivot {step.id!r}: no task that leads to it has an undo"
            )
            yield "idle-pivot", what, "drop pivot=True, or say undo=True before it", {"state": step.id}


def _after(flow: FlowSpec, task: StepSpec) -> set[str]:
    """Return the steps that an instance may enter while a task that was done is still to be undone."""
    found: set[str] = set()
    todo = [edge.target for edge in flow.edges_from(task.id) if _returned(flow, edge)]
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            todo += [edge.target for edge in flow.edges_from(at) if _keeps(flow, edge)]
    return found


def _returned(flow: FlowSpec, edge: StepEdge) -> bool:
    """Return whether an edge is taken because a task's handler returned."""
    step = flow.step(edge.source)
    return step is not None and step.kind is Kind.TASK and edge.event not in (FAIL, CANCEL)


def _keeps(flow: FlowSpec, edge: StepEdge) -> bool:
    """Return whether what is to be undone is kept on an edge: a pivot that is done drops it."""
    step = flow.step(edge.source)
    return step is not None and not (step.pivot and _returned(flow, edge))


def _undocumented(flow: FlowSpec) -> Iterator[Broken]:
    for step in flow.steps:
        if not step.doc.strip():
            what = f"the step {step.id!r} says nothing about itself"
            mend = 'begin its declaration with a sentence: Task("The card is charged.", ...)'
            yield "undocumented-step", what, mend, {"state": step.id}


_RULES: Final = (_guards, _unfired, _undo, _undocumented)
