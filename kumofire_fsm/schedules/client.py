"""Creates, changes and looks at recurring jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Unpack, overload

from kumofire_fsm.calendar.recurrence import Misfire, recurrence_from_json
from kumofire_fsm.calendar.rules import preview
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.handlers import JobOf, P, Tick
from kumofire_fsm.errors import InvalidArgument, InvalidSchedule, UnknownSchedule
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.models import Created, NewSchedule
from kumofire_fsm.reports import SyncReport
from kumofire_fsm.runs.creation import NewRow, RowMaker, noted
from kumofire_fsm.runs.storing import RunStore
from kumofire_fsm.schedules._corrections import right_occurrence
from kumofire_fsm.schedules._moves import Place, fire_person, place_of, read_row, revise, store
from kumofire_fsm.schedules._sync import sync
from kumofire_fsm.schedules.changes import (
    ScheduleChanges,
    ScheduleOptions,
    change,
    declare,
    declared,
    new_row,
)
from kumofire_fsm.schedules.rows import Schedule, run_row, schedule, stored_object
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.checks import check_key, facts, whole_number
from kumofire_fsm.values.columns import in_turns
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import moment

__all__ = ["ScheduleClient"]


class ScheduleClient:
    """What an application calls about recurring jobs. Each is named by its id, or by ``schedule_key=``."""

    _binding: Binding

    @overload
    async def create_schedule(
        self,
        name: JobOf[P],
        payload: P,
        *,
        schedule_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    async def create_schedule(
        self,
        name: Tick,
        payload: None = None,
        *,
        schedule_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    async def create_schedule(
        self,
        name: str,
        payload: Any = None,
        *,
        schedule_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    async def create_schedule(
        self,
        name: str | type[Any] | Callable[..., Any],
        payload: Any = None,
        *,
        schedule_key: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule:
        """Store a recurring job: a run of ``name`` at each occurrence.

        Args:
            name, payload: as for `create`; the payload is validated now.
            schedule_key: the application's own name for it, unique.
            options: the following.
            cron: five fields, or six with seconds first; docs/schedules.md says exactly what they take.
            timezone: the IANA zone whose clock the expression follows; default UTC.
            every: a fixed interval of at least a second, instead of cron; counted from start_at.
            at: one aware datetime, instead of cron.
            start_at: no occurrence is earlier; an interval is counted from there, default now.
            end_at: no occurrence is later.
            max_occurrences: how many runs it makes before it ends.
            jitter: each run is due up to so much later than its occurrence; the same in every process.
            misfire: what becomes of missed occurrences: "skip" them, run the "latest" (default), or
                "all", at most 100.
            misfire_grace: how late one may be noticed before it counts as missed; default 60 s.
            overlap: when the previous run is not settled: "allow" (default), "skip", "queue" for one
                that waits, or "cancel_previous".
            max_attempts, tags, priority: as for `create`.
            enabled: False to store it paused, so that it makes no run until it is resumed.

        Raises:
            InvalidSchedule: it can never fire as written, or has no occurrence left.
            UnknownJob, InvalidPayload, TooLarge: nothing was stored.
            InvalidArgument: the key is taken, or an option cannot be used; nothing was stored.
        """
        row = new_row(self._binding, declared(name, payload, schedule_key, options))
        if not await store(self._binding, [row]):
            raise InvalidArgument(
                f"a schedule with the key {schedule_key!r} exists; use upsert_schedule to change it"
            )
        return schedule(await read_row(self._binding, Place("id", row["id"])))

    async def get_schedule(
        self, schedule_id: str | None = None, *, schedule_key: str | None = None
    ) -> Schedule | None:
        """Return a recurring job, or None."""
        place = place_of(schedule_id, schedule_key)
        try:
            return schedule(await read_row(self._binding, place))
        except UnknownSchedule:
            return None

    async def list_schedules(self, *, after: str = "", limit: int = 100) -> list[Schedule]:
        """Return recurring jobs in the order of their ids, from the one after ``after``.

        A page ends early with the job that fills it: about 4 MB of payloads. The last page is empty.
        """
        whole_number(limit, "limit", 500)
        statement = self._binding.schedules.find(after=storable(after, "after"), limit=limit)
        rows = await self._binding.storage.execute(statement)
        return await in_turns(rows, lambda row: schedule(ScheduleRow(*row)))

    async def update_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        **changes: Unpack[ScheduleChanges],
    ) -> Schedule:
        """Change what is given of name, payload and the options of `create_schedule`.

        Compare-and-set; a change to nothing changes nothing, also at the due moment. An ended or
        suspended schedule becomes active again; a paused one stays paused. None takes a bound or policy back.
        ``enabled=`` pauses or resumes it in the same transaction; what it missed meanwhile is skipped.

        Raises:
            UnknownSchedule: there is no such schedule.
            UnknownJob, InvalidPayload, InvalidSchedule, InvalidArgument, TooLarge: nothing was changed.
            Conflict: others changed the same schedule all the time.
        """
        place, binding = place_of(schedule_id, schedule_key), self._binding
        enabled = changes.get("enabled")
        row = await revise(binding, place, lambda row: change(binding, row, changes), enabled=enabled)
        return schedule(row)

    @overload
    async def upsert_schedule(
        self, name: JobOf[P], payload: P, *, schedule_key: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    async def upsert_schedule(
        self, name: Tick, payload: None = None, *, schedule_key: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    async def upsert_schedule(
        self, name: str, payload: Any = None, *, schedule_key: str, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    async def upsert_schedule(
        self,
        name: str | type[Any] | Callable[..., Any],
        payload: Any = None,
        *,
        schedule_key: str,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule:
        """Create the recurring job of this key, or make it what is said here.

        Without ``enabled=`` one that somebody paused stays paused.

        Raises:
            UnknownJob, InvalidPayload, InvalidSchedule, InvalidArgument, TooLarge: nothing was changed.
            Conflict: others changed the same schedule all the time.
        """
        new = declared(name, payload, schedule_key, options)
        place, binding = place_of(None, schedule_key), self._binding
        try:
            if await store(binding, [new_row(binding, new)]):
                return schedule(await read_row(binding, place))
        except InvalidSchedule:
            if await self.get_schedule(schedule_key=schedule_key) is None:
                raise
        row = await revise(binding, place, lambda row: declare(binding, row, new), enabled=new.enabled)
        return schedule(row)

    async def pause_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> Schedule:
        """Keep a recurring job from making runs; doing it twice is harmless.

        ``by`` and ``note`` say who does it and why; they are kept in its history.
        """
        place = place_of(schedule_id, schedule_key)
        return schedule(await fire_person(self._binding, place, "pause", facts(by=by, note=note)))

    async def resume_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        missed: Misfire = "skip",
        by: str | None = None,
        note: str | None = None,
    ) -> Schedule:
        """Let a paused or suspended recurring job go on.

        Args:
            schedule_id, schedule_key: which.
            missed: what becomes of the occurrences that it missed meanwhile: "skip" them, run the
                "latest", or "all", at most 100; whatever its own misfire policy says.
            by, note: who and why, kept in its history.

        Raises:
            UnknownSchedule: there is no such schedule.
            TransitionNotAllowed: it is ended.
            InvalidSchedule: it has no occurrence left.
        """
        if missed not in ("skip", "latest", "all"):
            raise InvalidArgument(f"missed must be 'skip', 'latest' or 'all'; found {shown(missed)}")
        place = place_of(schedule_id, schedule_key)
        said = facts(by=by, note=note)
        return schedule(await fire_person(self._binding, place, "resume", said, missed))

    async def end_schedule(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> Schedule:
        """End a recurring job for good; its runs stay. ``by`` and ``note`` are kept in its history."""
        place = place_of(schedule_id, schedule_key)
        return schedule(await fire_person(self._binding, place, "end", facts(by=by, note=note)))

    async def trigger_now(
        self,
        schedule_id: str | None = None,
        *,
        schedule_key: str | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> Created[Any]:
        """Create a run of a recurring job at once, outside its recurrence and whatever its state.

        The run has the schedule's id and no ``scheduled_for``: no occurrence is used up, and neither the
        overlap policy nor max_occurrences counts it. ``by`` and ``note`` are kept in the run's history.

        Raises:
            UnknownSchedule: there is no such schedule.
            UnknownJob: its job is not registered here.
            InvalidSchedule: its row is broken.
        """
        binding = self._binding
        job, now = await read_row(self._binding, place_of(schedule_id, schedule_key)), binding.now()
        definition = binding.registry.get(job.job)
        columns = run_row(RowMaker(binding), definition, job, now, now)
        columns["history"] = noted(columns["history"], facts(by=by, note=note))
        (created,) = await RunStore(binding).store_all([NewRow.of(columns, job.payload or "null")])
        return created

    async def preview_schedule(
        self, schedule_id: str | None = None, *, schedule_key: str | None = None, n: int = 10
    ) -> list[datetime]:
        """Return the next occurrences, at most ``n``; fewer when it ends before.

        For a paused or suspended one they are those after a resume now.

        Raises:
            UnknownSchedule: there is no such schedule.
            InvalidSchedule: its row cannot be evaluated.
        """
        whole_number(n, "n", 10_000)
        row = await read_row(self._binding, place_of(schedule_id, schedule_key))
        if self._binding.schedules.spec.has_role(row.state, Role.SETTLED):
            return []
        recurrence = recurrence_from_json(stored_object(row.schedule))
        now = self._binding.now()
        following = None if row.wake_at is None else right_occurrence(recurrence, row, now)
        after = now if following is None else following - 1
        left = recurrence.left(row.made)
        return [moment(at) for at in preview(recurrence, after, n if left is None else min(n, left))]

    async def sync_schedules(
        self, schedules: Sequence[NewSchedule] | None = None, *, origin: str = "code"
    ) -> SyncReport:
        """Make the database's recurring jobs what the code declares.

        What is declared is created or changed; what this origin declared before and no longer does is
        ended. Nothing else is touched. It may be called at every start, and by many processes at once.

        Args:
            schedules: each with its schedule_key; default what `Kumofire.schedule` declares.
            origin: whose set it is, when several applications share a database.

        Raises:
            InvalidSchedule, InvalidArgument, UnknownJob: nothing was changed.
            Conflict: others changed the same schedules all the time.
        """
        wanted = self._binding.registry.declared_schedules() if schedules is None else schedules
        return await sync(self._binding, wanted, check_key(origin, "origin"))
