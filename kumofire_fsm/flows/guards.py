"""Guards of a flow's edges: out of a task on the data, in Python; out of a wait on columns, in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.expression import Expression
from kumofire_fsm.machines.guards import guard_text, parsed

__all__ = ["data_guard", "data_name", "fields_read", "holds", "holds_row", "row_guard"]

_DATA: Final = "data."


def data_guard(text: object, where: str) -> Expression:
    """Return the guard of an edge out of a task.

    Raises:
        DefinitionError: it is not an expression, or reads something else than ``data.<field>``.
    """
    guard = parsed(guard_text(text, where), where)
    for name in guard.names():
        if not name.startswith(_DATA):
            raise DefinitionError(
                f"{where}: out of a task a guard reads the data that its handler returned, as in "
                f'cond="data.total > 100"; found {name!r}'
            )
    return guard


def row_guard(text: object, where: str) -> Expression:
    """Return the guard of an edge out of a wait.

    Raises:
        DefinitionError: it is not an expression, or reads the data, which no database can.
    """
    guard = parsed(guard_text(text, where), where)
    if fields_read(guard):
        raise DefinitionError(
            f"{where}: out of a wait a guard reads columns, because nobody holds the row there; found "
            f"{text!r}; let a task after the wait decide by the data"
        )
    return guard


def data_name(field: str) -> str:
    """Return the name by which a guard's expression reads a field of the data."""
    return f"{_DATA}{field}"


def fields_read(guard: Expression) -> set[str]:
    """Return the fields of the data that a guard reads."""
    return {name.removeprefix(_DATA) for name in guard.names() if name.startswith(_DATA)}


def holds(guard: Expression, data: Any) -> bool:
    """Return whether a guard on the data lets it through; a value that is missing does not."""
    row: Mapping[str, Any] = {data_name(name): getattr(data, name) for name in fields_read(guard)}
    return bool(guard.evaluate(row))


def holds_row(guard: Expression, row: Mapping[str, Any]) -> bool:
    """Return whether a guard on columns lets a row through."""
    return bool(guard.evaluate(row))
