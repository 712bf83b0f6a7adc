"""Creates runs, looks at them, and fires the events that belong to people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kumofire_fsm.attempt import json_facts
from kumofire_fsm.binding import Binding, log
from kumofire_fsm.creation import NewRow, RowMaker
from kumofire_fsm.errors import (
    InvalidArgument,
    QueueError,
    RowRefused,
    TooLarge,
    TransitionNotAllowed,
    UnknownRun,
    WaitTimeout,
)
from kumofire_fsm.fire import Move, fire, read_runs, refusal
from kumofire_fsm.ids import check_id, first_id_at
from kumofire_fsm.limits import FACTS_BYTES, STATEMENT_BYTES
from kumofire_fsm.machines.spec import Actor, Role
from kumofire_fsm.models import Created, DedupeScope, NewRun, RunPage, RunStatus, history_entries
from kumofire_fsm.ports import Hint
from kumofire_fsm.store.runs import RunRow
from kumofire_fsm.times import duration_ms, instant, instant_ms, moment

__all__ = ["RunClient", "send_hints"]

_LAST_ID = "g"
"""Sorts after every id, which are hexadecimal."""


class RunClient:
    """What an application calls about runs."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._rows = RowMaker(binding)

    async def create(
        self,
        name: str,
        payload: Any = None,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        max_attempts: int | None = None,
        dedupe_key: str | None = None,
        dedupe: DedupeScope = "forever",
        expires_at: datetime | None = None,
        tags: Sequence[str] | None = None,
    ) -> Created:
        """Store a run of a registered job, and enqueue it when its time is near.

        Args:
            name: the job.
            payload: what its handler is called with; validated before anything is stored.
            run_at: not before this aware datetime; default now.
            delay: not before this time from now (timedelta or seconds); instead of run_at.
            max_attempts: instead of the job's own.
            dedupe_key: at most one run of the job with this key; a second create gives the first's id.
            dedupe: "forever", or "active" to free the key when the run settles.
            expires_at: cancel the run if it has not started by then.
            tags: up to 20 short texts, to list by.

        Raises:
            UnknownJob, InvalidPayload, InvalidArgument, TooLarge: nothing was stored.
            StoreError: the database failed; a TransientStoreError may come after a commit, so repeat
                such a call with a dedupe key.
        """
        new = NewRun(name, payload, run_at, delay, max_attempts, dedupe_key, dedupe, expires_at, tags)
        return (await self._store([self._rows.make(new)]))[0]

    async def create_many(self, runs: Sequence[NewRun]) -> list[Created]:
        """Store many runs, in few statements; all are checked before the first is stored.

        Each chunk of about 1 MB is stored atomically.

        Raises:
            As `create`.
        """
        made = [self._rows.make(new) for new in runs]
        created: list[Created] = []
        for chunk in _chunks(made):
            created += await self._store(chunk)
        return created

    async def get_status(self, run_id: str) -> RunStatus | None:
        """Return a run as it is now, or None when no run has this id."""
        row = (await read_runs(self._binding, [check_id(run_id)])).get(run_id)
        return None if row is None else self._status(row)

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
    ) -> RunPage:
        """Return runs, newest first.

        Args:
            name, state, tag, schedule_id: what to filter by; several states may be given.
            created_before: an aware datetime.
            cursor: what the page before gave.
            limit: 1 to 500 runs.

        Raises:
            InvalidArgument: a state that no machine has, or a limit out of range.
        """
        if not 1 <= limit <= 500:
            raise InvalidArgument(f"limit must be 1 to 500; found {limit!r}")
        states = [state] if isinstance(state, str) else state
        known = {s.id for spec in self._binding.runs.specs.values() for s in spec.states}
        for each in states or ():
            if each not in known:
                raise InvalidArgument(
                    f"no machine has a state {each!r}; states are {', '.join(sorted(known))}"
                )
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
        rows = await self._binding.storage.execute(self._binding.runs.find(filters))
        page = [RunRow(*row) for row in rows]
        more = len(page) > limit
        page = page[:limit]
        return RunPage(tuple(map(self._status, page)), page[-1].id if more else None)

    async def count_runs(self, *, name: str | None = None) -> dict[str, int]:
        """Return how many runs are in each state, of one job or of all; reads every run once."""
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
        limit = None if timeout is None else duration_ms(timeout, "timeout")
        binding, began, pause = self._binding, self._binding.now(), 0.01
        while True:
            settled = asyncio.get_running_loop().create_future()
            binding.waiters.setdefault(run_id, []).append(settled)
            try:
                status = await self._known(run_id)
                left = None if limit is None else (began + limit - binding.now()) / 1000
                if status.settled:
                    return status
                if left is not None and left <= 0:
                    raise WaitTimeout(f"run {run_id} is still {status.state!r} after {timeout}")
                pausing = asyncio.ensure_future(
                    binding.clock.sleep(pause if left is None else min(pause, left))
                )
                await asyncio.wait({settled, pausing}, return_when=asyncio.FIRST_COMPLETED)
                pausing.cancel()
            finally:
                waiting = binding.waiters.get(run_id, [])
                if settled in waiting:
                    waiting.remove(settled)
                if not waiting:
                    binding.waiters.pop(run_id, None)
            pause = min(pause * 1.5, 0.5)

    async def cancel(self, run_id: str, *, by: str | None = None, note: str | None = None) -> RunStatus:
        """Stop a run: at once if it has not started, else by telling its handler.

        Doing it twice is harmless. Returns the run's status.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run is settled already.
        """
        return await self._people(run_id, "cancel", by=by, note=note, repeatable=True)

    async def redrive(self, run_id: str, *, by: str | None = None, note: str | None = None) -> RunStatus:
        """Run a failed or canceled run again: fresh attempts, the same id.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run is neither failed nor canceled.
            DedupeConflict: another run holds its dedupe key now.
        """
        return await self._people(run_id, "redrive", by=by, note=note)

    async def reschedule(
        self,
        run_id: str,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
    ) -> RunStatus:
        """Move a run that has not started to another time.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the run has started, or is settled.
        """
        due = self._rows.due(run_at, delay)
        return await self._people(run_id, "reschedule", next_at=due)

    async def fire(
        self, run_id: str, event: str, *, by: str | None = None, note: str | None = None
    ) -> RunStatus:
        """Fire an event that belongs to people, such as one that a custom machine adds.

        Args:
            run_id: the run.
            event: its machine's event.
            by, note: who and why, kept in the history.

        Raises:
            UnknownRun: no run has this id.
            TransitionNotAllowed: the event is unknown, illegal now, or fired by consumers or deadlines.
            GuardFailed, Conflict: it did not move.
        """
        return await self._people(run_id, event, by=by, note=note)

    async def prune(self, *, older_than: timedelta | float, limit: int = 1000) -> int:
        """Delete runs that settled longer ago than that; return how many, at most ``limit``.

        A pruned run's dedupe key is free again.
        """
        before = self._binding.now() - duration_ms(older_than, "older_than")
        statements = self._binding.runs.prune(below=first_id_at(max(before, 0)), before=before, limit=limit)
        answers = await self._binding.storage.batch(statements)
        return len(answers[1])

    # -- inside ---------------------------------------------------------------------------------

    async def _store(self, rows: Sequence[NewRow]) -> list[Created]:
        """Insert rows, their large payloads and their hints; one round trip, then one send."""
        binding = self._binding
        binding.wake()
        statements = [binding.runs.insert([row.columns for row in rows])]
        keyed = {key for row in rows if (key := row.dedupe) is not None}
        bodies = [(row.id, row.body, None) for row in rows if row.body is not None]
        if bodies:
            statements.append(binding.runs.insert_bodies("payload", bodies))
        if keyed:
            statements.append(binding.runs.find_holders(sorted(keyed)))
        try:
            answers = await binding.storage.batch(statements)
        except RowRefused as exc:
            raise InvalidArgument(f"the database refused the run: {exc}") from exc
        holders = {(job, key): run_id for job, key, run_id in answers[-1]} if keyed else {}
        created = []
        for row in rows:
            held = row.id if row.dedupe is None else holders.get(row.dedupe, row.id)
            created.append(Created(held, held == row.id))
        if binding.queue is not None:
            fresh = {each.kumofire_job_run_id for each in created if each.is_new}
            await send_hints(binding, [(r.id, r.run_at) for r in rows if r.id in fresh and r.hinted])
        return created

    async def _people(
        self,
        run_id: str,
        event: str,
        *,
        by: str | None = None,
        note: str | None = None,
        next_at: int | None = None,
        repeatable: bool = False,
    ) -> RunStatus:
        binding = self._binding
        self._check_event(check_id(run_id), event)
        binding.wake()
        facts = _facts(by=by, note=note)
        move = Move(run_id, event, binding.now(), next_at=next_at, facts=facts)
        try:
            moved = await fire(binding, [move])
        except RowRefused as exc:
            raise await refusal(binding, move, exc) from exc
        if run_id not in moved:
            why = await refusal(binding, move)
            if not (repeatable and isinstance(why, TransitionNotAllowed) and self._done(event, why.state)):
                raise why
        else:
            binding.tell_settled([run_id])
        return await self._known(run_id)

    def _check_event(self, run_id: str, event: str) -> None:
        specs = self._binding.runs.specs.values()
        mine = {e for spec in specs for e in spec.events_by(Actor.PERSON)}
        if event in mine:
            return
        known = any(spec.event(event) for spec in specs)
        why = "is fired by consumers and deadlines only" if known else "is unknown"
        raise TransitionNotAllowed(
            f"run {run_id}: the event {event!r} {why}; people may fire {', '.join(sorted(mine))}",
            row_id=run_id,
            event=event,
            state="",
            legal=sorted(mine),
        )

    def _done(self, event: str, state: str) -> bool:
        """Return whether a state is what the event leads to, so that firing it again asks for nothing."""
        specs = self._binding.runs.specs.values()
        return any(edge.target == state for spec in specs for edge in spec.edges_of(event))

    async def _known(self, run_id: str) -> RunStatus:
        status = await self.get_status(run_id)
        if status is None:
            raise UnknownRun(run_id)
        return status

    def _status(self, row: RunRow) -> RunStatus:
        spec = self._binding.runs.specs.get(row.machine)
        settled = row.wake_at is None if spec is None else spec.has_role(row.state, Role.SETTLED)
        return RunStatus(
            kumofire_job_run_id=row.id,
            name=row.job,
            state=row.state,
            settled=settled,
            attempt=row.attempt,
            max_attempts=row.max_attempts,
            run_at=moment(row.run_at),
            created_at=moment(row.created_at),
            started_at=instant(row.started_at),
            finished_at=instant(row.finished_at),
            expires_at=instant(row.expires_at),
            scheduled_for=instant(row.scheduled_for),
            schedule_id=row.job_id,
            dedupe_key=row.dedupe_key,
            last_error=row.error,
            result=None if row.result is None else json.loads(row.result),
            progress=None if row.progress is None else json.loads(row.progress),
            tags=tuple(json.loads(row.tags)) if row.tags else (),
            history=history_entries(row.history),
        )


