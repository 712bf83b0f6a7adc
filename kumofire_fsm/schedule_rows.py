"""Between the rows of recurring jobs and what the API takes and gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kumofire_fsm.creation import attempts
from kumofire_fsm.creation import tags as checked_tags
from kumofire_fsm.cron import Rule, rule_from_json, rule_from_options
from kumofire_fsm.models import HistoryEntry, history_entries
from kumofire_fsm.store.rows import dump
from kumofire_fsm.store.schedules import JobRow
from kumofire_fsm.times import instant, moment

__all__ = ["Schedule", "changed_rule", "schedule", "template"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A recurring job as it is now. Instants are aware UTC datetimes."""

    id: str
    schedule_key: str | None
    name: str
    state: str
    next_at: datetime | None
    last_at: datetime | None
    cron: str | None
    timezone: str | None
    every: timedelta | None
    payload: Any
    max_attempts: int | None
    tags: tuple[str, ...]
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    history: tuple[HistoryEntry, ...]


def changed_rule(row: JobRow, changes: Mapping[str, Any], now: int) -> Rule:
    """Return the rule after the changes; an interval that stays keeps its anchor."""
    given = {
        key: changes[key] for key in ("cron", "timezone", "every", "start_at") if changes.get(key) is not None
    }
    stored = stored_object(row.schedule)
    if not given:
        return rule_from_json(stored)
    if given.keys() == {"timezone"}:
        given["cron"] = stored.get("cron")
    if given.keys() == {"cron"} and "timezone" in stored and "timezone" not in changes:
        given["timezone"] = stored["timezone"]
    rule = rule_from_options(
        given.get("cron"), given.get("timezone"), given.get("every"), now, given.get("start_at")
    )
    keeps = "start_at" not in given and stored.get("every_ms") == rule.to_json().get("every_ms")
    return rule_from_json(stored) if keeps and "every" in given else rule


def schedule(row: JobRow) -> Schedule:
    """Return a recurring job as the API shows it."""
    rule, template = stored_object(row.schedule), stored_object(row.template)
    try:
        payload = json.loads(row.payload or "null")
    except (ValueError, RecursionError):
        payload = None
    try:
        every = None if "every_ms" not in rule else timedelta(milliseconds=rule["every_ms"])
    except (TypeError, ValueError, OverflowError):
        every = None
    tags = template.get("tags")
    return Schedule(
        id=row.id,
        schedule_key=row.schedule_key,
        name=row.job,
        state=row.state,
        next_at=instant(row.wake_at),
        last_at=instant(row.last_at),
        cron=rule.get("cron"),
        timezone=rule.get("timezone"),
        every=every,
        payload=payload,
        max_attempts=template.get("max_attempts"),
        tags=tuple(tags) if isinstance(tags, list) else (),
        last_error=row.error,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        history=history_entries(row.history),
    )


def stored_object(text: str) -> dict[str, Any]:
    """Return a stored JSON object; an empty one where the row is broken, so that it is shown and mended."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def template(max_attempts: int | None, tags: Sequence[str] | None) -> str:
    """Return what every run of the job takes over, as JSON text."""
    if max_attempts is not None:
        attempts(max_attempts, 1)
    return dump({"max_attempts": max_attempts, "tags": checked_tags(tags) if tags else None})
