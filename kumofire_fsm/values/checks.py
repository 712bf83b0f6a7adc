"""Checks of arguments that several calls take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeGuard

from kumofire_fsm.errors import InvalidArgument, TooLarge
from kumofire_fsm.values.jsontext import json_facts, storable
from kumofire_fsm.values.limits import FACTS_BYTES, KEY_LENGTH, PRIORITIES, TAG_COUNT, TAG_LENGTH
from kumofire_fsm.values.printable import did_you_mean, shown

__all__ = [
    "attempts",
    "check_key",
    "check_options",
    "facts",
    "is_listed",
    "is_whole",
    "part_id",
    "priority",
    "tags",
    "whole_number",
]


def is_whole(value: object, least: int, most: int) -> TypeGuard[int]:
    """Return whether a value is an integer of that range; a boolean is none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole_number(value: object, what: str, most: int) -> int:
    """Return an integer from 1 to ``most``.

    Raises:
        InvalidArgument: it is something else.
    """
    if not is_whole(value, 1, most):
        raise InvalidArgument(f"{what} must be an integer from 1 to {most}; found {shown(value)}")
    return value


def check_options(call: str, given: Iterable[object], known: Collection[str]) -> None:
    """Refuse what is no option of a call.

    Args:
        call: what takes the options, such as "prepare_create" or "a schedule".
        given, known: the options' names.

    Raises:
        InvalidArgument: it says which is meant, perhaps.
    """
    unknown = sorted((each for each in given if each not in known), key=shown)
    if unknown:
        near = did_you_mean(unknown[0], known) if isinstance(unknown[0], str) else ""
        listed = ", ".join(sorted(known))
        raise InvalidArgument(f"{call} has no option {shown(unknown[0])}{near}; it has {listed}")


def attempts(value: object, default: int) -> int:
    """Return how many attempts a run has.

    Raises:
        InvalidArgument: it is not an integer from 1 to 1,000,000.
    """
    if value is None:
        return default
    if not is_whole(value, 1, 1_000_000):
        raise InvalidArgument(f"max_attempts must be an integer from 1 on; found {shown(value)}")
    return value


def priority(value: object) -> int:
    """Return the number by which a priority is stored.

    Raises:
        InvalidArgument: it is none of them.
    """
    if not isinstance(value, str) or value not in PRIORITIES:
        raise InvalidArgument(f"priority must be 'high', 'normal' or 'low'; found {shown(value)}")
    return PRIORITIES[value]


def check_key(value: object, what: str) -> str:
    """Return a name or key.

    Raises:
        InvalidArgument: it is not a text, or it is empty, or longer than 255 characters.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{what} must be a text of 1 to {KEY_LENGTH} characters; found {shown(value)}")
    if len(value) > KEY_LENGTH:
        raise TooLarge(f"{what} has {len(value)} characters; the limit is {KEY_LENGTH}")
    return storable(value, what)


def tags(given: object) -> list[str]:
    """Return checked tags.

    Raises:
        InvalidArgument, TooLarge: too many, too long, or not texts.
    """
    listed: list[Any] = list(given) if is_listed(given) else [None]
    if not all(isinstance(tag, str) and tag for tag in listed):
        raise InvalidArgument(f"tags must be a list of texts; found {shown(given)}")
    if len(listed) > TAG_COUNT or any(len(tag) > TAG_LENGTH for tag in listed):
        raise TooLarge(f"at most {TAG_COUNT} tags of at most {TAG_LENGTH} characters; found {shown(given)}")
    return [storable(tag, "a tag") for tag in listed]


def is_listed(given: object) -> TypeGuard[Iterable[Any]]:
    """Return whether several values are given, in any order; a text and a mapping are one."""
    return isinstance(given, Iterable) and not isinstance(given, str | Mapping)


def facts(**given: str | None) -> str | None:
    """Return who says something and why as JSON for a history; None where nothing is said.

    Raises:
        InvalidArgument, TooLarge: something is not a text, or is too long.
    """
    said: Mapping[str, Any] = {key: value for key, value in given.items() if value is not None}
    if not said:
        return None
    if not all(isinstance(value, str) for value in said.values()):
        raise InvalidArgument(f"by and note must be texts; found {shown(dict(said))}")
    text = json_facts(**said)
    if len(text) > FACTS_BYTES:
        raise TooLarge(f"by and note have {len(text):,} bytes of JSON; the limit is {FACTS_BYTES:,}")
    return text


def part_id(given: object, what: str) -> str:
    """Return the id of a part of a flow, which is given itself or by that.

    Raises:
        InvalidArgument: it is neither.
    """
    found = getattr(given, "id", given)
    if not isinstance(found, str):
        raise InvalidArgument(f"{what} must be one of a flow's, or its name; found {shown(given)}")
    return found
