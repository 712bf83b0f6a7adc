"""A recurring job's recurrence: its rule, its bounds, and what to do when it is late.

It is stored as the JSON text in the column ``schedule``, where what is not said is left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from kumofire_fsm.calendar.rules import Rule, rule_from_json
from kumofire_fsm.errors import InvalidSchedule

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
    """Return the recurrence that was stored.

    Raises:
        InvalidSchedule: the stored value is not a recurrence of this version.
    """
    rule = rule_from_json(stored)
    known = ("start_at", "end_at", "max_occurrences", "jitter_ms", "misfire", "grace_ms", "overlap")
    found = Recurrence(rule, **{name: stored[name] for name in known if name in stored})
    numbers = [found.start_at, found.end_at, found.max_occurrences, found.jitter_ms, found.grace_ms]
    if (
        not all(isinstance(number, (int, type(None))) for number in numbers)
        or found.misfire not in get_args(Misfire)
        or found.overlap not in get_args(Overlap)
    ):
        raise InvalidSchedule(f"the stored schedule {stored!r} is not one of this version's")
    return found


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
