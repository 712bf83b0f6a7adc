"""Claims and handler calls of flows: a claim takes several steps, each with a call of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from simulation.flows.declared import MACHINES
from simulation.lives import HandlerCall, Lives

if TYPE_CHECKING:
    from simulation.actors import Actor

__all__ = ["DONE", "FlowLives"]

DONE: Final = ("done", "by_hand")
"""How the call of a handler ends whose step is done."""
_ENTERS: Final = ("advance", "hand_on", "rest", "succeed", "end_failed", "end_canceled")
_WORDS: Final = {
    "Fail": ("fail",),
    "nowhere": ("fail",),
    "bad": ("fail",),
    "Declined": ("retry", "fail"),
    "Snooze": ("snooze",),
    "Cancel": ("stop",),
}


class FlowLives(Lives):
    """Claims and handler calls of one history.

    Attributes:
        rows: for each instance its row before the commit that is looked at.
    """

    def __init__(self, found: Any) -> None:
        super().__init__(found)
        self.rows: dict[str, Any] = {}

    def _under(self, run_id: str, claim: str | None) -> HandlerCall | None:
        """Return the call of a handler under a claim, in the visit of a step that the row is at."""
        visit = self.rows[run_id].visit
        calls = self.calls.get(run_id, ())
        return next((call for call in calls if (call.claim, call.visit) == (claim, visit)), None)

    def _legal(self, call: HandlerCall | None, actor: Actor) -> tuple[str, ...]:
        if call is not None and call.outcome in DONE:
            return (*_ENTERS, "release")  # given back where an invocation's statements are spent
        if call is not None and call.outcome in _WORDS:
            return _WORDS[call.outcome]
        return super()._legal(call, actor)

    def quiet(self, run_id: str) -> bool:
        """Return whether no handler is called where an instance is: at a wait, or where nothing is undone."""
        row = self.rows[run_id]
        kind = _KINDS[row.machine, row.step]
        return kind == "wait" or (kind == "undo" and (row.undo == "[]" or "skip_undo" in (row.letter or "")))


def _kinds() -> dict[tuple[str, str], str]:
    waits, ends = {"approval", "trying", "dunning", "placed", "paid", "late"}, {"undo_to_undone"}
    steps = {(machine, step) for machine, spec in MACHINES.items() for pair in spec.steps for step in pair}
    return {
        (machine, step): "wait" if step in waits else "undo" if step in ends else "task"
        for machine, step in steps
    }


_KINDS: Final = _kinds()
