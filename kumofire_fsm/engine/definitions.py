"""What an application registers: a name, its handler, and how its runs are treated."""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kumofire_fsm.errors import (
    DefinitionError,
    InvalidArgument,
    InvalidPayload,
    InvalidResult,
    TooLarge,
    UnknownJob,
)
from kumofire_fsm.flows.spec import FlowSpec
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import NewSchedule
from kumofire_fsm.retention import Retention
from kumofire_fsm.retry import RetryPolicy
from kumofire_fsm.values.checks import check_key
from kumofire_fsm.values.error_text import text_of
from kumofire_fsm.values.limits import PAYLOAD_BYTES, PRIORITIES, RESULT_BYTES
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.rates import Rate
from kumofire_fsm.values.typed import encode_typed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Definition", "Registry", "define"]


@dataclass(frozen=True, slots=True)
class Definition:
    """One registered job.

    Attributes:
        aliases: other names that it answers to: those that it had before.
        timeout_ms: how long one attempt may take.
        limit: how many of its runs may be leased at once over all processes; None for any number.
        priority: the class of its runs, as it is stored.
        rate: how many of them may start in a time.
        retention: how long they are kept once they are settled; None: as the application says.
        key_limit: how many with one concurrency key may be leased at once; None where they have no keys.
        takes_payload: whether the handler has a second parameter.
        payload, result: pydantic's adapters for the handler's annotations; None for plain JSON.
    """

    name: str
    handler: Callable[..., Any]
    is_async: bool
    machine: MachineSpec
    max_attempts: int
    timeout_ms: int
    retry: RetryPolicy
    takes_payload: bool
    payload: TypeAdapter[Any] | None
    result: TypeAdapter[Any] | None
    limit: int | None = None
    priority: int = PRIORITIES["normal"]
    rate: Rate | None = None
    key_limit: int | None = None
    aliases: tuple[str, ...] = ()
    retention: Retention | None = None

    def is_made_of(self, given: object) -> bool:
        """Return whether the job is that of a handler, or of a flow's class."""
        return self.handler is given

    def encode_payload(self, value: Any) -> str:
        """Validate a payload and return it as JSON text.

        Raises:
            InvalidPayload: it does not fit the handler's annotation, or is not JSON.
            TooLarge: it is over the limit.
        """
        what = f"the payload of {self.name!r}"
        if not self.takes_payload and value is not None:
            raise InvalidPayload(f"{what}: its handler takes none; found {type(value).__name__}")
        try:
            if self.payload is not None:
                value = self.payload.validate_python(value)
            return encode_typed(value, self.payload, what, PAYLOAD_BYTES)
        except TooLarge:
            raise
        except InvalidArgument as exc:
            raise InvalidPayload(str(exc)) from None
        except ValueError as exc:
            # From None: whoever logs it would print what pydantic says of the values.
            raise InvalidPayload(f"{what} does not validate: {text_of(exc)}") from None

    def decode_payload(self, text: str | None) -> Any:
        """Return the value the handler is called with.

        Raises:
            ValueError: the stored text does not fit the annotation any more.
        """
        if text is None:
            raise ValueError("the payload, which has a row of its own, is gone")
        if self.payload is None:
            import json

            return json.loads(text)
        return self.payload.validate_json(text)

    def encode_result(self, value: Any) -> str | None:
        """Return a handler's result as JSON text, None for None.

        Raises:
            InvalidResult: it does not fit the annotation, is not JSON, or is over the limit.
        """
        what = f"the result of {self.name!r}"
        try:
            if self.result is not None:
                value = self.result.validate_python(value)
            if value is None:
                return None
            return encode_typed(value, self.result, what, RESULT_BYTES, exact=False)
        except ValueError as exc:  # ours and pydantic's
            raise InvalidResult(f"{what} cannot be stored: {text_of(exc)}") from exc


