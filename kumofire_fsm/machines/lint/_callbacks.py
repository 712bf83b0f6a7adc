"""Finds callbacks that python-statemachine would never call, because no state or event has their name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import statemachine
from statemachine import State as BaseState

from kumofire_fsm.machines.lifecycle import Lifecycle

__all__ = ["unmatched"]

_PREFIXES = ("prepare_", "before_", "on_", "after_")


def unmatched(machine: type[Lifecycle]) -> Iterator[tuple[str, list[str]]]:
    """Yield each method that is named like a callback and never called, with the names that would be.

    Looked at are the methods of the class and of the lifecycles that it inherits from.
    """
    known = _known(machine)
    own = [each for each in machine.__mro__ if issubclass(each, Lifecycle) and each is not Lifecycle]
    for name in sorted({name for each in own for name in vars(each)}):
        value = getattr(machine, name, None)
        if name.startswith(_PREFIXES) and name not in known and callable(value) and not _declared(value):
            yield name, sorted(known)


def _known(machine: Any) -> set[str]:
    """Return every name that python-statemachine looks up as a callback of this class."""
    edges = [edge for state in machine.states for edge in state.transitions]
    names: set[str] = set()
    for part in (machine, *machine.states, *edges):
        names |= part._specs.conventional_specs
    return names


def _declared(value: object) -> bool:
    return isinstance(value, (BaseState, statemachine.Event))
