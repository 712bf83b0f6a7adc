"""Binds an application's jobs to a database and a queue: for one event of a Worker, or as an open file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from kumofire_fsm.adapters.cloudflare_queues import CloudflareQueue
from kumofire_fsm.adapters.d1 import D1Storage
from kumofire_fsm.adapters.system import SystemClock, SystemEntropy
from kumofire_fsm.engine.binding import EMBEDDED, WORKERS, Binding, Timing
from kumofire_fsm.engine.budget import Budget, MeteredStorage
from kumofire_fsm.engine.flow_jobs import FlowJob
from kumofire_fsm.engine.registry import Registry
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.hooks import call_hooks, check_hooks
from kumofire_fsm.machines.job import JobMachine
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.ports import Clock, Entropy, Queue, Storage
from kumofire_fsm.store.diagnosis import DiagnosingStorage
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.limits import D1_STATEMENTS
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms
from kumofire_fsm.work.bound import BoundJobs
from kumofire_fsm.work.sync_jobs import SyncJobs

if TYPE_CHECKING:
    from kumofire_fsm.embedded.opening import EmbeddedJobs

__all__ = ["Binder"]


class OpenOptions(TypedDict, total=False):
    """What may be said of a file that is opened."""

    env: Any
    lease: timedelta | float | None
    synchronous: Literal["FULL", "NORMAL", "OFF"]
    sync_schedules: bool


class Binder:
    """What an application has registered, and the ways to bind it.

    Args:
        clock, entropy: None for the system's.

    Attributes:
        registry: the jobs, schedules and hooks.
    """

    def __init__(self, clock: Clock | None, entropy: Entropy | None) -> None:
        self._clock, self._entropy = clock or SystemClock(), entropy or SystemEntropy()
        self.registry = Registry()
        self._statements: tuple[tuple[int, int], tuple[RunStatements, ScheduleStatements]] | None = None

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
            env: what handlers find in ``ctx.env``, unless the application has a lifespan that yields another.
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
            storage = D1Storage(db, observer=self.registry.observer)
            max_statements = max_statements or D1_STATEMENTS
        budget = Budget(max_statements, clock or self._clock)
        if isinstance(storage, D1Storage):
            storage.repeats = budget.repeats
        if max_statements is not None:
            storage = MeteredStorage(storage, budget)
        storage = DiagnosingStorage(storage)
        sends: Queue | None = queue
        if queue is not None and (hasattr(queue, "sendBatch") or not hasattr(queue, "send")):
            sends = CloudflareQueue(queue)
        usual = WORKERS if sends else EMBEDDED
        return BoundJobs(self.binding(storage, sends, env, timing or usual, clock, budget))

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
            env: what handlers find in ``ctx.env``, unless the application has a lifespan that yields another.
            lease: how long a worker's claims hold without renewal; after a worker was killed, its runs
                are taken over by then. Default 15 s.
            synchronous: what a commit waits for; see `SqliteStorage`.
            sync_schedules: whether to store what `schedule` declares, before its lifespan begins.

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
        from kumofire_fsm.embedded.opening import (  # sqlite3 and threads, which no Worker needs
            EmbeddedJobs,
            open_embedded,
        )

        given: object = path
        if not isinstance(given, (str, Path)) or not str(given):
            raise InvalidArgument(f"open() needs a file's path, or ':memory:'; found {shown(path)}")

        lease_ms = EMBEDDED.lease_ms if lease is None else duration_ms(lease, "lease", least=100)
        timing = Timing(horizon_ms=0, redeliver_ms=0, lease_ms=lease_ms)
        bound = lambda storage: self.binding(DiagnosingStorage(storage), None, env, timing)  # noqa: E731
        async with open_embedded(
            path, bound, EmbeddedJobs, synchronous, sync_schedules=sync_schedules
        ) as jobs:
            yield jobs

    def open_sync(self, path: str | Path, **options: Unpack[OpenOptions]) -> AbstractContextManager[SyncJobs]:
        """Open an embedded file for a program without an event loop; the options of `open`.

        The same API runs on an event loop in a thread; its methods wait for their result. Called on that
        loop itself, as in an async handler, they raise `OpenedElsewhere`.
        """
        from kumofire_fsm.embedded.threaded import InThread

        return InThread(self.open(path, **options), SyncJobs)

    def binding(
        self,
        db: Storage,
        queue: Queue | None,
        env: Any,
        timing: Timing,
        clock: Clock | None = None,
        budget: Budget | None = None,
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
            budget=budget or Budget(),
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
            for job in self.registry.jobs.values():
                if isinstance(job, FlowJob):
                    job.check()
            of_jobs = {name: job.machine for name, job in self.registry.names.items()}
            check_hooks(self.registry.hooks, of_jobs)
            runs = RunStatements(list(machines.values()), watched=self.registry.observer.watches)
            self._statements = registered, (runs, ScheduleStatements(JobMachine.spec))
        return self._statements[1]
