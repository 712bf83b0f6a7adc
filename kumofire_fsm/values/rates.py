"""How many runs of a job may start in a time: an allowance that fills up evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.limits import LIMIT_MAX
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import AHEAD_MS, duration_ms

__all__ = ["Rate", "rate_of"]

LONGEST_MS: Final = 366 * 86_400_000
"""The time of a rate, so that its microseconds are exact everywhere."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many starts at once, and so many again in each such time.

    Attributes:
        starts: how many.
        per_ms: the time, in milliseconds.
    """

    starts: int
    per_ms: int

    @property
    def every_us(self) -> int:
        """How long one start takes to come back, in microseconds, rounded up."""
        return -(-self.per_ms * 1000 // self.starts)

    def columns(self) -> tuple[int, int]:
        """Return what the statements want: microseconds a start, and for all that start at once."""
        return self.every_us, self.every_us * self.starts

    def turn_ms(self, paced_to: int, now: int, place: int = 0) -> int:
        """Return when the next run may start, in milliseconds, or the one that has so many before it.

        Args:
            paced_to: up to which instant, in microseconds, starts are spoken for.
            now: milliseconds; what is spoken for beyond all sense was said by a clock that was ahead.
            place: how many are before it.
        """
        if paced_to > 1000 * (now + AHEAD_MS) + self.every_us * self.starts:
            paced_to = 1000 * now
        return -((self.every_us * (self.starts - 1 - place) - paced_to) // 1000)

    def told(self) -> tuple[int, timedelta]:
        """Return it as it was given."""
        return self.starts, timedelta(milliseconds=self.per_ms)


def rate_of(given: Any, what: str = "rate") -> Rate | None:
    """Return a rate that is given as (starts, time); None where none is.

    Args:
        given: the rate.
        what: what it is called.

    Raises:
        InvalidArgument: it is something else.
    """
    if given is None:
        return None
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) or len(given) != 2:
        raise InvalidArgument(
            f"{what} must be (starts, time), such as (100, timedelta(minutes=1)); found {shown(given)}"
        )
    starts = whole_number(given[0], f"the starts of a {what}", LIMIT_MAX)
    per_ms = duration_ms(given[1], f"the time of a {what}", least=1)
    if per_ms > LONGEST_MS:
        raise InvalidArgument(f"the time of a {what} must be 366 days at most; found {shown(given[1])}")
    return Rate(starts, per_ms)
