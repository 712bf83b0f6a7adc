"""Writes the database that a release leaves behind; README.md says how.

Everything in it was made by calls of the API and by deliveries, at a virtual time and with seeded ids, so
that the same code writes the same file. Each run's first tag says in which state it is to end.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness import Bound, Kit

from kumofire_fsm import Fail, JobMachine, NewRun, RunMachine, Snooze, __version__
from kumofire_fsm.errors import TransientStoreError
from kumofire_fsm.machines import Deadline, Event, Role, State

HERE = Path(__file__).resolve().parent

SUCCEEDED, FAILED, CANCELED = RunMachine.succeeded.id, RunMachine.failed.id, RunMachine.canceled.id
LARGE = "large " * 200
SOON = timedelta(minutes=2)
KEEP = "kept "
"""Begins the payloads of runs that a consumer was working on when the release was replaced."""


class Reviewed(RunMachine, machine="reviewed"):
    """A lifecycle of the application's own: a person looks at each run first."""

    review = State(
        "Waits for a person.", role=Role.WAITING, initial=True, deadline=Deadline("now + grace_ms", "approve")
    )
    approve = Event(review.to(RunMachine.ready), doc="It may begin, or nobody objected.")
    cancel = RunMachine.cancel | review.to(RunMachine.canceled)


def register(kit: Kit) -> None:
    """Register the jobs, as every later release of the application would."""

    @kit.job("work", max_attempts=3)
    async def work(ctx: Any, payload: Any) -> Any:
        if payload == "fails":
            raise Fail("as planned")
        if payload == "retries" and ctx.attempt == 1:
            raise ValueError("the first time")
        if payload == "snoozes" and ctx.now() < ctx.run.created_at + SOON:
            raise Snooze(60)
        return payload

    kit.job("keyed", key_limit=1)(work)
    kit.job("reviewed", machine=Reviewed)(work)


async def leave_running(w: Bound, *payloads: Any, **options: Any) -> list[str]:
    """Claim runs in one batch whose consumer never settles them."""
    ids = await w.create_in_order("work", payloads, **options)
    w.storage.fail_once("runs.succeed", "before")
    await w.deliver(*ids)
    return ids


async def lose(w: Bound, run_id: str) -> None:
    """Let a lease run out, and what follows wait until it may start again."""
    for column in ("wake_at", "run_at"):
        row = await w.row(run_id)
        w.clock.advance(milliseconds=max(0, row[column] - w.clock.now()))
        await w.jobs.dispatch()


async def fill(w: Bound) -> None:
    """Bring runs and schedules into every state."""
    ends, jobs = {end: [end] for end in (SUCCEEDED, FAILED, CANCELED)}, w.jobs
    to_succeed, to_fail, to_cancel = ({"tags": ends[end]} for end in (SUCCEEDED, FAILED, CANCELED))

    # A run that was lost twice among others is suspect; the time that this takes passes first.
    pair = await leave_running(w, KEEP + "suspect", KEEP + "beside", max_attempts=1, **to_succeed)
    await lose(w, pair[0])
    w.storage.fail_once("runs.succeed", "before")
    await w.deliver(*pair)
    await lose(w, pair[0])

    done = await w.create_in_order("work", ["small", LARGE], **to_succeed)
    keyed = await w.create("work", "keyed", dedupe_key="for ever", **to_succeed)
    failed = await w.create("work", "fails", dedupe_key="was active", dedupe="active", **to_fail)
    stopped, again = await w.create("work", 1, **to_cancel), await w.create("work", 2, **to_succeed)
    snoozing = await w.create("work", "snoozes", **to_succeed)
    for run_id in (stopped, again):
        await jobs.cancel(run_id, by="ana", note="by mistake")
    await w.deliver(*done, keyed, failed, snoozing)
    await jobs.redrive(again, by="ana")

    await w.create("work", {"ünï": ["🦶", None, 1.5]}, **to_succeed)
    await w.create("work", LARGE, **to_succeed)
    await w.create("work", "later", delay=3600, **to_succeed)
    await w.create("work", "held", dedupe_key="active", dedupe="active", delay=300, **to_succeed)
    w.queue.refusing = True
    await jobs.create_many([NewRun("work", "unsent", tags=ends[SUCCEEDED])])
    w.queue.refusing = False
    expires = w.clock.time + SOON
    await w.create("work", "too late", delay=60, expires_at=expires, tags=[SUCCEEDED, CANCELED])
    await w.create("reviewed", "reviewed", **to_succeed)
    await leave_running(w, KEEP + "alone", **to_succeed)
    first = await w.create("keyed", KEEP, concurrency_key="tenant:7", **to_succeed)
    behind = await w.create("keyed", "behind", concurrency_key="tenant:7", **to_succeed)
    w.storage.fail_once("runs.succeed", "before")
    await w.deliver(first)
    await w.deliver(behind)
    await leave_running(w, KEEP + "one", KEEP + "other", **to_succeed)
    (canceling,) = await leave_running(w, KEEP + "canceling", **to_cancel)
    await jobs.cancel(canceling)
    await schedules(w)
    await w.deliver(await w.create("work", "retries", **to_succeed))


async def schedules(w: Bound) -> None:
    """Bring recurring jobs into every state."""
    jobs, options = w.jobs, {"tags": [SUCCEEDED]}
    await jobs.create_schedule("work", "cron", cron="*/10 * * * *", timezone="Asia/Kolkata", schedule_key="cron", **options)  # fmt: skip
    await jobs.create_schedule("work", LARGE, every=600, schedule_key="every", **options)
    paused = await jobs.create_schedule("work", "paused", every=600, schedule_key="paused", **options)
    broken = await jobs.create_schedule("work", "broken", every=1, schedule_key="broken", **options)
    ended = await jobs.create_schedule("work", "ended", every=600, schedule_key="ended", **options)
    await jobs.pause_schedule(paused.id)
    await jobs.end_schedule(ended.id)
    await w.sql("UPDATE kumofire_schedules SET schedule = '{}' WHERE id = ?", broken.id)
    w.clock.advance(2)
    with suppress(TransientStoreError):
        await jobs.dispatch()


def check(db: sqlite3.Connection) -> None:
    """Check that every state of the built-in machines is there, with bodies, keys and a suspect."""
    for table, spec in (("kumofire_runs", RunMachine.spec), ("kumofire_schedules", JobMachine.spec)):
        found = {row[0] for row in db.execute(f"SELECT DISTINCT state FROM {table}")}
        assert found >= {state.id for state in spec.states}, found
    assert db.execute("SELECT max(suspect), max(shared) FROM kumofire_runs").fetchone() == (2, 1)
    assert {row[0] for row in db.execute("SELECT kind FROM kumofire_bodies")} == {"payload", "result"}


async def make() -> str:
    """Return the database as SQL text."""
    kit = Kit()
    register(kit)
    async with kit.bound() as w:
        await fill(w)
        now = w.clock.now()

        def dump(db: sqlite3.Connection) -> str:
            check(db)
            return "\n".join(db.iterdump())

        text: str = await w.storage.inner.call(dump)
    text = text.replace(f"{HERE.parents[1]}/", "")  # in the trace of a handler's error
    return f"-- kumofire_fsm {__version__}, written at {now}\n{text}\n"


if __name__ == "__main__":
    file = HERE / f"release_{__version__}.sql"
    file.write_text(asyncio.run(make()), "utf-8")
    sys.stdout.write(f"wrote {file.name}, {file.stat().st_size:,} bytes\n")
