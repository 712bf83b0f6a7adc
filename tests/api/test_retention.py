"""Retention: settled runs are deleted when their time is over, and nothing else is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit, nothing

from kumofire_fsm import DefinitionError, Fail, InvalidArgument, Kumofire, Retention, RunMachine
from kumofire_fsm.machines import Event, Outcome, Role, State
from kumofire_fsm.testing import VirtualClock
from kumofire_fsm.values.limits import PRUNE_RUNS
from kumofire_fsm.work._dispatcher import PRUNE_MINUTES

DAY = timedelta(days=1)


def shop(kit: Kit, retention: Retention | None, own: Retention | None = None) -> Kumofire:
    app = Kumofire(clock=kit.clock, entropy=kit.entropy, retention=retention)
    app.job("mail")(nothing)
    app.job("report", retention=own)(nothing)

    @app.job("pay")
    def pay(ctx: Any) -> None:
        raise Fail("no card")

    return app


async def settled(b: Bound) -> dict[str, str]:
    """Return a run of each ending, and what they are called."""
    made = {name: await b.create(name) for name in ("mail", "report", "pay")}
    await b.deliver(*made.values())
    made["canceled"] = await b.create("mail", delay=3600)
    await b.jobs.cancel(made["canceled"])
    return made


def at_a_look(b: Bound) -> None:
    """Let it be a minute in which a tick looks for what is to be deleted."""
    b.clock.advance(minutes=PRUNE_MINUTES - b.clock.now() // 60_000 % PRUNE_MINUTES)


async def left(b: Bound, runs: dict[str, str]) -> set[str]:
    """Return which of these runs exist, after several looks: each begins at another age."""
    for _ in range(8):
        at_a_look(b)
        await b.jobs.dispatch()
    return {name for name, run_id in runs.items() if await b.jobs.get_status(run_id)}


async def test_runs_are_kept_as_long_as_their_ending_says() -> None:
    kit = Kit()
    app = shop(kit, Retention(succeeded=DAY, failed=3 * DAY))
    async with kit.bound(app=app) as b:
        runs = await settled(b)
        assert await left(b, runs) == set(runs)
        kit.clock.advance(hours=25)
        assert await left(b, runs) == {"pay", "canceled"}
        kit.clock.advance(days=2)
        assert await left(b, runs) == {"canceled"}, "None is for ever"


async def test_a_job_s_own_retention_stands_for_all_of_its_runs() -> None:
    kit = Kit()
    app = shop(kit, Retention(succeeded=DAY), own=Retention(failed=DAY))
    async with kit.bound(app=app) as b:
        runs = await settled(b)
        kit.clock.advance(days=100)
        assert await left(b, runs) == {"report", "pay", "canceled"}


async def test_a_job_alone_may_have_a_retention_and_holds_it_under_its_earlier_names() -> None:
    kit = Kit()
    async with kit.bound(app=shop(kit, None)) as b:
        renamed = Kumofire(clock=kit.clock, entropy=kit.entropy)
        renamed.job("letters", aliases=["mail"], retention=Retention(succeeded=DAY))(nothing)
        runs = await settled(b)
        kit.clock.advance(days=2)
        jobs = renamed.bind(db=b.storage)
        for _ in range(8):
            at_a_look(b)
            await jobs.dispatch()
        assert {name for name, run_id in runs.items() if await b.jobs.get_status(run_id)} == {
            "report", "pay", "canceled",
        }  # fmt: skip


async def test_unsettled_runs_and_schedules_are_never_touched() -> None:
    kit = Kit()
    every = Retention(succeeded=60, failed=60, canceled=60, others=60)
    async with kit.bound(app=shop(kit, every)) as b:
        waits = await b.create("mail", delay=86_400 * 300)
        await b.jobs.create_schedule("mail", every=86_400 * 200, schedule_key="rare")
        await b.jobs.create_schedule("mail", every=86_400, schedule_key="ended", enabled=False)
        await b.jobs.end_schedule(schedule_key="ended")
        kit.clock.advance(days=100)
        assert await left(b, {"waits": waits}) == {"waits"}
        assert len(await b.jobs.list_schedules()) == 2


async def test_a_tick_deletes_as_many_as_is_said_with_what_they_stored_apart() -> None:
    kit = Kit()
    async with kit.bound(app=shop(kit, Retention(canceled=DAY)), with_queue=False) as b:
        from kumofire_fsm import NewRun

        app = kit.another_app()
        app.job("large")(lambda ctx, text: None)
        large = app.bind(db=b.storage)
        await large.create_many([NewRun("large", "x" * 1000, delay=3600)] * (PRUNE_RUNS + 7))
        await large.fire_all(await large.match_runs("cancel"))
        kit.clock.advance(days=2)
        at_a_look(b)
        assert (await b.jobs.dispatch()).pruned == PRUNE_RUNS
        kit.clock.advance(minutes=1)  # there is more, so the next tick goes on
        assert (await b.sizes())["kumofire_bodies"] == 7
        assert (await b.jobs.dispatch()).pruned == 7
        b.storage.clear()
        await b.jobs.dispatch()
        assert "runs.prune" not in b.storage.names, "nothing more was found, so it waits"
        assert await b.sizes() == {"kumofire_runs": 0, "kumofire_bodies": 0, "kumofire_schedules": 0}


async def test_no_statement_more_is_sent_where_no_retention_is_set() -> None:
    kit = Kit()
    names = {}
    for what, retention in {"without": None, "with": Retention(failed=DAY), "empty": Retention()}.items():
        async with kit.bound(app=shop(kit, retention)) as b:
            b.storage.clear()
            at_a_look(b)
            await b.jobs.dispatch()
            names[what] = b.storage.names
    assert names["with"] == [*names["without"], "bodies.prune", "runs.prune"]
    assert names["empty"] == names["without"]


async def test_the_dedupe_key_of_a_run_that_was_deleted_is_free_again() -> None:
    kit = Kit()
    async with kit.bound(app=shop(kit, Retention(succeeded=DAY))) as b:
        first = await b.create("mail", dedupe_key="k")
        await b.deliver(first)
        assert await b.create("mail", dedupe_key="k") == first
        kit.clock.advance(days=2)
        assert await left(b, {"first": first}) == set()
        assert await b.create("mail", dedupe_key="k") != first


async def test_what_is_kept_for_long_hides_nothing() -> None:
    """2,000 failed runs are older than all that is to go: more than one look steps over."""
    kit = Kit()
    async with kit.bound(app=shop(kit, Retention(succeeded=DAY, failed=300 * DAY)), with_queue=False) as b:
        from kumofire_fsm import NewRun

        await b.jobs.create_many([NewRun("mail", delay=3600)] * 2_000)
        await b.jobs.fire_all(await b.jobs.match_runs("cancel"))  # kept for ever here
        kit.clock.advance(hours=2)
        late = await b.create("mail")
        await b.jobs.consume({"version": 1, "kumofireJobRunId": late})
        kit.clock.advance(days=2)
        assert await left(b, {"late": late}) == set()
        assert (await b.sizes())["kumofire_runs"] == 2_000


class Archived(RunMachine, machine="archived"):
    """Has settled states of its own."""

    archived = State(role=Role.SETTLED)
    refunded = State(role=Role.SETTLED, outcome=Outcome.CANCELLATION)
    archive = Event(RunMachine.ready.to(archived))
    refund = Event(RunMachine.ready.to(refunded))


async def test_states_of_your_own_count_by_their_outcome() -> None:
    kit = Kit()
    app = shop(kit, Retention(canceled=DAY, others=3 * DAY))
    app.job("own", machine=Archived)(nothing)
    async with kit.bound(app=app) as b:
        runs = {event: await b.create("own", delay=3600) for event in ("archive", "refund")}
        for event, run_id in runs.items():
            await b.jobs.fire(run_id, event)
        kit.clock.advance(days=2)
        assert await left(b, runs) == {"archive"}
        kit.clock.advance(days=2)
        assert await left(b, runs) == set()


async def test_a_tick_whose_deletion_fails_has_done_all_else() -> None:
    kit = Kit()
    async with kit.bound(app=shop(kit, Retention(succeeded=DAY))) as b:
        at_a_look(b)
        run_id = await b.create("mail", delay=100)
        kit.clock.advance(50)
        b.storage.fail_once("runs.prune", "before")
        report = await b.jobs.dispatch()
        assert (report.moved, report.pruned, await b.state(run_id)) == (1, 0, "queued")


async def test_an_embedded_worker_deletes_too(tmp_path: Path) -> None:
    clock = VirtualClock(datetime.now(UTC) - timedelta(days=9))
    earlier = Kumofire(clock=clock)
    earlier.job("mail")(nothing)
    async with earlier.open(tmp_path / "jobs.db") as jobs:
        gone = (await jobs.create("mail", delay=60)).kumofire_job_run_id
        await jobs.cancel(gone)
    app = Kumofire(retention=Retention(canceled=DAY))
    app.job("mail")(nothing)
    async with app.open(tmp_path / "jobs.db") as jobs:
        kept = (await jobs.create("mail", delay=3600)).kumofire_job_run_id
        await jobs.cancel(kept)
        worker = asyncio.ensure_future(jobs.run())
        async with asyncio.timeout(600):
            while await jobs.get_status(gone) is not None:
                await asyncio.sleep(0.02)
        assert await jobs.get_status(kept) is not None
        worker.cancel()
        await asyncio.wait([worker])


@pytest.mark.parametrize("kept", [59, -1, "1 day", timedelta(seconds=1), float("inf"), True])
def test_a_retention_is_a_duration_of_a_minute_at_least(kept: Any) -> None:
    with pytest.raises(InvalidArgument, match="retention of failed"):
        Retention(failed=kept)


def test_what_is_no_retention_is_refused() -> None:
    given: Any = DAY
    with pytest.raises(DefinitionError, match="retention must be a Retention"):
        Kumofire(retention=given)
    with pytest.raises(DefinitionError, match="job 'mail': retention must be a Retention"):
        Kumofire().job("mail", retention=given)
