"""The words in which a lifecycle is declared: states, edges, events and deadlines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import statemachine
from statemachine import State as BaseState
from statemachine.transition import Transition
from statemachine.transition_list import TransitionList

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines._guard import guard_text
from kumofire_fsm.machines.spec import Actor, Outcome, Role

__all__ = ["Deadline", "Edge", "EdgeList", "Event", "SealedEdges", "State", "edges_of"]


class Deadline:
    """At what time which event fires if nothing happened by then.

    Args:
        at: an expression that gives milliseconds since 1970, read from the row after the move.
        fires: the events in the order they are tried; the last must always find an open edge.
        doc: when that is, in a few words, for diagrams.
    """

    def __init__(self, at: str, *fires: str, doc: str = "") -> None:
        self.at, self.fires, self.doc = at, fires, doc


class Edge(Transition):
    """A transition that also says what it assigns, and holds its guard as text."""

    def __init__(
        self,
        source: BaseState,
        target: BaseState,
        *,
        cond: str | None = None,
        sets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(source, target)
        self.guard_text = guard_text(cond, f"edge {source.id or '?'} -> {target.id or '?'}")
        self.sets = dict(sets or {})

    def between(self, source: BaseState, target: BaseState) -> Edge:
        """Return the same edge between two other states, as a subclass needs it."""
        return type(self)(source, target, cond=self.guard_text or None, sets=self.sets)


class _To:
    """What ``state.to`` gives: a maker of edges."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(self, *targets: BaseState, **options: Any) -> EdgeList:
        """Make an edge to each target; ``cond`` is its guard, ``sets`` what it assigns."""
        made = EdgeList(Edge(self._state, target, **options) for target in targets)
        self._state.transitions.add_transitions(made)
        return made

    def itself(self, **options: Any) -> EdgeList:
        """Make a self-loop."""
        return self(self._state, **options)


class EdgeList(TransitionList):
    """Edges that one event takes; ``|`` joins them, also with an inherited event's."""

    def __or__(self, other: Any) -> EdgeList:
        return EdgeList([*self, *edges_of(other)])


class SealedEdges(EdgeList):
    """The edges of a finished class: ``base.state.to(...)`` makes an edge, the base keeps its own."""

    def add_transitions(self, transition: Any) -> TransitionList:  # noqa: ARG002 -- overrides the library's
        """Add nothing."""
        return self


class State(BaseState):
    """A state of a lifecycle.

    Args:
        doc: one sentence: how the state is entered, what it means.
        role: what maintenance code may do with a row in it.
        initial: whether rows are created in it.
        deadline: when which event fires by itself; required unless the state is settled or
            ``waits``.
        waits: says out loud that a row may stay for ever (for a person's approval, say).
        sets: what is assigned whenever the state is entered from another.
        outcome: how it ended, for diagrams; of settled states only.
    """

    def __init__(
        self,
        doc: str = "",
        *,
        role: Role,
        initial: bool = False,
        deadline: Deadline | None = None,
        waits: bool = False,
        sets: Mapping[str, str] | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(initial=initial)
        self.doc, self.role, self.deadline, self.waits = doc, Role(role), deadline, waits
        self.sets = dict(sets or {})
        self.outcome = None if outcome is None else Outcome(outcome)

    @property
    def to(self) -> Any:
        """Make edges from this state to others."""
        return _To(self)

    @property
    def from_(self) -> Any:
        """Refuse: an edge is declared at its source, so that it reads one way."""
        raise DefinitionError("write source.to(target): edges are declared at their source")

    def clone(self) -> State:
        """Return a state of the same declaration without edges, for a subclass."""
        return type(self)(
            self.doc,
            role=self.role,
            initial=self.initial,
            deadline=self.deadline,
            waits=self.waits,
            sets=self.sets,
            outcome=self.outcome,
        )


class Event(statemachine.Event):
    """An event of a lifecycle, with who fires it.

    Args:
        edges: the edges it takes, joined with ``|``.
        by: who fires it; only a person's events can be fired through the public API.
        sets: what each of its edges assigns (an edge's own ``sets`` come first).
        hints: whether a queue message follows, to wake a consumer.
        doc: one sentence on when it is fired.
    """

    by: Actor
    sets: dict[str, str]
    hints: bool
    doc: str

    def __new__(
        cls,
        edges: Iterable[Transition] = (),
        *,
        by: Actor = Actor.PERSON,
        sets: Mapping[str, str] | None = None,
        hints: bool = False,
        doc: str = "",
        id: str = "event",  # noqa: A002 -- the library's name for it
    ) -> Self:
        """Make the event; python-statemachine's own is a text with edges."""
        # An id is always given: without one the library calls uuid4, which Workers refuse at import.
        self: Self = super().__new__(cls, EdgeList(_listed(edges)), id=id)
        self.by, self.sets, self.hints, self.doc = Actor(by), dict(sets or {}), hints, doc
        return self

    def __or__(self, other: Any) -> EdgeList:
        return EdgeList([*edges_of(self), *edges_of(other)])

    def renewed(self, name: str, edges: Iterable[Transition]) -> Event:
        """Return the same declaration under a name, with other edges."""
        return type(self)(edges, by=self.by, sets=self.sets, hints=self.hints, doc=self.doc, id=name)


def _listed(edges: Any) -> Iterable[Transition]:
    """Return an event's edges: an event is a text, which would be iterated letter by letter."""
    return edges_of(edges) if isinstance(edges, statemachine.Event) else list(edges)


def edges_of(value: Any) -> list[Transition]:
    """Return the edges of an event or a list of edges."""
    if isinstance(value, statemachine.Event):
        return list(value._transitions or ())
    return list(value) if isinstance(value, (TransitionList, list, tuple)) else []
