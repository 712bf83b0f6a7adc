"""JSON text of an annotated value: who reads it by the annotation gets the same value, or it is refused.

Pydantic serializes by the annotation. So it drops what a subclass adds, takes one model for another that
looks alike, and turns sets and bytes inside of an `Any` into lists and texts, all without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kumofire_fsm.errors import InvalidArgument, TooLarge
from kumofire_fsm.values.error_text import text_of
from kumofire_fsm.values.jsontext import check_json, encode, is_plain, sized

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Encoded", "encode_typed", "there_and_back"]

_PLAIN: Final = (dict, list, str, int, float, type(None))
_LEAVES: Final = frozenset({str, int, float, bool, type(None), datetime, bytes})
"""Types whose values have no parts."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Encoded(NamedTuple):
    """A value as JSON text, and what that text gives who reads it by its annotation."""

    text: str
    back: Any


def encode_typed(
    value: Any, adapter: TypeAdapter[Any] | None, what: str, limit: int, *, exact: bool = True
) -> str:
    """Return a validated value as compact text, by its pydantic type if it has one; see `there_and_back`."""
    if adapter is None:
        return encode(value, what, limit)
    return there_and_back(value, adapter, what, limit, exact=exact).text


def there_and_back(
    value: Any, adapter: TypeAdapter[Any], what: str, limit: int, *, exact: bool = True
) -> Encoded:
    """Return a validated value as compact text, and as it comes back from there.

    Args:
        value: what the adapter has validated.
        adapter: pydantic's for the annotation.
        what: what it is called in an error.
        limit: bytes of UTF-8.
        exact: whether models come back as what they are. Who reads the JSON by itself needs its data only.

    Raises:
        InvalidArgument: the text would not give the same value back.
        TooLarge: it is over the limit.
    """
    refusals: list[InvalidArgument] = []
    if isinstance(value, _PLAIN):  # as it is, which is cheaper, and then as pydantic writes it
        try:
            text = encode(value, what, limit)
            back = adapter.validate_json(text)
            if _alike(value, back):
                return Encoded(text, back)
            refusals.append(InvalidArgument(_ANOTHER.format(what)))
        except TooLarge:
            raise
        except InvalidArgument as exc:
            refusals += [] if isinstance(exc.__cause__, TypeError) else [exc]
        except ValueError:
            pass  # its annotation reads another text than its JSON
    for by_alias in (False, True):  # a field with an alias is validated by that
        try:
            return _by_adapter(value, adapter, what, limit, by_alias=by_alias, exact=exact)
        except TooLarge:
            raise
        except InvalidArgument as exc:
            refusals.append(exc)
    # A text that comes back as something else tells more than one that does not come back.
    raise next((exc for exc in refusals if exc.__cause__ is None), refusals[0])


_ANOTHER: Final = (
    "{} would come back from JSON as another value (sets, bytes and NaN do not survive where the annotation "
    "does not name them; annotate such fields, or convert them)"
)


def _by_adapter(
    value: Any, adapter: TypeAdapter[Any], what: str, limit: int, *, by_alias: bool, exact: bool
) -> Encoded:
    """Return the text that pydantic writes, if it gives the same value back."""
    try:
        text = adapter.dump_json(value, by_alias=by_alias, round_trip=True, warnings=False).decode()
        if not is_plain(text):
            check_json(json.loads(text))
        back = adapter.validate_json(text)
        is_equal = _equal(value, back)
    except (ValueError, RecursionError) as exc:  # pydantic's errors are ValueErrors
        raise InvalidArgument(f"{what} is not JSON: {text_of(exc)}") from exc
    if not is_equal:  # what is equal in each part has lost nothing, and costs a tenth to see
        if lost := _lost(value, back, exact=exact):
            raise InvalidArgument(f"{what} would not come back from JSON as it is: {lost}")
        if not _same(value, back, adapter):
            raise InvalidArgument(_ANOTHER.format(what))
    return Encoded(sized(text, what, limit), back)


