"""Strict JSON text: what is stored is what comes back, or it is refused.

Python and pydantic quietly turn NaN into null, and sets and bytes into lists and texts; D1 and Queues
round integers beyond 2**53. Each of these would change a payload on its way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kumofire_fsm.errors import InvalidArgument, TooLarge
from kumofire_fsm.values.limits import JSON_DEPTH, SAFE_INTEGER, STATEMENT_BYTES

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    "argument_bytes",
    "chunks",
    "cut",
    "decode",
    "encode",
    "encode_typed",
    "first_line",
    "json_facts",
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
        _check(value)
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{what} is not JSON: {exc}") from exc
    return _sized(text, what, limit)


def argument_bytes(text: str) -> int:
    """Return how many bytes a JSON text has as a value inside a statement's JSON argument."""
    size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    return size + text.count('"') + text.count("\\")


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


def encode_typed(value: Any, adapter: TypeAdapter[Any] | None, what: str, limit: int) -> str:
    """Return a validated value as compact text, by its pydantic type.

    Raises:
        InvalidArgument: the text would not give the same value back.
        TooLarge: it is over the limit.
    """
    if adapter is None or isinstance(value, _PLAIN):
        try:
            return encode(value, what, limit)
        except TooLarge:
            raise
        except InvalidArgument as exc:
            if adapter is None or not isinstance(exc.__cause__, TypeError):
                raise
    try:
        text, same = _round_trip(value, adapter, by_alias=False)
    except ValueError:  # pydantic's errors are ValueErrors
        try:  # a field with an alias is validated by that
            text, same = _round_trip(value, adapter, by_alias=True)
        except ValueError as exc:
            raise InvalidArgument(f"{what} is not JSON: {exc}") from exc
    if not same:
        raise InvalidArgument(
            f"{what} would come back from JSON as another value: {value!r:.200} (sets, bytes and NaN do "
            "not survive; annotate such fields, or convert them)"
        )
    try:
        _check(json.loads(text))
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{what} is not JSON: {exc}") from exc
    return _sized(text, what, limit)


_PLAIN: Final = (dict, list, str, int, float, type(None))


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
        raise InvalidArgument(f"{what} must be a text; found {text!r:.200}")
    if "\0" in text:
        raise InvalidArgument(f"{what} holds a NUL character: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument(f"{what} holds a lone surrogate: {text!r}") from exc
    return text


def _sized(text: str, what: str, limit: int) -> str:
    if len(text) * 3 > limit or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise InvalidArgument(f"{what} holds a lone surrogate, which no UTF-8 can store") from exc
        if size > limit:
            raise TooLarge(f"{what} has {size:,} bytes of JSON; the limit is {limit:,}")
    return text


def _round_trip(value: Any, adapter: TypeAdapter[Any], *, by_alias: bool) -> tuple[str, bool]:
    """Return the text, and whether it gives the same value back."""
    text = adapter.dump_json(value, by_alias=by_alias, round_trip=True).decode()
    back = adapter.validate_json(text)
    return text, adapter.dump_python(back) == adapter.dump_python(value)


def _check(value: Any, depth: int = 0) -> None:
    """Refuse what JSON would change or its readers would not read, where json.dumps would not."""
    if isinstance(value, dict):
        if depth > JSON_DEPTH:
            raise ValueError(f"it is nested deeper than {JSON_DEPTH} levels")
        for key, each in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} would come back as a text")
            _check(each, depth + 1)
    elif isinstance(value, (list, tuple)):
        if depth > JSON_DEPTH:
            raise ValueError(f"it is nested deeper than {JSON_DEPTH} levels")
        for each in value:
            _check(each, depth + 1)
    elif isinstance(value, int) and abs(value) > SAFE_INTEGER:
        raise ValueError(f"the integer {value} is beyond 2**53, where JSON readers round; send it as a text")
