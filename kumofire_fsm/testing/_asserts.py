"""The two assertions: this event moves the row, and this one is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from kumofire_fsm.errors import GuardFailed, TransitionError, TransitionNotAllowed
from kumofire_fsm.machines import EdgeSpec
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.testing._rows import check_event, check_state, told
from kumofire_fsm.testing._scenes import Declared, Scene, scene_of

__all__ = ["Moved", "Refused", "assert_refused", "assert_transition"]


class Moved(str):
    """The state, or the step of a flow, that a row moved to: equal to its id.

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


def assert_transition(machine: Declared, state: str, event: str, /, **row: Any) -> Moved:
    """Fire an event on a row, and return the state it moves to, with the whole row.

    Args:
        machine: the class of the lifecycle or flow.
        state: the state, or the step of a flow, the row is in; or what an earlier assertion returned, whose
            row goes on.
        event: the event to fire.
        row: columns of the row and parameters of the event. Instants and durations are milliseconds.
            What is not given has a default; `NOW` is the time. Of a flow also ``data``: what the step's
            handler returns, as its model or a dict of the fields that guards read.

    Raises:
        AssertionError: the event is refused, or leaves a row that the database would refuse.
        InvalidArgument: the machine has no such state, event, column or parameter.
    """
    scene, before, parameters = _begun(machine, state, event, row)
    spec, name = scene.spec, scene.table.name
    try:
        after = scene.step(before, event, parameters)
    except TransitionError as exc:
        found = _found(scene.table.edges_from(state, event), scene.seen(before, parameters))
        raise AssertionError(f"{name}: {exc}{found}") from exc
    empty = [
        column for column, default in spec.fields.items() if default is not None and after[column] is None
    ]
    if empty:
        raise AssertionError(
            f"{name}: {event!r} moves from {state!r} with {empty[0]}=None, which the database refuses: "
            "that column is never empty"
        )
    target = spec.state(str(after["state"]))
    if target is not None and target.wakes != (after["wake_at"] is not None):
        raise AssertionError(
            f"{name}: {event!r} moves from {state!r} to {target.id!r} with wake_at={after['wake_at']}, "
            f"which the database refuses: {target.id!r} has {'a' if target.wakes else 'no'} deadline"
        )
    return Moved(scene.place(after), after)


def assert_refused(machine: Declared, state: str, event: str, /, **row: Any) -> Refused:
    """Fire an event on a row, and return why it moves nothing: ``"illegal"`` or ``"guard"``.

    Args:
        machine, state, event, row: as for `assert_transition`.

    Raises:
        AssertionError: the event moves the row.
        InvalidArgument: the machine has no such state, event, column or parameter.
    """
    scene, before, parameters = _begun(machine, state, event, row)
    table = scene.table
    try:
        after = scene.place(scene.step(before, event, parameters))
    except (TransitionNotAllowed, GuardFailed) as exc:
        return Refused(exc)
    edges = [edge for edge in table.edges_from(state, event) if edge.target == after]
    found = _found(edges, scene.seen(before, parameters))
    raise AssertionError(
        f"{table.name}: {event!r} moves from {state!r} to {after!r}, and was to be refused{found}"
    )


def _begun(
    machine: Declared, state: str, event: str, given: Mapping[str, Any]
) -> tuple[Scene, dict[str, Scalar], dict[str, Scalar]]:
    scene = scene_of(machine)
    check_state(scene.table, state)
    check_event(scene.table, event)
    before = state.row if isinstance(state, Moved) else {}
    return scene, *scene.start(str(state), before, given)


def _found(edges: Iterable[EdgeSpec], seen: Mapping[str, Scalar]) -> str:
    """Return what the row holds in the columns that guards name."""
    names = [name for edge in edges if edge.guard is not None for name in edge.guard.names()]
    return f"; found {told(seen, names)}" if names else ""
