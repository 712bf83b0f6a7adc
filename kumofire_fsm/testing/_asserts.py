"""The two assertions: this event moves the row, and this one is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from kumofire_fsm.errors import GuardFailed, TransitionError, TransitionNotAllowed
from kumofire_fsm.machines import EdgeSpec, Lifecycle, MachineSpec
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.lifecycle import spec_of
from kumofire_fsm.testing._rows import check_event, check_state, parts, told

__all__ = ["Moved", "Refused", "assert_refused", "assert_transition"]


class Moved(str):
    """The state that a row moved to: equal to its id.

    Attributes:
        row: the whole row after the move.
    """

    __slots__ = ("row",)

    row: dict[str, Scalar]

    def __new__(cls, state: str, row: dict[str, Scalar]) -> Self:
        """Make the state's id with the row."""
        self = super().__new__(cls, state)
        self.row = row
        return self


class Refused(str):
    """Why an event moved nothing: equal to ``"illegal"`` (no edge) or ``"guard"`` (none is open).

    Attributes:
        error: what a client would be told, with what is legal there.
    """

    __slots__ = ("error",)

    error: TransitionError

    def __new__(cls, error: TransitionError) -> Self:
        """Make the reason of an error."""
        self = super().__new__(cls, "guard" if isinstance(error, GuardFailed) else "illegal")
        self.error = error
        return self


def assert_transition(machine: type[Lifecycle], state: str, event: str, /, **row: Scalar) -> Moved:
    """Fire an event on a row, and return the state it moves to, with the whole row.

    Args:
        machine: the lifecycle's class.
        state: the state the row is in; or what an earlier assertion returned, whose row goes on.
        event: the event to fire.
        row: columns of the row and parameters of the event. Instants and durations are milliseconds.
            What is not given has a default; `NOW` is the time.

    Raises:
        AssertionError: the event is refused, or leaves a row that the database would refuse.
        InvalidArgument: the machine has no such state, event, column or parameter.
    """
    spec, before, parameters = _scene(machine, state, event, row)
    try:
        after = spec.step(before, event, **parameters)
    except TransitionError as exc:
        found = _found(spec.edges_from(state, event), {**before, **parameters})
        raise AssertionError(f"{spec.name}: {exc}{found}") from exc
    empty = [
        column for column, default in spec.fields.items() if default is not None and after[column] is None
    ]
    if empty:
        raise AssertionError(
            f"{spec.name}: {event!r} moves from {state!r} with {empty[0]}=None, which the database refuses: "
            "that column is never empty"
        )
    target = spec.state(str(after["state"]))
    if target is not None and target.wakes != (after["wake_at"] is not None):
        raise AssertionError(
            f"{spec.name}: {event!r} moves from {state!r} to {target.id!r} with wake_at={after['wake_at']}, "
            f"which the database refuses: {target.id!r} has {'a' if target.wakes else 'no'} deadline"
        )
    return Moved(str(after["state"]), after)


def assert_refused(machine: type[Lifecycle], state: str, event: str, /, **row: Scalar) -> Refused:
    """Fire an event on a row, and return why it moves nothing: ``"illegal"`` or ``"guard"``.

    Args:
        machine, state, event, row: as for `assert_transition`.

    Raises:
        AssertionError: the event moves the row.
        InvalidArgument: the machine has no such state, event, column or parameter.
    """
    spec, before, parameters = _scene(machine, state, event, row)
    try:
        after = spec.step(before, event, **parameters)
    except (TransitionNotAllowed, GuardFailed) as exc:
        return Refused(exc)
    edges = [edge for edge in spec.edges_from(state, event) if edge.target == after["state"]]
    found = _found(edges, {**before, **parameters})
    raise AssertionError(
        f"{spec.name}: {event!r} moves from {state!r} to {after['state']!r}, and was to be refused{found}"
    )


def _scene(
    machine: type[Lifecycle], state: str, event: str, given: Mapping[str, Scalar]
) -> tuple[MachineSpec, dict[str, Scalar], dict[str, Scalar]]:
    spec = spec_of(machine)
    check_state(spec, state)
    check_event(spec, event)
    before = state.row if isinstance(state, Moved) else {}
    return spec, *parts(spec, str(state), before, given)


def _found(edges: Iterable[EdgeSpec], full: Mapping[str, Scalar]) -> str:
    """Return what the row holds in the columns that guards name."""
    names = [name for edge in edges if edge.guard is not None for name in edge.guard.names()]
    return f"; found {told(full, names)}" if names else ""
