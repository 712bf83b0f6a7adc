"""The words in which a lifecycle is declared: states, edges, events and deadlines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Never, Self, overload

import statemachine
from statemachine import State as BaseState
from statemachine.callbacks import SpecListGrouper
from statemachine.transition import Transition
from statemachine.transition_list import TransitionList

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines._arguments import (
    CALLBACK,
    checked,
    in_words,
    lasting_ms,
    mapping,
    member,
    of_kind,
    time_text,
)
from kumofire_fsm.machines.guards import guard_text
from kumofire_fsm.machines.spec import Actor, Outcome, Role

__all__ = ["Deadline", "Edge", "EdgeList", "Event", "SealedEdges", "State", "edges_of"]


class Deadline:
    """At what time which event fires if nothing happened by then.

    ``Deadline(timedelta(days=3), "go")`` counts from when the state is entered; so does
    ``Deadline("go", after=timedelta(days=3))``. An expression counts from elsewhere: ``created_at + 60000``.

    Args:
        at: a timedelta, or an expression that gives milliseconds since 1970, from the row after the move.
        fires: the events in the order they are tried; the last must always find an open edge.
        after: instead of ``at``, a timedelta or seconds.
        doc: when that is, in a few words, for diagrams; of a duration by default ``after 3 days``.
    """

    @overload
    def __init__(self, at: str | timedelta, *fires: str, doc: str = "") -> None: ...
    @overload
    def __init__(self, *fires: str, after: timedelta | float, doc: str = "") -> None: ...
    @checked("Deadline")
    def __init__(
        self,
        at: str | timedelta | None = None,
        *fires: str,
        after: timedelta | float | None = None,
        doc: str = "",
    ) -> None:
        """Make the deadline; with ``after`` all that stands before it names events."""
        named: tuple[object, ...] = fires if after is None or at is None else (at, *fires)
        given = at if after is None else after
        where = f"Deadline({given!r:.60})" if after is None else f"Deadline(after={given!r:.60})"
        said = of_kind(str, doc, where, "doc")
        if after is None and not isinstance(at, timedelta):
            self.at, self.doc = time_text(at, where), said
        else:
            waits = lasting_ms(given, where)
            self.at, self.doc = f"now + {waits}", said or f"after {in_words(waits)}"
        events: list[str] = []
        for event in named:
            if isinstance(event, statemachine.Event) or not isinstance(event, str):
                raise DefinitionError(f"{where}: name its events, as texts; found {event!r:.80}")
            if after is not None and not event.isidentifier():
                raise DefinitionError(f"{where}: it has a time already, and {event!r:.80} is no event's name")
            events.append(event)
        self.fires = tuple(events)


class Edge(Transition):
    """A transition that also says what it assigns, and holds its guard as text.

    ``origin`` is the edge as it was first declared, of which subclasses hold copies.
    """

    def __init__(
        self,
        source: BaseState,
        target: BaseState,
        *,
        cond: str | None = None,
        sets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(source, target)
        where = f"edge {source.id or '?'} -> {target.id or '?'}"
        self.guard_text = guard_text(cond, where)
        self.sets = mapping(sets, where, "sets")
        self.origin = self

    def between(self, source: BaseState, target: BaseState) -> Edge:
        """Return the same edge between two other states, as a subclass needs it."""
        made = type(self)(source, target, cond=self.guard_text or None, sets=self.sets)
        made.origin = self.origin
        return made


class _To:
    """What ``state.to`` gives: a maker of edges."""

    def __init__(self, state: State) -> None:
        self._state = state

    @checked("state.to(...)")
    def __call__(
        self, *targets: BaseState, cond: str | None = None, sets: Mapping[str, str] | None = None
    ) -> EdgeList:
        """Make an edge to each target; ``cond`` is its guard, ``sets`` what it assigns."""
        if not targets:
            raise DefinitionError("state.to() needs a state to lead to; a self-loop is state.to.itself()")
        for target in targets:
            if not isinstance(target, BaseState):
                hint = f", such as RunMachine.{target}" if isinstance(target, str) else ""
                raise DefinitionError(f"state.to({target!r:.80}): give the state itself{hint}")
        made = EdgeList(Edge(self._state, target, cond=cond, sets=sets) for target in targets)
        self._state.transitions.add_transitions(made)
        return made

    @checked("state.to.itself(...)")
    def itself(self, *, cond: str | None = None, sets: Mapping[str, str] | None = None) -> EdgeList:
        """Make a self-loop."""
        return self(self._state, cond=cond, sets=sets)


class EdgeList(TransitionList):
    """Edges that one event takes; ``|`` joins them, also with an inherited event's."""

    def __or__(self, other: Any) -> EdgeList:
        return EdgeList([*self, *edges_of(other)])

    def _add_callback(self, callback: Any, *_: Any, **__: Any) -> Never:
        """Refuse the decorators of python-statemachine: the classes that inherit would drop them."""
        raise _no_callback(callback)


