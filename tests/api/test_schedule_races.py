"""What somebody else does to a recurring job between a look at it and the move that was decided by that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness import Bound, Kit, minutes, nothing, ran

from kumofire_fsm import NewSchedule
from kumofire_fsm.errors import InvalidPayload


@pytest.mark.parametrize(
    ("missed", "expected"), [("skip", []), ("latest", [50]), ("all", [10, 20, 30, 40, 50])]
)
async def test_a_tick_that_read_a_job_before_it_was_resumed_does_not_decide_what_it_missed(
    kit: Kit, missed: Any, expected: list[int]
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, misfire="skip", misfire_grace=600)
        kit.clock.advance(minutes=50)

        async def pause_and_resume() -> None:
            await w.jobs.pause_schedule(made.id)
            await w.jobs.resume_schedule(made.id, missed=missed)

        w.storage.meanwhile("after", "schedules.due", pause_and_resume)
        await w.jobs.dispatch()
        assert await ran(w) == []
        await w.jobs.dispatch()
        assert await ran(w) == minutes(*expected)


async def test_a_change_of_a_job_that_somebody_ends_meanwhile_keeps_it_as_it_was_asked_to_be(
    kit: Kit,
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600)
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(minutes=35)
        w.storage.meanwhile("after", "schedules.read", lambda: w.jobs.end_schedule(made.id))
        shown = await w.jobs.update_schedule(made.id, tags=["x"], enabled=False)
        assert shown.state == "paused"
        await w.jobs.dispatch()
        assert (await ran(w), [entry.event for entry in shown.history]) == (
            [],
            ["create", "pause", "end", "revise", "pause"],
        )


@pytest.mark.parametrize("change", ["update", "upsert", "sync"])
async def test_a_change_of_a_job_that_somebody_ends_meanwhile_makes_no_run_of_what_was_due_before(
    kit: Kit, change: str
) -> None:
    kit.job("none")(nothing)
    declared = NewSchedule("none", schedule_key="k", every=600)
    async with kit.bound() as w:
        await w.jobs.sync_schedules([declared])
        kit.clock.advance(minutes=15)
        changed = NewSchedule("none", schedule_key="k", every=600, tags=["x"])
        looks = "schedules.declared" if change == "sync" else "schedules.read"
        w.storage.meanwhile("after", looks, lambda: w.jobs.end_schedule(schedule_key="k"))
        if change == "update":
            await w.jobs.update_schedule(schedule_key="k", tags=["x"])
        elif change == "upsert":
            await w.jobs.upsert_schedule("none", schedule_key="k", every=600, tags=["x"])
        else:
            await w.jobs.sync_schedules([changed])
        await w.jobs.dispatch()
        assert await ran(w) == []


async def test_what_follows_a_change_is_not_done_where_somebody_elses_change_came_first(kit: Kit) -> None:
    """The one who was refused is told so, and the job is as the other has made it: paused."""
    for of, name in ((int, "number"), (str, "text")):

        async def handler(ctx: Any, payload: Any) -> None: ...

        handler.__annotations__["payload"] = of
        kit.job(name)(handler)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("number", 1, every=600, enabled=False)
        w.storage.meanwhile(
            "before",
            "schedules.revise",
            lambda: w.jobs.update_schedule(made.id, name="text", payload="x"),
        )
        with pytest.raises(InvalidPayload):
            await w.jobs.update_schedule(made.id, payload=2, enabled=True)
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.state, shown.name) == ("paused", "text")


async def test_a_change_keeps_waiting_what_a_tick_has_made_wait_meanwhile(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="queue", misfire="skip")
        kit.clock.advance(minutes=10)
        await w.jobs.dispatch()  # this run is never worked on, so the next occurrence waits
        kit.clock.advance(minutes=10)
        w.storage.meanwhile("after", "schedules.read", w.jobs.dispatch)
        await w.jobs.update_schedule(made.id, tags=["x"])
        kit.clock.advance(61)
        await w.jobs.dispatch()
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.next_at, shown.skipped) == (minutes(20)[0], 0)


async def test_a_job_that_was_mended_meanwhile_is_not_set_aside(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="cancel_previous")
        kit.clock.advance(minutes=10)
        await w.jobs.dispatch()
        await w.sql("UPDATE kumofire_runs SET history = '{'")
        kit.clock.advance(minutes=10)
        w.storage.meanwhile(
            "before",
            "schedules.defer",
            lambda: w.jobs.update_schedule(made.id, every=60, overlap="allow"),
        )
        await w.jobs.dispatch()
        kit.clock.advance(minutes=1)
        await w.jobs.dispatch()
        assert (await w.jobs.get_schedule(made.id)).made == 2


async def test_a_run_that_somebody_has_started_meanwhile_keeps_its_lease(kit: Kit) -> None:
    """Where one of many is broken, the others are set aside with it for a minute, if they are still due."""
    calls, all_have_begun, may_end = list[str](), asyncio.Event(), asyncio.Event()

    @kit.job("slow", timeout=600)
    async def slow(ctx: Any) -> None:
        calls.append(ctx.run.id)
        if len(calls) == len(good):
            all_have_begun.set()
        await may_end.wait()

    async with kit.bound(max_statements=30) as w:
        ids = await w.create_in_order("slow", [None] * 24, delay=3600)
        kit.clock.advance(hours=1)
        good = ids[::2]
        await w.sql(f"UPDATE kumofire_runs SET history = '{{' WHERE id IN {tuple(ids[1::2])}")
        other = Bound(kit.app.bind(db=w.storage.inner), w.storage, w.queue, kit.clock)
        consumers: list[asyncio.Task[Any]] = []

        async def start() -> None:
            consumers.append(asyncio.create_task(other.deliver(*good, concurrency=len(good))))
            await all_have_begun.wait()

        w.storage.meanwhile("before", "runs.defer", start)
        await w.jobs.dispatch()
        kit.clock.advance(61)
        await w.jobs.dispatch()
        may_end.set()
        await consumers[0]
        assert (sorted(calls), {await w.state(run) for run in good}) == (sorted(good), {"succeeded"})


@pytest.mark.parametrize("ended", [False, True])
async def test_what_was_to_be_caught_up_is_forgotten_with_the_rule_that_had_missed_it(
    kit: Kit, ended: bool
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, misfire="skip")
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(minutes=15)
        await w.jobs.resume_schedule(made.id, missed="all")
        if ended:
            await w.jobs.end_schedule(made.id)
            await w.jobs.update_schedule(made.id, tags=["x"])
        else:
            await w.jobs.update_schedule(made.id, every=3600)
        kit.clock.advance(hours=5)
        await w.jobs.dispatch()
        shown = await w.jobs.get_schedule(made.id)
        assert shown.made <= 1
        assert shown.made + shown.skipped >= 4
