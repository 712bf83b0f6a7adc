"""Looks at runs: one, many, how many, and waits until one is settled."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, overload

from kumofire_fsm.engine.binding import HANDLED, Binding
from kumofire_fsm.engine.handlers import JobName, R
from kumofire_fsm.engine.reading import is_settled, read_run, read_runs
from kumofire_fsm.engine.unknown import unknown_work
from kumofire_fsm.errors import InvalidArgument, NoResult, WaitTimeout
from kumofire_fsm.machines.spec import Outcome, Role
from kumofire_fsm.models import (
    Created,
    RunCounts,
    RunPage,
    RunStatus,
)
from kumofire_fsm.reports import UnknownWork
from kumofire_fsm.runs._waits import Waits
from kumofire_fsm.runs.filters import run_filters
from kumofire_fsm.runs.status import run_status
from kumofire_fsm.store.rows import RunRow
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.columns import in_turns
from kumofire_fsm.values.ids import check_id, is_id
from kumofire_fsm.values.jsontext import decode, first_line, storable
from kumofire_fsm.values.limits import ANSWER_BYTES, ERROR_LINE
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms

__all__ = ["RunLookup"]

log = logging.getLogger(__package__)

_FOREIGN: Final = "="
"""What a cursor begins with where a page ends with a run whose id is none of ours."""


def _cursor(last_id: str) -> str:
    """Return where the page after this run begins."""
    return last_id if is_id(last_id) else _FOREIGN + last_id


def _position(cursor: str) -> str:
    """Return the id after which a page begins."""
    if not is_id(cursor) and not cursor.startswith(_FOREIGN):
        raise InvalidArgument(f"cursor must be what the page before gave; found {shown(cursor)}")
    return cursor.removeprefix(_FOREIGN)


class RunLookup:
    """What an application asks about runs."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._waits = Waits(binding)

    async def get_status(self, run_id: str) -> RunStatus | None:
        """Return a run as it is now, or None when no run has this id."""
        row = (await read_runs(self._binding, [check_id(run_id)], results=True)).get(run_id)
        return None if row is None else run_status(self._binding, row)

    async def list_runs(
        self,
        *,
        name: JobName | None = None,
        state: str | Sequence[str] | None = None,
        tag: str | None = None,
        schedule_id: str | None = None,
        concurrency_key: str | None = None,
        created_before: datetime | None = None,
        error: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        results: bool = False,
    ) -> RunPage:
        """Return runs, newest first.

        A page looks at 10,000 runs at most (of those that failed, if these alone are asked for): where
        filters match few, it may hold fewer runs than ``limit``, even none, and its cursor leads on.
        A page ends early with the run that fills it: about 4 MB of results, errors and histories. Go on while
        there is a cursor.

        Args:
            name: of which job: its name, its handler or its flow.
            state, tag, schedule_id, concurrency_key: what to filter by; several states may be given.
            created_before: an aware datetime.
            error: a text that stands in their latest error, letter by letter.
            cursor: what the page before gave.
            limit: 1 to 500 runs.
            results: whether to read their results, which are left out otherwise.

        Raises:
            InvalidArgument: a state that no machine has, or a limit out of range.
        """
        whole_number(limit, "limit", 500)
        given: object = results
        if not isinstance(given, bool):
            raise InvalidArgument(f"results must be True or False; found {shown(results)}")
        filters = run_filters(
            self._binding,
            name=name,
            state=state,
            tag=tag,
            schedule_id=schedule_id,
            concurrency_key=concurrency_key,
            created_before=created_before,
            error=error,
        )
        if cursor is not None:
            filters["before"] = min(filters["before"], _position(storable(cursor, "cursor")))
        filters["limit"] = limit + 1
        rows = await self._binding.storage.execute(self._binding.runs.find(filters, results=results))
        page = [RunRow(*row) for *row, _ in rows[:limit]]
        more = page[-1].id if len(rows) > limit else None
        if page and page[-1].job is None:  # no run: the last one that was looked at
            more = page.pop().id
        if page and rows[len(page) - 1][-1] >= ANSWER_BYTES:  # the answer is full
            more = page[-1].id
        runs = await in_turns(page, lambda row: run_status(self._binding, row))
        return RunPage(tuple(runs), None if more is None else _cursor(more))

    async def count_runs(self, *, name: JobName | None = None) -> RunCounts:
        """Return how many runs are in each state that has any, of one job or of all.

        A job is given by its name, its handler or its flow.

        What waits or runs, and what failed, is counted up to 10,000 a state; what settled otherwise, among
        the newest 10,000 runs. `RunCounts.at_least` names the states of which there may be more.
        """
        names = None if name is None else self._binding.registry.names_of(name)
        rows = await self._binding.storage.execute(self._binding.runs.count(names))
        numbers: dict[str, int] = {}
        for state, number, _ in rows:  # twice, where rows of a state wait and others, broken, do not
            numbers[state] = numbers.get(state, 0) + number
        return RunCounts(numbers, frozenset(state for state, _, more in rows if more))

    async def unknown_work(self) -> list[UnknownWork]:
        """Return overdue runs and schedules that this application does not know, in groups.

        Nothing here will go on with them: their job was renamed or removed, or their state or machine is
        gone. Up to 200 of a group are counted; what is due for less than a minute is left out.
        """
        return await unknown_work(self._binding)

    async def wait(self, run_id: str, *, timeout: timedelta | float | None = None) -> RunStatus:
        """Return the status of a run once it is settled.

        Args:
            run_id: the run.
            timeout: how long to wait at most (timedelta or seconds); None for ever.

        Raises:
            UnknownRun: no run has this id.
            WaitTimeout: it was not settled in time.
        """
        return run_status(self._binding, await self._settled(run_id, timeout))

    @overload
    async def result(self, run: Created[R], *, timeout: timedelta | float | None = None) -> R: ...
    @overload
    async def result(
        self, run: str, handler: Callable[..., Awaitable[R]], *, timeout: timedelta | float | None = None
    ) -> R: ...
    @overload
    async def result(
        self, run: str, handler: Callable[..., R], *, timeout: timedelta | float | None = None
    ) -> R: ...
    @overload
    async def result(self, run: str, *, timeout: timedelta | float | None = None) -> Any: ...
    async def result(
        self,
        run: Created[Any] | str,
        handler: Callable[..., Any] | None = None,
        *,
        timeout: timedelta | float | None = None,
    ) -> Any:
        """Return what a run's handler returned, once it has succeeded, as the type it is annotated with.

        Args:
            run: what `create` gave, or the run's id.
            handler: with an id: the handler of its job, so that type checkers know the result's type.
            timeout: how long to wait at most (timedelta or seconds); None for ever.

        Raises:
            UnknownRun: no run has this id.
            WaitTimeout: it was not settled in time.
            NoResult: it has failed, or was canceled; ``exc.status`` is the run.
            InvalidResult: the result does not fit the annotation, which has changed meanwhile.
            UnknownJob, InvalidArgument: the handler is that of no job, or of another one than the run's.
        """
        registry = self._binding.registry
        wanted = None if handler is None else registry.get(handler)
        row = await self._settled(run.kumofire_job_run_id if isinstance(run, Created) else run, timeout)
        job, spec = registry.names.get(row.job), self._binding.runs.specs.get(row.machine)
        if wanted is not None and job is not wanted:
            raise InvalidArgument(f"run {row.id} is of the job {row.job!r}, and not of {wanted.name!r}")
        state = None if spec is None else spec.state(row.state)
        if state is not None and state.outcome in (Outcome.FAILURE, Outcome.CANCELLATION):
            status = run_status(self._binding, row)
            why = "" if status.last_error is None else f": {first_line(status.last_error, ERROR_LINE)}"
            raise NoResult(
                f"run {row.id} of {status.name!r} is {row.state}, so it has no result{why}", status
            )
        return decode(row.result) if job is None else job.decode_result(row.result)

    # -- inside ---------------------------------------------------------------------------------

    async def _settled(self, run_id: str, timeout: timedelta | float | None) -> RunRow:
        """Return a run's row once it is settled; see `wait`."""
        check_id(run_id)
        limit = None if timeout is None else duration_ms(timeout, "timeout") / 1000
        clock, waits = self._binding.clock, self._waits
        until = None if limit is None else clock.monotonic() + limit
        # Who has just created a run need not ask whether it is settled; if another process was as quick as
        # that, the first look tells, some milliseconds later. A handler may have to be warned.
        known_open = run_id in self._binding.unsettled and limit != 0 and HANDLED.get() is None
        while True:
            told = waits.join(run_id, until)
            try:
                if not known_open:
                    row = await read_run(self._binding, run_id, results=True)
                    if is_settled(self._binding, row.machine, row.state, row.wake_at):
                        return row
                    if until is not None and until <= clock.monotonic():
                        raise WaitTimeout(f"run {run_id} is still {row.state!r} after {limit:g} s")
                    self._warn_of_a_handler(row)
                known_open = False
                waits.look()
                await told
            finally:
                waits.leave(told)

    def _warn_of_a_handler(self, awaited: RunRow) -> None:
        """Say once in this process that a handler waits for a run for which its worker has no slot."""
        specs, told = self._binding.runs.specs.values(), self._binding.registry.told
        waits, key = HANDLED.get(), "a handler waits for a run"
        if waits is None or key in told or not self._binding.full():
            return
        if not any(spec.has_role(awaited.state, Role.LEASED) for spec in specs):
            told.add(key)
            log.warning(
                "the handler of run %s waits for run %s, and its worker has no free slot for it: where all "
                "handlers wait so, only their timeouts end that; see docs/jobs.md, Runs that wait for runs",
                waits,
                awaited.id,
            )

    async def _known(self, run_id: str) -> RunStatus:
        return run_status(self._binding, await read_run(self._binding, run_id, results=True))
