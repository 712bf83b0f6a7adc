"""Prints the status of a run, for people and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from kumofire_fsm.models import HistoryEntry, RunStatus
from kumofire_fsm.values.printable import one_line
from kumofire_fsm.values.times import brief

__all__ = ["status_json", "status_text"]


def status_json(status: RunStatus) -> str:
    """Return every field but what only an application can tell; instants as ISO 8601."""
    shown = dataclasses.asdict(status)
    del shown["unknown"]
    return json.dumps(shown, default=datetime.isoformat, indent=2, ensure_ascii=False)


def status_text(status: RunStatus) -> str:
    """Return what is set, a line each, then the history."""
    lines = [
        f"{name:<13} {one_line(str(value))}" for name, value in _facts(status) if value not in (None, "")
    ]
    moves = map(one_line, _history(status.history))
    return "\n".join([*lines, *_error(status.last_error), "", "history", *moves])


def _facts(status: RunStatus) -> Iterator[tuple[str, Any]]:
    yield "run", status.kumofire_job_run_id
    yield "job", f"{status.name}{' (paused)' if status.paused else ''}"
    yield "state", f"{status.state}{' (settled)' if status.settled else ''}"
    yield "step", status.step
    yield "attempt", f"{status.attempt} of {status.max_attempts}"
    yield "priority", "" if status.priority == "normal" else status.priority
    yield "created", _when(status.created_at)
    yield "to run at", _when(status.run_at)
    yield "started", _when(status.started_at)
    yield "finished", _when(status.finished_at)
    yield "expires", _when(status.expires_at)
    yield "scheduled for", _when(status.scheduled_for)
    yield "schedule", status.schedule_id
    yield "dedupe key", status.dedupe_key
    yield "concurrency key", status.concurrency_key
    yield "unreadable", ", ".join(status.unreadable)
    yield "tags", ", ".join(status.tags)
    yield "progress", _json(status.progress)
    yield "result", _json(status.result)


def _error(text: str | None) -> list[str]:
    """Return an error's line, and its traceback below it."""
    first, *trace = (text or "").strip().split("\n")
    return [f"{'error':<13} {first}", *(f"{'':<13} {line}" for line in trace)] if first else []


def _history(entries: tuple[HistoryEntry, ...]) -> Iterator[str]:
    """Yield a line for each move: when it was first, and how long after that the others were."""
    first = next((entry.at for entry in entries if entry.at is not None), None)
    for number, entry in enumerate(entries, 1):
        at = "" if entry.at is None or first is None else f"+{brief(entry.at - first)}"
        moved = f"{number:>4}  {entry.event:<12}{entry.state or '':<12}{at:>14}"
        yield f"{moved}  {_json(dict(entry.facts)) or ''}".rstrip()


def _when(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def _json(value: Any) -> str | None:
    return None if value in (None, {}) else json.dumps(value, ensure_ascii=False)
