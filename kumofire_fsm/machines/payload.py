"""Fields of a run's payload that a lifecycle declares: ``payload = {"amount": int}``.

Expressions read them as ``payload.amount``. They are derived from the payload's JSON, wherever it is stored;
what is not of the declared type is None, in Python as in SQL (`kumofire_fsm.store._answers`).
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.machines.operators import Scalar, Type
from kumofire_fsm.values.printable import did_you_mean

__all__ = ["PREFIX", "PayloadField", "declared", "misfit", "values"]

PREFIX: Final = "payload."
_KINDS: Final = {int: "an integer", str: "a text", bool: "true or false"}


class PayloadField(NamedTuple):
    """One field.

    Attributes:
        kind: int, str or bool.
        optional: whether a payload may lack it, or hold null in it.
    """

    kind: type
    optional: bool

    @property
    def holds(self) -> Type:
        """What an expression reads: true is 1, and false 0."""
        return Type.TEXT if self.kind is str else Type.INTEGER

    @property
    def plain(self) -> Scalar:
        """A value that it may hold, the simplest."""
        return None if self.optional else self.kind()

    def read(self, value: object) -> Scalar:
        """Return what an expression reads of a value from JSON; None where it is of another type."""
        if not isinstance(value, (int, str)) or type(value) is not self.kind:
            return None
        if isinstance(value, str):
            return value
        return int(value) if -(2**63) <= value < 2**63 else None


def declared(cls: str, given: object) -> dict[str, PayloadField]:
    """Return the fields that a class declares.

    Raises:
        DefinitionError: they are not names with types; the message says what to write.
    """
    form = 'payload = {"amount": int}'
    if not isinstance(given, Mapping):
        raise DefinitionError(
            f"{cls}.payload names fields with their types, as in {form}; found {given!r:.80}"
        )
    found = {}
    for name, annotation in given.items():
        if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
            raise DefinitionError(f"{cls}.payload: a field is called as a name of Python; found {name!r:.80}")
        kinds = _kinds(annotation)
        kind = next(iter(kinds - {type(None)}), None)
        if len(kinds - {type(None)}) != 1 or kind not in _KINDS:
            raise DefinitionError(
                f"{cls}.payload: {name!r} is an int, str or bool, with `| None` where a payload may lack it; "
                f"found {annotation!r:.80}"
            )
        found[name] = PayloadField(kind, type(None) in kinds)
    return found


def values(fields: Mapping[str, PayloadField], text: Scalar) -> dict[str, Scalar]:
    """Return what expressions read of a payload, by name.

    Args:
        fields: those that are declared.
        text: the payload as JSON; None for none.

    Raises:
        InvalidArgument: it is no JSON text. The row says so of one that stands apart; give the text itself.
    """
    if not fields:
        return {}
    found = _object(text)
    return {f"{PREFIX}{name}": field.read(found.get(name)) for name, field in fields.items()}


def misfit(fields: Mapping[str, PayloadField], text: str) -> str:
    """Return what of a payload does not fit the fields that are declared; empty if all does."""
    found = _object(text) if fields else {}
    for name, field in fields.items():
        needs = f"{name!r} must be {_KINDS[field.kind]}{' or null' if field.optional else ''}"
        if name not in found:
            if not field.optional:
                near = did_you_mean(name, [key for key in found if key not in fields])
                return f"{needs}, and is missing{near}"
        elif found[name] is None:
            if not field.optional:
                return f"{needs}; found null"
        elif field.read(found[name]) is None:
            kind = type(found[name])
            large = kind is int is field.kind
            return f"{needs}; found {'one beyond 64 bits' if large else kind.__name__}"
        elif field.kind is str and "\0" in found[name]:
            return f"{needs}, and has a null character, which a text in SQL cannot hold"
    return ""


def _object(text: Scalar) -> Mapping[str, Any]:
    """Return a payload that is an object; an empty one of all others, which have no fields."""
    if text is None:
        return {}
    try:
        found = json.loads(str(text))
    except ValueError as exc:
        raise InvalidArgument(f"payload={text!r:.80}: give the payload as JSON text ({exc})") from None
    return found if isinstance(found, dict) else {}


def _kinds(annotation: object) -> set[Any]:
    """Return the types that an annotation joins."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return {kind for each in typing.get_args(annotation) for kind in _kinds(each)}
    return {annotation} if isinstance(annotation, type) else {object}
