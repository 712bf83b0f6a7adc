"""The application: where jobs are registered, and bound to a database and a queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack

from kumofire_fsm.adapters.cloudflare_queues import CloudflareQueue
from kumofire_fsm.adapters.d1 import D1Storage
from kumofire_fsm.adapters.system import SystemClock, SystemEntropy
from kumofire_fsm.embedded.opening import EmbeddedJobs, open_embedded
from kumofire_fsm.embedded.threaded import InThread
from kumofire_fsm.engine.binding import EMBEDDED, WORKERS, Binding, Timing
from kumofire_fsm.engine.definitions import Registry, define
from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.hooks import Hook, HookFunction, call_hooks, check_hooks
from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.lifecycle import Lifecycle
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.models import Priority
from kumofire_fsm.ports import Clock, Entropy, Queue, Storage
from kumofire_fsm.retry import Backoff, RetryPolicy
from kumofire_fsm.schedules.changes import ScheduleOptions, declared
from kumofire_fsm.store.diagnosis import DiagnosingStorage
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.values.checks import attempts, whole_number
from kumofire_fsm.values.checks import priority as check_priority
from kumofire_fsm.values.limits import D1_STATEMENTS, LIMIT_MAX
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.rates import rate_of
from kumofire_fsm.values.times import duration_ms
from kumofire_fsm.work.bound import BoundJobs
from kumofire_fsm.work.budget import MeteredStorage
from kumofire_fsm.work.sync import SyncJobs

__all__ = ["Kumofire"]

Handler = TypeVar("Handler", bound=Callable[..., Any])
OpeningHook = Callable[[Any], Awaitable[None] | None]
OpeningHookT = TypeVar("OpeningHookT", bound=OpeningHook)
HookT = TypeVar("HookT", bound=HookFunction)


class Kumofire:
    """An application's jobs.

    Args:
        max_attempts, timeout, retry: defaults for its jobs.
        clock, entropy: other sources of time and randomness, for tests.
    """

    def __init__(
        self,
        *,
        max_attempts: int = 3,
        timeout: timedelta | float = 60.0,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        self._max_attempts = attempts(max_attempts, 1)
        _check_retry(retry, "an application")
        self._timeout = timeout
        self._retry = retry or Backoff()
        self._clock, self._entropy = clock or SystemClock(), entropy or SystemEntropy()
        self.registry = Registry()
        self._statements: tuple[tuple[int, int], tuple[RunStatements, ScheduleStatements]] | None = None
        self._startup: list[OpeningHook] = []
        self._shutdown: list[OpeningHook] = []

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
        aliases: Sequence[str] = (),
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
            aliases: names that the job had before, the first one first: what is stored under them is its own.

        Raises:
            DefinitionError: a name is taken, or the handler cannot be called that way.
        """
        if callable(name):
            raise DefinitionError("write @app.job('name'), with the job's name in parentheses")
        _check_retry(retry, f"job {shown(name)}")
        _check_machine(name, machine)

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
                    aliases=aliases,
                )
            )
            return handler

        return register

    def schedule(
        self, *, key: str | None = None, payload: Any = None, **options: Unpack[ScheduleOptions]
    ) -> Callable[[Handler], Handler]:
        """Declare a recurring job of the handler below, which `job` registers.

        Nothing is stored before `sync_schedules` is called, at a deploy or a start; see docs/schedules.md.

        Args:
            key: its schedule_key; default the job's name, which serves for one schedule a handler.
            payload: what each run is called with.
            options: as for `create_schedule`; what they say is checked when it is stored.

        Raises:
            InvalidArgument: a schedule has no such option.
        """
        new = declared("", payload, key, options)

        def declare(handler: Handler) -> Handler:
            self.registry.add_schedule(handler, new)
            return handler

        return declare

    def on(self, event: str, *, job: str | None = None) -> Callable[[HookT], HookT]:
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
            job: only for runs of this job.

        Raises (when the application is bound or opened):
            DefinitionError: there is no such job, or no job has the event, or the event changes no state.
        """
        return self._hook(event, None, job)

    def on_enter(self, state: str, *, job: str | None = None) -> Callable[[HookT], HookT]:
        """Register the decorated function to be called after each transition into a state; see `on`.

        ``on_enter("failed")`` is the hook for every failure: of a handler that said never (event "fail"),
        of attempts that are spent ("retry"), of a worker that died too often ("lose").
        """
        return self._hook(None, state, job)

    def _hook(self, event: str | None, state: str | None, job: str | None) -> Callable[[HookT], HookT]:
        given: tuple[object, ...] = (event, state, job)
        if not all(each is None or isinstance(each, str) for each in given):
            raise DefinitionError(f"a hook's event, state and job are texts; found {shown(given)}")

        def register(function: HookT) -> HookT:
            self.registry.hooks.append(Hook(function, event, state, job))
            return function

        return register

    def on_startup(self, hook: OpeningHookT) -> OpeningHookT:
        """Register a function of the jobs API, called when an embedded database is opened."""
        self._startup.append(hook)
        return hook

    def on_shutdown(self, hook: OpeningHookT) -> OpeningHookT:
        """Register a function of the jobs API, called when it is closed; last registered, first called."""
        self._shutdown.insert(0, hook)
        return hook

    def bind(
        self,
        *,
        db: Any,
        queue: Any = None,
        env: Any = None,
        timing: Timing | None = None,
        max_statements: int | None = None,
        clock: Clock | None = None,
    ) -> BoundJobs:
        """Return the API on a database and a queue, for the length of one event.

        Args:
            db: a D1 binding, or a storage such as `kumofire_fsm.testing.MemoryStorage`.
            queue: a Queue binding, or anything that satisfies `kumofire_fsm.ports.Queue`; without one
                no hint is sent, and a run starts only where `consume` is called for it.
            env: what handlers find in ``ctx.env``.
            timing: other durations than the platform's own.
            max_statements: how many statements one `consume_batch` or `dispatch` may send before it leaves
                the rest to the next; default 45 on D1, whose free plan allows 50 an invocation (the paid
                plan 1,000), and any number elsewhere.
            clock: another source of time than the application's, for tests.

        Raises:
            BindingError: a binding is missing, or is something else.
        """
        if max_statements is not None:
            whole_number(max_statements, "max_statements", 1_000_000)
        storage: Storage = db
        if not (hasattr(db, "execute") and hasattr(db, "batch")):
            storage, max_statements = D1Storage(db), max_statements or D1_STATEMENTS
        storage = DiagnosingStorage(storage)
        if max_statements is not None:
            storage = MeteredStorage(storage, max_statements)
        sends: Queue | None = queue
        if queue is not None and (hasattr(queue, "sendBatch") or not hasattr(queue, "send")):
            sends = CloudflareQueue(queue)
        usual = WORKERS if sends else EMBEDDED
        return BoundJobs(self.binding(storage, sends, env, timing or usual, clock))

    def open(
        self,
        path: str | Path,
        *,
        env: Any = None,
        lease: timedelta | float | None = None,
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        sync_schedules: bool = False,
    ) -> AbstractAsyncContextManager[EmbeddedJobs]:
        """Open an embedded SQLite file, and bring its schema and the machines' edges up to date.

        Args:
            path: the file, or ``":memory:"``.
            env: what handlers find in ``ctx.env``.
            lease: how long a worker's claims hold without renewal; after a worker was killed, its runs
                are taken over by then. Default 15 s.
            synchronous: what a commit waits for; see `SqliteStorage`.
            sync_schedules: whether to store what `schedule` declares, before the hooks of `on_startup`.

        Raises:
            StoreError: the file cannot be opened, is not a database, or belongs to newer code.
            MigrationConflict: a state of a machine gained or lost its deadline under the same name.
        """
        return self._open(path, env, lease, synchronous, sync_schedules=sync_schedules)

    @asynccontextmanager
    async def _open(
        self,
        path: str | Path,
        env: Any,
        lease: timedelta | float | None,
        synchronous: Any,
        *,
        sync_schedules: bool,
    ) -> AsyncIterator[EmbeddedJobs]:
        given: object = path
        if not isinstance(given, (str, Path)) or not str(given):
            raise InvalidArgument(f"open() needs a file's path, or ':memory:'; found {shown(path)}")
        lease_ms = EMBEDDED.lease_ms if lease is None else duration_ms(lease, "lease", least=100)
        timing = Timing(horizon_ms=0, redeliver_ms=0, lease_ms=lease_ms)
        bound = lambda storage: self.binding(DiagnosingStorage(storage), None, env, timing)  # noqa: E731
        startup = [lambda jobs: jobs.sync_schedules(), *self._startup] if sync_schedules else self._startup
        async with open_embedded(path, bound, synchronous, startup, self._shutdown) as jobs:
            yield jobs

    def open_sync(self, path: str | Path, **options: Any) -> AbstractContextManager[SyncJobs]:
        """Open an embedded file for a program without an event loop; the options of `open`.

        The same API runs on an event loop in a thread; its methods wait for their result. Called on that
        loop itself, as in an async handler, they raise `OpenedElsewhere`.
        """
        return InThread(self.open(path, **options))

    def binding(
        self, db: Storage, queue: Queue | None, env: Any, timing: Timing, clock: Clock | None = None
    ) -> Binding:
        """Return what `bind` and `open` share."""
        runs, schedules = self.statements()
        binding = Binding(
            registry=self.registry,
            storage=db,
            queue=queue,
            clock=clock or self._clock,
            entropy=self._entropy,
            timing=timing,
            env=env,
            runs=runs,
            schedules=schedules,
        )
        binding.on_moved = partial(call_hooks, binding)
        return binding

    def statements(self) -> tuple[RunStatements, ScheduleStatements]:
        """Return the statements of the application's machines.

        They are made once, and not for each event of a Worker: compiling costs more than a run.
        """
        registered = len(self.registry.jobs), len(self.registry.hooks)
        if self._statements is None or self._statements[0] != registered:
            machines = {RunMachine.spec.name: RunMachine.spec}
            machines |= {spec.name: spec for spec in self.registry.machines()}
            of_jobs = {name: job.machine for name, job in self.registry.names.items()}
            check_hooks(self.registry.hooks, of_jobs)
            made = RunStatements(list(machines.values())), ScheduleStatements(JobMachine.spec)
            self._statements = registered, made
        return self._statements[1]


def _check_machine(job: str, machine: object) -> None:
    """Refuse what is no lifecycle of runs, or goes by the name or the columns of another."""
    called = f"job {job!r}: {getattr(machine, '__name__', repr(machine))}"
    usual, spec = RunMachine.spec, getattr(machine, "spec", None)
    lifecycle = isinstance(machine, type) and issubclass(machine, Lifecycle)
    if not (lifecycle and isinstance(spec, MachineSpec) and spec.table == usual.table):
        raise DefinitionError(f"{called} is not a lifecycle of runs")
    if spec is not usual and spec.name in (usual.name, JobMachine.spec.name):
        raise DefinitionError(
            f"{called} goes by the name {spec.name!r}, as a built-in lifecycle does; give it another: "
            "class ...(RunMachine, machine='...')"
        )
    if (spec.fields.keys(), spec.parameters, spec.types) != (
        usual.fields.keys(),
        usual.parameters,
        usual.types,
    ):
        raise DefinitionError(f"{called} has other columns or parameters than RunMachine; inherit from it")


def _check_retry(retry: object, what: str) -> None:
    if retry is not None and not isinstance(retry, Backoff) and not callable(retry):
        raise DefinitionError(f"{what}: retry must be a Backoff or a function; found {shown(retry)}")
