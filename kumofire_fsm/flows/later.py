"""The lifecycles by which an instance of a version before comes to follow this version of its flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kumofire_fsm.machines.expression import Expression, Literal, Name
from kumofire_fsm.machines.guards import parsed
from kumofire_fsm.machines.spec import MachineSpec

__all__ = ["begun_again", "taken_up"]


def begun_again(spec: MachineSpec, former: str) -> MachineSpec:
    """Return the lifecycle by which what is settled in a version before is redriven, and follows this one.

    Args:
        spec: the lifecycle of this version.
        former: the name of that of the version before.
    """
    return _followed(spec, former, "redrive", "visit == was_visit", {"letter": "told"})


def taken_up(spec: MachineSpec, former: str) -> MachineSpec:
    """Return the lifecycle by which what rests in a version before is looked at, and follows this one.

    Args:
        spec: the lifecycle of this version.
        former: the name of that of the version before.
    """
    unmoved = "visit == was_visit and letters == seen"
    return _followed(spec, former, "look_again", unmoved, {"max_attempts": "tries"})


def _followed(
    spec: MachineSpec, former: str, event: str, unmoved: str, more: Mapping[str, str]
) -> MachineSpec:
    """Return the lifecycle of a version before in which an event leads to this version.

    Args:
        spec: the lifecycle of this version.
        former: the name of that of the version before.
        event: the event.
        unmoved: whether an instance is still as it was read.
        more: what is assigned beside the step, the data and what is to be undone.
    """
    guard = parsed(unmoved, spec.name)
    sets = {"step": "to_step", "payload": "data", "undo": "to_undo", **more}
    given: dict[str, Expression] = {column: Name(text) for column, text in sets.items()}
    given["machine"] = Literal(spec.name)
    edges = tuple(
        replace(edge, guard=guard, assigns={**edge.assigns, **given}) if edge.event == event else edge
        for edge in spec.edges
    )
    return replace(spec, name=former, fields={**spec.fields, "machine": former}, edges=edges)
