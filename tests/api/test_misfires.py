"""After an outage: what runs, what is passed over and recorded, and that the recurrence goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from harness import Kit, echo, minutes, nothing, ran

from kumofire_fsm.errors import TransientStoreError


@pytest.mark.parametrize("rule", [{"every": 600}, {"cron": "*/10 * * * *"}], ids=["every", "cron"])
@pytest.mark.parametrize(
    ("policy", "runs", "skipped", "last"),
    [
        ({"misfire": "skip"}, [60], 5, 50),
        ({}, [60], 5, 50),
        ({"misfire": "latest"}, [60], 5, 50),
        ({"misfire": "all"}, [10, 20, 30, 40, 50, 60], 0, None),
        ({"misfire": "skip", "misfire_grace": 0}, [], 6, 60),
        ({"misfire_grace": 0}, [60], 5, 50),
        ({"misfire": "skip", "misfire_grace": 1230}, [40, 50, 60], 3, 30),
        ({"misfire": "all", "max_occurrences": 4}, [10, 20, 30, 40], 0, None),
    ],
    ids=str,
)
async def test_an_outage_of_an_hour(
    kit: Kit, rule: Any, policy: Any, runs: list[int], skipped: int, last: int | None
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", **rule, **policy)
        kit.clock.advance(minutes=60, seconds=30)
        report = await w.jobs.dispatch()
        assert (report.made, report.skipped, report.complete) == (len(runs), skipped, True)
        assert await ran(w) == minutes(*runs)
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.skipped, shown.skipped_at) == (skipped, None if last is None else minutes(last)[0])
        assert shown.skipped_why == ("misfire" if skipped else None)
        assert [entry.event for entry in shown.history][:2] == ["create", "advance"][
            : 1 + (shown.state == "ended")
        ]
        if shown.state == "active":
            assert shown.next_at == minutes(70)[0]
            kit.clock.advance(minutes=9, seconds=30)
            assert (await w.jobs.dispatch()).made == 1
            assert (await ran(w))[-1] == minutes(70)[0]


async def test_all_runs_the_latest_hundred_and_records_the_others(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=60, misfire="all")
        kit.clock.advance(hours=10, seconds=59)
        report = await w.jobs.dispatch()
        assert (report.made, report.skipped) == (101, 499)
        assert await ran(w) == minutes(*range(500, 601))
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.made, shown.skipped, shown.skipped_at) == (101, 499, minutes(499)[0])


async def test_many_jobs_that_catch_up_do_so_in_rounds_and_lose_nothing(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        for _ in range(60):
            await w.jobs.create_schedule("none", every=60, misfire="all")
        kit.clock.advance(minutes=50)
        report = await w.jobs.dispatch()
        assert (report.made, report.skipped, report.complete) == (3000, 0, True)
        assert max(len(call) for call in w.queue.calls) <= 500
        assert await w.sql(
            "SELECT DISTINCT count(*), count(DISTINCT scheduled_for) FROM kumofire_runs GROUP BY schedule_id"
        ) == [(50, 50)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("overlap", ["allow", "cancel_previous"])
async def test_a_database_that_fails_while_jobs_catch_up_loses_and_doubles_nothing(
    kit: Kit, when: str, overlap: Any
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=60, misfire="all", overlap=overlap)
        for hour in range(1, 6):
            kit.clock.advance(hours=1)
            w.storage.fail_once("schedules.advance", when)
            with pytest.raises(TransientStoreError):
                await w.jobs.dispatch()
            await w.jobs.dispatch()
            shown = await w.jobs.get_schedule(made.id)
            assert shown.made + shown.skipped == 60 * hour
            assert len(await ran(w)) == len(set(await ran(w))) == shown.made
            busy = await w.sql("SELECT count(*) FROM kumofire_runs WHERE wake_at IS NOT NULL")
            assert busy == [(60 * hour if overlap == "allow" else 1,)]


@pytest.mark.parametrize("misfire", ["skip", "latest", "all"])
@pytest.mark.parametrize(
    "rule", [{"every": 1}, {"cron": "* * * * * *", "timezone": "Europe/London"}], ids=str
)
async def test_a_year_of_seconds_is_not_walked_through(kit: Kit, rule: Any, misfire: Any) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", **rule, misfire=misfire, misfire_grace=1)
        kit.clock.advance(days=365)
        report = await w.jobs.dispatch()
        assert report.made == {"skip": 2, "latest": 1, "all": 102}[misfire]
        shown = await w.jobs.get_schedule(made.id)
        missed = 365 * 86_400 - report.made
        assert shown.skipped == (missed if "every" in rule else 1_000)
        assert shown.skipped_at == kit.clock.time - timedelta(seconds=report.made)
        assert shown.next_at == kit.clock.time + timedelta(seconds=1)


async def test_what_is_noticed_in_time_always_runs(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.jobs.create_schedule("none", every=10, misfire="skip")
        for _ in range(5):
            kit.clock.advance(60)
            assert (await w.jobs.dispatch()).made == 6
        assert await ran(w) == minutes(*[n / 6 for n in range(1, 31)])


@pytest.mark.parametrize(
    ("missed", "runs", "skipped"),
    [(None, [], 6), ("skip", [], 6), ("latest", [60], 5), ("all", [10, 20, 30, 40, 50, 60], 0)],
)
@pytest.mark.parametrize("misfire", ["skip", "latest", "all"])
async def test_a_resume_says_what_becomes_of_what_was_missed(
    kit: Kit, misfire: Any, missed: Any, runs: list[int], skipped: int
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, misfire=misfire)
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(minutes=60, seconds=30)
        assert (await w.jobs.dispatch()).made == 0
        await w.jobs.resume_schedule(made.id, **({} if missed is None else {"missed": missed}))
        assert (await w.jobs.dispatch()).made == len(runs)
        assert await ran(w) == minutes(*runs)
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.state, shown.next_at, shown.skipped) == ("active", minutes(70)[0], skipped)
        assert shown.skipped_why == (None if not skipped else "misfire" if runs else "paused")
        kit.clock.advance(minutes=30)
        await w.jobs.dispatch()  # its own policy holds again
        again = {"skip": [90], "latest": [90], "all": [70, 80, 90]}[misfire]
        assert (await ran(w))[len(runs) :] == minutes(*again)


async def test_one_broken_row_is_suspended_and_the_others_catch_up(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = [await w.jobs.create_schedule("echo", n, every=600, overlap="skip") for n in range(3)]
        for text in ('{"overlap"', '{"every_ms":600000,"anchor_ms":0,"overlap":"maybe"}'):
            await w.sql("UPDATE kumofire_schedules SET schedule = ? WHERE id = ?", text, made[1].id)
            kit.clock.advance(minutes=10)
            report = await w.jobs.dispatch()
            assert report.suspended == 1
            shown = await w.jobs.get_schedule(made[1].id)
            assert (shown.state, bool(shown.last_error)) == ("suspended", True)
            assert (await w.jobs.get_schedule(made[0].id)).last_at == kit.clock.time or report.skipped == 2
            await w.jobs.update_schedule(made[1].id, every=600, overlap="skip")
