"""What happens to the due occurrences of a recurring job: which run, which wait, which are passed over.

Pure arithmetic on a `Recurrence` and the clock. First the misfire policy picks among what was missed, then
the overlap policy judges the rest in order, as if each had been noticed at its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from kumofire_fsm.calendar.recurrence import Misfire, Recurrence
from kumofire_fsm.calendar.rules import Every, first_between, latest_between
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.values.printable import shown

__all__ = ["CATCH_UP", "COUNTED", "Decision", "Due", "Passed", "decide", "passed_over"]

CATCH_UP: Final = 100
"""How many missed occurrences ``misfire="all"`` runs at most: the latest ones."""
COUNTED: Final = 1_000
"""Up to how many passed-over occurrences of an expression are counted at once; intervals are calculated."""

Why = Literal["misfire", "overlap", "paused"]


class Due(NamedTuple):
    """What is known of a recurring job whose occurrence is due. Instants are milliseconds.

    Attributes:
        at: its first due occurrence.
        now: the time of this look.
        made: how many runs it has made.
        busy: whether a run that it made is not settled yet.
        held: whether the first due occurrence waits for that run already.
        catch_up: what is to be done with what was missed, instead of the recurrence's own policy.
        room: how many runs may be made at this look.
    """

    at: int
    now: int
    made: int = 0
    busy: bool = False
    held: bool = False
    catch_up: Misfire | None = None
    room: int = CATCH_UP


@dataclass(frozen=True, slots=True)
class Passed:
    """Occurrences that were passed over: how many (at least), the last of them, and why."""

    count: int = 0
    at: int | None = None
    why: Why | None = None

    def __add__(self, later: Passed) -> Passed:
        """Return both, where ``later`` follows."""
        if not later.count:
            return self
        return Passed(self.count + later.count, later.at, later.why)

    def columns(self) -> dict[str, int | str | None]:
        """Return what a move records of them."""
        return {"passed": self.count, "passed_at": self.at, "passed_why": self.why}


class Decision(NamedTuple):
    """What to do with a due job.

    Attributes:
        runs: the occurrences that become runs, ascending.
        next_at: the occurrence that it waits for from now on; None when none is left.
        passed: what is passed over.
        holds: whether that occurrence is due, and waits until its previous run is settled.
        cancels: whether its unsettled runs are to be cancelled first.
    """

    runs: tuple[int, ...]
    next_at: int | None
    passed: Passed = Passed()
    holds: bool = False
    cancels: bool = False


def decide(recurrence: Recurrence, due: Due) -> Decision:
    """Return what becomes of the occurrences from ``due.at`` to ``due.now``.

    Raises:
        InvalidSchedule: the rule is malformed, or what is known of the job is impossible.
    """
    if due.made < 0 or due.catch_up not in (None, *get_args(Misfire)):
        raise InvalidSchedule(
            f"it made {due.made} runs, and is to catch up {shown(due.catch_up)}: its row is broken"
        )
    left = recurrence.left(due.made)
    if left == 0:
        return Decision((), None)
    passed = Passed()
    first: int | None = due.at
    if not due.held:
        first, passed = _after_misfires(recurrence, due)
    if first is None or first > due.now:
        return Decision((), first, passed)
    if recurrence.overlap != "allow":
        return _alone(recurrence, due, first, passed)
    room = due.room if left is None else min(due.room, left)
    runs = [first, *first_between(recurrence, first, due.now, room - 1)]
    return Decision(tuple(runs), _following(recurrence, due, runs, runs[-1]), passed)


def _after_misfires(recurrence: Recurrence, due: Due) -> tuple[int | None, Passed]:
    """Return the first occurrence that the misfire policy leaves, and what it passes over."""
    edge = due.now - recurrence.grace_ms if due.catch_up is None else due.now + 1
    latest = None if due.at >= edge else latest_between(recurrence, due.at - 1, edge - 1)
    if latest is None:
        return due.at, Passed()
    policy = due.catch_up or recurrence.misfire
    if policy == "skip":
        first = recurrence.next_after(latest)
    elif policy == "latest":  # one run for all that is due, also beside what is still in time
        first = latest_between(recurrence, latest - 1, due.now)
    else:
        first = _earliest_to_catch_up(recurrence, due.at, latest)
    last = latest if first is None else recurrence.previous(first)
    return first, passed_over(recurrence, due.at, last, "misfire")


def _earliest_to_catch_up(recurrence: Recurrence, first: int, latest: int) -> int:
    if len(first_between(recurrence, first, latest, CATCH_UP)) < CATCH_UP:
        return first
    for _ in range(CATCH_UP - 1):
        latest = recurrence.previous(latest) or first
    return latest


def _alone(recurrence: Recurrence, due: Due, first: int, passed: Passed) -> Decision:
    """Decide for a job of which one run at a time may be under way."""
    last = latest_between(recurrence, first - 1, due.now) or first
    if recurrence.overlap == "cancel_previous":
        before = recurrence.previous(last)
        passed += passed_over(recurrence, first, before, "overlap")
        following = _following(recurrence, due, [last], last)
        return Decision((last,), following, passed, cancels=due.busy)
    if recurrence.overlap == "queue" and due.busy:
        return Decision((), first, passed, holds=True)
    if recurrence.overlap == "skip" and due.busy:
        passed += passed_over(recurrence, first, last, "overlap")
        return Decision((), recurrence.next_after(due.now), passed)
    if recurrence.overlap == "queue" and not due.held:
        return Decision((first,), _following(recurrence, due, [first], first), passed)
    second = recurrence.next_after(first)
    if second is not None and recurrence.left(due.made + 1) != 0:
        passed += passed_over(recurrence, second, last, "overlap")
    return Decision((first,), _following(recurrence, due, [first], due.now), passed)


def _following(recurrence: Recurrence, due: Due, runs: list[int], after: int) -> int | None:
    """Return the occurrence that follows, unless the last run is made."""
    return None if recurrence.left(due.made + len(runs)) == 0 else recurrence.next_after(after)


def passed_over(recurrence: Recurrence, first: int, last: int | None, why: Why) -> Passed:
    """Return what is passed over from the occurrence ``first`` to ``last``, both included."""
    if last is None or last < first:
        return Passed()
    rule = recurrence.rule
    if isinstance(rule, Every):
        return Passed((last - first) // rule.interval_ms + 1, last, why)
    return Passed(len(first_between(recurrence, first - 1, last, COUNTED)), last, why)
