"""What a diagram shows, before it is drawn: boxes for states, arrows for edges.

Edges between the same two states are one arrow with a line for each event. An event that leads from
every state of a role to the same target is one arrow from the frame around that role. The path of a
run makes an arrow's lines the steps that took it, and empties the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines.spec import Actor, EdgeSpec, MachineSpec, Role
from kumofire_fsm.models import HistoryEntry

__all__ = ["Arrow", "Line", "Picture", "Step", "node_names", "picture_of"]


@dataclass(frozen=True, slots=True)
class Line:
    """One event on an arrow: its guard, whether a deadline fires it, whether a person does."""

    event: str
    guard: str
    timed: bool
    by_person: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One move of a run; ``source`` is None at its creation and after a gap in the history."""

    number: int
    event: str
    source: str | None
    target: str
    at: datetime | None


@dataclass(slots=True)
class Arrow:
    """One arrow, from a state or from the frame of a role."""

    source: str | Role
    target: str
    lines: list[Line] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def timed(self) -> bool:
        """Whether nothing but deadlines takes this arrow."""
        return bool(self.lines) and all(line.timed for line in self.lines)


@dataclass(frozen=True, slots=True)
class Picture:
    """A lifecycle as it is drawn; ``steps`` is None unless it shows the path of a run."""

    spec: MachineSpec
    arrows: tuple[Arrow, ...]
    counts: Mapping[str, int]
    steps: tuple[Step, ...] | None

    @property
    def creation(self) -> Step | None:
        """The step that created the run, unless no path is shown or its beginning was dropped."""
        first = self.steps[0] if self.steps else None
        return first if first and first.number == 1 and first.target == self.spec.initial.id else None

    @property
    def visited(self) -> set[str]:
        """The states that the run was in, or all of them when no path is shown."""
        if self.steps is None:
            return {state.id for state in self.spec.states}
        return {step.target for step in self.steps}


def picture_of(
    spec: MachineSpec,
    *,
    path: Iterable[HistoryEntry] | None = None,
    counts: Mapping[str, int] | None = None,
    grouped: bool = True,
) -> Picture:
    """Return what to draw; unless ``grouped``, every arrow leads from a state.

    Raises:
        InvalidArgument: the path or the counts name a state that the machine does not have.
    """
    for state in counts or ():
        _known(spec, state, "the counts name")
    steps = None if path is None else tuple(_steps(spec, path))
    arrows: dict[tuple[str | Role, str], Arrow] = {}
    for edge in spec.edges:
        source = _shared_source(spec, edge) if grouped and steps is None else edge.source
        arrow = arrows.setdefault((source, edge.target), Arrow(source, edge.target))
        if (line := _line(spec, edge)) not in arrow.lines:
            arrow.lines.append(line)
    for step in steps or ():
        if step.source is not None:
            key = step.source, step.target
            arrows.setdefault(key, Arrow(*key)).steps.append(step)
    return Picture(spec, tuple(arrows.values()), dict(counts or {}), steps)


def _steps(spec: MachineSpec, path: Iterable[HistoryEntry]) -> Iterable[Step]:
    before: str | None = None
    for number, entry in enumerate(path, 1):
        if entry.state is not None:
            _known(spec, entry.state, "the path leads to")
            yield Step(number, entry.event, before, entry.state, entry.at)
        before = entry.state


def _known(spec: MachineSpec, state: str, what: str) -> None:
    if spec.state(state) is None:
        known = ", ".join(each.id for each in spec.states)
        raise InvalidArgument(f"{what} {state!r}, which the machine {spec.name!r} lacks; it has {known}")


def _line(spec: MachineSpec, edge: EdgeSpec) -> Line:
    source, event = spec.state(edge.source), spec.event(edge.event)
    assert source is not None
    assert event is not None
    timed = source.deadline is not None and edge.event in source.deadline.fires
    return Line(edge.event, edge.guard_text, timed, event.by is Actor.PERSON)


def _shared_source(spec: MachineSpec, edge: EdgeSpec) -> str | Role:
    """Return the role whose every state has this edge to a target outside, or else the edge's state."""
    state = spec.state(edge.source)
    assert state is not None
    peers = spec.with_role(state.role)
    alike = {
        other.source: _line(spec, other)
        for other in spec.edges
        if (other.event, other.target, other.guard_text) == (edge.event, edge.target, edge.guard_text)
    }
    everywhere = len(peers) > 1 and edge.target not in peers and alike.keys() >= set(peers)
    return state.role if everywhere and len({alike[peer] for peer in peers}) == 1 else edge.source


def node_names(spec: MachineSpec) -> dict[str, str]:
    """Return for every state a name that needs no quoting; no declared state begins with ``_``."""
    return {
        state.id: state.id if state.id.isascii() and state.id.isidentifier() else f"_state_{number}"
        for number, state in enumerate(spec.states, 1)
    }