def _equal(value: Any, back: Any) -> bool:
    """Return whether two values are of the same types, with equal parts; False where it cannot tell."""
    kind = type(value)
    if kind is not type(back):
        return False
    if kind in _LEAVES:
        return bool(value == back)
    if kind is list:
        return len(value) == len(back) and all(map(_equal, value, back))
    if kind is dict:
        return _equal_parts(value, back)
    more = getattr(value, "__pydantic_extra__", _NO_MODEL)
    if more is _NO_MODEL or more or back.__pydantic_extra__:
        return False
    return _equal_parts(value.__dict__, back.__dict__)


def _equal_parts(value: Mapping[Any, Any], back: Mapping[Any, Any]) -> bool:
    if value.keys() != back.keys():
        return False
    for key, one in value.items():
        other, kind = back[key], type(one)
        if kind in _LEAVES and kind is type(other):  # without another call: most parts are leaves
            if one != other:
                return False
        elif not _equal(one, other):
            return False
    return True


_NO_MODEL: Final = object()


def _same(value: Any, back: Any, adapter: TypeAdapter[Any]) -> bool:
    """Return whether two values are the same to their annotation."""
    try:
        dumps = [adapter.dump_python(each, warnings=False) for each in (value, back)]
    except (TypeError, ValueError):  # a set of models, say, would be a set of dicts
        dumps = [value, back]
    return _alike(*dumps)


def _alike(value: Any, back: Any) -> bool:
    return bool(value == back) or bool(_normal(value) == _normal(back))


def _normal(value: Any) -> Any:
    """Return a value whose instants can be compared, and whose tuples are lists, as in JSON.

    Python says that a wall time which a change of the clock repeats or skips equals none of another zone
    (PEP 495), and pydantic gives instants back with an offset instead of their zone.
    """
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value - _EPOCH
    if isinstance(value, Mapping):
        return {_normal_key(key): _normal(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normal(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_normal_key, value))
    if (fields := _fields(value)) is not None:
        return type(value), tuple((name, _normal_key(each)) for name, each in fields.items())
    return value


def _normal_key(value: Any) -> Any:
    """Return what can stand in a set, as in JSON no list can."""
    return tuple(map(_normal_key, value)) if isinstance(value, tuple) else _normal(value)


def _lost(value: Any, back: Any, *, exact: bool, at: str = "") -> str:
    """Return what the annotation loses of a value, as the end of a sentence; empty if nothing."""
    if type(value) in _LEAVES and type(back) in _LEAVES:
        return ""
    fields, found = _fields(value), _fields(back)
    if fields is not None and (exact or found is not None):
        given, read = type(value).__name__, type(back).__name__
        where = f" (at {at})" if at else ""
        if lacking := ", ".join(sorted(fields.keys() - (fields if found is None else found).keys())):
            return (
                f"the annotation reads {read}, which has no {lacking}, and found was {given}{where}; name "
                f"{given} in the annotation"
            )
        if exact and type(value) is not type(back):
            return (
                f"{given} would be read as {read}{where}; name {given} in the annotation, or tell them apart"
            )
    pairs = _pairs(value, back) if fields is None else _pairs(fields, found or {})
    lost = (_lost(one, other, exact=exact, at=f"{at}.{key}".lstrip(".")) for key, one, other in pairs)
    return next(filter(None, lost), "")


def _pairs(value: Any, back: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the parts of two values that belong together, each with its place."""
    if isinstance(value, Mapping) and isinstance(back, Mapping):
        yield from ((key, value[key], back[key]) for key in value if key in back)
    elif isinstance(value, (list, tuple)) and isinstance(back, (list, tuple)):
        yield from ((place, *each) for place, each in enumerate(zip(value, back, strict=False)))
    elif isinstance(value, (set, frozenset)) and any(_fields(each) is not None for each in value):
        ordered = zip(sorted(value, key=repr), sorted(back, key=repr), strict=False)
        yield from (("in it", *each) for each in ordered)


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a pydantic model or of a dataclass by name; None of anything else."""
    kind = type(value)
    names = getattr(kind, "model_fields", None)
    if not isinstance(names, dict) and (names := getattr(kind, "__dataclass_fields__", None)) is None:
        return None
    extra: dict[str, Any] = getattr(value, "__pydantic_extra__", None) or {}
    return {**{name: getattr(value, name) for name in names if hasattr(value, name)}, **extra}
