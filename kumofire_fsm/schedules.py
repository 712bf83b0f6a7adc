"""Creates, changes and looks at recurring jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from kumofire_fsm.binding import Binding
from kumofire_fsm.creation import attempts, whole_number
from kumofire_fsm.cron import Rule, rule_from_json, rule_from_options
from kumofire_fsm.definitions import check_key
from kumofire_fsm.errors import (
    Conflict,
    InvalidArgument,
    InvalidSchedule,
    RowRefused,
    TransitionNotAllowed,
    UnknownSchedule,
)
from kumofire_fsm.ids import check_id, new_id
from kumofire_fsm.jsontext import storable
from kumofire_fsm.machines.spec import Actor
from kumofire_fsm.schedule_rows import Schedule, changed_rule, schedule, stored_object, template
from kumofire_fsm.store.rows import dump
from kumofire_fsm.store.schedules import JobRow

__all__ = ["ScheduleClient"]

_RETRIES: Final = 5
"""How often an update reads the row again after losing a race."""


class ScheduleClient:
    """What an application calls about recurring jobs."""

    _binding: Binding

    async def create_schedule(
        self,
        name: str,
        payload: Any = None,
        *,
        cron: str | None = None,
        timezone: str | None = None,
        every: timedelta | float | None = None,
        start_at: datetime | None = None,
        schedule_key: str | None = None,
        max_attempts: int | None = None,
        tags: Sequence[str] | None = None,
    ) -> Schedule:
        """Store a recurring job: a run of ``name`` at each occurrence.

        Args:
            name, payload, max_attempts, tags: as for `create`; the payload is validated now.
            cron: five fields, or six with seconds first; docs/schedules.md says exactly what they take.
            timezone: the IANA zone whose clock the expression follows; default UTC.
            every: a fixed interval of at least a second, instead of cron; counted from start_at.
            start_at: where counting begins, an aware datetime; default now.
            schedule_key: the application's own name for it, unique.

        Raises:
            InvalidSchedule: it can never fire as written.
            InvalidArgument: the key is taken, or as `create`.
        """
        now = self._binding.now()
        rule = rule_from_options(cron, timezone, every, now, start_at)
        row = self._row(name, payload, rule, max_attempts, tags, schedule_key, now)
        if not await self._binding.storage.execute(self._binding.schedules.insert(row)):
            raise InvalidArgument(
                f"a schedule with the key {schedule_key!r} exists; use upsert_schedule to change it"
            )
        self._binding.wake()
        return await self._need("id", row["id"])

    async def get_schedule(self, schedule_id: str) -> Schedule | None:
        """Return a recurring job by its id, or None."""
        return await self._find("id", check_id(schedule_id))

    async def get_schedule_by_key(self, schedule_key: str) -> Schedule | None:
        """Return a recurring job by its key, or None."""
        return await self._find("schedule_key", check_key(schedule_key, "schedule_key"))

    async def list_schedules(self, *, after: str = "", limit: int = 100) -> list[Schedule]:
        """Return recurring jobs in the order of their ids, from the one after ``after``."""
        whole_number(limit, "limit", 500)
        statement = self._binding.schedules.find(after=storable(after, "after"), limit=limit)
        return [schedule(JobRow(*row)) for row in await self._binding.storage.execute(statement)]

    async def update_schedule(self, schedule_id: str, **changes: Any) -> Schedule:
        """Change what is given of name, payload, cron, timezone, every, max_attempts and tags.

        Compare-and-set; a change to nothing changes nothing, also at the due moment. An ended or
        suspended schedule becomes active again; a paused one stays paused.

        Raises:
            UnknownSchedule: no schedule has this id.
            InvalidSchedule, InvalidArgument: as `create_schedule`.
        """
        return await self._revise("id", check_id(schedule_id), changes)

    async def update_schedule_by_key(self, schedule_key: str, **changes: Any) -> Schedule:
        """Change a recurring job by its key; as `update_schedule`."""
        return await self._revise("schedule_key", check_key(schedule_key, "schedule_key"), changes)

    async def upsert_schedule(
        self,
        name: str,
        payload: Any = None,
        *,
        schedule_key: str,
        cron: str | None = None,
        timezone: str | None = None,
        every: timedelta | float | None = None,
        start_at: datetime | None = None,
        max_attempts: int | None = None,
        tags: Sequence[str] | None = None,
    ) -> Schedule:
        """Create the recurring job of this key, or make it what is said here.

        Raises:
            As `create_schedule`.
        """
        now = self._binding.now()
        key = check_key(schedule_key, "schedule_key")
        rule = rule_from_options(cron, timezone, every, now, start_at)
        row = self._row(name, payload, rule, max_attempts, tags, key, now)
        if await self._binding.storage.execute(self._binding.schedules.insert(row)):
            self._binding.wake()
            return await self._need("schedule_key", key)
        changes = {
            "name": name,
            "payload": payload,
            "cron": cron,
            "timezone": timezone,
            "every": every,
            "max_attempts": max_attempts,
            "tags": tags,
        }
        if start_at is not None:
            changes["start_at"] = start_at
        return await self._revise("schedule_key", key, changes)

    async def disable_schedule(self, schedule_id: str) -> Schedule:
        """Pause a recurring job; doing it twice is harmless."""
        return await self._move("id", check_id(schedule_id), "pause")

    async def disable_schedule_by_key(self, schedule_key: str) -> Schedule:
        """Pause a recurring job by its key; doing it twice is harmless."""
        return await self._move("schedule_key", check_key(schedule_key, "schedule_key"), "pause")

    async def enable_schedule(self, schedule_id: str) -> Schedule:
        """Resume a paused or suspended recurring job, from its next occurrence on."""
        return await self._move("id", check_id(schedule_id), "resume")

    async def end_schedule(self, schedule_id: str) -> Schedule:
        """End a recurring job for good; its runs stay."""
        return await self._move("id", check_id(schedule_id), "end")

    # -- inside ---------------------------------------------------------------------------------

    def _row(
        self,
        name: str,
        payload: Any,
        rule: Rule,
        max_attempts: int | None,
        tags: Sequence[str] | None,
        schedule_key: str | None,
        now: int,
    ) -> dict[str, Any]:
        spec = self._binding.schedules.spec
        definition = self._binding.registry.get(name)
        if max_attempts is not None:
            attempts(max_attempts, 1)
        first = rule.next_after(now)
        return {
            **spec.fields,
            "id": new_id(now, self._binding.entropy),
            "schedule_key": None if schedule_key is None else check_key(schedule_key, "schedule_key"),
            "job": name,
            "state": spec.initial.id,
            "wake_at": first,
            "next_at": first,
            "schedule": dump(rule.to_json()),
            "template": template(max_attempts, tags),
            "payload": definition.encode_payload(payload),
            "created_at": now,
            "updated_at": now,
            "history": dump([["create", spec.initial.id, now]]),
        }

    async def _revise(self, column: str, value: str, changes: Mapping[str, Any]) -> Schedule:
        for _ in range(_RETRIES):
            row = await self._read(column, value)
            move = self._revision(row, changes)
            if move is None or await self._fire(row, {**move, "event": "revise"}):
                return await self._need("id", row.id)
        raise Conflict(
            f"schedule {value!r} is being changed by others; try again",
            row_id=value,
            event="revise",
            state="",
        )

    def _revision(self, row: JobRow, changes: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what a revision sets, or None when everything is as it should be."""
        known = {"name", "payload", "cron", "timezone", "every", "start_at", "max_attempts", "tags"}
        if unknown := changes.keys() - known:
            raise InvalidArgument(f"a schedule has no {sorted(unknown)}; it has {sorted(known)}")
        now = self._binding.now()
        rule = changed_rule(row, changes, now)
        stored = stored_object(row.template)
        wanted = {
            "new_job": changes.get("name", row.job),
            "new_schedule": dump(rule.to_json()),
            "new_template": template(
                changes.get("max_attempts", stored.get("max_attempts")),
                changes.get("tags", stored.get("tags")),
            ),
            "new_payload": row.payload,
        }
        definition = self._binding.registry.get(wanted["new_job"])
        if "payload" in changes:
            wanted["new_payload"] = definition.encode_payload(changes["payload"])
        elif wanted["new_job"] != row.job:
            wanted["new_payload"] = definition.encode_payload(json.loads(row.payload or "null"))
        present = (row.job, row.schedule, row.template, row.payload)
        # A suspended or ended schedule becomes active again, whatever the change.
        edges = self._binding.schedules.spec.edges_from(row.state, "revise")
        revives = any(edge.target != row.state for edge in edges)
        if tuple(wanted.values()) == present and not revives:
            return None
        same = wanted["new_schedule"] == row.schedule and not revives
        return {**wanted, "occurrence": row.next_at if same else _next(rule, now)}

    async def _move(self, column: str, value: str, event: str) -> Schedule:
        spec = self._binding.schedules.spec
        for _ in range(_RETRIES):
            row = await self._read(column, value)
            edges = spec.edges_from(row.state, event)
            if not edges:
                if any(edge.target == row.state for edge in spec.edges_of(event)):
                    return schedule(row)
                legal = spec.legal(row.state, Actor.PERSON)
                raise TransitionNotAllowed(
                    f"schedule {row.id}: {event!r} is not allowed from {row.state!r}; legal now: "
                    f"{', '.join(legal)}",
                    row_id=row.id,
                    event=event,
                    state=row.state,
                    legal=legal,
                )
            rule = rule_from_json(json.loads(row.schedule)) if event == "resume" else None
            occurrence = _next(rule, self._binding.now()) if rule else None
            if await self._fire(row, {"event": event, "occurrence": occurrence}):
                return await self._need("id", row.id)
        raise Conflict(f"schedule {value!r} is being changed by others", row_id=value, event=event, state="")

    async def _fire(self, row: JobRow, move: Mapping[str, Any]) -> bool:
        binding = self._binding
        full = {**move, "id": row.id, "revision": row.revision, "now": binding.now()}
        try:
            moved = await binding.storage.execute(binding.schedules.fire([move["event"]], [full]))
        except RowRefused as exc:
            raise InvalidSchedule(f"schedule {row.id}: {move['event']!r} was refused: {exc}") from exc
        binding.wake()
        return bool(moved)

    async def _read(self, column: str, value: str) -> JobRow:
        statement = self._binding.schedules.read(column=column, value=value)
        rows = await self._binding.storage.execute(statement)
        if not rows:
            raise UnknownSchedule(f"{column} {value!r}")
        return JobRow(*rows[0])

    async def _find(self, column: str, value: str) -> Schedule | None:
        try:
            return schedule(await self._read(column, value))
        except UnknownSchedule:
            return None

    async def _need(self, column: str, value: str) -> Schedule:
        return schedule(await self._read(column, value))


def _next(rule: Rule, now: int) -> int:
    """Return the next occurrence.

    Raises:
        InvalidSchedule: there is none left.
    """
    following = rule.next_after(now)
    if following is None:
        raise InvalidSchedule(f"{rule} has no occurrence after now; change it first")
    return following
