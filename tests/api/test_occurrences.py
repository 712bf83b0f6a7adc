"""An occurrence becomes exactly one run, in one batch with the schedule's advance."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import START
from harness import Kit, echo

from kumofire_fsm.errors import TransientStoreError
from kumofire_fsm.reports import DispatchReport


async def test_an_occurrence_is_a_run_of_its_own_and_the_schedule_moves_on(kit: Kit) -> None:
    kit.job("echo", max_attempts=5)(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", {"p": 1}, every=60, tags=["a"], max_attempts=2)
        kit.clock.advance(61)
        assert await w.jobs.dispatch() == DispatchReport(made=1, sent=1)
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.last_at, shown.next_at) == (
            START + timedelta(seconds=60),
            START + timedelta(seconds=120),
        )
        assert [e.event for e in shown.history] == ["create"]
        (run,) = (await w.jobs.list_runs(schedule_id=made.id)).runs
        assert (run.name, run.state, run.max_attempts, run.tags) == ("echo", "queued", 2, ("a",))
        assert run.scheduled_for == run.run_at == START + timedelta(seconds=60)
        assert run.created_at == START + timedelta(seconds=61)
        assert w.queue.sent == [(run.kumofire_job_run_id, 0)]
        await w.deliver(run.kumofire_job_run_id)
        assert (await w.status(run.kumofire_job_run_id)).result == {"p": 1}


@pytest.mark.parametrize("length", [509, 510, 511, 100_000])
@pytest.mark.parametrize("letter", ["x", "ü", "🦶"])
async def test_a_payload_of_any_size_reaches_each_run(kit: Kit, length: int, letter: str) -> None:
    length = min(length, 60_000) if letter != "x" else length
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", letter * length, every=60)
        await w.jobs.create_schedule("echo", "small", every=60)
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 2
        await w.deliver(*(run_id for run_id, _ in w.queue.sent))
        runs = (await w.jobs.list_runs(results=True)).runs
        assert sorted(len(run.result) for run in runs) == sorted([5, length])


@pytest.mark.parametrize("rule", [{"every": 60}, {"cron": "* * * * *"}])
async def test_after_an_outage_there_is_one_run_for_all_that_was_missed_and_the_next_lies_in_the_future(
    kit: Kit, rule: dict[str, Any]
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, **rule)
        kit.clock.advance(hours=5, seconds=30)
        assert await w.jobs.dispatch() == DispatchReport(made=1, skipped=299, sent=1)
        assert await w.jobs.dispatch() == DispatchReport()
        shown = await w.jobs.get_schedule(made.id)
        assert shown.next_at == START + timedelta(hours=5, minutes=1)
        assert (shown.skipped, shown.skipped_at) == (299, START + timedelta(hours=4, minutes=59))
        (latest,) = (await w.jobs.list_runs()).runs
        assert latest.scheduled_for == START + timedelta(hours=5)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_batch_that_the_database_failed_neither_loses_nor_doubles_an_occurrence(
    kit: Kit, when: str
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        kit.clock.advance(60)
        w.storage.fail_once("schedules.advance", when)
        with pytest.raises(TransientStoreError):
            await w.jobs.dispatch()
        report = await w.jobs.dispatch()
        assert report.made == (1 if when == "before" else 0)
        assert len((await w.jobs.list_runs()).runs) == 1
        assert (await w.jobs.get_schedule(made.id)).next_at == START + timedelta(seconds=120)
        kit.clock.advance(120)
        await w.jobs.dispatch()  # two more; and the run whose hint was never sent is sent again
        assert len({run_id for run_id, _ in w.queue.sent}) == 3


async def test_a_run_that_cannot_be_inserted_keeps_its_schedule_from_moving_on(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        good = await w.jobs.create_schedule("echo", 2, every=60)
        await w.sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON kumofire_runs WHEN NEW.schedule_id = '" + made.id + "' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 1
        assert (await w.jobs.get_schedule(good.id)).last_at == START + timedelta(seconds=60)
        assert (await w.jobs.get_schedule(made.id)).last_at is None


async def test_two_dispatchers_on_one_file_make_one_run_an_occurrence(kit: Kit, tmp_path: Path) -> None:
    kit.job("echo")(echo)
    path = tmp_path / "jobs.db"
    async with kit.bound(path) as one, kit.bound(path) as two:
        for n in range(10):
            await one.jobs.create_schedule("echo", n, every=60)
        for minute in range(1, 6):
            kit.clock.advance(60)
            reports = await asyncio.gather(*(w.jobs.dispatch() for w in (one, two, one, two)))
            assert sum(report.made for report in reports) == 10
            sent = [run_id for run_id, _ in one.queue.sent + two.queue.sent]
            assert len(sent) == len(set(sent)) == 10 == sum(report.sent for report in reports)
            await two.deliver(*sent)
            one.queue.clear()
            two.queue.clear()
            assert (await one.sizes())["kumofire_runs"] == 10 * minute


async def test_the_second_lock_refuses_a_doubled_occurrence_whatever_the_schedule_says(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        kit.clock.advance(60)
        await w.jobs.dispatch()
        due = START.timestamp() * 1000 + 60_000
        await w.sql("UPDATE kumofire_schedules SET next_at = ?, wake_at = ?", int(due), int(due))
        assert await w.jobs.dispatch() == DispatchReport()
        assert (await w.sizes())["kumofire_runs"] == 1
        assert (await w.jobs.get_schedule(made.id)).next_at == START + timedelta(seconds=120)


async def test_hints_that_the_queue_refuses_are_counted_once_and_sent_again(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, every=600)
        kit.clock.advance(600)
        w.queue.refusing = True
        assert await w.jobs.dispatch() == DispatchReport(made=1, refused=1)
        w.queue.refusing = False
        kit.clock.advance(1)
        assert await w.jobs.dispatch() == DispatchReport(moved=1, sent=1)


async def test_a_schedule_of_a_job_unknown_here_waits_for_who_knows_it(kit: Kit) -> None:
    other = kit.another_app()
    other.job("old")(echo)
    kit.job("old")(echo)
    kit.job("new")(echo)
    async with kit.bound() as w:
        made = [await w.jobs.create_schedule("new", n, every=60) for n in range(3)]
        await w.jobs.create_schedule("old", 1, every=90)
        kit.clock.advance(90)
        assert (await other.bind(db=w.storage, queue=w.queue).dispatch(limit=2)).made == 1
        assert [await w.jobs.get_schedule(each.id) for each in made] == made
        assert (await w.jobs.dispatch()).made == 3


async def test_a_schedule_without_a_next_occurrence_ends_with_its_last_run(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, every=60)
        until = f'{{"every_ms":60000,"anchor_ms":0,"end_at":{kit.clock.now() + 60_000}}}'
        await w.sql("UPDATE kumofire_schedules SET schedule = ?", until)
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 1
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.state, shown.next_at, shown.last_at) == ("ended", None, START + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("cron", "zone", "start", "expected"),
    [
        # In Berlin 02:30 does not exist on 2026-03-29, and exists twice on 2026-10-25.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+00:00", 24),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+00:00", 24),
        ("0 * * * *", "Europe/Berlin", "2026-10-24T22:30:00+00:00", 24),
    ],
)
async def test_a_change_of_clocks_neither_skips_days_nor_repeats_an_instant(
    kit: Kit, cron: str, zone: str, start: str, expected: int
) -> None:
    kit.job("echo")(echo)
    kit.clock.advance((datetime.fromisoformat(start) - START).total_seconds())
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("echo", 1, cron=cron, timezone=zone)
        instants = []
        for _ in range(3):
            shown = await w.jobs.get_schedule(made.id)
            instants.append(shown.next_at)
            kit.clock.advance((shown.next_at - kit.clock.time).total_seconds())
            assert (await w.jobs.dispatch()).made == 1
        assert instants == sorted(set(instants))
        step = timedelta(hours=1) if cron.startswith("0 ") else timedelta(hours=expected + 1)
        assert all(b - a <= step for a, b in pairwise(instants))