class Registry:
    """The jobs of one application, by name."""

    def __init__(self) -> None:
        self.jobs: dict[str, Definition] = {}
        self.names: dict[str, Definition] = {}
        """The jobs by every name that they answer to."""
        self.hooks: list[Any] = []
        """What is called after transitions; see `kumofire_fsm.engine.hooks.Hook`."""
        self.told: set[object] = set()
        """What the log was told once, and is not told again by this process."""
        self.retention: Retention | None = None
        """How long settled runs are kept of jobs that say nothing else; None is for ever."""
        self.prunes_on = False
        """Whether the last look for runs whose retention is over found as many as one may delete."""
        self.looked_at: int | None = None
        """When a dispatcher last looked for work that is not known here."""
        self._schedules: list[tuple[Callable[..., Any], NewSchedule]] = []

    def add(self, definition: Definition) -> None:
        """Register a job.

        Raises:
            DefinitionError: one of its names is taken.
        """
        names = (definition.name, *definition.aliases)
        for name in names:
            if name in self.names or names.count(name) > 1:
                raise DefinitionError(f"a job {name!r} is registered already; names and aliases are unique")
        self.jobs[definition.name] = definition
        self.names |= dict.fromkeys(names, definition)

    def name_of(self, name: str) -> str:
        """Return what the job of a name or alias is called now; an unknown name as it is."""
        definition = self.names.get(name)
        return name if definition is None else definition.name

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return every name under which rows of a job may be stored."""
        definition = self.names.get(name)
        return (name,) if definition is None else (definition.name, *definition.aliases)

    def key_limits(self) -> dict[str, int]:
        """Return for each job that declares one, by all its names, the limit of a concurrency key."""
        return {name: job.key_limit for name, job in self.names.items() if job.key_limit is not None}

    def renamed(self) -> dict[str, str]:
        """Return the alias and the name of each job that has one."""
        return {name: job.name for name, job in self.names.items() if name != job.name}

    def get(self, name: object) -> Definition:
        """Return the job of that name or alias.

        Raises:
            UnknownJob: none is registered.
        """
        definition = self.names.get(name) if isinstance(name, str) else self._flow(name)
        if definition is None:
            raise UnknownJob(name if isinstance(name, str) else shown(name), sorted(self.jobs))
        return definition

    def _flow(self, given: object) -> Definition | None:
        """Return the job of a flow's class."""
        spec = getattr(given, "spec", None)
        if not isinstance(spec, FlowSpec):
            return None
        found = self.jobs.get(spec.name)
        if found is None or not found.is_made_of(given):
            raise UnknownJob(f"the flow {spec.name}", sorted(self.jobs))
        return found

    def add_schedule(self, handler: Callable[..., Any], declared: NewSchedule) -> None:
        """Declare a recurring job, still without a name, for a handler registered before or after."""
        self._schedules.append((handler, declared))

    def declared_schedules(self) -> list[NewSchedule]:
        """Return the recurring jobs that are declared beside handlers.

        The key is by default the job's first name, which stays when the job is renamed.

        Raises:
            DefinitionError: a handler is registered under no name, or under several.
        """
        found = []
        for handler, declared in self._schedules:
            names = [name for name, job in self.jobs.items() if job.is_made_of(handler)]
            if len(names) != 1:
                where = f"as {' and '.join(map(repr, names))}" if names else "as no job"
                raise DefinitionError(
                    f"@app.schedule stands on {shown(handler)}, which is registered {where}; put it beside "
                    "one @app.job, or give it a flow that has its handlers"
                )
            first = (*self.jobs[names[0]].aliases, names[0])[0]
            key = first if declared.schedule_key is None else declared.schedule_key
            found.append(replace(declared, name=names[0], schedule_key=key))
        return found

    def machines(self) -> list[MachineSpec]:
        """Return the distinct machines of the jobs."""
        found: dict[str, MachineSpec] = {}
        for definition in self.jobs.values():
            spec = definition.machine
            if found.setdefault(spec.name, spec).digest != spec.digest:
                raise DefinitionError(f"two different machines are called {spec.name!r}; rename one")
        return list(found.values())