def _no_callback(callback: object) -> DefinitionError:
    name = getattr(callback, "__name__", repr(callback))
    return DefinitionError(f"a state or event does not decorate {name!r:.80}: {CALLBACK}")


class _ByName(SpecListGrouper):
    """What a state calls when it is entered or left by hand: found by name, never added by a decorator."""

    def __call__(self, callback: Any) -> Never:
        raise _no_callback(callback)


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
        retired: says that nothing enters it any more: rows that older code left in it go on by its edges.
    """

    @checked("State")
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
        retired: bool = False,
    ) -> None:
        where = f"State({doc!r:.60})"
        super().__init__(initial=of_kind(bool, initial, where, "initial"))
        for callbacks in ("enter", "exit", "invoke"):
            called: SpecListGrouper = getattr(self, callbacks)
            setattr(self, callbacks, _ByName(called.list, called.group))
        self.doc = of_kind(str, doc, where, "doc")
        self.role = member(Role, role, where)
        self.deadline = None if deadline is None else of_kind(Deadline, deadline, where, "deadline")
        self.waits = of_kind(bool, waits, where, "waits")
        self.sets = mapping(sets, where, "sets")
        self.outcome = None if outcome is None else member(Outcome, outcome, where)
        self.retired = of_kind(bool, retired, where, "retired")

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
            retired=self.retired,
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

    if TYPE_CHECKING:  # on a class it is itself; checkers that infer take python-statemachine's for another

        def __get__(self, instance: Any, owner: Any) -> Self: ...

    @checked("Event")
    def __new__(
        cls,
        edges: Iterable[Transition] | Event = (),
        *,
        by: Actor = Actor.PERSON,
        sets: Mapping[str, str] | None = None,
        hints: bool = False,
        doc: str = "",
    ) -> Self:
        """Make the event; python-statemachine's own is a text with edges."""
        where = f"Event({doc!r:.60})"
        self = cls._called("event", edges_of(edges))
        self.by, self.sets = member(Actor, by, where), mapping(sets, where, "sets")
        self.hints, self.doc = of_kind(bool, hints, where, "hints"), of_kind(str, doc, where, "doc")
        return self

    @classmethod
    def _called(cls, name: str, edges: Iterable[Transition]) -> Self:
        # An id is always given: without one the library calls uuid4, which Workers refuse at import.
        made: Self = super().__new__(cls, EdgeList(edges), id=name)
        return made

    def __or__(self, other: Any) -> EdgeList:
        return EdgeList([*edges_of(self), *edges_of(other)])

    def _add_callback(self, callback: Any, *_: Any, **__: Any) -> Never:
        """Refuse the decorators of python-statemachine, as `EdgeList` does."""
        raise _no_callback(callback)

    def renewed(self, name: str, edges: Iterable[Transition]) -> Event:
        """Return the same declaration under a name, with other edges."""
        made = self._called(name, edges)
        made.by, made.sets, made.hints, made.doc = self.by, self.sets, self.hints, self.doc
        return made


def edges_of(value: object) -> list[Transition]:
    """Return the edges of an event, of a list of edges, or one edge.

    Raises:
        DefinitionError: it is something else.
    """
    if isinstance(value, statemachine.Event):  # a text, which would be iterated letter by letter
        return list(value._transitions or ())
    if isinstance(value, Transition):
        return [value]
    if isinstance(value, (TransitionList, list, tuple)):
        edges = list(value)
        if all(isinstance(each, Transition) for each in edges):
            return edges
    raise DefinitionError(f"edges are made by source.to(target), and joined by |; found {value!r:.80}")
