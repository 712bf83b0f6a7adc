"""The words in which a flow is declared: tasks, waits, ends, the edges between them, and signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from types import EllipsisType
from typing import Any

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Deadline
from kumofire_fsm.machines.spec import Outcome
from kumofire_fsm.retry import Backoff, RetryPolicy

__all__ = ["AnyStep", "End", "Signal", "Step", "Task", "Wait", "Way", "Ways"]


class Way:
    """One edge, as it is declared."""

    __slots__ = ("cond", "source", "target", "undo")

    def __init__(self, source: Step | AnyStep, target: Step, cond: str | None, *, undo: bool = False) -> None:
        self.source, self.target, self.cond, self.undo = source, target, cond, undo


class Ways:
    """Edges that one event takes; ``|`` joins them, and ``>>`` goes on from the last step.

    Attributes:
        id: the event's name: that of the class's attribute.
    """

    id = ""

    def __init__(self, ways: Iterable[Way]) -> None:
        self._ways = list(ways)

    def __iter__(self) -> Iterator[Way]:
        return iter(self._ways)

    def __or__(self, other: Ways) -> Ways:
        if not isinstance(other, Ways):
            raise DefinitionError(f"| joins edges, such as a >> b | b.to(c); found {other!r:.100}")
        return Ways([*self, *other])

    def __rshift__(self, target: Step) -> Ways:
        return Ways([*self, *(self._ways[-1].target >> target)])


class Step:
    """What tasks, waits and ends have in common.

    Attributes:
        id: its name: that of the class's attribute.
    """

    id = ""

    def __init__(self, doc: str = "", *, initial: bool = False) -> None:
        self.doc, self.initial = doc, initial
        self.flow: Any = None

    def to(self, *targets: Step, cond: str | None = None) -> Ways:
        """Make an edge to each target.

        Args:
            targets: the steps.
            cond: when the edge is open. Out of a task it reads the data that its handler returned, as in
                ``"data.total > 100000"``; out of a wait it reads columns, as in ``"attempt == 0"``.
        """
        return Ways(Way(self, _step(target), cond) for target in targets)

    def __rshift__(self, target: Step) -> Ways:
        return self.to(target)

    def undo(self, end: Step, *, cond: str | None = None) -> Ways:
        """Make an edge to an end that is reached by undoing what was done, the last first."""
        return Ways([Way(self, _step(end), cond, undo=True)])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or '?'}>"


class Task(Step):
    """A step that calls a handler; what the handler returns is the flow's data from then on.

    Args:
        doc: one sentence: what is done.
        initial: whether the flow begins here.
        timeout: how long one attempt may take (timedelta or seconds); None for the application's default.
        max_attempts: how often it is tried; None for the application's default.
        retry: when it is tried again; None for the application's default.
        undo: whether it has an undo handler (`Kumofire.undo`), which `.undo(end)` calls.
        pivot: there is no way back from here: once it is done, nothing before it is undone.
    """

    def __init__(
        self,
        doc: str = "",
        *,
        initial: bool = False,
        timeout: timedelta | float | None = None,
        max_attempts: int | None = None,
        retry: RetryPolicy | None = None,
        undo: bool = False,
        pivot: bool = False,
    ) -> None:
        super().__init__(doc, initial=initial)
        if not (retry is None or isinstance(retry, Backoff) or callable(retry)):
            raise DefinitionError(f"retry= is a Backoff, or a function; found {retry!r:.100}")
        self.timeout, self.max_attempts, self.retry = timeout, max_attempts, retry
        self.has_undo, self.pivot = undo, pivot


class Wait(Step):
    """A step in which nothing runs: signals, a deadline, or both move it on.

    Args:
        doc: one sentence: what it waits for.
        initial: whether the flow begins here.
        deadline: when which event fires by itself, as in ``Deadline(timedelta(days=1), "overlook")``.
        waits: says out loud that it may last for ever; instead of a deadline.
    """

    def __init__(
        self, doc: str = "", *, initial: bool = False, deadline: Deadline | None = None, waits: bool = False
    ) -> None:
        super().__init__(doc, initial=initial)
        if deadline is not None and not isinstance(deadline, Deadline):
            raise DefinitionError(f"deadline= is a Deadline(at, event); found {deadline!r:.100}")
        self.deadline, self.waits = deadline, waits


class End(Step):
    """A step at which the flow is over.

    Args:
        doc: one sentence: what was reached.
        outcome: how it ended: the run is then succeeded, failed or canceled.
    """

    def __init__(self, doc: str = "", outcome: Outcome = Outcome.SUCCESS) -> None:
        super().__init__(doc)
        if outcome not in list(Outcome):
            raise DefinitionError(f"outcome= is one of {', '.join(Outcome)}; found {outcome!r:.100}")
        self.outcome = Outcome(outcome)


class AnyStep:
    """Every task and wait of a flow: ``Flow.any.undo(end)``."""

    def to(self, *targets: Step, cond: str | None = None) -> Ways:
        """Make an edge from every task and wait to each target."""
        return Ways(Way(self, _step(target), cond) for target in targets)

    def undo(self, end: Step) -> Ways:
        """Make an edge from every task and wait to an end that is reached by undoing what was done."""
        return Ways([Way(self, _step(end), None, undo=True)])


class Signal:
    """What somebody outside may tell an instance: it moves a wait on.

    A signal that comes early is kept until the flow waits for it.

    Args:
        ways: the edges it takes, out of waits.
        takes: the pydantic model of what it carries; None for a signal that carries nothing.
        doc: one sentence on who sends it, and when.

    Attributes:
        id: its name: that of the class's attribute.
    """

    id = ""

    def __init__(self, ways: Ways, *, takes: type | EllipsisType | None = ..., doc: str = "") -> None:
        if not isinstance(ways, Ways):
            raise DefinitionError(f"a signal takes edges, such as a_wait.to(b); found {ways!r:.100}")
        if isinstance(takes, EllipsisType):
            raise DefinitionError(
                "a signal says what it carries: takes=Verdict, a pydantic model, or takes=None for nothing"
            )
        self.ways, self.takes, self.doc = ways, takes, doc
        self.flow: Any = None

    def __repr__(self) -> str:
        return f"<Signal {self.id or '?'}>"


def _step(target: object) -> Step:
    if not isinstance(target, Step):
        raise DefinitionError(f"an edge leads to a step of the flow; found {target!r:.100}")
    return target
