"""What a handler gets: its run, its attempt, and a way to say that it is alive."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kumofire_fsm.engine.binding import about
from kumofire_fsm.engine.signatures import HandlerContext
from kumofire_fsm.errors import InvalidArgument, RowUnreadable
from kumofire_fsm.jobs import Jobs
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.caller_sql import SqlStatement, checked_statements
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.values.columns import Columns
from kumofire_fsm.values.jsontext import decode
from kumofire_fsm.values.owner import forks
from kumofire_fsm.values.times import moment
from kumofire_fsm.work.calls import Call, not_awaited
from kumofire_fsm.work.sync import FarJobs, NotedJobs, far, running_loop, wait_for
from kumofire_fsm.work.sync_jobs import SyncJobs

__all__ = ["PlainContext", "RunContext", "RunFacts"]

log = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The run that a handler works on. Instants are aware UTC datetimes."""

    id: str
    name: str
    run_at: datetime
    created_at: datetime
    scheduled_for: datetime | None
    schedule_id: str | None
    max_attempts: int
    tags: tuple[str, ...]


class RunContext(HandlerContext):
    """The first argument of every handler.

    Where `jobs` and `heartbeat` have to wait, they do so as the place needs: on the worker's event loop, and
    on any other, they are awaited; in a thread without a loop they return the result.

    Attributes:
        attempt: which attempt this is, from 1.
        env: what the application's lifespan yielded, or what it was opened or bound with (bindings, secrets,
            clients).
    """

    _run: ClaimedRun
    _advice = "await every call of ctx.jobs, and ctx.heartbeat"
    __slots__ = (
        "_beat",
        "_born",
        "_clock",
        "_effects",
        "_forgotten",
        "_jobs",
        "_loop",
        "_name",
        "_progress",
        "_run",
        "attempt",
        "canceled",
        "env",
    )

    def __init__(
        self,
        run: ClaimedRun,
        *,
        name: str,
        env: Any,
        jobs: Jobs,
        clock: Callable[[], int],
        beat: Callable[[Any], Coroutine[Any, Any, None]],
    ) -> None:
        self._run, self._name, self._clock, self._beat = run, name, clock, beat
        self._jobs, self._loop, self._born = jobs, asyncio.get_running_loop(), forks()
        self.attempt = run.attempt
        self._progress = run.progress
        self.env = env
        self._effects: list[Statement] | None = []
        self._forgotten: list[str] = []
        self.canceled = False
        """Whether somebody asked this run to stop; raise `Cancel` to answer, or return as usual."""

    @property
    def jobs(self) -> Jobs:
        """The same API as outside, to create or look at other runs."""
        api: Any = NotedJobs if self._is_here() else SyncJobs if running_loop() is None else FarJobs
        jobs: Jobs = api(self._jobs, self._loop, self._born, self._forgotten)
        return jobs

    @property
    def progress(self) -> Any:
        """What the latest heartbeat that stored any said, of this attempt or one before; None without one."""
        try:
            return decode(self._progress)
        except (ValueError, RecursionError) as exc:
            said = "the progress of run %s cannot be read: %s"
            log.error(said, self._run.id, exc, extra=about(self._run))
            return None

    def progressed(self, text: str) -> None:
        """Note what was stored as progress, as JSON text."""
        self._progress = text

    @property
    def run(self) -> RunFacts:
        """The run's facts.

        Raises:
            RowUnreadable: its row holds what no run can have, such as an instant beyond the calendar.
        """
        run, columns = self._run, Columns(self._run)
        facts = RunFacts(
            id=run.id,
            name=self._name,
            run_at=columns.moment("run_at"),
            created_at=columns.moment("created_at"),
            scheduled_for=columns.instant("scheduled_for"),
            schedule_id=run.schedule_id,
            max_attempts=run.max_attempts,
            tags=columns.texts("tags"),
        )
        if columns.unreadable:
            what = ", ".join(columns.unreadable)
            raise RowUnreadable(f"run {run.id}: its row holds what cannot be read in {what}; mend the row")
        return facts

    def now(self) -> datetime:
        """Return the time, aware and in UTC, by the clock that the whole package uses."""
        return moment(self._clock())

    def heartbeat(self, progress: Any = None) -> Coroutine[Any, Any, None]:
        """Say that the attempt is alive: renew its lease, store progress, learn of a cancellation.

        If the database fails it while the lease holds, it returns, and the next one stores the progress.

        Args:
            progress: JSON of at most 4 KB, shown by the run's status and kept for the next attempt, which
                reads it as `progress`; None leaves it as it is.

        Raises:
            LeaseLost: another attempt owns the run now; stop working on it.
            StoreError: the database failed, and the lease is over as far as is known.
            InvalidArgument, TooLarge: the progress cannot be stored.
        """
        beat = functools.partial(self._beat, progress)
        if running_loop() is None:
            beating: Any = wait_for(beat(), self._loop, self._born)
        elif self._is_here():
            beating = Call("heartbeat", beat, self._forgotten)
        else:
            beating = Call("heartbeat", lambda: far(beat(), self._loop, self._born), self._forgotten)
        return beating  # type: ignore[no-any-return]

    def commit(self, statements: Iterable[SqlStatement]) -> None:
        """Register the application's own SQL, to be committed together with this run's success.

        Once the handler has returned, one transaction settles the run and executes the statements: they
        take effect exactly once if the run succeeds, and not at all otherwise. The database is the one
        that holds the runs. A constraint they violate, or an error in them, is the handler's failure,
        and follows its retry policy; calls add up.

        Args:
            statements: each SQL, or (SQL, values of its ``?``); INSERT, UPDATE, DELETE, REPLACE, WITH or
                SELECT. D1 binds every number as a REAL: write CAST(? AS TEXT) or give a text where a column
                has no numeric affinity. `Jobs.prepare_create` gives statements that create a run.

        Raises:
            InvalidArgument: one of them cannot be executed so; nothing was registered.
        """
        checked = checked_statements(statements)
        if self._effects is None:
            raise InvalidArgument("ctx.commit came after the handler had ended; nothing was registered")
        self._effects += checked

    def close(self) -> Sequence[Statement]:
        """Return what `commit` registered, and take no more: the handler has ended.

        Raises:
            InvalidArgument: a call was not awaited, and so nothing was done.
        """
        if self._forgotten:
            raise InvalidArgument(f"{not_awaited(self._forgotten)}; {self._advice}")
        effects, self._effects = self._effects or [], None
        return tuple(effects)

    def _is_here(self) -> bool:
        """Return whether this is the worker's own event loop."""
        return running_loop() is self._loop and self._born == forks()


class PlainContext(RunContext):
    """The first argument of a plain handler: in its thread `jobs` and `heartbeat` are not awaited.

    Where there are no threads, on Workers, a plain handler is called on the event loop. Nothing can wait
    there: what is called and not awaited fails the attempt.
    """

    __slots__ = ()
    _advice = "where there is an event loop, a plain handler cannot wait: make it async, and await each call"

    @property
    def jobs(self) -> SyncJobs:  # type: ignore[override]
        """The same API as outside, whose calls wait for their results."""
        found: Any = super().jobs
        return found  # type: ignore[no-any-return]

    def heartbeat(self, progress: Any = None) -> None:  # type: ignore[override]
        """Say that the attempt is alive; see `RunContext.heartbeat`."""
        beating: Any = super().heartbeat(progress)
        return beating  # type: ignore[no-any-return]
