"""A run as the API shows it: its row, and what its application can tell of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from kumofire_fsm.engine.binding import Binding, about
from kumofire_fsm.engine.reading import is_settled
from kumofire_fsm.engine.unknown import unknown_why
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.models import (
    UNREADABLE,
    HistoryEntry,
    RunStatus,
    entries,
    priority_of,
)
from kumofire_fsm.store.rows import LEFT_OUT, RunRow
from kumofire_fsm.values.columns import Columns
from kumofire_fsm.values.error_text import error_name
from kumofire_fsm.values.hidden import without_hidden

__all__ = ["run_status"]

log = logging.getLogger(__package__)


def run_status(binding: Binding, row: RunRow) -> RunStatus:
    """Return a run as the API shows it; what of its row cannot be shown is named in ``unreadable``."""
    columns, left_out = Columns(row), row.result == LEFT_OUT
    payload, payload_left_out = _payload(binding, row)
    history = columns.read("history", entries, UNREADABLE)
    settled = is_settled(binding, row.machine, row.state, row.wake_at)
    status = RunStatus(
        kumofire_job_run_id=row.id,
        name=binding.registry.name_of(row.job),
        state=row.state,
        settled=settled,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        run_at=columns.moment("run_at"),
        created_at=columns.moment("created_at"),
        started_at=columns.instant("started_at"),
        finished_at=columns.instant("finished_at"),
        expires_at=columns.instant("expires_at"),
        scheduled_for=columns.instant("scheduled_for"),
        schedule_id=row.schedule_id,
        dedupe_key=row.dedupe_key,
        last_error=row.error,
        error_type=_error_type(row.error, history),
        result=None if left_out else columns.json("result"),
        progress=columns.json("progress"),
        tags=columns.texts("tags"),
        history=history,
        result_left_out=left_out,
        unreadable=tuple(columns.unreadable),
        unknown=None if settled else unknown_why(binding, row.job, row.machine, row.state),
        paused=row.slots == 0 and _is_claimable(binding, row),
        priority=priority_of(row.priority),
        concurrency_key=row.concurrency_key,
        step=row.step,
        payload=payload,
        payload_left_out=payload_left_out,
    )
    if status.unreadable:
        told = row.id, ", ".join(status.unreadable)
        log.error("run %s cannot be read in: %s; it is shown without", *told, extra=about(row))
    return status


def _payload(binding: Binding, row: RunRow) -> tuple[Any, bool]:
    """Return the payload as it may be shown, and whether it is left out."""
    job = binding.registry.names.get(row.job)
    if not row.payload or job is None:
        return None, True
    try:
        text = json.loads(row.payload)
        return (text if job.payload is None else without_hidden(job.decode_payload(row.payload), text)), False
    except Exception:  # an application's own types may raise anything
        return None, True


def _is_claimable(binding: Binding, row: RunRow) -> bool:
    spec = binding.runs.specs.get(row.machine)
    return spec is not None and spec.has_role(row.state, Role.CLAIMABLE)


def _error_type(error: str | None, history: Sequence[HistoryEntry]) -> str | None:
    """Return the exception's name with which an error begins, if the latest that is noted is this one."""
    noted = next((entry.facts["error"] for entry in reversed(history) if "error" in entry.facts), None)
    beginning = noted.removesuffix("\N{HORIZONTAL ELLIPSIS}") if isinstance(noted, str) else ""
    if error is None or not beginning or not error.startswith(beginning):
        return None
    return error_name(error)
