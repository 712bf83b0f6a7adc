"""Strict JSON text: what is stored is what comes back, or it is refused.

Python and pydantic quietly turn NaN into null, and sets and bytes into lists and texts; D1 and Queues
round integers beyond 2**53. Each of these would change a payload on its way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any, Final, TypeVar

from kumofire_fsm.errors import InvalidArgument, TooLarge
from kumofire_fsm.values.limits import JSON_DEPTH, SAFE_INTEGER, STATEMENT_BYTES
from kumofire_fsm.values.printable import shown

__all__ = [
    "argument_bytes",
    "check_json",
    "chunks",
    "cut",
    "cut_middle",
    "decode",
    "encode",
    "first_line",
    "is_plain",
    "json_facts",
    "sized",
    "storable",
]

T = TypeVar("T")

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: Any, what: str, limit: int) -> str:
    """Return plain JSON values as compact text.

    Args:
        value: dicts with text keys, lists, tuples, texts, numbers, booleans and None.
        what: what it is called in an error.
        limit: bytes of UTF-8.

    Raises:
        InvalidArgument: it is not JSON.
        TooLarge: it is over the limit.
    """
    try:
        check_json(value)
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{what} is not JSON: {exc}") from exc
    return sized(text, what, limit)


def argument_bytes(text: str) -> int:
    """Return how many bytes a text has as a value inside a statement's JSON argument."""
    escaped = encode_basestring(text)
    return len(escaped) if escaped.isascii() else len(escaped.encode(errors="surrogatepass"))


def chunks(items: Sequence[T], size_of: Callable[[T], int]) -> list[list[T]]:
    """Cut items so that the argument of one statement stays near its limit."""
    parts: list[list[T]] = []
    total = STATEMENT_BYTES
    for item in items:
        size = size_of(item)
        if total + size > STATEMENT_BYTES:
            parts.append([])
            total = 0
        parts[-1].append(item)
        total += size
    return parts


def decode(text: str | None) -> Any:
    """Return the value of JSON text; None for none."""
    return None if text is None else json.loads(text)


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` bytes of UTF-8, with a mark where it was cut."""
    raw = text.replace("\0", "\\0").encode("utf-8", "replace")  # SQLite's JSON ends a text at a NUL
    if len(raw) <= limit:
        return raw.decode()
    mark = " ... [truncated]"
    return raw[: limit - len(mark)].decode("utf-8", "ignore") + mark


def cut_middle(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` bytes of UTF-8: its beginning and its end, where it is longer."""
    raw = text.replace("\0", "\\0").encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    mark = f"\n... [{len(raw) - limit:,} bytes are cut] ...\n"
    half = (limit - len(mark)) // 2
    return raw[:half].decode("utf-8", "ignore") + mark + raw[-half:].decode("utf-8", "ignore")


def first_line(text: str, length: int) -> str:
    """Return a text's first line in at most ``length`` characters, with a mark where it was cut."""
    line = text.split("\n", 1)[0]
    return line if len(line) <= length else f"{line[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def json_facts(**facts: Any) -> str:
    """Return what one entry of a history notes; in ASCII, so that its length is its size."""
    return json.dumps(facts, separators=(",", ":"))


def storable(text: object, what: str) -> str:
    """Return a text that the database can hold as it is.

    Raises:
        InvalidArgument: it is not a text, or it holds a lone surrogate, or a NUL, at which SQLite's JSON
            functions end a text.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"{what} must be a text; found {shown(text)}")
    if "\0" in text:
        raise InvalidArgument(f"{what} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument(f"{what} holds a lone surrogate") from exc
    return text


def sized(text: str, what: str, limit: int) -> str:
    """Return a text of at most ``limit`` bytes of UTF-8.

    Raises:
        InvalidArgument: it holds a lone surrogate.
        TooLarge: it is over the limit.
    """
    if len(text) * 3 > limit or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise InvalidArgument(f"{what} holds a lone surrogate, which no UTF-8 can store") from exc
        if size > limit:
            raise TooLarge(f"{what} has {size:,} bytes of JSON; the limit is {limit:,}")
    return text


def is_plain(text: str) -> bool:
    """Return whether JSON text is seen to hold no number and no depth that `check_json` would refuse."""
    return text.count("{") + text.count("[") <= JSON_DEPTH and _LONG.search(text) is None


_LONG: Final = re.compile(r"[0-9]{16}")
"""2**53 has sixteen digits."""


def check_json(value: Any, depth: int = 0) -> None:
    """Refuse what JSON would change or its readers would not read, where json.dumps would not.

    Raises:
        TypeError, ValueError: it does; the text is the end of a sentence.
    """
    if isinstance(value, dict):
        if depth > JSON_DEPTH:
            raise ValueError(f"it is nested deeper than {JSON_DEPTH} levels")
        for key, each in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of type {type(key).__name__} would come back as a text")
            check_json(each, depth + 1)
    elif isinstance(value, (list, tuple)):
        if depth > JSON_DEPTH:
            raise ValueError(f"it is nested deeper than {JSON_DEPTH} levels")
        for each in value:
            check_json(each, depth + 1)
    elif isinstance(value, int) and abs(value) > SAFE_INTEGER:
        raise ValueError("an integer is beyond 2**53, where JSON readers round; send it as a text")
