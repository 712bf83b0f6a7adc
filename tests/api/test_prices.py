"""The price list of the design: how many statements and sends each piece of work costs."""

from __future__ import annotations

from typing import Any

from harness import Kit, echo

from kumofire_fsm import Cancel, Fail, NewRun, Snooze
from kumofire_fsm.reports import DispatchReport


def register(kit: Kit) -> None:
    @kit.job("mixed", max_attempts=3)
    async def mixed(ctx: Any, payload: int) -> int:
        if payload % 5 == 1:
            raise ValueError
        if payload % 5 == 2:
            raise Snooze(60)
        if payload % 5 == 3:
            raise Fail
        if payload % 5 == 4:
            raise Cancel
        return payload

    kit.job("echo")(echo)


async def test_creating_one_run_is_one_statement_and_one_send(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.create("echo", 1)
        assert w.storage.names == ["runs.insert"]
        assert len(w.queue.calls) == 1


async def test_creating_a_far_run_sends_nothing(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.create("echo", 1, delay=3600)
        assert (w.storage.names, w.queue.calls) == (["runs.insert"], [])


async def test_creating_100_runs_is_one_statement_and_one_send(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.jobs.create_many([NewRun("echo", n) for n in range(100)])
        assert w.storage.names == ["runs.insert"]
        assert [len(call) for call in w.queue.calls] == [100]


async def test_creating_with_a_key_is_one_round_trip(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        for _ in range(2):
            w.storage.clear()
            await w.create("echo", 1, dedupe_key="k")
            assert (w.storage.names, w.storage.trips) == (["runs.insert", "runs.find_holders"], 1)
        w.storage.clear()
        await w.jobs.create_many([NewRun("echo", n, dedupe_key=str(n)) for n in range(100)])
        assert (w.storage.names, w.storage.trips) == (["runs.insert", "runs.find_holders"], 1)


async def test_an_idle_tick_is_two_statements_and_no_send(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.create("echo", 1, delay=3600)
        await w.jobs.create_schedule("echo", 1, every=3600)
        w.storage.clear()
        await w.jobs.dispatch()
        assert w.storage.names == ["schedules.due", "runs.sweep"]
        assert w.queue.calls == []


async def test_a_tick_with_100_due_runs_is_two_statements_and_one_send(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.jobs.create_many([NewRun("echo", n, delay=100) for n in range(100)])
        kit.clock.advance(100)
        w.storage.clear()
        assert await w.jobs.dispatch() == DispatchReport(moved=100, sent=100)
        assert w.storage.names == ["schedules.due", "runs.sweep"]
        assert [len(call) for call in w.queue.calls] == [100]


async def test_a_tick_with_100_due_recurring_jobs_is_four_statements_and_one_send(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        for n in range(100):
            await w.jobs.create_schedule("echo", n, every=60)
        kit.clock.advance(60)
        w.storage.clear()
        assert await w.jobs.dispatch() == DispatchReport(sent=100, made=100)
        assert w.storage.names == [
            "schedules.due",
            "schedules.advance",
            "runs.insert_occurrences",
            "runs.sweep",
        ]
        assert [len(call) for call in w.queue.calls] == [100]


async def test_consuming_100_quick_runs_of_mixed_outcomes_is_six_statements_at_most(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        created = await w.jobs.create_many([NewRun("mixed", n) for n in range(100)])
        w.storage.clear()
        w.queue.clear()
        dispositions = await w.deliver(*(each.kumofire_job_run_id for each in created))
        assert dispositions.count("ack") == 60
        assert len(w.storage.names) <= 6
        assert w.queue.calls == []
        assert await w.jobs.count_runs() == {
            "succeeded": 20,
            "retrying": 20,
            "ready": 20,
            "failed": 20,
            "canceled": 20,
        }


async def test_one_run_from_create_to_succeeded_is_three_statements(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await w.create("mixed", 0)
        await w.deliver(run_id)
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.succeed"]
        assert len(w.queue.calls) == 1


async def test_a_retry_is_two_statements(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await w.create("mixed", 1)
        await w.deliver(run_id)
        w.storage.clear()
        kit.clock.advance(2)
        await w.deliver(run_id)
        assert w.storage.names == ["runs.claim", "runs.retry"]


async def test_a_heartbeat_is_one_statement(kit: Kit) -> None:
    @kit.job("beats")
    async def beats(ctx: Any) -> None:
        await ctx.heartbeat(progress=1)

    async with kit.bound() as w:
        await w.deliver(await w.create("beats"))
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.heartbeat", "runs.succeed"]


async def test_a_status_a_list_and_a_count_are_one_statement_each(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await w.create("echo", 1)
        w.storage.clear()
        await w.jobs.get_status(run_id)
        await w.jobs.list_runs(limit=500)
        await w.jobs.count_runs()
        assert w.storage.names == ["runs.read", "runs.find", "runs.count"]


async def test_prune_is_one_round_trip(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.jobs.prune(older_than=0)
        assert (w.storage.names, w.storage.trips) == (["bodies.prune", "runs.prune"], 1)


async def test_an_unchanged_upsert_reads_once_and_writes_nothing(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.jobs.upsert_schedule("echo", 1, schedule_key="k", every=60)
        before = await w.sql("SELECT * FROM kumofire_schedules")
        w.storage.clear()
        await w.jobs.upsert_schedule("echo", 1, schedule_key="k", every=60)
        assert w.storage.trips <= 3
        assert not any("revise" in name for name in w.storage.names)
        assert await w.sql("SELECT * FROM kumofire_schedules") == before
