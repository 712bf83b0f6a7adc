"""What a caller says of a recurring job's recurrence, checked, and merged with what is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

from kumofire_fsm.calendar.recurrence import GRACE_MS, Misfire, Overlap, Recurrence
from kumofire_fsm.calendar.rules import Cron, Every, Once, Rule
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.values.checks import is_whole
from kumofire_fsm.values.columns import BROKEN
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import LAST_MS, duration_ms, instant_ms, moment

__all__ = [
    "RECURRENCE_OPTIONS",
    "RecurrenceOptions",
    "changed_recurrence",
    "described",
    "keep_anchor",
    "recurrence_from_options",
    "stored_options",
    "stored_start",
]


class RecurrenceOptions(TypedDict, total=False):
    """When a recurring job fires; see `ScheduleClient.create_schedule`."""

    cron: str | None
    timezone: str | None
    every: timedelta | float | None
    at: datetime | None
    start_at: datetime | None
    end_at: datetime | None
    max_occurrences: int | None
    jitter: timedelta | float | None
    misfire: Misfire | None
    misfire_grace: timedelta | float | None
    overlap: Overlap | None


_KINDS: Final = ("cron", "every", "at")
_BOUNDS: Final = ("start_at", "end_at", "max_occurrences")
_POLICIES: Final = ("jitter", "misfire", "misfire_grace", "overlap")
RECURRENCE_OPTIONS: Final = (*_KINDS, "timezone", *_BOUNDS, *_POLICIES)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is needed")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("an integer is needed")
    return value


def _duration_of(value: Any) -> timedelta:
    return timedelta(milliseconds=_whole(value))


def _instant_of(value: Any) -> datetime:
    return moment(_whole(value))


_STORED: Final[tuple[tuple[str, str, Callable[[Any], Any]], ...]] = (
    ("cron", "cron", _text),
    ("timezone", "timezone", _text),
    ("every_ms", "every", _duration_of),
    ("anchor_ms", "anchor", _instant_of),
    ("at_ms", "at", _instant_of),
    ("start_at", "start_at", _instant_of),
    ("end_at", "end_at", _instant_of),
    ("max_occurrences", "max_occurrences", _whole),
    ("jitter_ms", "jitter", _duration_of),
    ("misfire", "misfire", _text),
    ("grace_ms", "misfire_grace", _duration_of),
    ("overlap", "overlap", _text),
)
"""What a column's JSON calls it, what a caller calls it, and how the one becomes the other."""


def recurrence_from_options(options: Mapping[str, Any], now: int) -> Recurrence:
    """Return the checked recurrence for what a caller gave; None stands for what was not said.

    Raises:
        InvalidSchedule: not exactly one of cron, every and at is given, or it cannot fire like that.
        InvalidArgument: an instant or a duration is malformed.
    """
    rule = _rule(options, now)
    start_at = None if isinstance(rule, Every) else _instant(options, "start_at")
    recurrence = Recurrence(
        rule,
        start_at,
        _instant(options, "end_at"),
        options.get("max_occurrences"),
        _duration(options, "jitter", 0),
        _given(options, "misfire", "latest"),
        _duration(options, "misfire_grace", GRACE_MS),
        _given(options, "overlap", "allow"),
    )
    recurrence.check()
    first = _instant(options, "start_at")
    if first is not None and recurrence.end_at is not None and recurrence.end_at < first:
        raise InvalidSchedule("end_at must not lie before start_at")
    return recurrence


