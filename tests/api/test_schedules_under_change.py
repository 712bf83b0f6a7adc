"""What a change of a recurring job leaves as it is: what waits, what is bounded, and what has run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes import START
from harness import Kit, minutes, nothing, ran

from kumofire_fsm import NewSchedule, SyncReport
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.schedules import occurrences


@pytest.mark.parametrize("misfire", ["latest", "skip"])
async def test_an_update_leaves_a_held_occurrence_waiting(kit: Kit, misfire: Any) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="queue", misfire=misfire)
        for _ in range(2):  # the first run is never worked on, so the second occurrence waits
            kit.clock.advance(minutes=10)
            await w.jobs.dispatch()
        kit.clock.advance(minutes=5)
        await w.jobs.dispatch()
        await w.jobs.update_schedule(made.id, tags=["x"])
        kit.clock.advance(1)
        await w.jobs.dispatch()
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.next_at, shown.skipped, shown.tags) == (minutes(20)[0], 0, ("x",))
        await w.deliver((await w.jobs.list_runs()).runs[0].kumofire_job_run_id)
        kit.clock.advance(5)
        await w.jobs.dispatch()
        assert await ran(w) == minutes(10, 20)


async def test_a_set_whose_interval_has_ended_is_synced_as_before(kit: Kit) -> None:
    kit.job("none")(nothing)
    declared = [NewSchedule("none", schedule_key="k", every=600, end_at=START + timedelta(hours=1))]
    async with kit.bound() as w:
        await w.jobs.sync_schedules(declared)
        kit.clock.advance(hours=2)
        assert await w.jobs.sync_schedules(declared) == SyncReport(unchanged=("k",))
        await w.jobs.dispatch()
        assert await w.jobs.sync_schedules(declared) == SyncReport(unchanged=("k",))


@pytest.mark.parametrize(("room", "grace"), [(500, 3600), (2, 600)])
@pytest.mark.parametrize(("missed", "expected"), [("latest", [50]), ("all", [10, 20, 30, 40, 50])])
async def test_a_resume_chooses_among_all_that_was_missed_however_long_the_grace_and_however_many_looks(
    kit: Kit, missed: Any, expected: list[int], room: int, grace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.job("none")(nothing)
    monkeypatch.setattr(occurrences, "LOOK_RUNS", room)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, misfire="skip", misfire_grace=grace)
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(minutes=50)
        await w.jobs.resume_schedule(made.id, missed=missed)
        await w.jobs.dispatch()
        assert await ran(w) == minutes(*expected)


async def test_a_clock_that_lags_makes_no_occurrence_twice(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", cron="0 * * * *", max_occurrences=2)
        kit.clock.advance(hours=1)
        await w.jobs.dispatch()
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(-1)
        assert (await w.jobs.resume_schedule(made.id)).next_at == minutes(120)[0]
        kit.clock.advance(hours=1, seconds=1)
        await w.jobs.dispatch()
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.state, shown.made, await ran(w)) == ("ended", 2, minutes(60, 120))


async def test_a_change_by_a_clock_that_lags_makes_no_occurrence_twice(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", cron="0 * * * *")
        kit.clock.advance(hours=1)
        await w.jobs.dispatch()
        kit.clock.advance(-1)
        changed = await w.jobs.update_schedule(made.id, cron="0,30 * * * *")
        assert changed.next_at == minutes(90)[0]


async def test_a_clock_that_lags_comes_back_to_no_occurrence_that_was_skipped(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="skip")
        for _ in range(2):  # the first run is not worked on in time, so the second occurrence is skipped
            kit.clock.advance(minutes=10)
            await w.jobs.dispatch()
        await w.deliver((await w.jobs.list_runs()).runs[0].kumofire_job_run_id)
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(-1)
        assert (await w.jobs.resume_schedule(made.id)).next_at == minutes(30)[0]
        kit.clock.advance(1)
        await w.jobs.dispatch()
        assert await ran(w) == minutes(10)


async def test_a_clock_that_lags_makes_no_occurrence_of_the_beginning(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600)
        await w.jobs.pause_schedule(made.id)
        kit.clock.advance(-1)
        assert (await w.jobs.resume_schedule(made.id)).next_at == made.next_at == minutes(10)[0]


async def test_the_beginning_of_an_interval_can_be_taken_back(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, start_at=START + timedelta(days=365))
        shown = await w.jobs.update_schedule(made.id, start_at=None)
        assert shown.next_at == minutes(10)[0] or shown.next_at == START


async def test_a_broken_template_is_told_when_a_run_is_asked_for(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600)
        await w.sql("UPDATE kumofire_schedules SET template = '{'")
        with pytest.raises(InvalidSchedule, match="its template is broken"):
            await w.jobs.trigger_now(made.id)


async def test_tags_from_a_generator_are_kept_by_an_upsert(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        for _ in range(2):
            tags: Any = (tag for tag in ["a", "b"])
            shown = await w.jobs.upsert_schedule("none", schedule_key="k", every=600, tags=tags)
            assert shown.tags == ("a", "b")


async def test_jobs_that_the_database_refuses_do_not_hold_up_the_others(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound(max_statements=45) as w:
        bad = [await w.jobs.create_schedule("none", every=60, overlap="cancel_previous") for _ in range(12)]
        kit.clock.advance(60)
        await w.jobs.dispatch()
        good = await w.jobs.create_schedule("none", every=60)
        await w.sql("UPDATE kumofire_runs SET history = '{'")
        kit.clock.advance(60)
        for _ in range(12):
            w.storage.clear()
            await w.jobs.dispatch()
            assert len(w.storage.names) <= 50
            kit.clock.advance(60)
        assert (await w.jobs.get_schedule(good.id)).made > 0
        assert len(bad) == 12
