"""What the body of a lifecycle's class may hold: nothing that stands there is dropped without a word."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any, Final

import statemachine
from statemachine import State as BaseState
from statemachine.states import States

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines._declarations import Event, State
from kumofire_fsm.machines._family import DECLARED, Declared
from kumofire_fsm.values.printable import did_you_mean

__all__ = ["RESERVED", "check_body", "check_columns", "check_options", "check_table"]

RESERVED: Final = frozenset(
    {name for name in dir(statemachine.StateMachine) if not name.startswith("_")}
    | {"machine_name", "on_transition", "role_sets", "validate_trap_states"}
    | {"validate_final_reachability", "validate_disconnected_states", "listeners", "listeners_inherit"}
    | {
        "create",
        "truncated",
        "state",
        "model",
        "send",
        "spec",
        "table",
        "fields",
        "parameters",
        "texts",
        "payload",
        "payload_fields",
        "row",
    }
    | {"events", "states", "name", "id", "is_terminated", "configuration", "current_state_value"}
)
"""Names that a state or event may not have: attributes of the machine, or marks in the history."""
_COLUMNS: Final = frozenset({"fields", "parameters", "texts", "role_sets"})
"""What only a lifecycle declares that inherits no states: those of its table."""
_FREE: Final = frozenset({"listeners", "listeners_inherit", "create", "truncated", "payload"})
"""Reserved names that a class may give a value or a method."""
_OPTIONS: Final = ("table", "machine")


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Refuse what stands beside a class's bases and is no option, or no text."""
    for option, value in options.items():
        if option not in _OPTIONS:
            near = did_you_mean(option, _OPTIONS)
            raise DefinitionError(f"class {name}: no option {option!r}{near}; there are machine and table")
        if not isinstance(value, str | None):
            raise DefinitionError(f"class {name}: {option} must be a text; found {value!r:.80}")


def check_body(cls: type, body: Mapping[str, Any], known: Mapping[str, Declared]) -> None:
    """Refuse what a class body holds and a lifecycle would drop.

    Args:
        cls: the class.
        body: its namespace.
        known: what it inherits, by name.
    """
    for key, value in body.items():
        what = f"{cls.__name__}.{key}"
        if isinstance(value, DECLARED):
            _check_declared(cls.__name__, key, value, known)
        elif key.startswith("_") or key.isupper():
            continue
        elif known.get(key) is not None:
            _check_override(what, known[key], value)
        elif value is None:
            near = did_you_mean(key, [name for name, each in known.items() if isinstance(each, Event)])
            raise DefinitionError(f"{what} = None takes no event away: none of that name is inherited{near}")
        elif key in _COLUMNS and known:
            raise DefinitionError(
                f"{what}: the columns are those of the table; a subclass has no others. A field of the "
                'payload is declared as payload = {"amount": int}, and read as payload.amount'
            )
        elif key in RESERVED - _FREE - _COLUMNS:
            option = {"machine_name": "machine", "name": "machine", "table": "table"}.get(key)
            mend = f"say class {cls.__name__}(..., {option}=...)" if option else "rename it"
            raise DefinitionError(f"{what}: the name belongs to the machine itself; {mend}")
        elif key not in _FREE | _COLUMNS and not (callable(value) or hasattr(value, "__get__")):
            _refuse_unknown(what, key, value, known)
    _check_annotations(cls, body)


def _check_declared(machine: str, key: str, value: object, known: Mapping[str, Declared]) -> None:
    """Refuse reserved names, inherited ones of the other kind, and what the library declares in its way."""
    if key in RESERVED or key.startswith("_"):
        raise DefinitionError(f"{machine}.{key}: the name is reserved; choose another")
    is_state = isinstance(value, BaseState)
    if isinstance(known.get(key), Event if is_state else State):
        raise DefinitionError(f"{machine}: {key!r} names both a state and an event; rename one")
    if isinstance(value, States) or (is_state and not isinstance(value, State)):
        raise DefinitionError(
            f"state {key!r} is a plain {type(value).__name__} of python-statemachine: declare it as "
            "State(..., role=...)"
        )
    if isinstance(value, statemachine.Event) and not isinstance(value, Event):
        raise DefinitionError(
            f"event {key!r} is a plain Event of python-statemachine: declare it as Event(..., by=...)"
        )


def _check_override(what: str, inherited: Declared, value: object) -> None:
    """Refuse what hides an inherited state or event, except for None, which takes an event away."""
    if isinstance(inherited, State):
        mend = "rename it" if value is not None else "declare it again, with retired=True"
        why = "" if value is not None else ", and no class takes a state away, because rows may be in it"
        raise DefinitionError(f"{what} is an inherited state{why}; {mend}")
    if value is not None:
        raise DefinitionError(f"{what} is an inherited event; rename it (None takes an event away)")


def _refuse_unknown(what: str, key: str, value: object, known: Mapping[str, Declared]) -> None:
    near = did_you_mean(key, [*_COLUMNS, "payload", *known])
    if isinstance(value, tuple) and any(isinstance(each, DECLARED) for each in value):
        near = "; is there a comma too many?"
    raise DefinitionError(
        f"{what} means nothing to a lifecycle{near}; write constants of your own in capitals, or with a _ "
        f"before them; found {value!r:.80}"
    )


def _check_annotations(cls: type, body: Mapping[str, Any]) -> None:
    """Refuse a state or event that is announced, and never declared."""
    for key, annotation in _annotations(cls).items():
        kind = str(getattr(annotation, "__name__", annotation)).rpartition(".")[2]
        if not key.startswith("_") and key not in body and kind in ("State", "Event"):
            raise DefinitionError(
                f"{cls.__name__}.{key} is annotated as {kind}, and not declared; write {key} = {kind}(...)"
            )


def _annotations(cls: type) -> Mapping[str, object]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
    return inspect.get_annotations(cls)


def check_table(cls: Any, first: Any) -> None:
    """Refuse a lifecycle of rows that nothing stores, or with other columns than their table has.

    Args:
        cls: the class.
        first: the built-in lifecycle of its table; None where there is no such table.
    """
    name = cls.__name__
    if first is None:
        raise DefinitionError(
            f"class {name}(Lifecycle) has no table, so nothing would store it: a lifecycle is that of a run, "
            f"class {name}(RunMachine). Something of your own, such as an order that is placed, paid and "
            f"shipped, is a flow, with or without handlers: class {name}(Flow[Data]); see docs/flows.md"
        )
    for what in ("fields", "parameters"):
        own, known = getattr(cls, what), getattr(first, what)
        if unknown := sorted(own.keys() ^ known.keys()):
            lacks = "is not in" if unknown[0] in own else "misses one of"
            raise DefinitionError(
                f"{name}.{what}: {unknown[0]!r} {lacks} those of the table {cls.table!r}; inherit from "
                f"{first.__name__}, and declare what expressions read of the payload: "
                'payload = {"amount": int}'
            )


def check_columns(cls: Any) -> None:
    """Refuse defaults that are not what ``texts`` says of their columns and parameters."""
    given = {**cls.fields, **cls.parameters}
    for name, value in given.items():
        if value is not None and isinstance(value, str) != (name in cls.texts):
            held = "a text, so `texts` must name it" if isinstance(value, str) else "none, so `texts` may not"
            raise DefinitionError(f"{cls.__name__}: the default {value!r} of {name!r} is {held}")
    if unknown := sorted(set(cls.texts) - given.keys()):
        near = did_you_mean(unknown[0], given)
        raise DefinitionError(f"{cls.__name__}.texts names {unknown[0]!r}, which is no column{near}")
