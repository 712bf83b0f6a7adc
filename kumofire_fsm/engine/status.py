"""Turns a stored run into what the API shows."""

from __future__ import annotations

import json
from typing import Any

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.models import RunStatus, history_entries
from kumofire_fsm.store.rows import RunRow
from kumofire_fsm.values.times import instant, moment

__all__ = ["run_status"]


def run_status(binding: Binding, row: RunRow) -> RunStatus:
    """Return a run as the API shows it."""
    spec, tags = binding.runs.specs.get(row.machine), _stored(row, "tags", row.tags)
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
        schedule_id=row.schedule_id,
        dedupe_key=row.dedupe_key,
        last_error=row.error,
        result=_stored(row, "result", row.result),
        progress=_stored(row, "progress", row.progress),
        tags=tuple(tags) if isinstance(tags, list) else (),
        history=history_entries(row.history),
    )


def _stored(row: RunRow, what: str, text: str | None) -> Any:
    """Return a stored value; one broken row must not hide the others from a list."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as exc:
        log.error("the %s of run %s cannot be read: %s", what, row.id, exc)
        return None