def changed_recurrence(stored: Mapping[str, Any], changes: Mapping[str, Any], now: int) -> Recurrence:
    """Return a stored recurrence after the changes that a caller gave.

    A change of the rule counts from now; an interval that stays keeps its anchor, an expression its zone.

    Args:
        stored: the JSON object of the column ``schedule``.
        changes: options; None puts a bound or policy back, and stands for no change of the rule.
        now: milliseconds.

    Raises:
        InvalidSchedule: not exactly one of cron, every and at is left, or it cannot fire like that.
        InvalidArgument: an instant or a duration is malformed.
    """
    options = stored_options(stored)
    broken = {name for column, name, _ in _STORED if column in stored} - options.keys()
    rule = {name: changes[name] for name in (*_KINDS, "timezone") if changes.get(name) is not None}
    if kinds := rule.keys() & {*_KINDS}:
        dropped = {*_KINDS, "anchor", *(_BOUNDS if "at" in kinds else ())}
        if kinds != options.keys() & {*_KINDS}:  # another kind of rule: nothing of the old one stays
            dropped |= {"timezone", "start_at"}
        options = {name: value for name, value in options.items() if name not in dropped}
        broken -= dropped
    if "start_at" in changes:
        broken -= {"anchor"}
    if lost := ", ".join(sorted(broken - changes.keys())):
        raise InvalidSchedule(
            f"what is stored of {lost.replace('anchor', 'start_at')} cannot be read, and would be lost; give "
            "it with the change, or None to take it away"
        )
    options |= rule | {name: changes[name] for name in (*_BOUNDS, *_POLICIES) if name in changes}
    recurrence = recurrence_from_options(options, now)
    return recurrence if "start_at" in changes else keep_anchor(recurrence, stored, options.get("start_at"))


def keep_anchor(recurrence: Recurrence, stored: Mapping[str, Any], start_at: datetime | None) -> Recurrence:
    """Return the recurrence with the stored anchor, unless start_at is given or the interval is another."""
    rule, anchor = recurrence.rule, stored.get("anchor_ms", -1)
    same = isinstance(rule, Every) and stored.get("every_ms") == rule.interval_ms
    if start_at is not None or not isinstance(rule, Every) or not same or not is_whole(anchor, 0, LAST_MS):
        return recurrence
    return replace(recurrence, rule=Every(rule.interval_ms, anchor))


def stored_options(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored recurrence as a caller's options, as far as it can be read, and ``anchor``."""
    found: dict[str, Any] = {}
    for column, name, read in _STORED:
        try:
            if column in stored:
                found[name] = read(stored[column])
        except BROKEN:
            continue
    return found


def stored_start(options: Mapping[str, Any]) -> datetime | None:
    """Return from when on there are occurrences by stored options, where somebody said so."""
    anchor, every = options.get("anchor"), options.get("every")
    if anchor is None or (every is not None and anchor.timestamp() < every.total_seconds()):
        return options.get("start_at")
    begins: datetime = anchor
    return begins


def described(recurrence: Recurrence) -> str:
    """Return a recurrence as a message names it: the options with which a caller would give it."""
    stored = stored_options(recurrence.to_json())
    given = stored | {"anchor": None, "start_at": stored_start(stored)}
    shown = {n: v.isoformat(" ") if isinstance(v, datetime) else v for n, v in given.items() if v is not None}
    return ", ".join(f"{n}={v}" if n in (*_BOUNDS, "at", "every") else f"{n}={v!r}" for n, v in shown.items())


def _rule(options: Mapping[str, Any], now: int) -> Rule:
    cron, timezone, every, at = (options.get(name) for name in ("cron", "timezone", "every", "at"))
    if sum(kind is not None for kind in (cron, every, at)) != 1:
        raise InvalidSchedule(
            "give one of cron='...', every=timedelta(...) and at=datetime(...), and only one"
        )
    if timezone is not None and cron is None:
        raise InvalidSchedule("a timezone is for cron=...; every=... and at=... need none")
    if every is not None:
        interval, start_at = duration_ms(every, "every"), _instant(options, "start_at")
        return Every.counted_from(interval, now) if start_at is None else Every(interval, start_at)
    if at is not None:
        return Once(instant_ms(at, "at"))
    if not isinstance(cron, str):
        raise InvalidSchedule(f"cron must be a text such as '*/5 * * * *'; found {shown(cron)}")
    if timezone is not None and not isinstance(timezone, str):
        raise InvalidSchedule(
            f"timezone must be an IANA name such as 'Europe/Berlin'; found {shown(timezone)}"
        )
    return Cron(cron, "UTC" if timezone is None else timezone)


def _instant(options: Mapping[str, Any], name: str) -> int | None:
    value = options.get(name)
    return None if value is None else instant_ms(value, name)


def _duration(options: Mapping[str, Any], name: str, usual: int) -> int:
    value = options.get(name)
    return usual if value is None else duration_ms(value, name)


def _given(options: Mapping[str, Any], name: str, usual: str) -> Any:
    value = options.get(name)
    return usual if value is None else value
