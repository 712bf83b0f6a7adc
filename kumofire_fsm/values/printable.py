"""Texts as they are shown to people: control characters are escaped, and a name that is wrong gets a hint."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable
from typing import Final

__all__ = ["did_you_mean", "one_line", "printable", "shown"]

_CONTROLS: Final = re.compile(
    "[\0-\t\v-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""C0 and C1 but for the line feed, what separates lines or turns their direction, and lone surrogates."""
_SHORT: Final = {"\t": "\\t", "\r": "\\r"}


def printable(text: str) -> str:
    """Return a text whose control characters, line feeds excepted, are escaped as JSON escapes them."""
    return _CONTROLS.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return a text on one line, with all its control characters escaped."""
    return printable(text).replace("\n", "\\n")


def shown(value: object) -> str:
    """Return what an error shows of an argument: never long, and whatever the argument is.

    It costs little for a large value, and a value that cannot be printed is told by its type.
    """
    try:
        text = _REPR.repr(value)
    except Exception:  # an application's own __repr__, or an integer of more digits than Python prints
        text = f"<{type(value).__name__}>"
    return one_line(text if len(text) <= _MOST else f"{text[:_MOST]}...")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known name, or an empty text when none is near."""
    import difflib

    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    return _SHORT.get(letter) or f"\\u{ord(letter):04x}"


_MOST: Final = 200
_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 160
