"""Defects that other job systems have shown, as named regressions: none of them is one of ours.

Time is virtual, the database is real SQLite, and messages are delivered by hand.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit

from kumofire_fsm import HistoryEntry, RunMachine

SUCCEEDED, QUEUED = RunMachine.succeeded.id, RunMachine.queued.id
RETRYING, RUNNING = RunMachine.retrying.id, RunMachine.running.id


@pytest.fixture
def called(kit: Kit) -> list[Any]:
    """The payloads that the handler of the job "note" was called with."""
    payloads: list[Any] = []

    @kit.job("note", max_attempts=3, timeout=60)
    async def note(ctx: Any, payload: Any) -> Any:
        payloads.append(payload)
        return payload

    return payloads


async def work(w: Bound) -> list[str | int]:
    """Deliver every hint that was sent, once."""
    ids = [run_id for run_id, _ in w.queue.sent]
    w.queue.clear()
    return await w.deliver(*ids)


def events(history: tuple[HistoryEntry, ...]) -> list[str]:
    return [entry.event for entry in history]


async def test_a_send_that_fails_after_the_state_was_written_loses_nothing(
    kit: Kit, called: list[Any]
) -> None:
    """Elsewhere: the run was marked as queued, the message was never sent, and nobody looked again."""
    async with kit.bound() as w:
        w.queue.refusing = True
        run_id = await w.create("note", "kept")
        assert await w.state(run_id) == QUEUED
        w.queue.refusing = False
        kit.clock.advance(seconds=1)  # the refusal was seen, and so its deadline is near
        await w.jobs.dispatch()
        assert await work(w) == ["ack"]
        assert (called, await w.state(run_id)) == (["kept"], SUCCEEDED)


async def test_a_process_that_dies_between_the_write_and_the_send_loses_nothing(
    kit: Kit, called: list[Any]
) -> None:
    """Elsewhere: as before, and without even an error that somebody could have seen."""
    async with kit.bound() as w:
        run_id = await w.create("note", "kept")
        w.queue.clear()  # the message never reached the queue
        kit.clock.advance(minutes=2)
        await w.jobs.dispatch()
        assert [sent for sent, _ in w.queue.sent] == [run_id]
        assert await work(w) == ["ack"]
        assert (called, await w.state(run_id)) == (["kept"], SUCCEEDED)


async def test_a_worker_that_dies_while_running_does_not_leave_its_run_running_for_ever(
    kit: Kit, called: list[Any]
) -> None:
    """Elsewhere: the row says "running" until somebody edits it by hand."""
    async with kit.bound() as w:
        run_id = await w.create("note", "once more")
        w.storage.fail_once("runs.succeed", "before")
        await w.deliver(run_id)  # and then it is gone, and never settles
        assert await w.state(run_id) == RUNNING
        kit.clock.advance(seconds=70)
        await w.jobs.dispatch()
        assert await w.state(run_id) in (RETRYING, QUEUED)
        kit.clock.advance(seconds=2)
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.attempt) == (SUCCEEDED, 2)
        assert "lose" in events(status.history)


async def test_a_message_redelivered_during_a_live_lease_starts_nothing_and_is_not_lost(kit: Kit) -> None:
    """Elsewhere: the handler ran twice at once; or the message was acknowledged, and with it the rescue."""
    dispositions: list[Any] = []
    starts: list[int] = []

    @kit.job("slow", timeout=60)
    async def slow(ctx: Any) -> None:
        starts.append(ctx.attempt)
        dispositions.extend(await w.deliver(ctx.run.id))

    async with kit.bound() as w:
        run_id = await w.create("slow")
        assert await w.deliver(run_id) == ["ack"]
        assert starts == [1]
        assert dispositions == [70]  # seconds: delivered again when the lease would be over
        assert await w.deliver(run_id) == ["ack"]
        assert (starts, await w.state(run_id)) == ([1], SUCCEEDED)


async def test_a_database_error_after_the_handler_succeeded_is_not_the_handlers_failure(
    kit: Kit, called: list[Any]
) -> None:
    """Elsewhere: the settle stood inside the handler's try, so the run was recorded as failed with the
    database's error, and its handler was called again at once."""
    async with kit.bound() as w:
        run_id = await w.create("note", "done")
        w.storage.fail_once("runs.succeed", "before")
        assert await w.deliver(run_id) == [10]
        status = await w.status(run_id)
        assert (called, status.state, status.last_error) == (["done"], RUNNING, None)


