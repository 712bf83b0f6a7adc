"""Derives the frozen spec from a flow's class: names its parts, parses its guards, adds its undo steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.flows import _rules as rules
from kumofire_fsm.flows.guards import data_guard, row_guard
from kumofire_fsm.flows.instance import machine_of
from kumofire_fsm.flows.spec import FAIL, FlowSpec, Kind, SignalSpec, StepEdge, StepSpec, undo_step
from kumofire_fsm.flows.steps import AnyStep, End, Signal, Step, Task, Wait, Way, Ways
from kumofire_fsm.machines import Deadline
from kumofire_fsm.machines.finding import Finding, Severity
from kumofire_fsm.machines.guards import parsed
from kumofire_fsm.machines.spec import DeadlineSpec
from kumofire_fsm.values.checks import attempts
from kumofire_fsm.values.times import duration_ms

__all__ = ["flow_spec"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def flow_spec(
    cls: Any, data: Any, *, version: int, was: Mapping[str, str | None], flow: str | None
) -> FlowSpec:
    """Return the spec of a flow's class.

    Raises:
        DefinitionError: the class breaks a rule; its ``findings`` say where and how to mend it.
    """
    name = _snake(cls.__name__) if flow is None else flow
    declared = vars(cls)
    _check_given(cls, declared, name, was)
    steps = {key: value for key, value in declared.items() if isinstance(value, Step)}
    signals = {key: value for key, value in declared.items() if isinstance(value, Signal)}
    events = {key: value for key, value in declared.items() if isinstance(value, Ways)}
    parts: dict[str, Step | Signal | Ways] = {**steps, **signals, **events}
    for key, part in parts.items():
        if part.id and part.id != key:
            raise DefinitionError(f"{cls.__name__}: {part.id!r} and {key!r} name the same part; drop one")
        part.id = key
    ways = {**events, **{key: signal.ways for key, signal in signals.items()}}
    edges = tuple(edge for key, each in ways.items() for edge in _edges(cls.__name__, key, each, steps))
    spec = FlowSpec(
        name=name,
        version=version,
        doc=(cls.__doc__ or "").strip().split("\n\n")[0],
        data=data,
        steps=(*(_step(cls.__name__, each) for each in steps.values()), *_undo_steps(edges)),
        edges=edges,
        signals=tuple(SignalSpec(key, signal.takes, signal.doc) for key, signal in signals.items()),
        was=dict(was),
    )
    found = tuple(
        Finding(rule, Severity.ERROR, cls.__name__, what, mend, **place)
        for rule, what, mend, place in rules.broken(spec, [s for s in steps if not _NAME.fullmatch(s)])
    )
    if found:
        raise DefinitionError(str(found[0]), found)
    machine_of(spec)  # what only its lifecycle can tell, such as a deadline that mixes texts and numbers
    for step in steps.values():
        step.flow = cls
    for signal in signals.values():
        signal.flow = cls
    return spec


def _check_given(cls: Any, declared: Mapping[str, Any], name: object, was: object) -> None:
    """Refuse what a flow's class holds or is given and cannot use: nothing is dropped without a word."""
    if not isinstance(name, str) or not isinstance(was, Mapping):
        raise DefinitionError(f'{cls.__name__}: give flow="a_name" and was={{"old": "new"}}')
    for key, part in declared.items():
        if isinstance(part, (Step, Signal)) and part.flow is not None:
            raise DefinitionError(f"{cls.__name__}: {key!r} belongs to {part.flow!r}; declare one of its own")
        known = isinstance(part, (Step, Signal, Ways))
        if not known and not key.startswith("_") and key != "spec":
            raise DefinitionError(
                f"{cls.__name__}: {key!r} is {part!r:.100}; a flow holds steps, edges and signals alone"
            )


def _step(flow: str, step: Step) -> StepSpec:
    try:
        return _step_spec(flow, step)
    except InvalidArgument as exc:
        raise DefinitionError(f"{flow}.{step.id}: {exc}") from None


def _step_spec(flow: str, step: Step) -> StepSpec:
    what: dict[str, Any] = {"doc": step.doc, "initial": step.initial}
    if isinstance(step, Task):
        return StepSpec(
            step.id,
            Kind.TASK,
            **what,
            undo=step.has_undo,
            pivot=step.pivot,
            max_attempts=None if step.max_attempts is None else attempts(step.max_attempts, 1),
            timeout_ms=None if step.timeout is None else duration_ms(step.timeout, "timeout", least=1),
            retry=step.retry,
        )
    if isinstance(step, Wait):
        deadline = None if step.deadline is None else _deadline(flow, step.id, step.deadline)
        return StepSpec(step.id, Kind.WAIT, **what, waits=step.waits, deadline=deadline)
    if isinstance(step, End):
        return StepSpec(step.id, Kind.END, **what, outcome=step.outcome)
    raise DefinitionError(f"{flow}.{step.id}: a step is a Task, a Wait or an End; found {step!r}")


def _deadline(flow: str, step: str, given: Deadline) -> DeadlineSpec:
    return DeadlineSpec(parsed(given.at, f"{flow}: deadline of {step}"), given.at, given.fires, given.doc)


def _edges(flow: str, event: str, ways: Ways, steps: Mapping[str, Step]) -> Iterator[StepEdge]:
    for way in ways:
        for source in _sources(way, event, steps):
            where = f"{flow}: {event} from {source.id or '?'} to {way.target.id or '?'}"
            for step in (source, way.target):
                if steps.get(step.id) is not step:
                    raise DefinitionError(f"{where}: {step!r} is not a step of this flow")
            guard = None
            if way.cond is not None:
                read = row_guard if isinstance(source, Wait) else data_guard
                guard = read(way.cond, where)
            yield StepEdge(event, source.id, way.target.id, guard, way.cond or "", way.undo)


def _sources(way: Way, event: str, steps: Mapping[str, Step]) -> list[Step]:
    """Return the steps that an edge leaves; only a task can fail."""
    if not isinstance(way.source, AnyStep):
        return [way.source]
    kinds = Task if event == FAIL else (Task, Wait)
    return [step for step in steps.values() if isinstance(step, kinds)]


def _undo_steps(edges: tuple[StepEdge, ...]) -> Iterator[StepSpec]:
    for end in dict.fromkeys(edge.target for edge in edges if edge.undo):
        yield StepSpec(undo_step(end), Kind.UNDO, "What was done is undone, the last first.", leads=end)


def _snake(name: str) -> str:
    """Return ``TrialSubscription`` as ``trial_subscription``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
