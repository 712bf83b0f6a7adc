"""Jobs on a database in virtual time: all that is due is worked in order, and nothing waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shop_jobs import Mail, app, ask, count, ends, ever, mail, pay, report, welcome

from kumofire_fsm import Kumofire, PlainContext, RunContext
from kumofire_fsm.errors import InvalidArgument, InvalidPayload, UnknownJob, WaitTimeout
from kumofire_fsm.testing import CallOutcome, VirtualClock, virtual_jobs

START = datetime(2026, 1, 1, tzinfo=UTC)
TABLE = "CREATE TABLE welcomed (name TEXT NOT NULL UNIQUE)"


def told(done: list[CallOutcome[Any]]) -> list[tuple[str, str, float]]:
    return [(each.name, each.state, (each.at - START).total_seconds()) for each in done]


async def test_a_retry_is_called_at_its_time() -> None:
    async with virtual_jobs(app) as jobs:
        created = await jobs.create(mail, Mail(to="flaky"))
        assert told(await jobs.drain()) == [("mail", "retrying", 0), ("mail", "succeeded", 10)]
        assert await jobs.drain() == []
        assert jobs.clock.time == START + timedelta(seconds=10)
        status = await jobs.get_status(created.kumofire_job_run_id)
        assert [entry.event for entry in status.history] == [
            "create",
            "enqueue",
            "start",
            "retry",
            "start",
            "succeed",
        ]  # type: ignore[union-attr]


async def test_what_a_handler_creates_and_commits_is_there() -> None:
    async with virtual_jobs(app) as jobs:
        await jobs.sql(TABLE)
        await jobs.create(welcome, "ana")
        assert told(await jobs.advance(0)) == [("welcome", "succeeded", 0), ("mail", "succeeded", 0)]
        assert await jobs.sql("SELECT name FROM welcomed WHERE name = ?", "ana") == [("ana",)]
        assert told(await jobs.advance(hours=23)) == []
        assert told(await jobs.advance(hours=1)) == [("mail", "succeeded", 86_400)]


async def test_a_commit_that_the_database_refuses_is_the_handlers_failure() -> None:
    async with virtual_jobs(app) as jobs:
        await jobs.create(welcome, "ana")
        (first, *_) = await jobs.advance(0)
        assert (first.event, first.state, first.error_type) == ("retry", "retrying", "CommitRefused")


async def test_time_stops_where_it_is_told_to() -> None:
    async with virtual_jobs(app) as jobs:
        await jobs.create(ends, "snooze")
        assert told(await jobs.advance(START + timedelta(hours=2, minutes=30))) == [
            ("ends", "ready", 0),
            ("ends", "ready", 3600),
            ("ends", "ready", 7200),
        ]
        assert jobs.clock.time == START + timedelta(hours=2, minutes=30)
        assert told(await jobs.advance(timedelta(minutes=29))) == []
        assert told(await jobs.advance(60.0)) == [("ends", "ready", 10_800)]


async def test_what_waits_for_a_person_rests_and_its_deadline_fires_where_time_passes() -> None:
    async with virtual_jobs(app) as jobs:
        first, second = [(await jobs.create(pay, n)).kumofire_job_run_id for n in (1, 2)]
        assert await jobs.drain() == []
        assert jobs.clock.time == START
        await jobs.fire(first, "approve")
        assert told(await jobs.drain()) == [("pay", "succeeded", 0)]
        assert await jobs.advance(days=3) == []
        assert (await jobs.get_status(second)).state == "canceled"  # type: ignore[union-attr]


async def test_schedules_fire_as_time_passes_over_a_change_of_clocks_too() -> None:
    clock = VirtualClock(datetime(2026, 3, 28, 12, tzinfo=UTC))
    async with virtual_jobs(app, clock=clock, sync_schedules=True) as jobs:
        assert await jobs.drain() == []
        assert [each.result for each in await jobs.advance(days=2)] == ["29.03.", "30.03."]
        await jobs.pause_schedule(schedule_key="morning")
        assert await jobs.advance(days=2) == []


async def test_a_schedule_fires_on_the_way_to_a_retry() -> None:
    async with virtual_jobs(app, sync_schedules=True) as jobs:
        await jobs.create(mail, Mail(to="ana"), delay=timedelta(hours=7))
        assert [each.name for each in await jobs.drain()] == ["report", "mail"]


async def test_whoever_waits_for_a_run_works_it() -> None:
    async with virtual_jobs(app) as jobs:
        created = await jobs.create(ask)
        assert await jobs.result(created) == "flaky"
        assert jobs.clock.time == START + timedelta(seconds=10)
        waiting = await jobs.create(pay, 5)
        with pytest.raises(WaitTimeout, match="still 'approval', and its time is over"):
            await jobs.wait(waiting.kumofire_job_run_id, timeout=60)
        assert jobs.clock.time == START + timedelta(seconds=70)
        assert (await jobs.wait(waiting.kumofire_job_run_id)).state == "canceled"


async def test_a_wait_for_what_never_comes_ends() -> None:
    async with virtual_jobs(app) as jobs:
        created = await jobs.create(mail, Mail(to="ana"))
        await jobs.pause_job("mail")
        with pytest.raises(WaitTimeout, match="still 'queued', and nothing more is due"):
            await jobs.wait(created.kumofire_job_run_id)
        await jobs.resume_job("mail")
        assert told(await jobs.drain()) == [("mail", "succeeded", 0)]


async def test_a_paused_job_stays_and_others_go_on() -> None:
    async with virtual_jobs(app) as jobs:
        await jobs.create(mail, Mail(to="ana"))
        await jobs.pause_job("mail")
        await jobs.create(count, 1, delay=3600)
        assert told(await jobs.drain()) == [("count", "succeeded", 3600)]


async def test_a_rate_lets_time_go_on() -> None:
    paced = Kumofire()
    paced.job("paced", rate=(1, 60))(lambda ctx: None)
    async with virtual_jobs(paced) as jobs:
        for _ in range(3):
            await jobs.create("paced")
        assert [at for *_, at in told(await jobs.drain())] == [0, 60, 120]


async def test_what_goes_round_for_ever_is_an_error_and_a_bounded_time_of_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kumofire_fsm.testing._working.MOST_CALLS", 10)
    async with virtual_jobs(app) as jobs:
        await jobs.create(ever)
        with pytest.raises(InvalidArgument, match=r"10 handlers were called.*'ever', whose run is 'ready'"):
            await jobs.drain()
        assert len(await jobs.advance(5)) == 5


async def test_each_history_repeats() -> None:
    async def history() -> list[CallOutcome[Any]]:
        async with virtual_jobs(app, sync_schedules=True) as jobs:
            await jobs.sql(TABLE)
            await jobs.create(welcome, "ana")
            await jobs.create(mail, Mail(to="flaky"))
            return await jobs.advance(days=2)

    assert await history() == await history()


async def test_immediate_calls_work_what_they_create_and_what_that_creates() -> None:
    async with virtual_jobs(app, immediate=True) as jobs:
        await jobs.sql(TABLE)
        await jobs.create(welcome, "ana")
        assert await jobs.count_runs(name="mail") == {"succeeded": 1, "ready": 1}
        created = await jobs.create(mail, Mail(to="flaky"))
        assert (await jobs.get_status(created.kumofire_job_run_id)).state == "retrying"  # type: ignore[union-attr]
        approved = await jobs.create(pay, 1)
        await jobs.fire(approved.kumofire_job_run_id, "approve")
        assert await jobs.result(approved) == 1
        jobs.immediate = False
        await jobs.create(count, 1)
        assert await jobs.count_runs(name="count") == {"queued": 1}


def test_without_an_event_loop_the_calls_wait() -> None:
    with virtual_jobs(app, immediate=True) as jobs:
        created = jobs.create(count, 2)
        assert jobs.result(created) == 1
        assert (jobs.immediate, jobs.clock.time) == (True, START)
        jobs.immediate = False
        jobs.create(mail, Mail(to="flaky"))
        assert told(jobs.drain()) == [("mail", "retrying", 0), ("mail", "succeeded", 10)]
        assert jobs.sql("SELECT count(*) FROM kumofire_runs") == [(2,)]
        jobs.assert_created("mail")


async def test_on_a_loop_of_the_tests_its_calls_are_awaited_and_none_is_forgotten() -> None:
    with virtual_jobs(app) as jobs:
        await jobs.create(mail, Mail(to="ana"))  # type: ignore[misc]
        assert len(await jobs.drain()) == 1  # type: ignore[misc]
    with (
        pytest.raises(InvalidArgument, match=r"assert_created\(\) was not awaited"),
        virtual_jobs(app) as jobs,
    ):
        jobs.assert_created(mail, times=5)


async def test_the_lifespan_holds_unless_env_takes_its_place_and_a_file_stays(tmp_path: Path) -> None:
    here, calls = Kumofire(), list[Any]()
    here.job("note")(lambda ctx: calls.append(ctx.env))

    @here.lifespan
    async def lifespan(_jobs: Any) -> AsyncIterator[str]:
        calls.append("opened")
        yield "real"
        calls.append("closed")

    async with virtual_jobs(here, tmp_path / "jobs.db") as jobs:
        await jobs.create("note")
        await jobs.drain()
        await jobs.create("note")
    assert calls == ["opened", "real", "closed"]
    async with virtual_jobs(here, tmp_path / "jobs.db", env="double") as jobs:
        assert len(await jobs.drain()) == 1
    assert calls == ["opened", "real", "closed", "double"]


async def test_a_worker_that_the_application_starts_works_nothing() -> None:
    async with virtual_jobs(app) as jobs:
        worker = asyncio.create_task(jobs.run(concurrency=5))
        await jobs.create(mail, Mail(to="ana"))
        assert told(await jobs.drain()) == [("mail", "succeeded", 0)]
        assert not worker.done()
        worker.cancel()


async def test_a_parent_s_timeout_ends_it_while_it_waits_for_a_child() -> None:
    here = Kumofire(max_attempts=1)

    @here.job("child")
    async def child(ctx: RunContext) -> None:
        await asyncio.Event().wait()

    @here.job("parent", timeout=0.05)
    async def parent(ctx: RunContext) -> None:
        await ctx.jobs.result(await ctx.jobs.create(child))

    async with virtual_jobs(here) as jobs:
        await jobs.create(parent)
        (done,) = await jobs.advance(0)
        assert (done.name, done.state, done.error_type) == ("parent", "failed", "TimeoutError")


async def test_handlers_find_what_is_given_and_a_plain_one_waits_for_another() -> None:
    here = Kumofire()

    @here.job("child")
    def child(ctx: PlainContext) -> int:
        return int(ctx.env["number"])

    @here.job("parent")
    def parent(ctx: PlainContext) -> int:
        return ctx.jobs.result(ctx.jobs.create(child))

    async with virtual_jobs(here, env={"number": 7}) as jobs:
        assert await jobs.result(await jobs.create(parent)) == 7


async def test_what_was_created_is_asserted_by_payload_and_options() -> None:
    async with virtual_jobs(app) as jobs:
        await jobs.create(mail, Mail(to="ana", key="one"), delay=60, tags=["a"], priority="high")  # type: ignore[arg-type]
        await jobs.create(mail, Mail(to="ana"))
        (run,) = await jobs.assert_created(mail, {"to": "ana", "key": "one"}, delay=60)
        assert run.run_at == START + timedelta(seconds=60)
        await jobs.assert_created("mail", times=2)
        await jobs.assert_created("mail", run_at=START, tags=(), priority=None)
        await jobs.assert_created(mail, tags=["a"], priority="high")
        await jobs.assert_created(report, times=0)
        with pytest.raises(AssertionError) as caught:
            await jobs.assert_created(mail, {"to": "ana", "key": "two"}, delay=60)
        assert str(caught.value).splitlines() == [
            "runs of 'mail' with payload={'to': 'ana', 'key': 'two'}, delay=60: expected 1, found 0; its runs are",
            "  payload={'to': 'ana', 'key': '**********'}, delay=60, state='ready'",
            "  payload={'to': 'ana', 'key': '**********'}, delay=0, state='queued'",
        ]
        with pytest.raises(AssertionError, match="runs of 'report': expected 1, found 0; its runs are none"):
            await jobs.assert_created(report)


@pytest.mark.parametrize(
    ("name", "payload", "options", "error"),
    [
        ("male", ..., {}, UnknownJob),
        ("mail", 5, {}, InvalidPayload),
        ("mail", ..., {"dealy": 5}, InvalidArgument),
        ("mail", ..., {"dedupe": "active"}, InvalidArgument),
        ("mail", ..., {"delay": "soon"}, InvalidArgument),
        ("mail", ..., {"times": -1}, InvalidArgument),
    ],
)
async def test_what_cannot_have_been_created_is_refused(
    name: str, payload: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    async with virtual_jobs(app) as jobs:
        await jobs.create(mail, Mail(to="ana"))
        with pytest.raises(error):
            await jobs.assert_created(name, payload, **options)


@pytest.mark.parametrize("time", [-1, START - timedelta(days=1), "tomorrow"])
async def test_time_does_not_go_back(time: Any) -> None:
    async with virtual_jobs(app) as jobs:
        with pytest.raises(InvalidArgument):
            await jobs.advance(time)
        with pytest.raises(InvalidArgument):
            await jobs.advance(fortnights=1)


def test_only_an_application_is_opened() -> None:
    with pytest.raises(InvalidArgument, match="found 'shop'"):
        virtual_jobs("shop")  # type: ignore[arg-type]


async def test_a_run_context_is_what_the_handler_is_typed_with() -> None:
    here, seen = Kumofire(), list[type]()

    @here.job("look")
    async def look(ctx: RunContext) -> None:
        seen.append(type(ctx))

    async with virtual_jobs(here) as jobs:
        await jobs.create(look)
        await jobs.drain()
    assert seen == [RunContext]
