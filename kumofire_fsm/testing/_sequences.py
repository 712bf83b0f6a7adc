"""A Hypothesis strategy: the events that could happen to a row, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kumofire_fsm.errors import MissingPackage
from kumofire_fsm.machines import Lifecycle, MachineSpec
from kumofire_fsm.machines.lifecycle import spec_of

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["event_sequences"]


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
