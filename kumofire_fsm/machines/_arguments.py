"""Arguments of declarations: what is misspelled, or of another kind, is refused with what to write."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final, ParamSpec, TypeVar

from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.values.printable import did_you_mean
from kumofire_fsm.values.times import duration_ms

__all__ = ["CALLBACK", "checked", "in_words", "lasting_ms", "mapping", "member", "of_kind", "time_text"]

P = ParamSpec("P")
R = TypeVar("R")
Kind = TypeVar("Kind")
Member = TypeVar("Member", bound=StrEnum)

CALLBACK: Final = (
    "a move in the database calls nothing: register a hook with app.on(...), or, for driving by hand, name a "
    "method on_enter_<state>, after_<event>, ..."
)
"""What to say to callbacks that python-statemachine takes, and a lifecycle does not."""
_INSTEAD: Final = {
    **dict.fromkeys(("enter", "exit", "invoke", "on", "before", "after", "validators"), CALLBACK),
    "unless": 'write the opposite: cond="not (...)"',
    "final": "say role=Role.SETTLED",
    "internal": "a self-loop, state.to.itself(), does not enter its state again",
    "event": "give the edges to an Event",
    "name": "it is called as the attribute is",
    "value": "it is stored as the attribute is called",
    "id": "it is called as the attribute is",
}

_UNITS: Final = {
    "days": 86_400_000,
    "hours": 3_600_000,
    "minutes": 60_000,
    "seconds": 1000,
    "milliseconds": 1,
}


def checked(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse a call that does not fit the function's signature.

    Raises (when it is called):
        DefinitionError: it says which argument, and what to write instead.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as exc:
                raise DefinitionError(f"{what}: {exc}{_hint(str(exc), signature)}") from None
            return function(*args, **kwargs)

        return call

    return wrap


def _hint(said: str, signature: inspect.Signature) -> str:
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", said)
    if unexpected is None:
        return ""
    instead = _INSTEAD.get(unexpected[1])
    return (
        f"; {instead}"
        if instead
        else did_you_mean(unexpected[1], set(signature.parameters) - {"self", "cls"})
    )


def member(kind: type[Member], value: object, where: str) -> Member:
    """Return the member of an enumeration that a declaration names."""
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        known = [str(each) for each in kind]
        near = did_you_mean(str(value), known)
        name = kind.__name__
        raise DefinitionError(
            f"{where}: no {name} {value!r:.80}{near}; there are {', '.join(known)}"
        ) from None


def of_kind(kind: type[Kind], value: object, where: str, name: str) -> Kind:
    """Return a value that is of a kind, such as a text."""
    if not isinstance(value, kind):
        kinds = {str: "a text", bool: "True or False"}
        raise DefinitionError(
            f"{where}: {name} must be {kinds.get(kind, kind.__name__)}; found {value!r:.80}"
        )
    return value


def mapping(value: Mapping[str, str] | None, where: str, name: str) -> dict[str, str]:
    """Return assignments: an expression for each column."""
    given: object = {} if value is None else value
    if not isinstance(given, Mapping):
        raise DefinitionError(
            f'{where}: {name} must be a mapping such as {{"attempt": "attempt + 1"}}; found {given!r:.80}'
        )
    return {
        of_kind(str, column, where, "a column"): expression_text(text, where)
        for column, text in given.items()
    }


def expression_text(value: object, where: str) -> str:
    """Return an expression's text.

    Raises:
        DefinitionError: it is something else; the message says how to write it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, timedelta):
        meant = f"now + {value // timedelta(milliseconds=1)}"
    else:
        meant = str(value) if isinstance(value, int) or value is None else "now + 60000"
    raise DefinitionError(
        f'{where}: an expression is a text, such as "{meant}" (in milliseconds); found {value!r:.80}'
    )


def time_text(value: object, where: str) -> str:
    """Return the expression of a deadline's time.

    Raises:
        DefinitionError: it is no text.
    """
    if isinstance(value, str):
        return value
    raise DefinitionError(
        f"{where}: a time is a timedelta, such as timedelta(days=3), or an expression, such as "
        f'"created_at + 60000" (in milliseconds); found {value!r:.80}'
    )


def lasting_ms(duration: object, where: str) -> int:
    """Return a duration in milliseconds.

    Raises:
        DefinitionError: it is none, or nothing at all.
    """
    try:
        return duration_ms(duration, "a duration", least=1)
    except InvalidArgument as exc:
        meant = '; the time "now" is due at once' if duration in (0, timedelta(0)) else ""
        raise DefinitionError(f"{where}: {exc}{meant}") from None


def in_words(milliseconds: int) -> str:
    """Return a duration as people say it, in the largest unit that gives it exactly: ``3 days``."""
    unit = next(unit for unit in _UNITS if milliseconds % _UNITS[unit] == 0)
    count = milliseconds // _UNITS[unit]
    return f"{count:,} {unit if count != 1 else unit.removesuffix('s')}"
