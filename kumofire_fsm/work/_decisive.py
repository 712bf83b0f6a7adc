"""Which of the exceptions that a handler raised together counts."""

from __future__ import annotations

from kumofire_fsm.signals import Cancel, Fail, Fire, Snooze
from kumofire_fsm.values.error_text import leaves

__all__ = ["decisive"]


def decisive(exc: BaseException) -> list[BaseException]:
    """Return what counts of what a handler raised: in a group each `Fail`, else each error, else a signal.

    So no signal hides an error beside it. Of different signals `Cancel` counts before `Fire`, and `Fire`
    before `Snooze`; of equals the first.
    """
    found = list(leaves(exc)) or [exc]
    first = min(map(_rank, found))
    return [each for each in found if _rank(each) == first]


def _rank(exc: BaseException) -> int:
    if isinstance(exc, Fail):
        return 0
    for rank, kind in enumerate((Cancel, Fire, Snooze), start=2):
        if isinstance(exc, kind):
            return rank
    return 1
