"""What a diagram shows, before it is drawn: boxes for states, arrows for edges.

Edges between the same two states are one arrow with a line for each event. An event that leads from
every state of a role to the same target is one arrow from the frame around that role. The path of a
run makes an arrow's lines the steps that took it, and empties the others.

Unless every detail is asked for, what the package does for itself is left out: events that change no state
and that no person fires, and guards that are long, or several for one event between two states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines.spec import Actor, EdgeSpec, EventSpec, MachineSpec, Role
from kumofire_fsm.models import HistoryEntry

__all__ = ["SHORT_GUARD", "Arrow", "Line", "Picture", "Step", "node_names", "picture_of"]

SHORT_GUARD = 24
"""Guards of up to so many characters stand on their arrow; longer ones are notes under the picture."""


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
    """A lifecycle as it is drawn; ``steps`` is None unless it shows the path of a run.

    Attributes:
        left_out: the events that are not drawn.
    """

    spec: MachineSpec
    arrows: tuple[Arrow, ...]
    counts: Mapping[str, int]
    steps: tuple[Step, ...] | None
    left_out: tuple[str, ...]

    def shows(self, events: Iterable[str]) -> bool:
        """Return whether a state's deadline is told of, which fires these events."""
        return self.steps is None and not set(events) & set(self.left_out)

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
    detail: bool = False,
) -> Picture:
    """Return what to draw; unless ``grouped``, every arrow leads from a state.

    Args:
        spec: the machine.
        path: the history of a run.
        counts: how many rows are in each state.
        grouped: whether an arrow may lead from the frame of a role.
        detail: whether what the package does for itself is shown.

    Raises:
        InvalidArgument: the path or the counts name a state that the machine does not have.
    """
    for state in counts or ():
        _known(spec, state, "the counts name")
    steps = None if path is None else tuple(_steps(spec, path))
    left_out = () if detail else tuple(event.id for event in spec.events if _is_internal(spec, event))
    arrows: dict[tuple[str | Role, str], Arrow] = {}
    for edge in spec.edges:
        if edge.event in left_out:
            continue
        source = _shared_source(spec, edge) if grouped and steps is None else edge.source
        arrow = arrows.setdefault((source, edge.target), Arrow(source, edge.target))
        if (line := _line(spec, edge)) not in arrow.lines:
            arrow.lines.append(line)
    for step in steps or ():
        if step.source is not None:
            key = step.source, step.target
            arrows.setdefault(key, Arrow(*key)).steps.append(step)
    if not detail:
        for arrow in arrows.values():
            arrow.lines = _in_short(arrow.lines)
    return Picture(spec, tuple(arrows.values()), dict(counts or {}), steps, left_out)


def _is_internal(spec: MachineSpec, event: EventSpec) -> bool:
    """Return whether an event changes no state, and no person fires it."""
    return event.by is not Actor.PERSON and all(
        edge.source == edge.target for edge in spec.edges if edge.event == event.id
    )


def _in_short(lines: list[Line]) -> list[Line]:
    """Return a line for each event, with its guard if it has one alone and that is short."""
    said = Counter(line.event for line in lines)
    short = [
        line if said[line.event] == 1 and len(line.guard) <= SHORT_GUARD else replace(line, guard="")
        for line in lines
    ]
    return list(dict.fromkeys(short))


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
