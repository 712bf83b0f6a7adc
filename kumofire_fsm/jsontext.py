"""Strict JSON text: what is stored is what comes back, or it is refused.

Python and pydantic quietly turn NaN into null, and sets and bytes into lists and texts; D1 and Queues
round integers beyond 2**53. Each of these would change a payload on its way.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.errors import InvalidArgument, TooLarge
from kumofire_fsm.limits import SAFE_INTEGER

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["cut", "decode", "encode", "encode_typed"]

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_LONG_NUMBER: Final = re.compile(r"\d{16}")


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
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{what} is not JSON: {exc}") from exc
    if _LONG_NUMBER.search(text):
        _check_integers(value, what)
    return _sized(text, what, limit)


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
        text = adapter.dump_json(value).decode()
        back = adapter.validate_json(text)
        same = adapter.dump_python(back) == adapter.dump_python(value)
    except ValueError as exc:  # pydantic's errors are ValueErrors
        raise InvalidArgument(f"{what} is not JSON: {exc}") from exc
    if not same:
        raise InvalidArgument(
            f"{what} would come back from JSON as another value: {value!r:.200} (sets, bytes and NaN do "
            "not survive; annotate such fields, or convert them)"
        )
    if _LONG_NUMBER.search(text):
        _check_integers(json.loads(text), what)
    return _sized(text, what, limit)


_PLAIN: Final = (dict, list, str, int, float, type(None))


def decode(text: str | None) -> Any:
    """Return the value of JSON text; None for none."""
    return None if text is None else json.loads(text)


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` bytes of UTF-8, with a mark where it was cut."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    mark = " ... [truncated]"
    return raw[: limit - len(mark)].decode("utf-8", "ignore") + mark


def _sized(text: str, what: str, limit: int) -> str:
    if len(text) * 3 > limit or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as exc:
            raise InvalidArgument(f"{what} holds a lone surrogate, which no UTF-8 can store") from exc
        if size > limit:
            raise TooLarge(f"{what} has {size:,} bytes of JSON; the limit is {limit:,}")
    return text


def _check_integers(value: Any, what: str) -> None:
    if isinstance(value, dict):
        for each in value.values():
            _check_integers(each, what)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check_integers(each, what)
    elif isinstance(value, int) and abs(value) > SAFE_INTEGER:
        raise InvalidArgument(
            f"{what} holds the integer {value}, which JSON readers round beyond 2**53; send it as a text"
        )
