"""Turns due occurrences of recurring jobs into runs, atomically with the schedule's advance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kumofire_fsm.binding import Binding, log
from kumofire_fsm.creation import RowMaker, attempts, tags
from kumofire_fsm.cron import rule_from_json
from kumofire_fsm.errors import InvalidSchedule, RowRefused
from kumofire_fsm.fire import DEFER_MS, in_halves
from kumofire_fsm.hints import send_hints
from kumofire_fsm.hooks import Change, call_hooks
from kumofire_fsm.ids import new_token
from kumofire_fsm.jsontext import cut
from kumofire_fsm.limits import ERROR_BYTES, INLINE_BYTES
from kumofire_fsm.ports import Row
from kumofire_fsm.store.refusals import explained
from kumofire_fsm.store.schedules import JobRow

__all__ = ["JobsReport", "fire_due_jobs"]


@dataclass(frozen=True, slots=True)
class JobsReport:
    """What one look at the recurring jobs did."""

    more: bool = False
    fired: int = 0
    suspended: int = 0
    sent: int = 0
    refused: int = 0


async def fire_due_jobs(binding: Binding, *, limit: int) -> JobsReport:
    """Advance what is due and create its runs; a job whose row cannot be evaluated is suspended."""
    known = list(binding.registry.jobs)
    statement = binding.schedules.due(now=binding.now(), limit=limit + 1, jobs=known)
    due = [JobRow(*row) for row in await binding.storage.execute(statement)]
    if not due:
        return JobsReport()
    due, more = due[:limit], len(due) > limit
    refused_jobs: list[str] = []

    async def act(part: Sequence[JobRow]) -> list[Row]:
        try:
            return await _advance(binding, part)
        except RowRefused as exc:
            if len(part) == 1:
                log.error("recurring job %s cannot be moved: %s", part[0].id, explained(exc))
                refused_jobs.append(part[0].id)
                return []
            raise

    moved = await in_halves(act, due, lambda job: f"recurring job {job.id}")
    fired = {row[0]: row[1] for row in moved}
    if refused_jobs:
        log.error("recurring jobs %s are set aside for an hour", ", ".join(refused_jobs))
        await binding.storage.execute(binding.schedules.defer(refused_jobs, binding.now() + DEFER_MS))
    hinted = [(run_id, run_at) for run_id, run_at in fired.items() if run_at is not None]
    refused = await send_hints(binding, hinted)
    suspended = sum(1 for job in due if job.id in fired)
    created = len(fired) - suspended
    return JobsReport(more, created, suspended, len(hinted) - refused, refused)


async def _advance(binding: Binding, jobs: Sequence[JobRow]) -> list[Row]:
    """Advance these jobs and insert their runs in one batch.

    Returns:
        Rows of (run id, due) for each run created, and (job id, None) for each job suspended.
    """
    token = new_token(binding.entropy)
    makers = RowMaker(binding)
    moves: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    suspended: list[Row] = []
    for job in jobs:
        move = {"id": job.id, "revision": job.revision, "due": job.next_at, "now": binding.now()}
        try:
            run, following = _occurrence(binding, makers, job)
        except Exception as exc:  # whatever is wrong with one row stops no other
            log.error("recurring job %s is suspended: %s", job.id, exc)
            text = cut(f"{type(exc).__name__}: {exc}", ERROR_BYTES)
            moves.append({**move, "event": "suspend", "value": text})
            suspended.append((job.id, None))
        else:
            moves.append({**move, "event": "fire", "occurrence": following, "token": token})
            runs.append(run)
    statements = [binding.schedules.fire(sorted({m["event"] for m in moves}), moves)]
    if runs:
        statements += binding.schedules.insert_occurrences(token, runs)
    answers = await binding.storage.batch(statements)
    moved = {row[0] for row in answers[0]}
    inserted = {row[0] for row in answers[1]} if runs else set()
    fresh = [run for run in runs if run["id"] in inserted]
    await call_hooks(
        binding, [Change(run["id"], run["state"], run["job"], run["created_at"]) for run in fresh]
    )
    created: list[Row] = [(run["id"], run["run_at"]) for run in fresh]
    return created + [row for row in suspended if row[0] in moved]


def _occurrence(binding: Binding, makers: RowMaker, job: JobRow) -> tuple[dict[str, Any], int | None]:
    """Return the run of the due occurrence, and the occurrence that follows.

    After an outage there is one run for all that was missed, and the next lies in the future.
    """
    if job.next_at is None:
        raise InvalidSchedule("it is due, but has no occurrence")
    rule = rule_from_json(json.loads(job.schedule))
    template = json.loads(job.template)
    following = rule.next_after(max(job.next_at, binding.now()))
    row, _ = makers.begin(binding.registry.get(job.job), job.next_at, None, binding.now())
    row["job_id"], row["scheduled_for"] = job.id, job.next_at
    row["payload"] = "apart" if len(job.payload or "") > INLINE_BYTES else ""
    row["max_attempts"] = attempts(template.get("max_attempts"), row["max_attempts"])
    if template.get("tags"):
        row["tags"] = json.dumps(tags(template["tags"]))
    return row, following
