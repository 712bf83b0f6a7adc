"""Writes the status of a run, for people and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kumofire_fsm.cli.texts import Clock
from kumofire_fsm.values.printable import one_line
from kumofire_fsm.values.times import brief

if TYPE_CHECKING:
    from kumofire_fsm.models import HistoryEntry, RunStatus

__all__ = ["moves", "status_fields", "status_text"]


def status_fields(status: RunStatus) -> dict[str, Any]:
    """Return every field but what only an application can tell."""
    fields = dataclasses.asdict(status)
    del fields["unknown"]
    return fields


def status_text(status: RunStatus, clock: Clock) -> str:
    """Return what is set, a line each, then the history."""
    facts = _facts(status, clock)
    lines = [f"{name:<13} {one_line(str(value))}" for name, value in facts if value not in (None, "")]
    return "\n".join([*lines, *_error(status.last_error), "", "history", *moves(status.history, clock)])


def moves(entries: tuple[HistoryEntry, ...], clock: Clock) -> list[str]:
    """Return a line for each move: the event, the state, when, how long the run stayed there, and facts."""
    return [one_line(line) for line in _moves(entries, clock)]


def _facts(status: RunStatus, clock: Clock) -> Iterator[tuple[str, Any]]:
    yield "run", status.kumofire_job_run_id
    yield "job", f"{status.name}{' (paused)' if status.paused else ''}"
    yield "state", f"{status.state}{' (settled)' if status.settled else ''}"
    yield "step", status.step
    yield "attempt", f"{status.attempt} of {status.max_attempts}"
    yield "priority", "" if status.priority == "normal" else status.priority
    yield "created", clock(status.created_at)
    yield "to run at", clock(status.run_at)
    yield "started", clock(status.started_at)
    yield "finished", clock(status.finished_at)
    yield "expires", clock(status.expires_at)
    yield "scheduled for", clock(status.scheduled_for)
    yield "schedule", status.schedule_id
    yield "dedupe key", status.dedupe_key
    yield "concurrency key", status.concurrency_key
    yield "unreadable", ", ".join(status.unreadable)
    yield "tags", ", ".join(status.tags)
    yield "payload", _json(status.payload)
    yield "progress", _json(status.progress)
    yield "result", _json(status.result)


def _error(text: str | None) -> list[str]:
    """Return an error's line, and its traceback below it."""
    first, *trace = (text or "").strip().split("\n")
    return [f"{'error':<13} {first}", *(f"{'':<13} {line}" for line in trace)] if first else []


def _moves(entries: tuple[HistoryEntry, ...], clock: Clock) -> Iterator[str]:
    for number, entry in enumerate(entries, 1):
        following = entries[number].at if number < len(entries) else None
        stayed = _stayed(entry.at, following)
        moved = f"{number:>4}  {entry.event:<12}{entry.state or '':<12}{clock(entry.at):<29}{stayed:>12}"
        yield f"{moved}  {_json(dict(entry.facts)) or ''}".rstrip()


def _stayed(at: datetime | None, following: datetime | None) -> str:
    return "" if at is None or following is None else f"+{brief(following - at)}"


def _json(value: Any) -> str | None:
    return None if value in (None, {}) else json.dumps(value, ensure_ascii=False)