async def test_an_answer_lost_after_the_handler_succeeded_calls_it_no_second_time(
    kit: Kit, called: list[Any]
) -> None:
    """Elsewhere: the settle was committed, its answer was lost, and the redelivered message ran it again."""
    async with kit.bound() as w:
        run_id = await w.create("note", "done")
        w.storage.fail_once("runs.succeed", "after")
        assert await w.deliver(run_id) == [10]
        assert await w.deliver(run_id) == ["ack"]
        assert (called, await w.state(run_id)) == (["done"], SUCCEEDED)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_between_advancing_a_schedule_and_creating_its_run_does_neither_or_both(
    kit: Kit, called: list[Any], when: str
) -> None:
    """Elsewhere: the schedule had moved on, its run was never created, and the occurrence was lost."""
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("note", every=60, misfire="all")
        kit.clock.advance(seconds=60)
        w.storage.fail_once("schedules.advance", when)
        with pytest.raises(Exception, match=r"not reached|answer was lost"):
            await w.jobs.dispatch()
        runs = (await w.jobs.list_runs(schedule_id=made.id)).runs
        advanced = (await w.jobs.get_schedule(made.id)).last_at is not None
        assert (len(runs), advanced) == ((1, True) if when == "after" else (0, False))
        kit.clock.advance(minutes=3)
        for _ in range(2):
            await w.jobs.dispatch()
        scheduled = [run.scheduled_for for run in (await w.jobs.list_runs(schedule_id=made.id)).runs]
        assert START + timedelta(seconds=60) in scheduled
        assert len(set(scheduled)) == len(scheduled)


@pytest.mark.parametrize("seconds", [59, 60, 61])
async def test_an_unchanged_upsert_at_the_due_moment_neither_skips_nor_repeats_the_occurrence(
    kit: Kit, called: list[Any], seconds: int
) -> None:
    """Elsewhere: each deploy counted from now again, and a schedule upserted at its due moment never ran."""
    options = {"schedule_key": "tick", "cron": "* * * * *"}
    async with kit.bound() as w:
        made = await w.jobs.upsert_schedule("note", 1, **options)
        kit.clock.advance(seconds=seconds)
        assert await w.jobs.upsert_schedule("note", 1, **options) == made
        kit.clock.advance(seconds=61 - seconds)
        assert (await w.jobs.dispatch()).made == 1
        assert await w.jobs.upsert_schedule("note", 1, **options) != made  # it has moved on, and only that
        assert (await w.jobs.dispatch()).made == 0
        assert await work(w) == ["ack"]
        assert called == [1]


async def test_after_an_hours_outage_a_minutely_job_runs_once_and_is_then_on_time_again(
    kit: Kit, called: list[Any]
) -> None:
    """Elsewhere: sixty runs at once after the outage; or each minute's run late for as long as the outage."""
    async with kit.bound() as w:
        await w.jobs.create_schedule("note", cron="* * * * *")
        kit.clock.advance(hours=1, seconds=30)
        made = [(await w.jobs.dispatch()).made]
        for _ in range(4):
            kit.clock.advance(seconds=30)
            made.append((await w.jobs.dispatch()).made)
        assert made == [1, 1, 0, 1, 0]
        await work(w)
        runs = (await w.jobs.list_runs()).runs
        assert [run.scheduled_for - START for run in reversed(runs)] == [
            timedelta(minutes=minutes) for minutes in (60, 61, 62)
        ]
        late = [run.created_at - run.scheduled_for for run in reversed(runs)]
        assert late == [timedelta(seconds=30), timedelta(0), timedelta(0)]
        assert len(called) == 3


