"""The jobs of one application: found by their names, their handlers and their flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Final

from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.errors import DefinitionError, InvalidArgument, UnknownJob
from kumofire_fsm.flows.spec import FlowSpec
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import NewSchedule
from kumofire_fsm.observer import Observer
from kumofire_fsm.retention import Retention
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.printable import shown

__all__ = ["Registry"]


_FORMS: Final = "a job is given by its name, its handler or its flow; found {}"


class Registry:
    """The jobs of one application, by name, and by what they are made of."""

    def __init__(self) -> None:
        self.jobs: dict[str, Definition] = {}
        self._made_of: dict[object, list[Definition]] = {}
        self.names: dict[str, Definition] = {}
        """The jobs by every name that they answer to."""
        self.limits: dict[str, int] = {}
        """For jobs that declare one, by every name, how many of their runs may be leased at once."""
        self.rates: dict[str, tuple[int, int]] = {}
        """For jobs that declare one, by every name, their rate, as the statements want it."""
        self.key_limits: dict[str, int] = {}
        """The limit of each concurrency key, likewise."""
        self.key_rates: dict[str, tuple[int, int]] = {}
        """The rate of each concurrency key, likewise."""
        self.hooks: list[Any] = []
        """What is called after transitions; see `kumofire_fsm.engine.hooks.Hook`."""
        self.observer = Observer()
        """Who is told what happens; see `kumofire_fsm.telemetry`."""
        self.lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None
        """What is open while handlers are called; see `kumofire_fsm.work.lifespan`."""
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
        self._made_of.setdefault(_key(definition.made_of), []).append(definition)
        self.names |= dict.fromkeys(names, definition)
        for bounds, limit in ((self.limits, definition.limit), (self.key_limits, definition.key_limit)):
            bounds.update({} if limit is None else dict.fromkeys(names, limit))
        for rates, rate in ((self.rates, definition.rate), (self.key_rates, definition.key_rate)):
            rates.update({} if rate is None else dict.fromkeys(names, rate.columns()))

    def name_of(self, name: str) -> str:
        """Return what the job of a name or alias is called now; an unknown name as it is."""
        definition = self.names.get(name)
        return name if definition is None else definition.name

    def names_of(self, job: object) -> tuple[str, ...]:
        """Return every name under which rows of a job may be stored; a name may be unknown here.

        Raises:
            UnknownJob, InvalidArgument: it is neither a name, nor the handler or the flow of one job.
        """
        if isinstance(job, str) and job not in self.names:
            return (storable(job, "name"),)
        if not isinstance(job, str) and not callable(job):
            raise InvalidArgument(_FORMS.format(shown(job)))
        definition = self.get(job)
        return definition.name, *definition.aliases

    def renamed(self) -> dict[str, str]:
        """Return the alias and the name of each job that has one."""
        return {name: job.name for name, job in self.names.items() if name != job.name}

    def get(self, name: object) -> Definition:
        """Return the job of that name or alias, handler or flow.

        Raises:
            UnknownJob: none is registered.
            InvalidArgument: several jobs have that handler.
        """
        if not isinstance(name, str):
            return self._job_of(name)
        definition = self.names.get(name)
        if definition is None:
            raise UnknownJob(name, sorted(self.jobs))
        return definition

    def _job_of(self, given: object) -> Definition:
        """Return the job of a handler, or of a flow's class."""
        found = self._made_of.get(_key(given), [])
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(repr(job.name) for job in found)
            raise InvalidArgument(f"{_called(given)} is the handler of {names}: give the name of the job")
        raise UnknownJob(_called(given), sorted(self.jobs), self._why_unknown(given))

    def _why_unknown(self, given: object) -> str:
        """Return what is said of something that is the handler of no job."""
        called = _called(given)
        if called.startswith("the flow "):
            return f"{called} is not registered"
        if not callable(given) or isinstance(given, type):
            return _FORMS.format(shown(given))
        for inner in _wrapped(given):
            if found := self._made_of.get(_key(inner)):
                return (
                    f"{called} is not registered, and wraps the handler of {found[0].name!r}: put @app.job "
                    "above the other decorators"
                )
        name = getattr(given, "__name__", "its name")
        return (
            f"{called} is the handler of no job here: write @app.job({name!r}) above it, or import the "
            "module that registers it"
        )

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
            names = [job.name for job in self._made_of.get(_key(handler), ())]
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


def _key(given: object) -> object:
    """Return by what a job's handler, or its flow, is found again; methods are equal, and not the same."""
    spec = getattr(given, "spec", given)
    if isinstance(spec, FlowSpec):
        return id(spec)
    try:
        hash(given)
    except TypeError:
        return id(given)
    return given


def _called(given: object) -> str:
    """Return what an error calls a handler or a flow."""
    spec = getattr(given, "spec", None)
    if isinstance(spec, FlowSpec):
        return f"the flow {spec.name}"
    module, name = getattr(given, "__module__", None), getattr(given, "__qualname__", None)
    if isinstance(given, type) or not (isinstance(module, str) and isinstance(name, str)):
        return shown(given)
    return f"the function {module}.{name}"


def _wrapped(given: object) -> Iterator[object]:
    """Yield what decorators wrapped, from the outside in."""
    seen = {id(given)}
    while (given := getattr(given, "__wrapped__", None)) is not None and id(given) not in seen:
        seen.add(id(given))
        yield given
