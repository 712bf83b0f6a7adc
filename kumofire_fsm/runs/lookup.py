"""Looks at runs: one, many, how many, and waits until one is settled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.moves import is_settled, read_runs
from kumofire_fsm.errors import InvalidArgument, UnknownRun, WaitTimeout
from kumofire_fsm.models import RunPage, RunStatus, history_entries
from kumofire_fsm.runs._waits import Waits
from kumofire_fsm.store.rows import LEFT_OUT, RunRow
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.ids import check_id, first_id_at, is_id
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.limits import ANSWER_BYTES
from kumofire_fsm.values.times import duration_ms, instant, instant_ms, moment
from kumofire_fsm.values.turns import in_turns

__all__ = ["RunLookup", "run_status"]

_LAST_ID: Final = "g"
"""Sorts after every id, which are hexadecimal."""


def _texts(given: object) -> list[object]:
    if not isinstance(given, Iterable):
        raise InvalidArgument(f"state must be a text or a list of texts; found {given!r}")
    return list(given)


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
        name: str | None = None,
        state: str | Sequence[str] | None = None,
        tag: str | None = None,
        schedule_id: str | None = None,
        created_before: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
        results: bool = False,
    ) -> RunPage:
        """Return runs, newest first.

        A page ends early with the run that fills it: about 4 MB of results, errors and histories. Go on while
        there is a cursor.

        Args:
            name, state, tag, schedule_id: what to filter by; several states may be given.
            created_before: an aware datetime.
            cursor: what the page before gave.
            limit: 1 to 500 runs.
            results: whether to read their results, which are left out otherwise.

        Raises:
            InvalidArgument: a state that no machine has, or a limit out of range.
        """
        whole_number(limit, "limit", 500)
        given: object = results
        if not isinstance(given, bool):
            raise InvalidArgument(f"results must be True or False; found {results!r:.200}")
        for what, text in {"name": name, "tag": tag, "schedule_id": schedule_id, "cursor": cursor}.items():
            if text is not None:
                storable(text, what)
        states = [state] if isinstance(state, str) else None if state is None else _texts(state)
        known = {s.id for spec in self._binding.runs.specs.values() for s in spec.states}
        for each in states or ():
            if each not in known:
                raise InvalidArgument(
                    f"no machine has a state {each!r}; states are {', '.join(sorted(known))}"
                )
        if cursor is not None and not is_id(str(cursor)):
            raise InvalidArgument(f"cursor must be what the page before gave; found {cursor!r:.100}")
        before = cursor or _LAST_ID
        if created_before is not None:
            before = min(before, first_id_at(instant_ms(created_before, "created_before")))
        filters = {
            "before": before,
            "name": name,
            "states": states,
            "tag": tag,
            "schedule": schedule_id,
            "limit": limit + 1,
        }
        rows = await self._binding.storage.execute(self._binding.runs.find(filters, results=results))
        page = [RunRow(*row) for *row, _ in rows[:limit]]
        if not page:
            return RunPage((), None)
        more = len(rows) > limit or rows[-1][-1] >= ANSWER_BYTES
        runs = await in_turns(page, lambda row: run_status(self._binding, row))
        return RunPage(tuple(runs), page[-1].id if more else None)

    async def count_runs(self, *, name: str | None = None) -> dict[str, int]:
        """Return how many runs are in each state that has any, of one job or of all; reads every run."""
        if name is not None:
            storable(name, "name")
        counts: dict[str, int] = {}
        for _, state, number in await self._binding.storage.execute(self._binding.runs.count(name)):
            counts[state] = counts.get(state, 0) + number
        return counts

    async def wait(self, run_id: str, *, timeout: timedelta | float | None = None) -> RunStatus:
        """Return the status of a run once it is settled.

        Args:
            run_id: the run.
            timeout: how long to wait at most (timedelta or seconds); None for ever.

        Raises:
            UnknownRun: no run has this id.
            WaitTimeout: it was not settled in time.
        """
        check_id(run_id)
        limit = None if timeout is None else duration_ms(timeout, "timeout") / 1000
        clock, waits = self._binding.clock, self._waits
        until = None if limit is None else clock.monotonic() + limit
        while True:
            told = waits.join(run_id, until)
            try:
                status = await self._known(run_id)
                if status.settled:
                    return status
                if until is not None and until <= clock.monotonic():
                    raise WaitTimeout(f"run {run_id} is still {status.state!r} after {limit:g} s")
                waits.look()
                await told
            finally:
                waits.leave(told)

    # -- inside ---------------------------------------------------------------------------------

    async def _known(self, run_id: str) -> RunStatus:
        status = await self.get_status(run_id)
        if status is None:
            raise UnknownRun(run_id)
        return status


def run_status(binding: Binding, row: RunRow) -> RunStatus:
    """Return a run as the API shows it."""
    tags, left_out = _stored(row, "tags", row.tags), row.result == LEFT_OUT
    return RunStatus(
        kumofire_job_run_id=row.id,
        name=row.job,
        state=row.state,
        settled=is_settled(binding, row.machine, row.state, row.wake_at),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        run_at=moment(row.run_at),
        created_at=moment(row.created_at),
        started_at=instant(row.started_at),
        finished_at=instant(row.finished_at),
        expires_at=instant(row.expires_at),
        scheduled_for=instant(row.scheduled_for),
        schedule_id=row.schedule_id,
        dedupe_key=row.dedupe_key,
        last_error=row.error,
        result=None if left_out else _stored(row, "result", row.result),
        progress=_stored(row, "progress", row.progress),
        tags=tuple(tags) if isinstance(tags, list) else (),
        history=history_entries(row.history),
        result_left_out=left_out,
    )


def _stored(row: RunRow, what: str, text: str | None) -> Any:
    """Return a stored value; one broken row must not hide the others from a list."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as exc:
        log.error("the %s of run %s cannot be read: %s", what, row.id, exc)
        return None