async def test_one_bad_run_does_not_block_the_others(kit: Kit, called: list[Any]) -> None:
    """Elsewhere: the batch with one row that could not be written failed at every tick, for ever."""
    async with kit.bound() as w:
        ids = await w.create_in_order("note", range(5), delay=100)
        await w.sql("UPDATE kumofire_runs SET history = '[broken' WHERE id = ?", ids[0])
        kit.clock.advance(seconds=101)
        await w.jobs.dispatch()
        assert await work(w) == ["ack"] * 4
        assert called == [1, 2, 3, 4]
        assert (await w.sizes())["kumofire_runs"] == 5


async def test_one_bad_schedule_does_not_block_the_others(kit: Kit, called: list[Any]) -> None:
    """Elsewhere: an expression that no parser took any more stopped every schedule behind it."""
    async with kit.bound() as w:
        bad = await w.jobs.create_schedule("note", "bad", every=60)
        for payload in ("good", "better"):
            await w.jobs.create_schedule("note", payload, every=60)
        await w.sql(
            """UPDATE kumofire_schedules SET schedule = '{"cron": "nonsense"}' WHERE id = ?""", bad.id
        )
        kit.clock.advance(seconds=60)
        report = await w.jobs.dispatch()
        assert (report.made, report.suspended) == (2, 1)
        await work(w)
        assert sorted(called) == ["better", "good"]
        shown = await w.jobs.get_schedule(bad.id)
        assert shown.last_error is not None


async def test_two_concurrent_creates_with_one_dedupe_key_make_one_run(
    kit: Kit, called: list[Any], tmp_path: Path
) -> None:
    """Elsewhere: both looked, both found nothing, and both inserted."""
    path = tmp_path / "jobs.db"
    async with kit.bound(path) as one, kit.bound(path) as two:
        made = await asyncio.gather(
            *(w.jobs.create("note", n, dedupe_key="k") for n in range(10) for w in (one, two))
        )
        assert len({each.kumofire_job_run_id for each in made}) == 1
        assert [each.is_new for each in made].count(True) == 1
        assert (await one.sizes())["kumofire_runs"] == 1
        await one.deliver(*(run_id for w in (one, two) for run_id, _ in w.queue.sent))
        assert len(called) == 1


@pytest.mark.parametrize("then", ["restarted", "settled", "redriven"])
async def test_a_stale_worker_that_settles_late_changes_nothing(kit: Kit, then: str) -> None:
    """Elsewhere: the write was fenced by the state alone, "running" again, so the old attempt's outcome
    overwrote the new attempt's run."""
    rows: list[dict[str, Any]] = []
    calls: list[int] = []

    @kit.job("work", max_attempts=9, timeout=60)
    async def handler(ctx: Any) -> str:
        calls.append(ctx.attempt)
        if calls == [1]:
            kit.clock.advance(seconds=70)  # it stalls, and its lease runs out
            await w.jobs.dispatch()
            kit.clock.advance(seconds=2)
            if then == "redriven":
                await w.jobs.cancel(ctx.run.id)
                await w.jobs.redrive(ctx.run.id)
            elif then == "restarted":
                w.storage.fail_once("runs.succeed", "before")
                await w.deliver(ctx.run.id)
                assert await w.state(ctx.run.id) == RUNNING
            else:
                await w.deliver(ctx.run.id)
            rows.append(await w.row(ctx.run.id))
            return "late"
        return "fresh"

    async with kit.bound() as w:
        run_id = await w.create("work")
        await w.deliver(run_id)
        assert await w.row(run_id) == rows[0]
        assert rows[0]["result"] != '"late"'
