"""What a move costs a run: attempts, starts and suspicion, counted by hand beside the machine's assignments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kumofire_fsm.machines.run import SUSPECT, RunMachine
from kumofire_fsm.machines.spec import Role

if TYPE_CHECKING:
    from simulation.moves import Move

__all__ = ["FAILED", "SPEC", "STOPPING", "check_attempts"]

SPEC: Final = RunMachine.spec
STOPPING: Final = {edge.target for edge in SPEC.edges_of("cancel") if SPEC.has_role(edge.target, Role.LEASED)}
"""Who was told to stop may take longer than the grace period, and is given up."""
FAILED: Final = {edge.target for edge in SPEC.edges_of("fail")} - {
    edge.target for edge in SPEC.edges_of("cancel")
}

Found = Callable[[str, str], None]


def check_attempts(move: Move, event: str, starts_left: dict[str, int], found: Found) -> None:
    """Check the counters of a run after a change of its state; ``before`` is None for an insert."""
    before, after = move.before, move.after
    goes_on = SPEC.has_role(after.state, Role.CLAIMABLE)
    answered = goes_on and event in ("create", "retry", "snooze", "redrive")
    _check_calls(move, event, starts_left, found, answered=answered or before is None)
    if before is None:
        return
    shared_loss = goes_on and event == "lose" and before.shared
    _check_suspicion(move, event, found, answered=answered or event == "succeed", shared_loss=shared_loss)
    handed_back = shared_loss or (goes_on and event in ("snooze", "release"))
    expected = 0 if event == "redrive" else before.attempt + (event == "start") - handed_back
    if after.attempt != expected:
        found("attempts are counted", f"{move}: {event} made {after.attempt} of {before.attempt}")
    if event == "retry" and before.state not in STOPPING:
        spent = before.attempt >= before.max_attempts
        if not (after.state in FAILED if spent else goes_on):
            found("attempts are counted", f"{move}: retried at {before.attempt} of {before.max_attempts}")
    if after.starts != before.starts + (event == "start"):
        found("starts are counted", f"{move}: {event} made {after.starts} of {before.starts}")


def _check_suspicion(move: Move, event: str, found: Found, *, answered: bool, shared_loss: bool) -> None:
    """A loss in company adds to it, an answer ends it, and nothing else changes it."""
    expected = 0 if answered else move.before.suspect + shared_loss
    if move.after.suspect != expected:
        text = f"{event} made {move.after.suspect} losses in company of {move.before.suspect}"
        found("suspicion is as the losses say", f"{move}: {text}")


def _check_calls(
    move: Move, event: str, starts_left: dict[str, int], found: Found, *, answered: bool
) -> None:
    """A run that never answers starts once for each attempt, and twice in company that cost it nothing.

    What is given back does not count; an answer begins the count anew, for the attempts that are left. As a
    handler is called once a claim at most, so often is it called at most.
    """
    run = move.after
    if answered:
        starts_left[run.id] = run.max_attempts - run.attempt + SUSPECT
    elif event == "release":
        starts_left[run.id] += 1
    elif event == "start":
        starts_left[run.id] -= 1
        if starts_left[run.id] < 0:
            found("calls are bounded", f"{move}: start {run.starts}, at attempt {run.attempt}")
