"""What a lifecycle inherits: of each name, what the nearest of its bases declares.

Bases that know each other override each other, as in Python. Where two that do not know each other declare
one name, Python would take the first and drop the second; here the class must say which holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import statemachine
from statemachine import State as BaseState
from statemachine.states import States
from statemachine.transition import Transition
from statemachine.transition_list import TransitionList

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines._declarations import Event, State
from kumofire_fsm.machines.payload import PayloadField, declared

__all__ = ["DECLARED", "Declared", "first_states", "inherited", "payload_fields"]

DECLARED = (BaseState, States, Transition, TransitionList, statemachine.Event)
"""What a name of a class may be that declares a part of a lifecycle."""
Declared = State | Event | None
"""What a lifecycle declares under a name; None takes an inherited event away."""
_COLUMNS = ("table", "fields", "parameters", "texts", "role_sets")


def inherited(cls: type, own: Collection[str]) -> dict[str, Declared]:
    """Return what the bases of a class declare, by name, the farthest base first.

    Args:
        cls: the class, as Python made it.
        own: the names that its own body gives.

    Raises:
        DefinitionError: two bases contradict each other, or one is no lifecycle and declares parts of one.
    """
    declarers: dict[str, list[type]] = {}
    for base in reversed(_lineage(cls)):
        for name in _own(base):
            declarers.setdefault(name, []).insert(0, base)
    for name, bases in declarers.items():
        if len({isinstance(_own(base)[name], State) for base in bases}) > 1:
            raise DefinitionError(f"{cls.__name__}: {name!r} names both a state and an event in its bases")
        if name not in own:
            _check_apart(cls, f"{name!r} is declared", bases, _joined(name, bases))
    return {name: _own(bases[0])[name] for name, bases in declarers.items()}


def first_states(cls: type, own: Mapping[str, BaseState]) -> list[str]:
    """Return the states that are initial: in the class itself, else in the nearest base that says so.

    Raises:
        DefinitionError: two bases that do not know each other begin in states of their own.
    """
    if begun := [name for name, state in own.items() if state.initial]:
        return begun
    beginning = {
        base: names
        for base in _lineage(cls)
        if (names := [n for n, each in _own(base).items() if isinstance(each, State) and each.initial])
    }
    _check_apart(cls, "the initial state is declared", list(beginning), "declare one with initial=True")
    return next(iter(beginning.values()), [])


def payload_fields(cls: type, own: object) -> dict[str, PayloadField]:
    """Return the fields of the payload that a class declares, with those that it inherits.

    Raises:
        DefinitionError: they are no names with types, or a name has two types.
    """
    found: dict[str, PayloadField] = {}
    places = [(base.__name__, vars(base)["payload_fields"]) for base in reversed(_lineage(cls))]
    for place, fields in [*places, (cls.__name__, declared(cls.__name__, own))]:
        for name, field in fields.items():
            if found.setdefault(name, field) != field:
                what = f"{cls.__name__}: the field {name!r} of the payload has two types"
                raise DefinitionError(f"{what}; that of {place} is another than the inherited one")
    return found


def _lineage(cls: type) -> list[type]:
    """Return the lifecycles that a class inherits from, the nearest first."""
    found = []
    for base in cls.__mro__[1:]:
        if "_own" in vars(base):
            found.append(base)
        elif names := [n for n, value in vars(base).items() if isinstance(value, DECLARED) and n != "states"]:
            raise DefinitionError(
                f"{cls.__name__}: its base {base.__name__} declares {', '.join(map(repr, names))} and is no "
                f"lifecycle, so that they would be lost; let it be one: class {base.__name__}(RunMachine)"
            )
    for base in found:
        for column in _COLUMNS:
            if getattr(base, column) != getattr(found[0], column):
                both = f"{found[0].__name__} and {base.__name__}"
                raise DefinitionError(
                    f"{cls.__name__}: {both} differ in their {column}, and cannot be joined"
                )
    return found


def _own(base: Any) -> Mapping[str, Declared]:
    """Return what a lifecycle's own body declares."""
    own: Mapping[str, Declared] = vars(base)["_own"]
    return own


def _check_apart(cls: type, what: str, bases: list[type], mend: str) -> None:
    """Refuse several declarations of which the nearest does not know the others."""
    for other in bases[1:]:
        if not issubclass(bases[0], other):
            raise DefinitionError(
                f"{cls.__name__}: {what} by {bases[0].__name__} and by {other.__name__}, which do not know "
                f"each other; say in the class which holds: {mend}"
            )


def _joined(name: str, bases: list[type]) -> str:
    """Return how a class may say what a name means."""
    if isinstance(_own(bases[0])[name], State):
        return f"{name} = {bases[0].__name__}.{name}"
    apart = [base for base in bases if base is bases[0] or not issubclass(bases[0], base)]
    return f"{name} = {' | '.join(f'{base.__name__}.{name}' for base in apart)}"
