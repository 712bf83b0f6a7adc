"""Hides of a payload what its own types hide: secrets, and fields with ``repr=False``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["HIDDEN", "without_hidden"]

HIDDEN: Final = "**********"
"""What stands for a value that is not shown, as pydantic writes it."""


_PLAIN: Final = frozenset({type(None), bool, int, float, str})
"""Types of values that hide nothing."""


class _Field(NamedTuple):
    value: Any
    hidden: bool
    keys: tuple[str, ...]
    """Under which of these names JSON has it."""


def without_hidden(value: Any, text: Any) -> Any:
    """Return a value's JSON as it may be shown.

    Args:
        value: what the handler is called with.
        text: its JSON, as it is stored. Where a type writes itself in a form of its own, so that nobody knows
            where its hidden fields are, all of it is hidden.
    """
    if not _hides(value):
        return text
    if (fields := _fields(value)) is not None:
        if tuple(fields) == ("root",):  # a RootModel
            return HIDDEN if fields["root"].hidden else without_hidden(fields["root"].value, text)
        return _of_fields(fields, text) if isinstance(text, dict) else HIDDEN
    if isinstance(value, Mapping) and isinstance(text, dict) and len(value) == len(text):
        pairs = zip(value.values(), text.items(), strict=True)
        return {key: without_hidden(each, shown) for each, (key, shown) in pairs}
    if isinstance(value, (list, tuple)) and isinstance(text, list) and len(value) == len(text):
        return [without_hidden(each, shown) for each, shown in zip(value, text, strict=True)]
    return HIDDEN


def _of_fields(fields: Mapping[str, _Field], text: dict[str, Any]) -> Any:
    shown = dict(text)
    for field in fields.values():
        found = [key for key in field.keys if key in shown]
        if not found and (field.hidden or _hides(field.value)):
            return HIDDEN
        for key in found:
            shown[key] = HIDDEN if field.hidden else without_hidden(field.value, shown[key])
    return shown


def _hides(value: Any) -> bool:
    """Return whether a value hides itself, or a part of itself."""
    if type(value) in _PLAIN:
        return False
    return hasattr(value, "get_secret_value") or any(hidden or _hides(part) for part, hidden in _parts(value))


def _parts(value: Any) -> Iterator[tuple[Any, bool]]:
    if (fields := _fields(value)) is not None:
        yield from ((field.value, field.hidden) for field in fields.values())
    elif isinstance(value, Mapping):
        yield from ((part, False) for part in (*value.keys(), *value.values()))
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((part, False) for part in value)


def _fields(value: Any) -> dict[str, _Field] | None:
    """Return the fields of a pydantic model or of a dataclass that are in its JSON; None of anything else."""
    kind = type(value)
    models = getattr(kind, "model_fields", None) or getattr(kind, "__pydantic_fields__", None)
    if isinstance(models, dict):
        extra = getattr(value, "__pydantic_extra__", None) or {}
        return {
            **{
                name: _Field(getattr(value, name, None), not field.repr, (name, *_aliases(field)))
                for name, field in models.items()
                if not field.exclude
            },
            **{name: _Field(each, hidden=False, keys=(name,)) for name, each in extra.items()},
        }
    if not dataclasses.is_dataclass(value):
        return None
    fields = dataclasses.fields(value)
    return {
        each.name: _Field(getattr(value, each.name, None), not each.repr, (each.name,)) for each in fields
    }


def _aliases(field: Any) -> Iterator[str]:
    for alias in (field.alias, field.serialization_alias, field.validation_alias):
        if isinstance(alias, str):
            yield alias
