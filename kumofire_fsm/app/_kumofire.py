"""The application: where jobs, schedules and hooks are registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, Unpack

from kumofire_fsm.app._flows import Flows
from kumofire_fsm.engine.definitions import define
from kumofire_fsm.engine.handlers import JobName
from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.hooks import Hook, HookFunction
from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.machines.spec import ADMIT, HOLD, MachineSpec, Role
from kumofire_fsm.models import Priority
from kumofire_fsm.ports import Clock, Entropy
from kumofire_fsm.retention import Retention, check_retention
from kumofire_fsm.retry import Backoff, RetryPolicy
from kumofire_fsm.schedules.changes import ScheduleOptions, check_declared, declared
from kumofire_fsm.values.checks import attempts, whole_number
from kumofire_fsm.values.checks import priority as check_priority
from kumofire_fsm.values.limits import LIMIT_MAX
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.rates import rate_of
from kumofire_fsm.values.times import duration_ms
from kumofire_fsm.work.lifespan import LifespanFunction, lifespan_of

__all__ = ["Kumofire"]

Handler = TypeVar("Handler", bound=Callable[..., Any])
LifespanT = TypeVar("LifespanT", bound=LifespanFunction)
HookT = TypeVar("HookT", bound=HookFunction)


class Kumofire(Flows):
    """An application's jobs.

    Args:
        max_attempts, timeout, retry: defaults for its jobs.
        retention: how long settled runs are kept, where their job says nothing else; None is for ever.
        clock, entropy: other sources of time and randomness, for tests.
    """

    def __init__(
        self,
        *,
        max_attempts: int = 3,
        timeout: timedelta | float = 60.0,
        retry: RetryPolicy | None = None,
        retention: Retention | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        super().__init__(clock, entropy)
        self._max_attempts = attempts(max_attempts, 1)
        _check_retry(retry, "an application")
        self._timeout = timeout
        self._retry = retry or Backoff()
        self.registry.retention = check_retention(retention, "an application")

    def job(
        self,
        name: str,
        *,
        max_attempts: int | None = None,
        timeout: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
        machine: type[Lifecycle] = RunMachine,
        limit: int | None = None,
        priority: Priority = "normal",
        rate: tuple[int, timedelta | float] | None = None,
        key_limit: int | None = None,
        key_rate: tuple[int, timedelta | float] | None = None,
        aliases: Sequence[str] = (),
        retention: Retention | None = None,
    ) -> Callable[[Handler], Handler]:
        """Register the decorated function as the handler of a job.

        The handler is ``handler(ctx, payload)``, async or plain. Payload and result are validated and
        converted by pydantic from its annotations.

        Args:
            name: how the application creates runs of it; unique.
            max_attempts: calls of the handler before a run fails, from 1.
            timeout: how long one call may take (timedelta or seconds), at least 1 ms.
            retry: a `Backoff`, or a function of attempt and error that gives the wait, or None.
            machine: the lifecycle of its runs.
            limit: how many of its runs may be under way at once, over all processes; None for any number.
                `limit_job` sets another at run time.
            priority: "high", "normal" or "low": whether its runs start before others that are due; see
                docs/control.md.
            rate: how many of them may start in a time, over all processes: (100, timedelta(minutes=1)).
            key_limit: how many of its runs with one `concurrency_key` may be under way at once, over all
                processes; None for any number.
            key_rate: how many of its runs with one `concurrency_key` may start in a time, as for `rate`. Runs
                of a job with neither have no keys.
            aliases: names that the job had before, the first one first: what is stored under them is its own.
            retention: how long its settled runs are kept, instead of what the application says.

        Raises:
            DefinitionError: a name is taken, or the handler cannot be called that way.
        """
        if callable(name):
            raise DefinitionError("write @app.job('name'), with the job's name in parentheses")
        _check_retry(retry, f"job {shown(name)}")
        check_retention(retention, f"job {shown(name)}")
        _check_machine(name, machine)
        if key_limit is not None or key_rate is not None:
            _check_holds(name, machine.spec)

        def register(handler: Handler) -> Handler:
            self.registry.add(
                define(
                    name,
                    handler,
                    machine=machine.spec,
                    max_attempts=attempts(max_attempts, self._max_attempts),
                    timeout_ms=duration_ms(self._timeout if timeout is None else timeout, "timeout", least=1),
                    retry=retry or self._retry,
                    limit=None if limit is None else whole_number(limit, "limit", LIMIT_MAX),
                    priority=check_priority(priority),
                    rate=rate_of(rate),
                    key_limit=None if key_limit is None else whole_number(key_limit, "key_limit", LIMIT_MAX),
                    key_rate=rate_of(key_rate, "key_rate"),
                    aliases=aliases,
                    retention=retention,
                )
            )
            return handler

        return register

    def schedule(
        self, *, key: str | None = None, payload: Any = None, **options: Unpack[ScheduleOptions]
    ) -> Callable[[Handler], Handler]:
        """Declare a recurring job of the handler below, which `job` registers; or of a flow's class.

        `kumofire worker` stores it at its start; elsewhere `sync_schedules` does; see docs/schedules.md.

        Args:
            key: its schedule_key; default the job's name, which serves for one schedule a handler.
            payload: what each run is called with.
            options: as for `create_schedule`.

        Raises:
            InvalidSchedule: a rule or zone can never fire as written.
            InvalidArgument, TooLarge: a schedule has no such option, or it cannot be used.
        """
        new = declared("", payload, key, options)
        check_declared(new)

        def declare(handler: Handler) -> Handler:
            self.registry.add_schedule(handler, new)
            return handler

        return declare

    def on(self, event: str, *, job: JobName | None = None) -> Callable[[HookT], HookT]:
        """Register the decorated function to be called after each transition that an event made.

        It is called with a `Transition` once the transition is committed, at most once, by the process that
        made it. Creating a run counts, as the event "create" into its first state; a run that is due is
        enqueued at once, which is told next. (What `prepare_create` gives is committed by the caller, and no
        hook is told.) What it raises is logged, and undoes nothing.
        Work that must not be lost belongs in a job. Hooks cost one statement for each set of transitions
        they are called for, and may take 5 s together; a plain function holds up everything.

        An event is not a state: "fail" is fired where the handler or its retry policy says never, and other
        events lead to ``failed`` too; see `on_enter`.

        Args:
            event: an event that changes a run's state, or "create".
            job: only for runs of this job: its name, or its handler or flow, registered above.

        Raises (when the application is bound or opened):
            DefinitionError: there is no such job, or no job has the event, or the event changes no state.
        """
        return self._hook(event, None, job)

    def on_enter(self, state: str, *, job: JobName | None = None) -> Callable[[HookT], HookT]:
        """Register the decorated function to be called after each transition into a state; see `on`.

        ``on_enter("failed")`` is the hook for every failure: of a handler that said never (event "fail"),
        of attempts that are spent ("retry"), of a worker that died too often ("lose").
        """
        return self._hook(None, state, job)

    def _hook(self, event: str | None, state: str | None, job: JobName | None) -> Callable[[HookT], HookT]:
        if callable(job):
            job = self.registry.names_of(job)[0]
        given: tuple[object, ...] = (event, state, job)
        if not all(each is None or isinstance(each, str) for each in given):
            raise DefinitionError(f"a hook's event, state and job are texts; found {shown(given)}")

        def register(function: HookT) -> HookT:
            self.registry.hooks.append(Hook(function, event, state, job))
            return function

        return register

    def lifespan(self, function: LifespanT) -> LifespanT:
        """Register the decorated function as what is open while handlers are called.

        It is an async generator function of the jobs API with one ``yield``, or returns an async context
        manager. What it yields is what handlers find in ``ctx.env``; None leaves there what the application
        was opened with, which the jobs API has as ``jobs.env``. It begins when a database is opened, and ends
        when it is closed, after the last handler; on Workers it holds for each event that calls handlers.

        Raises:
            DefinitionError: it cannot be called like that, or there is one already.
        """
        if self.registry.lifespan is not None:
            raise DefinitionError("an application has one lifespan; open all in that one")
        self.registry.lifespan = lifespan_of(function)
        return function


def _check_machine(job: str, machine: object) -> None:
    """Refuse what is no lifecycle of runs, or goes by the name or the columns of another."""
    called = f"job {shown(job)}: {getattr(machine, '__name__', shown(machine))}"
    usual, spec = RunMachine.spec, getattr(machine, "spec", None)
    lifecycle = isinstance(machine, type) and issubclass(machine, Lifecycle)
    if not (lifecycle and isinstance(spec, MachineSpec) and spec.table == usual.table):
        raise DefinitionError(f"{called} is not a lifecycle of runs")
    if spec is not usual and spec.name in (usual.name, JobMachine.spec.name):
        raise DefinitionError(
            f"{called} goes by the name {spec.name!r}, as a built-in lifecycle does; give it another: "
            "class ...(RunMachine, machine='...')"
        )
    same = (spec.parameters, {n: spec.types[n] for n in usual.types}) == (usual.parameters, usual.types)
    if not same:
        raise DefinitionError(f"{called} has other columns or parameters than RunMachine; inherit from it")


def _check_holds(job: str, spec: MachineSpec) -> None:
    """Refuse a lifecycle in which a run whose key is full has nowhere to wait."""
    said = f"job {shown(job)} has a key_limit or a key_rate, but no edge of"
    for state in spec.with_role(Role.CLAIMABLE):
        if not spec.edges_from(state, HOLD):
            raise DefinitionError(
                f"{said} {HOLD!r} leads from {state!r} of the machine {spec.name!r}, so a run whose "
                f"key is full would start; add `{state}.to(RunMachine.held, cond='full == 1')` to it"
            )
    for state in spec.held:
        targets = {edge.target for edge in spec.edges_from(state, ADMIT)}
        if not targets.intersection(spec.with_role(Role.CLAIMABLE)):
            raise DefinitionError(
                f"{said} {ADMIT!r} leads from {state!r} of the machine {spec.name!r} to a claimable state, "
                f"so a run would wait there for ever; let {HOLD!r} lead to `RunMachine.held`"
            )


def _check_retry(retry: object, what: str) -> None:
    if retry is not None and not isinstance(retry, Backoff) and not callable(retry):
        raise DefinitionError(f"{what}: retry must be a Backoff or a function; found {shown(retry)}")
