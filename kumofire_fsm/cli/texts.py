"""How commands write what they found: instants in a zone, tables, and JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.printable import one_line
from kumofire_fsm.values.times import duration_ms

__all__ = ["Clock", "duration_of", "instant_of", "json_of", "table", "zoned"]

Clock = Callable[[datetime | None], str]
"""Writes an instant."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def zoned(*, utc: bool, milliseconds: bool = False) -> Clock:
    """Return what writes instants in the local zone, or in UTC; None is written as nothing."""

    def write(at: datetime | None) -> str:
        if at is None:
            return ""
        there = at.astimezone(UTC if utc else None)
        fraction = f".{there.microsecond // 1000:03d}" if milliseconds else ""
        return f"{there:%Y-%m-%d %H:%M:%S}{fraction} {there:%Z}"

    return write


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their heads, each column as wide as it needs."""
    texts = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    lines = [[head.upper() for head in heads], *texts]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def json_of(value: Any, *, indent: int | None = 2) -> str:
    """Return JSON: data classes as objects, instants as ISO 8601, durations as seconds."""
    return json.dumps(value, default=_plain, indent=indent, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return dict(value)


def duration_of(text: str, what: str) -> timedelta:
    """Return a duration such as 90s, 15m, 2h, 7d or 1w.

    Raises:
        InvalidArgument: it is none, or longer than 1,000 years.
    """
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if found is None:
        raise InvalidArgument(f"{what} must be a duration such as 90s, 15m, 2h, 7d or 1w; found {text!r}")
    given = timedelta(**{_UNITS[found[2]]: int(found[1])})
    duration_ms(given, what)
    return given


def instant_of(text: str, what: str, *, utc: bool) -> datetime:
    """Return an ISO time; without an offset it is on the local clock, or on that of UTC.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo is None:
            given = given.replace(tzinfo=UTC) if utc else given.astimezone()
    except (ValueError, OverflowError) as exc:
        raise InvalidArgument(f"{what} must be an ISO time such as 2026-11-01T00:30; found {text!r}") from exc
    return given
