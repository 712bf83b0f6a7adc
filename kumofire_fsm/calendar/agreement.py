"""Which occurrence a recurring job waits for by its rule: the stored one may contradict it.

It does where the clock was wrong when it was stored, and where the rules of its zone have changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kumofire_fsm.calendar.recurrence import Recurrence
from kumofire_fsm.values.limits import MADE_AHEAD
from kumofire_fsm.values.times import AHEAD_MS

__all__ = ["agreed", "latest_believed"]


def latest_believed(instants: Iterable[int | None], now: int) -> int:
    """Return the latest of these and now, without what a clock that was ahead has written."""
    return max((at for at in instants if at is not None and at <= now + AHEAD_MS), default=now)


def agreed(
    recurrence: Recurrence, at: int, left: Iterable[int | None], now: int, made_ahead: Sequence[int] = ()
) -> int:
    """Return the occurrence that a job waits for: ``at``, unless its rule contradicts that.

    Args:
        recurrence: the job's.
        at: the occurrence that is stored as its next.
        left: up to when occurrences were left behind, as far as it is known: made, passed over, or before the
            job was changed.
        now: milliseconds.
        made_ahead: the first `MADE_AHEAD` occurrences after now that are runs already, ascending. A clock
            that was ahead made them, or this one is behind: either way, none of them becomes another run.

    Raises:
        InvalidSchedule: the rule is malformed.
    """
    behind = latest_believed(left, now)
    if recurrence.next_after(at - 1) != at:
        at = _nearest(recurrence, at, behind)
    following = recurrence.next_after(max(behind, now)) if at > now else None
    for made in made_ahead:
        if made == following:
            following = recurrence.next_after(made)
    if following is None or (len(made_ahead) == MADE_AHEAD and following > made_ahead[-1]):
        return at
    return min(at, following)


def _nearest(recurrence: Recurrence, at: int, behind: int) -> int:
    """Return the occurrence nearest to ``at`` that was not left behind; ``at`` itself without one.

    New rules of a zone move an occurrence by hours, and those before it too, which were made all the same.
    """
    earlier, later = recurrence.previous(at), recurrence.next_after(at)
    if earlier is None or earlier <= behind:
        return at if later is None else later
    return earlier if later is None or at - earlier <= later - at else later
