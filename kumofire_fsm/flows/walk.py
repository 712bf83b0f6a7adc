"""How a flow goes on: which step follows, and what is to be undone. Pure: no clock, no database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.flows.guards import holds
from kumofire_fsm.flows.spec import DONE, FlowSpec, Kind, StepEdge, StepSpec

__all__ = ["Next", "after_task", "after_undo", "undone_by"]


class Next(NamedTuple):
    """The step that is entered next, and what is still to be undone, the last first at the end."""

    step: StepSpec
    done: tuple[str, ...]
    event: str


def after_task(spec: FlowSpec, step: str, data: Any, done: Sequence[str], event: str = DONE) -> Next:
    """Return where a task leads whose handler returned.

    Args:
        spec: the flow.
        step: the task.
        data: what its handler returned.
        done: the tasks that were done so far and have an undo, in order.
        event: what the handler said; `DONE` when it just returned.

    Raises:
        InvalidArgument: no edge of the event leads on; the text says which do.
    """
    task = _known(spec, step)
    edges = spec.edges_from(step, event)
    edge = next((each for each in edges if each.guard is None or holds(each.guard, data)), None)
    if edge is None:
        may = ", ".join(spec.events_from(step)) or "none"
        why = "has guards that all fail" if edges else "is no edge from there"
        raise InvalidArgument(f"{spec.name}: {event!r} out of {step!r} {why}; there are: {may}")
    kept = () if task.pivot else (*done, step) if task.undo else tuple(done)
    return _entered(spec, edge, kept)


def undone_by(spec: FlowSpec, step: str, done: Sequence[str]) -> str | None:
    """Return the task that is undone next in an undo step; None when nothing is left."""
    assert _known(spec, step).kind is Kind.UNDO
    return done[-1] if done else None


def after_undo(spec: FlowSpec, step: str, done: Sequence[str]) -> Next:
    """Return where an undo step leads once its last task was undone: to itself, or to the end."""
    rest = tuple(done[:-1])
    undo = _known(spec, step)
    return Next(undo if rest else _known(spec, undo.leads), rest, "undo")


def _entered(spec: FlowSpec, edge: StepEdge, done: tuple[str, ...]) -> Next:
    step = _known(spec, edge.target if edge.undo and not done else edge.enters)
    return Next(step, done, edge.event)


def _known(spec: FlowSpec, step: str) -> StepSpec:
    found = spec.step(step)
    if found is None:
        raise InvalidArgument(f"{spec.name}: there is no step {step!r} in version {spec.version}")
    return found
