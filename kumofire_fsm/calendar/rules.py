"""When a recurring job fires: a cron expression in a zone, a fixed interval, or one instant.

Pure arithmetic on instants in milliseconds since 1970: no clock is read here. `crontab` parses the dialect,
`cronwalls` finds the wall times, `zones` the clock changes, and `firing` decides what they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice, takewhile
from typing import Any, Final, Protocol

from kumofire_fsm.calendar.crontab import Crontab, parse_crontab
from kumofire_fsm.calendar.firings import next_firing, next_wall, previous_firing
from kumofire_fsm.calendar.zones import find_zone
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.values.checks import is_whole
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import LAST_MS, LONGEST_MS

__all__ = [
    "Cron",
    "Every",
    "Once",
    "Rule",
    "first_between",
    "latest_between",
    "preview",
    "rule_from_json",
]

_LEAST_MS: Final = 1_000
_LAST_CRON_MS: Final = LAST_MS - 2 * 86_400_000
"""Until here the wall time of every zone, 14 hours ahead at most, has a next day within the calendar."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression (five fields, or six with seconds first) on a zone's clock."""

    expression: str
    timezone: str = "UTC"

    def check(self) -> None:
        """Refuse what can never fire.

        Raises:
            InvalidSchedule: the expression or zone is malformed, or no such date exists.
        """
        crontab = self._crontab()
        find_zone(self.timezone)
        if crontab.impossible:
            raise InvalidSchedule(
                f"the cron expression {self.expression!r} never fires: no month of its month field has such "
                "a day as its day-of-month field"
            )
        if next_wall(crontab, 0) is None:
            raise InvalidSchedule(
                f"the cron expression {self.expression!r} never fires: no date matches its day-of-month, "
                "month and day-of-week fields together"
            )

    def next_after(self, after: int) -> int | None:
        """Return the first occurrence later than ``after``; None if none follows within 50 years.

        The last two days of the year 9999 have none.

        Raises:
            InvalidSchedule: the expression or zone is malformed.
        """
        crontab, zone = self._crontab(), find_zone(self.timezone)
        if after >= _LAST_CRON_MS:
            return None
        found = next_firing(crontab, zone, after // 1000)
        return None if found is None or found * 1000 > _LAST_CRON_MS else found * 1000

    def previous(self, at: int) -> int | None:
        """Return the last occurrence earlier than ``at``; None if it would lie before 1970.

        Raises:
            InvalidSchedule: the expression or zone is malformed.
        """
        crontab, zone = self._crontab(), find_zone(self.timezone)
        before = -(-min(at, _LAST_CRON_MS + 1) // 1000)
        found = previous_firing(crontab, zone, before) if at > 0 else None
        return None if found is None or found < 0 else found * 1000

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        return {"cron": self.expression, "timezone": self.timezone}

    def _crontab(self) -> Crontab:
        return parse_crontab(self.expression)


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, counted from an anchor, so that it never drifts. Both in milliseconds.

    An anchor is where it begins. One within the first interval since 1970 says no more than where in each
    interval its occurrences lie: an interval that nobody gave a start is stored so, and nothing of it is of
    a clock that was ahead.
    """

    interval_ms: int
    anchor_ms: int

    @classmethod
    def counted_from(cls, interval_ms: int, now: int) -> Every:
        """Return an interval without a start, of which one occurrence lies at ``now``."""
        return cls(interval_ms, now % interval_ms if interval_ms > 0 else now)

    def check(self) -> None:
        """Refuse an interval below a second or above 1,000 years, and an anchor beyond the calendar.

        Raises:
            InvalidSchedule: it is one.
        """
        if not is_whole(self.interval_ms, 0, LONGEST_MS) or not is_whole(self.anchor_ms, 0, LAST_MS):
            raise InvalidSchedule(
                "every and start_at must be milliseconds within the calendar; found "
                f"{shown(self.interval_ms)} and {shown(self.anchor_ms)}"
            )
        if self.interval_ms < _LEAST_MS:
            raise InvalidSchedule(
                f"every={timedelta(milliseconds=self.interval_ms)} is too often: the least is one second"
            )

    def next_after(self, after: int) -> int | None:
        """Return the first occurrence later than ``after``, in milliseconds; None after the year 9999."""
        if after < self.anchor_ms:
            return self.anchor_ms
        following = after + self.interval_ms - (after - self.anchor_ms) % self.interval_ms
        return following if following <= LAST_MS else None

    def previous(self, at: int) -> int | None:
        """Return the last occurrence earlier than ``at``, in milliseconds; None before the anchor."""
        at = min(at, LAST_MS + 1)
        if at <= self.anchor_ms:
            return None
        return at - 1 - (at - 1 - self.anchor_ms) % self.interval_ms

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        return {"every_ms": self.interval_ms, "anchor_ms": self.anchor_ms}


@dataclass(frozen=True, slots=True)
class Once:
    """One instant, in milliseconds."""

    at_ms: int

    def check(self) -> None:
        """Refuse what lies beyond the calendar.

        Raises:
            InvalidSchedule: it does.
        """
        if not is_whole(self.at_ms, 0, LAST_MS):
            raise InvalidSchedule(f"at must be milliseconds within the calendar; found {shown(self.at_ms)}")

    def next_after(self, after: int) -> int | None:
        """Return the instant if it is later than ``after``."""
        return self.at_ms if self.at_ms > after else None

    def previous(self, at: int) -> int | None:
        """Return the instant if it is earlier than ``at``."""
        return self.at_ms if self.at_ms < at else None

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        return {"at_ms": self.at_ms}


Rule = Cron | Every | Once


class Occurrences(Protocol):
    """A rule, or a rule with bounds."""

    def next_after(self, after: int) -> int | None:
        """Return the first occurrence later than ``after``."""

    def previous(self, at: int) -> int | None:
        """Return the last occurrence earlier than ``at``."""


def preview(rule: Occurrences, after: int, count: int) -> list[int]:
    """Return the first ``count`` occurrences later than ``after``, in milliseconds; fewer if it ends."""
    return list(islice(_occurrences(rule, after), count))


def latest_between(rule: Occurrences, after: int, until: int) -> int | None:
    """Return the last occurrence later than ``after`` and not later than ``until``, or None.

    It is searched backwards from ``until``: an outage of a year costs no more than one of a minute.
    """
    latest = rule.previous(until + 1)
    return latest if latest is not None and latest > after else None


def first_between(rule: Occurrences, after: int, until: int, most: int) -> list[int]:
    """Return the first occurrences later than ``after`` and not later than ``until``, at most ``most``."""
    return list(islice(takewhile(lambda at: at <= until, _occurrences(rule, after)), most))


def _occurrences(rule: Occurrences, after: int) -> Iterator[int]:
    at = rule.next_after(after)
    while at is not None:
        yield at
        at = rule.next_after(at)


def rule_from_json(stored: Any) -> Rule:
    """Return the rule that was stored; it is not checked yet.

    Raises:
        InvalidSchedule: the stored value is not a rule of this version.
    """
    match stored:
        case {"cron": str(expression), "timezone": str(zone)}:
            return Cron(expression, zone)
        case {"every_ms": int(interval), "anchor_ms": int(anchor)}:
            return Every(interval, anchor)
        case {"at_ms": int(at)}:
            return Once(at)
    raise InvalidSchedule("it has neither an expression with its zone, nor an interval, nor an instant")
