"""A dispatcher's tick: near work is enqueued, lost messages are sent again, dead leases are lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes import FakeMessage
from harness import Kit, echo, nothing

from kumofire_fsm import InvalidArgument
from kumofire_fsm.reports import DispatchReport


@pytest.mark.parametrize(
    ("delay", "state", "hint"),
    [(0, "queued", 0), (0.4, "queued", 1), (89.9, "queued", 90), (90, "queued", 90), (90.001, "ready", None), (3600, "ready", None)],
)  # fmt: skip
async def test_create_enqueues_what_is_due_within_90_s_with_the_queues_own_delay(
    kit: Kit, delay: float, state: str, hint: int | None
) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run_id = await w.create("echo", 1, delay=delay)
        assert await w.state(run_id) == state
        assert w.queue.sent == ([] if hint is None else [(run_id, hint)])


async def test_far_work_is_enqueued_90_s_before_its_time(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run_id = await w.create("echo", 1, delay=3600)
        kit.clock.advance(3600 - 90.001)
        assert await w.jobs.dispatch() == DispatchReport()
        kit.clock.advance(milliseconds=1)
        assert await w.jobs.dispatch() == DispatchReport(moved=1, sent=1)
        assert w.queue.sent == [(run_id, 90)]
        assert await w.state(run_id) == "queued"
        assert await w.jobs.dispatch() == DispatchReport()


async def test_a_lost_message_is_sent_again_after_doubling_waits_up_to_32_times(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run_id = await w.create("echo", 1)
        w.queue.clear()
        for wait in [120, 240, 480, 960, 1920, 3840, 3840]:
            kit.clock.advance(wait - 0.001)
            assert (await w.jobs.dispatch()).moved == 0
            kit.clock.advance(0.001)
            assert await w.jobs.dispatch() == DispatchReport(moved=1, sent=1)
            assert w.queue.sent == [(run_id, 0)]
            w.queue.clear()
        assert [e.event for e in (await w.status(run_id)).history] == ["create", "enqueue"]


async def lost_lease(kit: Kit, *, max_attempts: int, attempts: int) -> Any:
    """Let the consumer die at every settle, and dispatch after each lease."""
    kit.job("none", max_attempts=max_attempts, timeout=60)(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        for _ in range(attempts):
            w.storage.fail_once("runs.succeed", "before")
            await w.deliver(run_id)
            assert await w.state(run_id) == "running"
            kit.clock.advance(69.999)
            assert (await w.jobs.dispatch()).moved == 0
            kit.clock.advance(0.001)
            await w.jobs.dispatch()
            lost_at = kit.clock.now()
            status = await w.status(run_id)
            kit.clock.advance(3600)
        return status, lost_at


@pytest.mark.parametrize(("attempts", "wait"), [(1, 2), (2, 4), (3, 8)])
async def test_a_run_whose_lease_ran_out_is_tried_again_after_doubling_waits(
    kit: Kit, attempts: int, wait: int
) -> None:
    status, lost_at = await lost_lease(kit, max_attempts=9, attempts=attempts)
    assert status.attempt == attempts
    assert [e.state for e in status.history if e.event == "lose"] == ["retrying"] * attempts
    assert status.run_at.timestamp() * 1000 == lost_at + wait * 1000
    assert status.last_error == "the lease ran out: the worker died, or was too slow to renew it"


async def test_a_run_whose_last_lease_ran_out_fails(kit: Kit) -> None:
    status, lost_at = await lost_lease(kit, max_attempts=2, attempts=2)
    assert (status.state, status.attempt) == ("failed", 2)
    assert status.finished_at.timestamp() * 1000 == lost_at


async def test_one_dispatch_repeats_until_nothing_is_due_also_for_what_it_moved_itself(kit: Kit) -> None:
    """A lost run is due for its hint at once: waiting for the next tick would cost a minute."""
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        w.storage.fail_once("runs.succeed", "before")
        await w.deliver(run_id)
        w.queue.clear()
        kit.clock.advance(70)
        assert await w.jobs.dispatch() == DispatchReport(moved=2, sent=1)
        assert w.queue.sent == [(run_id, 2)]
        assert [e.event for e in (await w.status(run_id)).history][-2:] == ["lose", "enqueue"]


@pytest.mark.parametrize("delay", [0, 3600])
async def test_a_run_that_did_not_start_before_it_expires_is_canceled(kit: Kit, delay: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        expires_at = kit.clock.time + timedelta(seconds=delay + 60)
        run_id = await w.create("echo", 1, delay=delay, expires_at=expires_at)
        kit.clock.advance(delay + 59.999)
        await w.jobs.dispatch()
        assert await w.state(run_id) == "queued"
        kit.clock.advance(0.001)
        assert await w.deliver(run_id) == ["ack"]
        await w.jobs.dispatch()
        status = await w.status(run_id)
        assert status.attempt == 0
        assert (status.state, status.last_error) == ("canceled", "expired before it could start")


async def test_an_expired_run_is_canceled_by_the_dispatcher_without_a_message(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run_id = await w.create("echo", 1, expires_at=kit.clock.time + timedelta(seconds=60))
        w.queue.clear()
        kit.clock.advance(60)
        assert await w.jobs.dispatch() == DispatchReport(moved=1)
        assert (await w.state(run_id), w.queue.sent) == ("canceled", [])


async def test_a_cancellation_that_nobody_answers_is_finished_after_its_grace(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none")
        w.storage.fail_once("runs.succeed", "before")
        await w.deliver(run_id)
        assert (await w.jobs.cancel(run_id)).state == "canceling"
        kit.clock.advance(29.999)
        assert (await w.jobs.dispatch()).moved == 0
        kit.clock.advance(0.001)
        assert await w.jobs.dispatch() == DispatchReport(moved=1)
        assert await w.state(run_id) == "canceled"


async def test_a_queue_that_refuses_costs_a_second_not_the_run(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        w.queue.refusing = True
        created = await w.jobs.create("echo", 1)
        run_id = created.kumofire_job_run_id
        assert (created.is_new, await w.state(run_id)) == (True, "queued")
        kit.clock.advance(0.999)
        assert (await w.jobs.dispatch()).moved == 0
        kit.clock.advance(0.001)
        assert await w.jobs.dispatch() == DispatchReport(moved=1, refused=1)
        w.queue.refusing = False
        kit.clock.advance(1)
        assert await w.jobs.dispatch() == DispatchReport(moved=1, sent=1)
        assert w.queue.sent == [(run_id, 0)]


async def test_a_dispatch_that_the_queue_refuses_stops_at_its_first_round(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        for _ in range(5):
            await w.create("echo", 1, delay=100)
        kit.clock.advance(10)
        w.queue.refusing = True
        assert await w.jobs.dispatch(limit=2) == DispatchReport(moved=2, refused=2, complete=False)


async def test_a_limit_bounds_a_round_and_rounds_repeat_until_nothing_is_due(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = [await w.create("echo", i, delay=100 + i) for i in range(25)]
        kit.clock.advance(100)
        assert await w.jobs.dispatch(limit=10) == DispatchReport(moved=25, sent=25)
        assert [len(call) for call in w.queue.calls] == [10, 10, 5]
        assert sorted(w.queue.sent, key=lambda hint: hint[1]) == [(run_id, i) for i, run_id in enumerate(ids)]


async def test_the_longest_overdue_are_dispatched_first_and_rounds_have_a_budget(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = [await w.create("echo", i, delay=200 - i) for i in range(22)]
        kit.clock.advance(200)
        assert await w.jobs.dispatch(limit=1) == DispatchReport(moved=20, sent=20, complete=False)
        assert [run_id for run_id, _ in w.queue.sent] == ids[:1:-1]


@pytest.mark.parametrize("limit", [0, -1, 1001, "10", None, 1.5])
async def test_a_limit_out_of_range_is_refused(kit: Kit, limit: Any) -> None:
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument):
            await w.jobs.dispatch(limit=limit)


async def test_runs_of_a_job_unknown_here_are_left_alone_and_starve_nobody(kit: Kit) -> None:
    other = kit.another_app()
    for app in (kit.app, other):
        app.job("shared")(nothing)
    kit.job("new")(nothing)
    async with kit.bound() as w:
        unknown = [await w.create("new", delay=100) for _ in range(5)]
        known = await w.create("shared", delay=150)
        old = other.bind(db=w.storage, queue=w.queue)
        kit.clock.advance(150)
        assert await old.dispatch(limit=2) == DispatchReport(moved=1, sent=1)
        assert w.queue.sent == [(known, 0)]
        assert [await w.state(run_id) for run_id in unknown] == ["ready"] * 5
        message = FakeMessage.of(unknown[0])
        await old.consume(message)
        assert message.disposition == 60
        assert await w.state(unknown[0]) == "ready"


async def test_runs_of_a_machine_unknown_here_are_left_alone(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.sql(
            "INSERT INTO kumofire_edges SELECT 'later', source, target, wakes FROM kumofire_edges WHERE machine = 'run'"
        )
        run_id, other = await w.create("none", delay=100), "019b76da-a800-7000-8000-000000000000"
        columns = ", ".join(
            c[1] for c in await w.sql("PRAGMA table_info(kumofire_runs)") if c[1] not in ("id", "machine")
        )
        await w.sql(
            f"INSERT INTO kumofire_runs (id, machine, {columns}) SELECT '{other}', 'later', {columns} FROM kumofire_runs"
        )
        kit.clock.advance(100)
        assert await w.jobs.dispatch() == DispatchReport(moved=1, sent=1)
        assert w.queue.sent == [(run_id, 0)]
        assert await w.deliver(other) == [60]
        assert (await w.status(other)).state == "ready"
        assert await w.jobs.count_runs() == {"queued": 1, "ready": 1}
