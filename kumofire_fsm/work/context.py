"""What a handler gets: its run, its attempt, and a way to say that it is alive."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.jobs import Jobs
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.caller_sql import SqlStatement, checked_statements
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.values.times import instant, moment

__all__ = ["RunContext", "RunFacts"]


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


class RunContext:
    """The first argument of every handler.

    Attributes:
        attempt: which attempt this is, from 1.
        env: what the application was opened or bound with (bindings, secrets, clients).
        jobs: the same API as outside, to create or look at other runs.
    """

    __slots__ = ("_beat", "_clock", "_effects", "_run", "attempt", "canceled", "env", "jobs")

    def __init__(
        self,
        run: ClaimedRun,
        *,
        env: Any,
        jobs: Jobs,
        clock: Callable[[], int],
        beat: Callable[[Any], Awaitable[None]],
    ) -> None:
        self._run, self._clock, self._beat = run, clock, beat
        self.attempt = run.attempt
        self.env = env
        self.jobs = jobs
        self._effects: list[Statement] | None = []
        self.canceled = False
        """Whether somebody asked this run to stop; raise `Cancel` to answer, or return as usual."""

    @property
    def run(self) -> RunFacts:
        """The run's facts."""
        run = self._run
        return RunFacts(
            id=run.id,
            name=run.job,
            run_at=moment(run.run_at),
            created_at=moment(run.created_at),
            scheduled_for=instant(run.scheduled_for),
            schedule_id=run.schedule_id,
            max_attempts=run.max_attempts,
            tags=tuple(json.loads(run.tags)) if run.tags else (),
        )

    def now(self) -> datetime:
        """Return the time, aware and in UTC, by the clock that the whole package uses."""
        return moment(self._clock())

    async def heartbeat(self, progress: Any = None) -> None:
        """Say that the attempt is alive: renew its lease, store progress, learn of a cancellation.

        Args:
            progress: JSON of at most 4 KB, shown by the run's status; None leaves it as it is.

        Raises:
            LeaseLost: another attempt owns the run now; stop working on it.
            InvalidArgument, TooLarge: the progress cannot be stored.
        """
        await self._beat(progress)

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
        """Return what `commit` registered, and take no more: the handler has ended."""
        effects, self._effects = self._effects or [], None
        return tuple(effects)
