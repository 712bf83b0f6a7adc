"""A recurring job's recurrence: its rule, its bounds, and what to do when it is late.

It is stored as the JSON text in the column ``schedule``, where what is not said is left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from kumofire_fsm.calendar.rules import Once, Rule, rule_from_json
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.values.checks import is_whole
from kumofire_fsm.values.limits import SAFE_INTEGER
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import LAST_MS, LONGEST_MS

__all__ = [
    "GRACE_MS",
    "HOLD_MS",
    "Misfire",
    "Overlap",
    "Recurrence",
    "jitter_delay_ms",
    "recurrence_from_json",
]

Misfire = Literal["skip", "latest", "all"]
Overlap = Literal["allow", "skip", "queue", "cancel_previous"]
GRACE_MS: Final = 60_000
"""As long as a Cron Trigger's ticks are apart: what one tick finds was not missed."""

HOLD_MS: Final = 5_000
"""When to look again whether the run that an occurrence waits for is settled; on Workers at the next tick."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule within bounds, and its policies. Instants and durations are milliseconds.

    Attributes:
        start_at, end_at: no occurrence is earlier or later; an interval's anchor stands in its rule.
        max_occurrences: how many runs it makes in all.
        jitter_ms: the longest delay of a run after its occurrence.
        grace_ms: how late an occurrence may be noticed before it counts as missed.
    """

    rule: Rule
    start_at: int | None = None
    end_at: int | None = None
    max_occurrences: int | None = None
    jitter_ms: int = 0
    misfire: Misfire = "latest"
    grace_ms: int = GRACE_MS
    overlap: Overlap = "allow"

    def check(self) -> None:
        """Refuse what can never fire, and bounds and policies that nobody can give.

        Raises:
            InvalidSchedule: the text says which.
        """
        self.rule.check()
        bounds = (self.start_at, self.end_at, self.max_occurrences)
        for name, value, least, most, should in (
            ("start_at", self.start_at, 0, LAST_MS, "milliseconds within the calendar"),
            ("end_at", self.end_at, 0, LAST_MS, "milliseconds within the calendar"),
            ("max_occurrences", self.max_occurrences, 1, SAFE_INTEGER, "an integer from 1 on"),
            ("jitter", self.jitter_ms, 0, LONGEST_MS, "milliseconds, at most 1,000 years"),
            ("misfire_grace", self.grace_ms, 0, LONGEST_MS, "milliseconds, at most 1,000 years"),
        ):
            absent = value is None and name in ("start_at", "end_at", "max_occurrences")
            if not absent and not is_whole(value, least, most):
                raise InvalidSchedule(f"{name} must be {should}; found {shown(value)}")
        for name, choice, known in (("misfire", self.misfire, Misfire), ("overlap", self.overlap, Overlap)):
            if choice not in get_args(known):
                names = ", ".join(map(repr, get_args(known)))
                raise InvalidSchedule(f"{name} must be one of {names}; found {shown(choice)}")
        if isinstance(self.rule, Once) and bounds != (None,) * 3:
            raise InvalidSchedule("at=... is one time: it has no start_at, end_at or max_occurrences")

    def next_after(self, after: int) -> int | None:
        """Return the first occurrence later than ``after``, or None.

        Raises:
            InvalidSchedule: the rule is malformed.
        """
        found = self.rule.next_after(after if self.start_at is None else max(after, self.start_at - 1))
        return None if found is None or (self.end_at is not None and found > self.end_at) else found

    def previous(self, at: int) -> int | None:
        """Return the last occurrence earlier than ``at``, or None.

        Raises:
            InvalidSchedule: the rule is malformed.
        """
        found = self.rule.previous(at if self.end_at is None else min(at, self.end_at + 1))
        return None if found is None or (self.start_at is not None and found < self.start_at) else found

    def left(self, made: int) -> int | None:
        """Return how many runs may still be made after ``made`` of them; None for any number."""
        return None if self.max_occurrences is None else max(self.max_occurrences - made, 0)

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        bounds = {
            name: value
            for name, value in [
                ("start_at", self.start_at),
                ("end_at", self.end_at),
                ("max_occurrences", self.max_occurrences),
            ]
            if value is not None
        }
        policies = {
            name: value
            for name, value, usual in [
                ("jitter_ms", self.jitter_ms, 0),
                ("misfire", self.misfire, "latest"),
                ("grace_ms", self.grace_ms, GRACE_MS),
                ("overlap", self.overlap, "allow"),
            ]
            if value != usual
        }
        return self.rule.to_json() | bounds | policies


def recurrence_from_json(stored: Any) -> Recurrence:
    """Return the recurrence that was stored, checked as if it were given now.

    Raises:
        InvalidSchedule: the stored value is not a recurrence that could have been given.
    """
    try:
        rule = rule_from_json(stored)
        found = Recurrence(rule, **{name: stored[name] for name in _KEPT if name in stored})
        found.check()
    except InvalidSchedule as exc:
        raise InvalidSchedule(f"the stored recurrence cannot be used: {exc}") from exc
    return found


_KEPT: Final = ("start_at", "end_at", "max_occurrences", "jitter_ms", "misfire", "grace_ms", "overlap")


def jitter_delay_ms(schedule_id: str, occurrence: int, jitter_ms: int) -> int:
    """Return a delay from 0 to ``jitter_ms``, both included, in milliseconds.

    It depends on nothing but the arguments, so that every process that computes it, now or after a crash,
    gets the same; over occurrences and over schedules it is spread evenly.

    Args:
        schedule_id: the recurring job's id.
        occurrence: its instant, in milliseconds since 1970.
        jitter_ms: the longest delay; 0 means none.
    """
    digest = hashlib.sha256(f"{schedule_id}:{occurrence}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * (jitter_ms + 1) >> 64
