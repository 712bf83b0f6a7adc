"""Test cases from a lifecycle or a flow: every event in every state or step, with what opens each edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kumofire_fsm.errors import InvalidArgument, MissingPackage
from kumofire_fsm.machines import EdgeSpec
from kumofire_fsm.machines.lint.grid import first_open
from kumofire_fsm.testing._scenes import Declared, Scene, scene_of

__all__ = ["TransitionCase", "Way", "transition_cases"]


@dataclass(frozen=True, slots=True)
class Way:
    """One edge that an event may take from a state or step.

    Attributes:
        target: where it leads.
        guard: the guard's text; empty without one.
        opens: the columns and parameters that make the event take it, and of a flow the ``data``; None when
            none were found.
    """

    target: str
    guard: str
    opens: Mapping[str, Any] | None

    @property
    def facts(self) -> Mapping[str, Any]:
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
        machine, state, event: what is tested; of a flow the state is a step.
        ways: the edges, in the order that their guards are tried; none where the event is illegal.
        shut: what makes every guard refuse; None when nothing was found.
    """

    machine: Declared
    state: str
    event: str
    ways: tuple[Way, ...]
    shut: Mapping[str, Any] | None

    @property
    def legal(self) -> bool:
        """Return whether the event has an edge from the state at all."""
        return bool(self.ways)

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the states that it may lead to."""
        return tuple(dict.fromkeys(way.target for way in self.ways))


def transition_cases(machine: Declared) -> list[Any]:
    """Return a `pytest.param` of one `TransitionCase` for each event in each state, or step of a flow.

    The ids read ``run-ready-start``, and ``run-ready-retry-illegal`` where there is no edge. What opens an
    edge is searched among small values that are no less than 0.

    Raises:
        MissingPackage: pytest is not installed.
    """
    try:
        import pytest
    except ImportError as exc:
        raise MissingPackage("transition_cases needs pytest; run: pip install pytest") from exc
    scene = scene_of(machine)
    table = scene.table
    cases = [_case(machine, scene, state.id, event.id) for state in table.states for event in table.events]
    return [
        pytest.param(each, id=f"{table.name}-{each.state}-{each.event}" + ("" if each.legal else "-illegal"))
        for each in cases
    ]


def _case(machine: Declared, scene: Scene, state: str, event: str) -> TransitionCase:
    edges = scene.table.edges_from(state, event)
    opens, shut = _search(scene, edges, state)
    ways = tuple(Way(edge.target, edge.guard_text, opens.get(n)) for n, edge in enumerate(edges))
    return TransitionCase(machine, state, event, ways, shut if edges else None)


def _search(
    scene: Scene, edges: tuple[EdgeSpec, ...], state: str
) -> tuple[dict[int, dict[str, Any]], dict[str, Any] | None]:
    """Return what opens each edge, by its number, and what shuts all; the fewest changes win."""
    opens: dict[int, dict[str, Any]] = {}
    shut: dict[str, Any] | None = None
    for facts, seen in scene.trials(state, edges):
        taken = first_open(edges, seen)
        if taken is not None:
            opens.setdefault(edges.index(taken), facts)
        elif shut is None:
            shut = facts
        if len(opens) == len(edges) and (shut is not None or edges[-1].guard is None):
            break
    return opens, shut
