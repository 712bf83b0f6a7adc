"""The frozen description of a flow, from which its lifecycle, its walk and its picture are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from kumofire_fsm.machines.expression import Expression
from kumofire_fsm.machines.spec import DeadlineSpec, Outcome, edge_table
from kumofire_fsm.retry import RetryPolicy

__all__ = ["CANCEL", "DONE", "FAIL", "FlowSpec", "Kind", "SignalSpec", "StepEdge", "StepSpec", "undo_step"]

DONE: Final = "done"
"""The event that a handler's return fires."""
FAIL: Final = "fail"
"""The event that a task's last failure fires, where the flow declares it."""
CANCEL: Final = "cancel"
"""The event that a person's `cancel` fires, where the flow declares it."""


class Kind(StrEnum):
    """What happens in a step."""

    TASK = "task"
    """A handler is called."""
    WAIT = "wait"
    """A signal or a deadline moves it on."""
    END = "end"
    """The flow is over."""
    UNDO = "undo"
    """What was done is undone, the last first. Derived: one for each end that `.undo(end)` names."""


def undo_step(end: str) -> str:
    """Return the name of the step that undoes what was done, and then ends there."""
    return f"undo_to_{end}"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step.

    Attributes:
        undo: of a task: whether it has an undo handler.
        pivot: of a task: what was done until here is never undone.
        waits: of a wait: it may last for ever.
        outcome: of an end: how the flow ended.
        leads: of an undo step: the end.
        max_attempts, timeout_ms, retry: of a task; None for the application's defaults.
    """

    id: str
    kind: Kind
    doc: str = ""
    initial: bool = False
    undo: bool = False
    pivot: bool = False
    waits: bool = False
    deadline: DeadlineSpec | None = None
    outcome: Outcome | None = None
    leads: str = ""
    max_attempts: int | None = None
    timeout_ms: int | None = None
    retry: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class StepEdge:
    """One way from a step to another. A guard out of a task reads the data, one out of a wait the columns.

    Attributes:
        undo: whether the target is an end that is reached by undoing what was done.
    """

    event: str
    source: str
    target: str
    guard: Expression | None = None
    guard_text: str = ""
    undo: bool = False

    @property
    def enters(self) -> str:
        """The step that is entered: the target, or the step that undoes on the way there."""
        return undo_step(self.target) if self.undo else self.target


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One signal: what it carries, as a pydantic model, or None for nothing."""

    id: str
    takes: Any
    doc: str = ""


@dataclass(frozen=True)
class FlowSpec:
    """A whole flow.

    Attributes:
        was: names of steps of the version before, by what they were called then; None of one that is gone.
        data: the pydantic model of the flow's data.
        steps: in the order of their declaration, the derived undo steps last.
    """

    name: str
    version: int
    doc: str
    data: Any
    steps: tuple[StepSpec, ...]
    edges: tuple[StepEdge, ...] = field(repr=False)
    signals: tuple[SignalSpec, ...] = ()
    was: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def machine(self) -> str:
        """The name of its lifecycle; a worker takes only what follows the version that it knows."""
        return f"{self.name}@{self.version}"

    @property
    def former(self) -> tuple[str, ...]:
        """The names of its lifecycles in the versions before."""
        return tuple(f"{self.name}@{version}" for version in range(1, self.version))

    @cached_property
    def first(self) -> StepSpec:
        """The step in which an instance is created."""
        return next(step for step in self.steps if step.initial)

    @cached_property
    def _steps(self) -> dict[str, StepSpec]:
        return {step.id: step for step in self.steps}

    @cached_property
    def _table(self) -> dict[tuple[str, str], tuple[StepEdge, ...]]:
        return edge_table(self.edges)

    def step(self, step_id: str) -> StepSpec | None:
        """Return the step of that id, or None when the flow has none."""
        return self._steps.get(step_id)

    def of_kind(self, *kinds: Kind) -> tuple[StepSpec, ...]:
        """Return the steps of these kinds."""
        return tuple(step for step in self.steps if step.kind in kinds)

    def signal(self, signal_id: str) -> SignalSpec | None:
        """Return the signal of that id, or None when the flow has none."""
        return next((each for each in self.signals if each.id == signal_id), None)

    def edges_from(self, step_id: str, event: str | None = None) -> tuple[StepEdge, ...]:
        """Return the ways out of a step, of one event or of all, in the order in which they are tried."""
        if event is not None:
            return self._table.get((step_id, event), ())
        return tuple(edge for edge in self.edges if edge.source == step_id)

    def events_from(self, step_id: str) -> tuple[str, ...]:
        """Return the events that lead out of a step."""
        return tuple(dict.fromkeys(edge.event for edge in self.edges_from(step_id)))

    def accepts(self, step_id: str) -> tuple[str, ...]:
        """Return the signals that move a step on."""
        known = {signal.id for signal in self.signals}
        return tuple(event for event in self.events_from(step_id) if event in known)

    @cached_property
    def deadline_events(self) -> tuple[str, ...]:
        """The events that deadlines fire, in an order that keeps that of each wait; () where none does."""
        orders = [step.deadline.fires for step in self.steps if step.deadline]
        found: list[str] = []
        left = list(dict.fromkeys(event for order in orders for event in order))
        while left:
            later = {event for order in orders for event in [e for e in order if e in left][1:]}
            first = next((event for event in left if event not in later), None)
            if first is None:
                return ()
            found.append(first)
            left.remove(first)
        return tuple(found)

    @cached_property
    def moves(self) -> frozenset[tuple[str, str]]:
        """Every (step, step) that one move may make; what the database's trigger lets through.

        An instance begins from '', and begins again from '*'.
        """
        pairs = {("", self.first.id)} | {("*", step.id) for step in self.steps if step.kind is not Kind.END}
        pairs |= {(edge.source, step) for edge in self.edges for step in (edge.enters, edge.target)}
        for step in self.of_kind(Kind.UNDO):
            pairs |= {(step.id, step.id), (step.id, step.leads)}
        return frozenset(pairs)
