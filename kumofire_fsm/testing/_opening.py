"""Opens a database in virtual time, for tests with an event loop of their own and for those without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.app import Kumofire
from kumofire_fsm.embedded.opening import open_embedded
from kumofire_fsm.embedded.threaded import InThread
from kumofire_fsm.engine.binding import EMBEDDED, Binding
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.models import RunOptions, RunStatus
from kumofire_fsm.ports import Row
from kumofire_fsm.store.diagnosis import DiagnosingStorage
from kumofire_fsm.testing._outcome import CallOutcome
from kumofire_fsm.testing._system import SteadyEntropy, VirtualClock
from kumofire_fsm.testing._virtual import VirtualJobs
from kumofire_fsm.values.printable import shown
from kumofire_fsm.work.calls import Call, not_awaited
from kumofire_fsm.work.sync import far, running_loop, wait_for
from kumofire_fsm.work.sync_jobs import SyncJobs

__all__ = ["SyncVirtualJobs", "VirtualOpening", "opened", "virtual_jobs"]


def virtual_jobs(
    app: Kumofire,
    path: str | Path = ":memory:",
    *,
    env: Any = None,
    clock: VirtualClock | None = None,
    immediate: bool = False,
    sync_schedules: bool = False,
) -> VirtualOpening:
    """Open a database in virtual time: ``async with`` gives `VirtualJobs`, and ``with`` `SyncVirtualJobs`.

    The application's lifespan holds as in `Kumofire.open`, unless ``env`` takes its place. Ids repeat, and a
    backoff with jitter waits its longest.

    Args:
        app: the application whose jobs are tested.
        path: the file; default a database in memory.
        env: what handlers find in ``ctx.env``; without it, what the lifespan yields.
        clock: the time; default one of its own, at the beginning of 2026.
        immediate: whether a call that makes a run due, such as `create`, works it before it returns.
        sync_schedules: whether to store what `Kumofire.schedule` declares.
    """
    given: object = app
    if not isinstance(given, Kumofire):
        raise InvalidArgument(f"virtual_jobs takes the application, a Kumofire object; found {shown(app)}")
    how: dict[str, Any] = {"env": env, "clock": clock or VirtualClock(), "lifespan": env is None}
    opening = partial(opened, app, path, sync_schedules=sync_schedules, **how)
    return VirtualOpening(opening, immediate=immediate)


@asynccontextmanager
async def opened(
    app: Kumofire,
    path: str | Path,
    *,
    env: Any,
    clock: VirtualClock,
    lifespan: bool,
    sync_schedules: bool = False,
) -> AsyncIterator[VirtualJobs]:
    """Open a database on the event loop that runs."""

    def bind(storage: SqliteStorage) -> Binding:
        binding = app.binding(DiagnosingStorage(storage), None, env, EMBEDDED, clock)
        binding.entropy, binding.lives = SteadyEntropy(), not lifespan
        return binding

    made = partial(VirtualJobs, clock=clock)
    async with open_embedded(path, bind, made, "OFF", sync_schedules=sync_schedules) as jobs:
        yield jobs


class SyncVirtualJobs(SyncJobs):
    """`VirtualJobs` for a test without an event loop: calls wait for their results.

    On an event loop of the test's, such as that of a web application, they are awaited.
    """

    _jobs: Any
    _loop: asyncio.AbstractEventLoop
    _born: int
    _forgotten: list[str]

    if TYPE_CHECKING:

        def drain(self) -> list[CallOutcome[Any]]: ...
        def advance(
            self, time: timedelta | datetime | float = 0.0, **units: float
        ) -> list[CallOutcome[Any]]: ...
        def assert_created(
            self,
            name: str | type[Any] | Callable[..., Any],
            payload: Any = ...,
            *,
            times: int = 1,
            **options: Unpack[RunOptions],
        ) -> list[RunStatus]: ...
        def sql(self, text: str, *values: Any) -> list[Row]: ...

    @property
    def clock(self) -> VirtualClock:
        """The time."""
        clock: VirtualClock = self._jobs.clock
        return clock

    @property
    def immediate(self) -> bool:
        """Whether a call that makes a run due, such as `create`, works it before it returns."""
        return bool(self._jobs.immediate)

    @immediate.setter
    def immediate(self, on: bool) -> None:
        self._jobs.immediate = on

    def check(self) -> None:
        """Refuse calls that a test on an event loop has not awaited.

        Raises:
            InvalidArgument: there were some, so nothing was done, and nothing asserted.
        """
        if self._forgotten:
            raise InvalidArgument(f"{not_awaited(self._forgotten)}; await each call in an async test")

    def _hand_over(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        if running_loop() in (None, self._loop):
            return wait_for(begin(), self._loop, self._born)
        return Call(name, lambda: far(begin(), self._loop, self._born), self._forgotten)


class VirtualOpening:
    """What `virtual_jobs` gives; it opens once."""

    def __init__(
        self, opening: Callable[[], AbstractAsyncContextManager[VirtualJobs]], *, immediate: bool
    ) -> None:
        self._opening, self._immediate = opening, immediate
        self._here: AbstractAsyncContextManager[VirtualJobs] | None = None
        self._there: InThread[SyncVirtualJobs] | None = None
        self._given: SyncVirtualJobs | None = None

    async def __aenter__(self) -> VirtualJobs:
        self._here = self._opening()
        jobs = await self._here.__aenter__()
        jobs.immediate = self._immediate
        return jobs

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database; one in memory is gone."""
        assert self._here is not None
        await self._here.__aexit__(kind, error, trace)

    def __enter__(self) -> SyncVirtualJobs:
        self._there = InThread(self._opening(), SyncVirtualJobs)
        self._given = self._there.__enter__()
        self._given.immediate = self._immediate
        return self._given

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database; one in memory is gone."""
        assert self._there is not None
        assert self._given is not None
        self._there.__exit__(kind, error, trace)
        if error is None:
            self._given.check()
