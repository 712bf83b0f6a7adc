"""Expressions as declarations hold them: parsed with the place they stand at, and guards as callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.expression import Expression, ExpressionError, parse

__all__ = ["guard_function", "guard_text", "parsed"]

ALWAYS = "always"


def parsed(text: str, where: str) -> Expression:
    """Return the expression that a declaration spells.

    Raises:
        DefinitionError: the text is not an expression; the message says where it stands.
    """
    try:
        return parse(text)
    except ExpressionError as exc:
        raise DefinitionError(f"{where}: {exc}") from exc


def guard_text(cond: object, where: str) -> str:
    """Return the guard's text, or an empty text for an edge without one.

    Raises:
        DefinitionError: the guard is a function, which no database can evaluate.
    """
    if cond is None:
        return ""
    if not isinstance(cond, str):
        raise DefinitionError(
            f"{where}: the guard {cond!r} does not compile to SQL; write it as an expression on "
            'columns, such as cond="attempt < max_attempts"'
        )
    parsed(cond, where)
    return cond


def guard_function(text: str) -> Callable[..., bool]:
    """Return the guard as the callback that python-statemachine evaluates."""
    guard = parse(text) if text else None

    def holds(machine: Any, event_data: Any) -> bool:
        row = machine.row(event_data.trigger_data.kwargs)
        return guard is None or bool(guard.evaluate(row))

    holds.__name__ = text or ALWAYS
    return holds
