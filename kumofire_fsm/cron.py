"""When a recurring job fires: a cron expression in a zone, or a fixed interval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.times import duration_ms, instant_ms, moment

__all__ = ["Cron", "Every", "Rule", "rule_from_json"]

_LEAST_MS: Final = 1_000
_YEARS: Final = 50
"""How far croniter looks for an occurrence before it counts as impossible."""


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
        if not self.expression.strip():
            raise InvalidSchedule(
                f"a cron expression is a text such as '*/5 * * * *'; found {self.expression!r}"
            )
        self._zone()
        if self.next_after(0) is None:
            raise InvalidSchedule(f"the cron expression {self.expression!r} never fires: no such date exists")

    def next_after(self, after: int) -> int | None:
        """Return the first occurrence later than ``after``, in milliseconds; None if there is none."""
        from croniter import CroniterError, croniter
        from croniter.croniter import CroniterBadDateError

        try:
            times = croniter(
                self.expression,
                moment(after).astimezone(self._zone()),
                ret_type=datetime,
                second_at_beginning=True,
                max_years_between_matches=_YEARS,
            )
            found: datetime = times.get_next()
        except CroniterBadDateError:
            return None
        except (CroniterError, ValueError, KeyError, OverflowError) as exc:
            raise InvalidSchedule(f"the cron expression {self.expression!r} is malformed: {exc}") from exc
        return instant_ms(found, "an occurrence")

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        return {"cron": self.expression, "timezone": self.timezone}

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as exc:
            raise InvalidSchedule(
                f"there is no time zone {self.timezone!r}; use an IANA name such as 'Europe/Berlin'"
            ) from exc


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, counted from an anchor, so that it never drifts. Both in milliseconds."""

    interval_ms: int
    anchor_ms: int

    def check(self) -> None:
        """Refuse an interval below a second.

        Raises:
            InvalidSchedule: the interval is too short.
        """
        if self.interval_ms < _LEAST_MS:
            raise InvalidSchedule(
                f"every={timedelta(milliseconds=self.interval_ms)} is too often: the least is one second"
            )

    def next_after(self, after: int) -> int | None:
        """Return the first occurrence later than ``after``, in milliseconds."""
        if after < self.anchor_ms:
            return self.anchor_ms
        return after + self.interval_ms - (after - self.anchor_ms) % self.interval_ms

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        return {"every_ms": self.interval_ms, "anchor_ms": self.anchor_ms}


Rule = Cron | Every


def rule_from_json(stored: Any) -> Rule:
    """Return the rule that was stored.

    Raises:
        InvalidSchedule: the stored text is no rule of ours.
    """
    match stored:
        case {"cron": str(expression), "timezone": str(zone)}:
            return Cron(expression, zone)
        case {"every_ms": int(interval), "anchor_ms": int(anchor)} if interval > 0:
            return Every(interval, anchor)
    raise InvalidSchedule(f"the stored schedule {stored!r} is not one of this version's")


def rule_from_options(
    cron: object, timezone: object, every: object, now: int, start_at: object = None
) -> Rule:
    """Return the checked rule for what a caller gave.

    Raises:
        InvalidSchedule: neither or both of cron and every are given, or the one given cannot fire.
    """
    if (cron is None) == (every is None):
        raise InvalidSchedule("give either cron='...' or every=timedelta(...), and not both")
    rule: Rule
    if cron is not None:
        if start_at is not None:
            raise InvalidSchedule("start_at says where counting begins for every=..., and not for cron")
        if not isinstance(cron, str):
            raise InvalidSchedule(f"cron must be a text such as '*/5 * * * *'; found {cron!r}")
        if timezone is not None and not isinstance(timezone, str):
            raise InvalidSchedule(
                f"timezone must be an IANA name such as 'Europe/Berlin'; found {timezone!r}"
            )
        rule = Cron(cron, "UTC" if timezone is None else timezone)
    else:
        if timezone is not None:
            raise InvalidSchedule("a timezone is for cron=...; every=... needs none")
        anchor = now if start_at is None else instant_ms(start_at, "start_at")
        rule = Every(duration_ms(every, "every"), anchor)
    rule.check()
    return rule
