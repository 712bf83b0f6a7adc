"""The fields of the data that guards read, with plain values: what tests and lint try guards with."""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.values.printable import did_you_mean

__all__ = ["FlowData"]

_LIKELY: Final = (0, 1, 10, 100, "a", "abcdefgh")
"""Values of which most fields with a constraint take one."""


class FlowData:
    """Reads data, and completes it where a test gives only some fields.

    Args:
        flow: the flow's name.
        model: the model of its data.
        read: the fields that its guards read.

    Attributes:
        plain: what each of these fields holds unless it is given.
    """

    def __init__(self, flow: str, model: Any, read: Sequence[str]) -> None:
        self._flow, self._model, self.read = flow, model, read
        self.plain = {name: self._plainest(name) for name in read}

    @property
    def texts(self) -> list[str]:
        """The fields that hold texts, of those that guards read."""
        fields = self._model.model_fields
        return [name for name in self.read if str in map(type, _values(fields[name]))]

    def text(self, given: object) -> str:
        """Return data as the row holds it.

        Raises:
            InvalidArgument: it is neither the flow's model nor a mapping of some of its fields, or a value
                does not fit.
        """
        model = self._model
        if isinstance(given, model):
            return str(given.model_dump_json())
        if not isinstance(given, Mapping):
            raise InvalidArgument(
                f"data={given!r:.100}: {self._flow} carries {model.__name__}; give one, or a dict of fields"
            )
        for name in given:
            if name not in model.model_fields:
                near = did_you_mean(str(name), model.model_fields)
                raise InvalidArgument(f"data: {model.__name__} has no field {name!r}{near}")
        for error in self._errors(given):
            place = ".".join(map(str, error["loc"]))
            raise InvalidArgument(f"data: {model.__name__}.{place}: {error['msg']}")
        return json.dumps(dict(given), default=str)

    def fits(self, given: Mapping[str, Any]) -> bool:
        """Return whether the model takes such values."""
        return not given or not list(self._errors(given))

    def of(self, text: Scalar) -> Any:
        """Return what a row holds as data, completed with plain values where fields are missing."""
        try:
            return self._model.model_validate_json(text)
        except ValidationError:
            return self._model.model_construct(**{**self.plain, **json.loads(str(text))})

    def _plainest(self, name: str) -> Scalar:
        """Return what a field holds unless it is given: its default, or a plain value that fits."""
        field = self._model.model_fields[name]
        if not field.is_required():
            return _default(field)
        values: list[Scalar] = [*_values(field), *_LIKELY]
        return next((value for value in values if self.fits({name: value})), values[0])

    def _errors(self, given: Mapping[str, Any]) -> Iterator[Any]:
        """Yield what is wrong with some fields; that others are missing is not."""
        try:
            self._model.model_validate(dict(given))
        except ValidationError as exc:
            for error in exc.errors():
                if error["type"] != "missing" or len(error["loc"]) > 1:
                    yield error


def _default(field: Any) -> Scalar:
    """Return a field's default, where it is one that guards can read."""
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    found = default.value if isinstance(default, enum.Enum) else default
    return found if isinstance(found, (int, str)) else None


def _values(field: Any) -> list[Any]:
    """Return plain values of a field's type: the first choice of several, ``""`` of texts, 0 of numbers."""
    found: list[Any] = []
    for kind in _kinds(field.annotation):
        if typing.get_origin(kind) is typing.Literal:
            found += typing.get_args(kind)
        elif isinstance(kind, type) and issubclass(kind, enum.Enum):
            found += [member.value for member in kind]
        elif isinstance(kind, type) and issubclass(kind, (str, int)):
            found.append("" if issubclass(kind, str) else 0)
    return found


def _kinds(annotation: Any) -> list[Any]:
    """Return the types that an annotation joins."""
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return [kind for each in typing.get_args(annotation) for kind in _kinds(each)]
    if origin is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    return [annotation]