async def send_hints(binding: Binding, runs: Sequence[tuple[str, int]]) -> int:
    """Send hints for (id, due) pairs; return how many the queue refused.

    A refusal is not the caller's error: the run is stored, and its deadline is pulled forward.
    """
    if binding.queue is None or not runs:
        return 0
    now = binding.now()
    hints = [Hint(run_id, max(0, -(-(run_at - now) // 1000))) for run_id, run_at in runs]
    try:
        await binding.queue.send(hints)
    except QueueError as exc:
        log.warning("the queue refused %d hints (%s); they will be sent again", len(hints), exc)
        await fire(binding, [Move(run_id, "nudge", now) for run_id, _ in runs])
        return len(hints)
    return 0


def _facts(**given: str | None) -> str | None:
    facts: Mapping[str, Any] = {key: value for key, value in given.items() if value is not None}
    if not facts:
        return None
    text = json_facts(**facts)
    if len(text) > FACTS_BYTES:
        raise TooLarge(f"by and note have {len(text):,} bytes of JSON; the limit is {FACTS_BYTES:,}")
    return text


def _chunks(rows: Sequence[NewRow]) -> list[list[NewRow]]:
    """Cut rows so that the argument of one statement stays near its limit."""
    chunks: list[list[NewRow]] = []
    size = STATEMENT_BYTES
    for row in rows:
        if size + row.size > STATEMENT_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(row)
        size += row.size
    return chunks
