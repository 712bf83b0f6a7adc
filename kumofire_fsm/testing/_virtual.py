"""The jobs API on a database in virtual time: a test works what is due, and nothing waits."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, Unpack

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.embedded.opening import EmbeddedJobs
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.reading import is_settled, read_run
from kumofire_fsm.errors import InvalidArgument, WaitTimeout
from kumofire_fsm.models import RunOptions, RunStatus
from kumofire_fsm.ports import Row
from kumofire_fsm.store.rows import RunRow
from kumofire_fsm.testing._created import find_created
from kumofire_fsm.testing._outcome import CallOutcome
from kumofire_fsm.testing._system import VirtualClock
from kumofire_fsm.testing._working import Working
from kumofire_fsm.values.ids import check_id
from kumofire_fsm.values.times import duration_ms, instant_ms

__all__ = ["VirtualJobs"]

STARTING: Final = (
    *("create", "create_many", "send_hint", "signal"),
    *("fire", "redrive", "reschedule", "resume_job", "trigger_now"),
)
"""The calls after which a run may be due."""


class VirtualJobs(EmbeddedJobs):
    """The jobs API of an open database on which a test works what is due, one handler after another.

    No worker runs. Time stands still but where `drain`, `advance`, `wait` or `result` move it on.

    Attributes:
        immediate: whether a call that makes a run due, such as `create`, works it before it returns.
    """

    def __init__(self, binding: Binding, storage: SqliteStorage, clock: VirtualClock) -> None:
        super().__init__(binding, storage)
        self.immediate, self.clock = False, clock
        self._working = Working(binding, clock)
        for name in STARTING:
            setattr(self, name, self._at_once(getattr(self, name)))

    async def drain(self) -> list[CallOutcome[Any]]:
        """Work until no run is left that starts by itself; tell how each call of a handler ended.

        Time goes on to what waits for it: a retry, a snooze, a delay. What waits for a person or a signal
        stays, and so do its deadlines; see `advance`. Schedules fire whose time comes on the way.

        Raises:
            InvalidArgument: it goes on for ever.
        """
        return await self._working.work(None, deadlines=False)

    async def advance(
        self, time: timedelta | datetime | float = 0.0, **units: float
    ) -> list[CallOutcome[Any]]:
        """Let time pass, and work at its time all that comes due: runs, deadlines and schedules.

        Args:
            time: how long, as a timedelta or in seconds; or until when, as an aware datetime.
            units: how long, as keywords of `datetime.timedelta`, such as ``days=1``.

        Raises:
            InvalidArgument: the time lies behind, or too much happens until then.
        """
        if isinstance(time, datetime):
            until = instant_ms(time, "time")
        else:
            try:
                more = timedelta(**units)
            except (TypeError, OverflowError) as exc:
                raise InvalidArgument(f"advance takes a time, or the units of a timedelta: {exc}") from exc
            until = self._binding.now() + duration_ms(time, "time") + duration_ms(more, "time")
        if until < self._binding.now():
            raise InvalidArgument(f"it is {self.clock.time} already; time does not go back to {time}")
        return await self._working.work(until)

    async def assert_created(
        self,
        name: str | type[Any] | Callable[..., Any],
        payload: Any = ...,
        *,
        times: int = 1,
        **options: Unpack[RunOptions],
    ) -> list[RunStatus]:
        """Assert that so many runs of a job were created, and return them, oldest first.

        Args:
            name: the job: its name, its handler or its flow.
            payload: what they were created with; not given, it is not looked at.
            times: exactly how many; 0 for none.
            options: as for `create`: what else was said of them. ``delay`` is reckoned from their creation.

        Raises:
            AssertionError: there are more or fewer; the text lists the job's runs.
            UnknownJob, InvalidPayload, InvalidArgument: there can be no such run.
        """
        return await find_created(self._binding, name, payload, times, options)

    async def sql(self, text: str, *values: Any) -> list[Row]:
        """Run a statement of the test's own, such as one that makes the application's tables."""
        rows: list[Row] = await self._storage.call(lambda db: db.execute(text, values).fetchall())
        return rows

    async def run(self, **options: Any) -> None:  # noqa: ARG002 - an application may start a worker
        """Work nothing until it is cancelled: the test works."""
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Let the threads of plain handlers go."""
        await super().close()
        self._working.end()

    def _at_once(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(call)
        async def called(*args: Any, **options: Any) -> Any:
            answer = await call(*args, **options)
            if self.immediate and not self._working.is_inside:  # what handlers create is worked after them
                await self._working.work(self._binding.now())
            return answer

        return called

    async def _settled(self, run_id: str, timeout: timedelta | float | None) -> RunRow:
        """Work until a run is settled, as `wait` and `result` ask; nobody else does."""
        row, binding = await read_run(self._binding, check_id(run_id), results=True), self._binding
        until = None if timeout is None else binding.now() + duration_ms(timeout, "timeout")

        async def settled() -> bool:
            nonlocal row
            row = await read_run(binding, run_id, results=True)
            return is_settled(binding, row.machine, row.state, row.wake_at)

        if not await settled():
            await self._working.work(until, enough=settled)
        if not await settled():
            why = "nothing more is due" if until is None else "its time is over"
            raise WaitTimeout(f"run {run_id} is still {row.state!r}, and {why}")
        return row
