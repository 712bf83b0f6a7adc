"""When the previous run is not settled: a second one, none, one that waits, or one instead of it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fakes import START
from harness import Bound, Kit, nothing

from kumofire_fsm import RunStatus
from kumofire_fsm.reports import DispatchReport


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


async def look(kit: Kit, w: Bound, **units: float) -> DispatchReport:
    kit.clock.advance(**units)
    return await w.jobs.dispatch()


async def runs_of(w: Bound) -> list[RunStatus]:
    return sorted((await w.jobs.list_runs()).runs, key=lambda run: run.scheduled_for)


async def finish(w: Bound) -> None:
    for run in await runs_of(w):
        if not run.settled:
            await w.deliver(run.kumofire_job_run_id)


async def test_allow_makes_a_run_beside_the_other(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.jobs.create_schedule("none", every=600)
        for _ in range(3):
            assert (await look(kit, w, minutes=10)).made == 1
        assert [run.settled for run in await runs_of(w)] == [False] * 3


async def test_skip_passes_over_what_is_due_meanwhile_and_records_it(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="skip")
        assert (await look(kit, w, minutes=10)).made == 1
        for _ in range(2):
            assert await look(kit, w, minutes=10) == DispatchReport(skipped=1, moved=1, sent=1)
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.made, shown.skipped, shown.skipped_at) == (1, 2, minute(30))
        assert (shown.skipped_why, shown.last_at, shown.next_at) == ("overlap", minute(10), minute(40))
        await finish(w)
        assert (await look(kit, w, minutes=10)).made == 1
        assert [run.scheduled_for for run in await runs_of(w)] == [minute(10), minute(40)]


@pytest.mark.parametrize("settled_since", [1, 9, 10])
async def test_an_older_run_stands_in_the_way_too_if_it_is_among_the_latest_ten(
    kit: Kit, settled_since: int
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600)
        await look(kit, w, minutes=10)
        for _ in range(settled_since):
            await look(kit, w, minutes=10)
            await w.deliver((await runs_of(w))[-1].kumofire_job_run_id)
        await w.jobs.update_schedule(made.id, overlap="skip")
        await look(kit, w, minutes=10)
        assert (await w.jobs.get_schedule(made.id)).skipped == (1 if settled_since < 10 else 0)


async def test_queue_holds_one_which_runs_when_the_previous_is_settled_and_takes_the_place_of_the_rest(
    kit: Kit,
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="queue")
        await look(kit, w, minutes=10)
        for _ in range(25):
            assert (await look(kit, w, minutes=1)).made == 0
        held = await w.jobs.get_schedule(made.id)
        assert (held.state, held.next_at, held.last_at, held.skipped) == (
            "active",
            minute(20),
            minute(10),
            0,
        )
        await finish(w)
        assert (await look(kit, w, minutes=1)).made == 1
        shown = await w.jobs.get_schedule(made.id)
        assert (shown.next_at, shown.last_at) == (minute(40), minute(20))
        assert (shown.skipped, shown.skipped_at, shown.skipped_why) == (1, minute(30), "overlap")
        await finish(w)
        assert (await look(kit, w, minutes=4)).made == 1
        assert [run.scheduled_for for run in await runs_of(w)] == [minute(10), minute(20), minute(40)]


async def test_a_held_occurrence_is_looked_at_every_five_seconds_and_writes_no_history(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="queue")
        await look(kit, w, minutes=10)
        await look(kit, w, minutes=10)
        w.storage.clear()
        await look(kit, w, seconds=4)
        assert w.storage.names == ["schedules.due", "runs.sweep"]
        w.storage.clear()
        await look(kit, w, seconds=1)
        assert w.storage.names == ["schedules.due", "schedules.advance", "runs.sweep"]
        assert [entry.event for entry in (await w.jobs.get_schedule(made.id)).history] == ["create"]


async def test_cancel_previous_cancels_what_waits_and_tells_what_runs(kit: Kit) -> None:
    @kit.job("none")
    async def none(ctx: object) -> None:
        if kit.clock.time < START + timedelta(seconds=40):
            kit.clock.advance(20)
            assert (await w.jobs.dispatch()).made == 1

    async with kit.bound() as w:
        seen: list[str] = []
        await w.jobs.create_schedule("none", every=20, overlap="cancel_previous")
        await look(kit, w, seconds=20)
        (first,) = await runs_of(w)
        await w.deliver(first.kumofire_job_run_id)
        first, second = await runs_of(w)
        assert [entry.event for entry in first.history][-2:] == ["cancel", "succeed"]
        kit.app.on_enter("canceled")(lambda transition: seen.append(transition.run.kumofire_job_run_id))
        assert (await look(kit, w, seconds=20)).made == 1
        _, second, third = await runs_of(w)
        assert (second.state, third.settled) == ("canceled", False)
        assert seen == [second.kumofire_job_run_id]
        waiting = asyncio.ensure_future(w.jobs.wait(third.kumofire_job_run_id, timeout=60))
        await asyncio.sleep(0)
        await look(kit, w, seconds=20)
        assert (await waiting).state == "canceled"


async def test_after_an_outage_only_one_of_several_runs_alone(kit: Kit) -> None:
    kit.job("none")(nothing)
    expected = {"skip": ([10], 5), "queue": ([10], 0), "cancel_previous": ([60], 5)}
    for overlap, (minutes, skipped) in expected.items():
        async with kit.bound() as w:
            now = kit.clock.time
            made = await w.jobs.create_schedule("none", every=600, overlap=overlap, misfire="all")
            assert (await look(kit, w, minutes=60)).made == 1
            shown = await w.jobs.get_schedule(made.id)
            assert [run.scheduled_for - now for run in await runs_of(w)] == [
                timedelta(minutes=m) for m in minutes
            ]
            assert shown.skipped == skipped


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_previous"])
async def test_a_hundred_due_jobs_that_care_cost_no_more_statements_but_for_the_cancellations(
    kit: Kit, overlap: str
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        for _ in range(100):
            await w.jobs.create_schedule("none", every=600, overlap=overlap)
        w.storage.clear()
        assert (await look(kit, w, minutes=10)).made == 100
        assert w.storage.names == [
            "schedules.due",
            "schedules.advance",
            "runs.insert_occurrences",
            "runs.sweep",
        ]
        w.storage.clear()
        await look(kit, w, minutes=10)
        assert w.storage.names == {
            "skip": ["schedules.due", "schedules.advance", "runs.sweep"],
            "queue": ["schedules.due", "schedules.advance", "runs.sweep"],
            "cancel_previous": [
                "schedules.due", "schedules.advance", "runs.insert_occurrences", "runs.cancel_for_tick", "runs.sweep",
            ],
        }[overlap]  # fmt: skip


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_previous"])
async def test_two_dispatchers_keep_one_run_at_a_time(kit: Kit, tmp_path: Path, overlap: str) -> None:
    kit.job("none")(nothing)
    path = tmp_path / "jobs.db"
    async with kit.bound(path) as one, kit.bound(path) as two:
        for _ in range(5):
            await one.jobs.create_schedule("none", every=600, overlap=overlap)
        for _ in range(6):
            kit.clock.advance(minutes=10)
            await asyncio.gather(*(w.jobs.dispatch() for w in (one, two, one)))
            busy = "SELECT count(*) FROM kumofire_runs WHERE wake_at IS NOT NULL GROUP BY schedule_id"
            assert await one.sql(busy) == [(1,)] * 5


@pytest.mark.parametrize("settled", [False, True])
async def test_a_run_of_a_lifecycle_that_is_gone_is_in_the_way_only_while_something_will_happen_to_it(
    kit: Kit, settled: bool
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.jobs.create_schedule("none", every=600, overlap="skip")
        await look(kit, w, minutes=10)
        if settled:
            await finish(w)
        for name in ("fixed", "version"):
            await w.sql(f"DROP TRIGGER kumofire_runs_{name}")
        await w.sql("DROP TRIGGER kumofire_runs_settled")
        await w.sql("UPDATE kumofire_runs SET machine = 'gone'")
        assert (await look(kit, w, minutes=10)).made == int(settled)


async def test_a_run_that_a_person_triggered_stands_in_no_one_s_way(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=600, overlap="skip", max_occurrences=1)
        await w.jobs.trigger_now(made.id)
        assert (await look(kit, w, minutes=10)).made == 1
