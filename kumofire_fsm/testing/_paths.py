"""Ways of a row: the shortest to a state or step, with the values that open them, and any, for Hypothesis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kumofire_fsm.errors import MissingPackage
from kumofire_fsm.machines import EdgeSpec, Lifecycle, MachineSpec
from kumofire_fsm.machines.lifecycle import spec_of
from kumofire_fsm.testing._rows import check_state
from kumofire_fsm.testing._scenes import Declared, Scene, scene_of

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = [
    "Path",
    "event_sequences",
    "paths_to",
]

_WAYS = 50
"""Ways of one length that are tried at most; the built-in lifecycles have two."""
_ROWS = 2_000
"""Rows that are tried at most on one way: about 0.1 seconds."""


@dataclass(frozen=True, slots=True)
class Path:
    """The moves of one row, from its creation on.

    Attributes:
        moves: pairs of an event and the state or step it leads to.
        facts: what the row is created with, and the parameters that each of the events is given.
        data: of a flow: for each move the fields of the data that its guards need, as a handler returns it.
    """

    moves: tuple[tuple[str, str], ...]
    facts: Mapping[str, Any]
    data: tuple[Mapping[str, Any], ...] = ()

    @property
    def events(self) -> tuple[str, ...]:
        """Return the events alone."""
        return tuple(event for event, _ in self.moves)


def paths_to(machine: Declared, state: str) -> list[Path]:
    """Return the shortest paths from the creation of a row to a state or step, in declaration order.

    One row goes the whole path, with every guard satisfied: each path carries the facts for it,
    searched among small values. The path to the initial state or first step is empty. The list is
    empty when no values were found for any path.

    Raises:
        InvalidArgument: the machine has no such state or step.
    """
    scene = scene_of(machine)
    spec = scene.table
    check_state(spec, state)
    for length in range(len(spec.states)):
        found: dict[tuple[tuple[str, str], ...], Path] = {}
        for edges in itertools.islice(_ways(spec, state, length), _WAYS):
            moves = tuple((edge.event, edge.target) for edge in edges)
            path = None if moves in found else _path(scene, edges, moves)
            if path is not None:
                found[moves] = path
        if found:
            return list(found.values())
    return []


def _ways(spec: MachineSpec, state: str, length: int) -> Iterator[tuple[EdgeSpec, ...]]:
    """Yield the ways of so many edges from the initial state that meet no state twice."""
    away = _distances(spec, state)

    def onward(way: tuple[EdgeSpec, ...], at: str, met: frozenset[str]) -> Iterator[tuple[EdgeSpec, ...]]:
        left = length - len(way)
        if left == 0 and at == state:
            yield way
        for edge in spec.edges if left else ():
            if edge.source == at and edge.target not in met and away.get(edge.target, left) < left:
                yield from onward((*way, edge), edge.target, met | {edge.target})

    yield from onward((), spec.initial.id, frozenset({spec.initial.id}))


def _distances(spec: MachineSpec, state: str) -> dict[str, int]:
    """Return how many edges lead at least from each state to this one."""
    reach, away, steps = spec.successors(), {state: 0}, 0
    while fresh := {
        source for source, targets in reach.items() if source not in away and targets & away.keys()
    }:
        steps += 1
        away |= dict.fromkeys(fresh, steps)
    return away


def _path(scene: Scene, edges: tuple[EdgeSpec, ...], moves: tuple[tuple[str, str], ...]) -> Path | None:
    """Return these moves with values with which one row makes them; None when none were found."""
    for facts in itertools.islice(scene.beginnings(edges), _ROWS):
        data = scene.goes(edges, facts)
        if data is not None:
            return Path(moves, facts, data)
    return None


def event_sequences(
    machine: type[Lifecycle], *, max_size: int = 20, legal: bool = True
) -> SearchStrategy[list[str]]:
    """Return a strategy of lists of events, fired on a row from its creation on.

    Args:
        machine: the lifecycle's class.
        max_size: how many events at most.
        legal: draw each event from those that have an edge from a state the row may be in by then, so
            that sequences go deep; a guard may still refuse one. Otherwise draw any event at any time.

    Raises:
        MissingPackage: hypothesis is not installed.
    """
    try:
        from hypothesis import strategies
    except ImportError as exc:
        raise MissingPackage("event_sequences needs hypothesis; run: pip install hypothesis") from exc
    spec = spec_of(machine)
    events = [event.id for event in spec.events]
    if not legal:
        return strategies.lists(strategies.sampled_from(events), max_size=max_size)
    picks = strategies.lists(strategies.integers(0, len(events) - 1), max_size=max_size)

    @strategies.composite
    def sequences(draw: DrawFn) -> list[str]:
        return _sequence(spec, draw(picks))

    return sequences()


def _sequence(spec: MachineSpec, picks: list[int]) -> list[str]:
    """Turn each number into one of the events that are legal by then."""
    states, events = {spec.initial.id}, []
    for pick in picks:
        legal = [event.id for event in spec.events if any(spec.edges_from(s, event.id) for s in states)]
        if not legal:
            break
        events.append(legal[pick % len(legal)])
        states = {after for state in states for after in _after(spec, state, events[-1])}
    return events


def _after(spec: MachineSpec, state: str, event: str) -> set[str]:
    """Return where a row may be after an event: where an edge leads, or where it was if all refuse."""
    edges = spec.edges_from(state, event)
    stays = all(edge.guard is not None for edge in edges)
    return {edge.target for edge in edges} | ({state} if stays else set())
