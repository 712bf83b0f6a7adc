"""A flow as a job: its handlers by step, and what is checked before the application opens."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kumofire_fsm.engine.definitions import Definition, define
from kumofire_fsm.errors import DefinitionError, InvalidPayload, TooLarge, UnknownSignal
from kumofire_fsm.flows.flow import Flow
from kumofire_fsm.flows.instance import machine_of
from kumofire_fsm.flows.spec import FlowSpec, Kind
from kumofire_fsm.flows.steps import Task
from kumofire_fsm.retry import RetryPolicy
from kumofire_fsm.values.error_text import text_of
from kumofire_fsm.values.limits import SIGNAL_BYTES
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.typed import encode_typed

__all__ = [
    "REDRIVE",
    "Defaults",
    "FlowJob",
    "another_version",
    "flow_job",
    "flow_of",
    "register_step",
    "register_upgrade",
    "signal_text",
]

REDRIVE: Final = "redrive"
"""The event by which what is settled begins again."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an application says of every job that says nothing itself."""

    max_attempts: int
    timeout_ms: int
    retry: RetryPolicy


@dataclass(frozen=True, slots=True)
class FlowJob(Definition):
    """A flow that an application serves.

    Attributes:
        flow: its spec.
        tries: how often a step is tried that does not say so itself, and one that undoes.
        tasks, undos: for each task its handler, as a definition of its own.
        upgrades: by version, what gives the data of the next one.
    """

    flow: FlowSpec = field(kw_only=True)
    tries: int = field(kw_only=True)
    tasks: dict[str, Definition] = field(kw_only=True, default_factory=dict)
    undos: dict[str, Definition] = field(kw_only=True, default_factory=dict)
    upgrades: dict[int, Callable[[dict[str, Any]], Any]] = field(kw_only=True, default_factory=dict)

    @property
    def made_of(self) -> object:
        """What registered it: the flow."""
        return self.flow

    def check(self) -> None:
        """Refuse a flow with a step that nobody serves.

        Raises:
            DefinitionError: a task, or its undo, has no handler.
        """
        called = f"{self.flow.name!r}"
        for step in self.flow.of_kind(Kind.TASK):
            if step.id not in self.tasks:
                raise DefinitionError(
                    f"the flow {called} has no handler for {step.id!r}; write @app.step(....{step.id})"
                )
            if step.undo and step.id not in self.undos:
                raise DefinitionError(
                    f"the flow {called} has no handler that undoes {step.id!r}; "
                    f"write @app.undo(....{step.id})"
                )


def flow_of(given: object) -> FlowSpec | None:
    """Return the spec of a flow's class; None for anything else."""
    spec = getattr(given, "spec", None)
    return spec if isinstance(spec, FlowSpec) and given is not Flow else None


def flow_job(spec: FlowSpec, defaults: Defaults) -> FlowJob:
    """Return a flow as a job without handlers yet."""
    timeouts = [step.timeout_ms or defaults.timeout_ms for step in spec.of_kind(Kind.TASK)]
    first = spec.first
    return FlowJob(
        name=spec.name,
        handler=_no_handler,
        is_async=True,
        machine=machine_of(spec, defaults.max_attempts),
        max_attempts=first.max_attempts or defaults.max_attempts,
        timeout_ms=max(timeouts, default=defaults.timeout_ms),
        retry=defaults.retry,
        takes_payload=True,
        payload=_adapter(spec.data),
        result=None,
        flow=spec,
        tries=defaults.max_attempts,
    )


def register_step(
    job: FlowJob, task: Task, handler: Callable[..., Any], defaults: Defaults, *, undo: bool
) -> None:
    """Add the handler of a task, or the one that undoes it.

    Raises:
        DefinitionError: it has one already, or the handler cannot be called as ``handler(ctx, data)``.
    """
    handlers = job.undos if undo else job.tasks
    called = f"{job.name}.{task.id}" + (" (undo)" if undo else "")
    if task.id in handlers:
        raise DefinitionError(f"the step {called} has a handler already")
    if undo and not task.has_undo:
        raise DefinitionError(f"the step {called} is declared without an undo; say Task(..., undo=True)")
    step = job.flow.step(task.id)
    assert step is not None
    made = define(
        called,
        handler,
        machine=job.machine,
        max_attempts=step.max_attempts or defaults.max_attempts,
        timeout_ms=step.timeout_ms or defaults.timeout_ms,
        retry=step.retry or defaults.retry,
    )
    if not made.takes_payload:
        found = inspect.signature(handler)
        raise DefinitionError(f"the step {called}: a handler is handler(ctx, data); found {found}")
    handlers[task.id] = replace(made, payload=_adapter(job.flow.data), result=_adapter(job.flow.data | None))


def register_upgrade(job: FlowJob, version: int, function: Callable[..., Any]) -> None:
    """Add what gives the data of the version after one.

    Raises:
        DefinitionError: it is not a plain function that can be called as ``upgrade(data)``.
    """
    given: object = function
    called = f"the upgrade of {job.name!r} from version {version}"
    if not callable(given):
        raise DefinitionError(f"{called} is upgrade(data) -> data; found {shown(given)}")
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(kind(each) for kind in kinds for each in (function, type(function).__call__)):
        raise DefinitionError(
            f"{called} is a plain function that returns the data; found one that is async, or a generator"
        )
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):  # of something built in, such as dict
        found = None
    try:
        if found is not None:
            found.bind({})
    except TypeError as exc:
        raise DefinitionError(f"{called} is called as upgrade(data); found {found}: {exc}") from exc
    job.upgrades[version] = function


def signal_text(job: Definition | None, machine: str, name: str, value: Any) -> str | None:
    """Return what a signal carries as JSON text; None for nothing.

    Raises:
        UnknownSignal: the run is of no flow, or its flow has no such signal.
        InvalidPayload: the value does not fit the signal's model.
    """
    if not isinstance(job, FlowJob) or job.machine.name != machine:
        raise UnknownSignal(f"the run follows {machine!r}, which is no flow")
    signal = job.flow.signal(name)
    if signal is None:
        known = ", ".join(each.id for each in job.flow.signals) or "none"
        raise UnknownSignal(f"the flow {job.name!r} has no signal {shown(name)}; it has {known}")
    what = f"the signal {name!r} of {job.name!r}"
    if signal.takes is None:
        if value is not None:
            raise InvalidPayload(f"{what} carries nothing; found {type(value).__name__}")
        return None
    adapter = _adapter(signal.takes)
    try:
        return encode_typed(adapter.validate_python(value), adapter, what, SIGNAL_BYTES)
    except TooLarge:
        raise
    except ValueError as exc:
        raise InvalidPayload(f"{what} does not validate: {text_of(exc)}") from exc


def another_version(job: Definition | None, machine: str) -> str:
    """Return what is said of a machine of another version of a job's flow, and what to do; else nothing."""
    if not isinstance(job, FlowJob) or not machine.startswith(f"{job.flow.name}@"):
        return ""
    if machine not in job.flow.former:
        return f"is a later version than this code's {job.flow.version}: do it with that code"
    return (
        f"is an earlier version than this code's {job.flow.version}: bring it to this one first, by "
        "kumofire machine migrate or jobs.migrate_flows()"
    )


def _adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


async def _no_handler(*_: Any) -> None:
    """Stand in the place of a handler: a flow has one for each step."""
