"""A flow as a lifecycle of its steps, for what is made from lifecycles: pictures, tables, Mermaid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from kumofire_fsm.flows.spec import CANCEL, FlowSpec, Kind, StepSpec
from kumofire_fsm.machines.spec import Actor, EdgeSpec, EventSpec, MachineSpec, Role, StateSpec
from kumofire_fsm.models import HistoryEntry

__all__ = ["path_of_steps", "steps_as_machine"]

UNDO: Final = "undo"
_ROLES: Final = {
    Kind.TASK: Role.LEASED,
    Kind.WAIT: Role.WAITING,
    Kind.END: Role.SETTLED,
    Kind.UNDO: Role.LEASED,
}


def steps_as_machine(flow: FlowSpec) -> MachineSpec:
    """Return a machine whose states are the flow's steps, and whose edges lead from step to step."""
    timed = {event for step in flow.steps if step.deadline for event in step.deadline.fires}
    asked = {signal.id: signal.doc for signal in flow.signals}
    edges = [EdgeSpec(e.event, e.source, e.enters, e.guard, e.guard_text, {}) for e in flow.edges]
    undone = [EdgeSpec(UNDO, s.id, s.leads, None, "", {}) for s in flow.of_kind(Kind.UNDO)]
    events = []
    for name in dict.fromkeys(edge.event for edge in (*edges, *undone)):
        person = name in asked or name == CANCEL
        by = Actor.PERSON if person else Actor.DEADLINE if name in timed else Actor.CONSUMER
        events.append(EventSpec(name, by, hints=False, doc=asked.get(name, "")))
    return MachineSpec(
        name=flow.name,
        table="kumofire_runs",
        fields={},
        parameters={},
        types={},
        states=tuple(_state(flow, step) for step in flow.steps),
        events=tuple(events),
        edges=(*edges, *undone),
    )


def _state(flow: FlowSpec, step: StepSpec) -> StateSpec:
    doc = step.doc
    if step.kind is Kind.UNDO:
        tasks = [each.id for each in flow.of_kind(Kind.TASK) if each.undo]
        doc = f"{doc} It may undo {', '.join(reversed(tasks)) or 'nothing'}."
    return StateSpec(step.id, _ROLES[step.kind], step.initial, step.waits, step.deadline, doc, step.outcome)


def path_of_steps(history: Iterable[HistoryEntry]) -> list[HistoryEntry]:
    """Return the entries of an instance's history that entered a step, as entries of the flow."""
    return [replace(each, state=each.facts["step"]) for each in history if "step" in each.facts]
