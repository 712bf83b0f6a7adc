"""Test cases from a lifecycle: every event in every state, with the values that open each edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kumofire_fsm.errors import InvalidArgument, MissingPackage
from kumofire_fsm.machines import EdgeSpec, Lifecycle, MachineSpec
from kumofire_fsm.machines.expression import Scalar
from kumofire_fsm.machines.lifecycle import spec_of
from kumofire_fsm.machines.lint.grid import Grid, first_open
from kumofire_fsm.testing._rows import parts

__all__ = ["TransitionCase", "Way", "transition_cases"]


@dataclass(frozen=True, slots=True)
class Way:
    """One edge that an event may take from a state.

    Attributes:
        target: where it leads.
        guard: the guard's text; empty without one.
        opens: the columns and parameters that make the event take it; None when none were found.
    """

    target: str
    guard: str
    opens: Mapping[str, Scalar] | None

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Return what makes the event take this edge, to be given to `assert_transition`.

        Raises:
            InvalidArgument: no such values were found; `kumofire machine lint` may know why.
        """
        if self.opens is None:
            raise InvalidArgument(
                f"no values were found that take the edge to {self.target!r} [{self.guard or 'no guard'}]: "
                "an earlier edge shadows it, or its guard needs unusual ones; run kumofire machine lint"
            )
        return self.opens


@dataclass(frozen=True, slots=True)
class TransitionCase:
    """One event in one state.

    Attributes:
        machine, state, event: what is tested.
        ways: the edges, in the order that their guards are tried; none where the event is illegal.
        shut: columns and parameters with which every guard refuses; None when none were found.
    """

    machine: type[Lifecycle]
    state: str
    event: str
    ways: tuple[Way, ...]
    shut: Mapping[str, Scalar] | None

    @property
    def legal(self) -> bool:
        """Return whether the event has an edge from the state at all."""
        return bool(self.ways)

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the states that it may lead to."""
        return tuple(dict.fromkeys(way.target for way in self.ways))


def transition_cases(machine: type[Lifecycle]) -> list[Any]:
    """Return a `pytest.param` of one `TransitionCase` for each pair of a state and an event.

    The ids read ``run-ready-start``, and ``run-ready-retry-illegal`` where there is no edge. The values
    that open an edge are searched among small ones that are no less than 0.

    Raises:
        MissingPackage: pytest is not installed.
    """
    try:
        import pytest
    except ImportError as exc:
        raise MissingPackage("transition_cases needs pytest; run: pip install pytest") from exc
    spec = spec_of(machine)
    cases = [_case(machine, spec, state.id, event.id) for state in spec.states for event in spec.events]
    return [
        pytest.param(each, id=f"{spec.name}-{each.state}-{each.event}" + ("" if each.legal else "-illegal"))
        for each in cases
    ]


def _case(machine: type[Lifecycle], spec: MachineSpec, state: str, event: str) -> TransitionCase:
    edges = spec.edges_from(state, event)
    opens, shut = _search(spec, edges, state)
    ways = tuple(Way(edge.target, edge.guard_text, opens.get(n)) for n, edge in enumerate(edges))
    return TransitionCase(machine, state, event, ways, shut if edges else None)


def _search(
    spec: MachineSpec, edges: tuple[EdgeSpec, ...], state: str
) -> tuple[dict[int, dict[str, Scalar]], dict[str, Scalar] | None]:
    """Return what opens each edge, by its number, and what shuts all; the fewest changes win."""
    row, parameters = parts(spec, state, {}, {})
    before = {**row, **parameters}
    guards = [edge.guard for edge in edges]
    grid = Grid(guards, before, texts=spec.texts, fixed=("state", "machine"), natural=True)
    opens: dict[int, dict[str, Scalar]] = {}
    shut: dict[str, Scalar] | None = None
    for facts in grid.rows():
        taken = first_open(edges, {**before, **facts})
        if taken is not None:
            opens.setdefault(edges.index(taken), facts)
        elif shut is None:
            shut = facts
        if len(opens) == len(edges) and (shut is not None or edges[-1].guard is None):
            break
    return opens, shut
