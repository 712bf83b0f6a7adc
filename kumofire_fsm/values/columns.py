"""Reads a row that may hold anything that its columns can: what cannot be shown is noted, the rest is shown.

The database keeps types, and nothing else: an instant may lie beyond every calendar, and JSON be broken. One
such row must not hide the others. Many rows are read a few milliseconds a turn of the event loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from kumofire_fsm.values.times import moment

__all__ = [
    "BROKEN",
    "Columns",
    "in_turns",
    "json_object",
    "texts",
]

T = TypeVar("T")

BROKEN: Final = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError)
"""What reading a stored value raises that is not what it should be."""
_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""The first and last instant that every time zone can show."""


class Columns:
    """The columns of one row.

    Args:
        row: it has the columns as attributes.

    Attributes:
        unreadable: the names of those that hold what cannot be shown.
    """

    def __init__(self, row: Any) -> None:
        self._row = row
        self.unreadable: list[str] = []

    def read(self, name: str, of: Callable[[Any], T], otherwise: T) -> T:
        """Return what a function makes of a column, or ``otherwise`` where that cannot be."""
        try:
            return of(getattr(self._row, name))
        except BROKEN:
            self.unreadable.append(name)
            return otherwise

    def moment(self, name: str) -> datetime:
        """Return an instant; the nearest that can be shown, if it lies beyond the calendar."""
        return self.read(name, moment, _LAST if getattr(self._row, name) > 0 else _FIRST)

    def instant(self, name: str) -> datetime | None:
        """Return an instant that may be missing."""
        return None if getattr(self._row, name) is None else self.moment(name)

    def json(self, name: str) -> Any:
        """Return the value of JSON text; None for none."""
        return self.read(name, lambda text: None if text is None else json.loads(text), None)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts that is stored as JSON."""
        return self.read(name, lambda text: texts(json.loads(text) if text else []), ())


def texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts as a tuple.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("a list of texts is needed")
    return tuple(value)


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError, TypeError, RecursionError: the text is something else.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("a JSON object is needed")
    return value


Given = TypeVar("Given")
Made = TypeVar("Made")

TURN_SECONDS: Final = 0.005


async def in_turns(items: Iterable[Given], make: Callable[[Given], Made]) -> list[Made]:
    """Make something of each item; between, let the event loop do what others wait for."""
    loop, made = asyncio.get_running_loop(), []
    ends = loop.time() + TURN_SECONDS
    for item in items:
        made.append(make(item))
        if loop.time() > ends:
            await asyncio.sleep(0)
            ends = loop.time() + TURN_SECONDS
    return made