def define(
    name: str,
    handler: Callable[..., Any],
    *,
    machine: MachineSpec,
    max_attempts: int,
    timeout_ms: int,
    retry: RetryPolicy,
    limit: int | None = None,
    priority: int = PRIORITIES["normal"],
    rate: Rate | None = None,
    retention: Retention | None = None,
    key_limit: int | None = None,
    aliases: Sequence[str] = (),
) -> Definition:
    """Return the definition of a handler, with adapters for its annotations.

    Raises:
        DefinitionError: the handler's signature cannot be called as ``handler(ctx, payload)``, or the aliases
            are not a list of names.
    """
    check_key(name, "a job's name")
    plain = inspect.unwrap(handler)
    if not callable(handler):
        raise DefinitionError(f"job {name!r}: the handler must be a function; found {shown(handler)}")
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise DefinitionError(f"job {name!r}: a handler returns its result; found a generator")
    parameters = [
        p
        for p in inspect.signature(plain).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if len(parameters) not in (1, 2):
        raise DefinitionError(
            f"job {name!r}: a handler is handler(ctx, payload) or handler(ctx); found "
            f"{getattr(plain, '__name__', plain)}{inspect.signature(plain)}"
        )
    notes = inspect.get_annotations(plain)
    payload = parameters[1].name if len(parameters) == 2 else None
    return Definition(
        name=name,
        handler=handler,
        is_async=any(map(inspect.iscoroutinefunction, (handler, type(handler).__call__))),
        machine=machine,
        max_attempts=max_attempts,
        timeout_ms=timeout_ms,
        retry=retry,
        limit=limit,
        priority=priority,
        rate=rate,
        retention=retention,
        key_limit=key_limit,
        takes_payload=payload is not None,
        payload=_adapter(plain, notes.get(payload, Any), name) if payload else None,
        result=_adapter(plain, notes.get("return", Any), name),
        aliases=_aliases(name, aliases),
    )


def _aliases(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DefinitionError(f"job {name!r}: aliases is a list of names; found {shown(given)}")
    try:
        return tuple(check_key(each, "an alias") for each in given)
    except InvalidArgument as exc:
        raise DefinitionError(f"job {name!r}: {exc}") from exc


def _adapter(function: Callable[..., Any], annotation: Any, job: str) -> TypeAdapter[Any] | None:
    """Return pydantic's adapter for one annotation; None where plain JSON is all it says."""
    hint = _resolved(function, annotation, job)
    if hint is Any or hint is inspect.Parameter.empty:
        return None
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError  # costs 0.1 s: only with a job

    try:
        return TypeAdapter(hint)
    except PydanticUserError as exc:
        raise DefinitionError(f"job {job!r}: pydantic cannot validate {hint!r}: {exc}") from exc


def _resolved(function: Callable[..., Any], annotation: Any, job: str) -> Any:
    """Resolve one annotation alone: the context's is often imported for type checkers only."""
    if not isinstance(annotation, str):
        return annotation
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closure = {}
    for name, cell in cells:
        with contextlib.suppress(ValueError):  # empty: it is defined after the handler
            closure[name] = cell.cell_contents
    try:
        return typing.get_type_hints(_Holder(annotation), function.__globals__, closure, include_extras=True)[
            "value"
        ]
    except NameError as exc:
        raise DefinitionError(
            f"job {job!r}: the annotation {annotation!r} cannot be resolved ({exc}); define the type at "
            "module level, outside TYPE_CHECKING"
        ) from exc


class _Holder:
    """An object with one annotation, for `typing.get_type_hints`."""

    def __init__(self, annotation: str) -> None:
        self.__annotations__ = {"value": annotation}
