"""How a step is entered by whoever holds the instance: the event to fire, and what it carries. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.flows.guards import holds_row
from kumofire_fsm.flows.spec import FlowSpec, Kind, StepSpec
from kumofire_fsm.flows.walk import Next
from kumofire_fsm.machines.spec import Outcome

__all__ = ["ADVANCE", "Letter", "entering", "letter_for", "told"]

ADVANCE: Final = "advance"
"""The event after which whoever holds the instance goes on with the step that was entered."""
_ENDS: Final = {
    Outcome.SUCCESS: "succeed",
    Outcome.FAILURE: "end_failed",
    Outcome.CANCELLATION: "end_canceled",
}


class Letter(NamedTuple):
    """A signal that is kept: its number, its name, and what it carries."""

    number: int
    name: str
    value: Any


def letter_for(flow: FlowSpec, step: StepSpec, row: Mapping[str, Any]) -> tuple[Letter, Next] | None:
    """Return the first kept signal that moves a wait on, and where it leads; None if there is none.

    Args:
        flow: the flow.
        step: the wait.
        row: the instance's columns.
    """
    for letter in (Letter(*each) for each in json.loads(row["mail"] or "[]")):
        if letter.name not in flow.accepts(step.id):
            continue
        for edge in flow.edges_from(step.id, letter.name):
            if edge.guard is None or holds_row(edge.guard, row):
                entered = flow.step(edge.enters)
                assert entered is not None
                return letter, Next(entered, tuple(json.loads(row["undo"] or "[]")), letter.name)
    return None


def told(letter: Letter) -> str:
    """Return what the column `letter` holds of a signal that led to a step."""
    return json.dumps([letter], separators=(",", ":"), ensure_ascii=False)


def entering(
    flow: FlowSpec,
    to: Next,
    row: Mapping[str, Any],
    *,
    tries: int,
    letter: Letter | None = None,
    rests: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Return the event by which a step is entered, and its parameters but for the data and the lease.

    Args:
        flow: the flow.
        to: the step, and what is still to be undone.
        row: the instance's columns as they were claimed.
        tries: how often the step is tried.
        letter: the kept signal that led there.
        rests: whether it is a wait that has been looked at already, and found nothing.
    """
    done: Sequence[str] = to.done
    what: dict[str, Any] = {
        "to_step": to.step.id,
        "to_undo": json.dumps(done, separators=(",", ":")) if done else "[]",
        "tries": tries,
        "taken": None if letter is None else letter.number,
        "told": None if letter is None else told(letter),
    }
    if to.step.kind is Kind.END:
        return _ENDS[to.step.outcome or Outcome.SUCCESS], what
    if to.step.kind is Kind.WAIT and (rests or letter_for(flow, to.step, row) is None):
        timed = int(to.step.deadline is not None)
        return "rest", {**what, "seen": row["letters"] or 0, "rests": timed}
    return ADVANCE, what
