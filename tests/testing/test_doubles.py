"""The doubles of database, queue and clock: real SQL, real deliveries, and time that a test moves."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kumofire_fsm import Backoff, InvalidArgument, Kumofire, RunMachine, Snooze
from kumofire_fsm.errors import QueueError, RowRefused, StoreError
from kumofire_fsm.machines import Event, Role, State
from kumofire_fsm.ports import Clock, Hint, Queue, Storage
from kumofire_fsm.testing import MemoryStorage, RecordedMessage, RecordingQueue, VirtualClock
from kumofire_fsm.work.bound import BoundJobs

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_app() -> tuple[Kumofire, list[Any]]:
    app, calls = Kumofire(retry=Backoff(first=10, jitter=False)), []

    @app.job("flaky", max_attempts=2)
    async def flaky(ctx: Any, payload: str) -> str:
        calls.append((ctx.attempt, payload, ctx.now()))
        if ctx.attempt == 1:
            raise ConnectionError(payload)
        return payload

    @app.job("parent")
    async def parent(ctx: Any) -> None:
        await ctx.jobs.create("flaky", "child")
        ctx.commit([("INSERT INTO notes (text) VALUES (?)", ("noted",))])

    @app.job("lazy")
    async def lazy(ctx: Any) -> None:
        raise Snooze(until=timedelta(days=400))

    return app, calls


def bound(
    app: Kumofire, db: MemoryStorage, clock: VirtualClock | None = None
) -> tuple[BoundJobs, RecordingQueue]:
    queue = RecordingQueue(clock)
    return app.bind(db=db, queue=queue, clock=clock), queue


async def created(jobs: BoundJobs, name: str, payload: Any = None, **options: Any) -> str:
    return (await jobs.create(name, payload, **options)).kumofire_job_run_id


async def state(jobs: BoundJobs, run_id: str) -> str:
    status = await jobs.get_status(run_id)
    assert status is not None
    return status.state


@pytest.mark.parametrize(
    ("double", "port"), [(MemoryStorage, Storage), (RecordingQueue, Queue), (VirtualClock, Clock)]
)
def test_a_double_has_every_method_of_its_port(double: type, port: type) -> None:
    for name, method in inspect.getmembers(port, inspect.isfunction):
        if not name.startswith("_"):
            assert (
                inspect.signature(getattr(double, name)).parameters.keys()
                >= inspect.signature(method).parameters.keys()
            )


async def test_a_run_is_hinted_delivered_retried_and_settled() -> None:
    (app, calls), clock = make_app(), VirtualClock()
    async with MemoryStorage(app) as db:
        jobs, queue = bound(app, db, clock)
        run_id = await created(jobs, "flaky", "a")
        assert (queue.sent, queue.waiting) == ([(run_id, 0)], [run_id])
        await queue.deliver(jobs)
        assert (await state(jobs, run_id), queue.waiting) == ("retrying", [run_id])
        await queue.deliver(jobs)
        clock.advance(9)
        await queue.deliver(jobs)
        assert queue.deliveries == 1
        clock.advance(1)
        await queue.deliver(jobs)
        assert (await state(jobs, run_id), queue.waiting, queue.dead) == ("succeeded", [], [])
        assert calls == [(1, "a", START), (2, "a", START + timedelta(seconds=10))]


async def test_what_is_due_later_is_sent_by_a_tick_and_a_schedule_fires() -> None:
    (app, _), clock = make_app(), VirtualClock()
    async with MemoryStorage(app) as db:
        jobs, queue = bound(app, db, clock)
        later = await created(jobs, "flaky", "a", delay=3600)
        schedule = await jobs.create_schedule("flaky", "b", every=1800)
        assert queue.sent == []
        for _ in range(4):
            clock.advance(minutes=30)
            await jobs.dispatch()
            await queue.deliver(jobs)
        assert await state(jobs, later) == "succeeded"
        assert (await jobs.get_schedule(schedule.id)).made == 4  # type: ignore[union-attr]


async def test_what_a_handler_creates_is_delivered_too_and_what_it_commits_is_there() -> None:
    (app, calls), clock = make_app(), VirtualClock()
    async with MemoryStorage(app) as db:
        await db.sql("CREATE TABLE notes (text TEXT NOT NULL)")
        jobs, queue = bound(app, db, clock)
        parent = await created(jobs, "parent")
        await queue.deliver(jobs)
        assert await state(jobs, parent) == "succeeded"
        assert [payload for _, payload, _ in calls] == ["child"]
        assert await db.sql("SELECT text FROM notes") == [("noted",)]
        assert await db.sql("SELECT count(*) FROM kumofire_runs WHERE state = ?", "succeeded") == [(1,)]


async def test_a_queue_that_refuses_loses_no_run() -> None:
    (app, _), clock = make_app(), VirtualClock()
    async with MemoryStorage(app) as db:
        jobs, queue = bound(app, db, clock)
        queue.refusing = True
        with pytest.raises(QueueError):
            await queue.send([Hint("a")])
        run_id = await created(jobs, "flaky", "a")
        assert (queue.sent, queue.waiting) == ([], [])
        queue.refusing = False
        clock.advance(60)
        await jobs.dispatch()
        assert queue.waiting == [run_id]


async def test_a_message_is_given_up_after_its_retries_and_the_run_is_not_lost() -> None:
    (app, _), clock = make_app(), VirtualClock()
    other = Kumofire()
    other.job("else")(lambda ctx: None)
    async with MemoryStorage(app) as db:
        jobs, _ = bound(app, db, clock)
        queue = RecordingQueue(clock, max_retries=2)
        jobs = app.bind(db=db, queue=queue, clock=clock)
        stranger = other.bind(db=db, queue=queue, clock=clock)
        run_id = await created(jobs, "flaky", "a")
        for _ in range(5):
            await queue.deliver(stranger)  # a Worker that does not know the job
            clock.advance(60)
        assert (queue.dead, queue.waiting, queue.deliveries) == ([run_id], [], 3)
        clock.advance(minutes=10)
        await jobs.dispatch()
        await queue.deliver(jobs)
        assert await state(jobs, run_id) == "retrying"


async def test_batches_are_as_large_as_is_said_and_no_message_is_lost_or_doubled() -> None:
    app, clock = Kumofire(), VirtualClock()
    calls: list[str] = []
    app.job("note")(lambda ctx: calls.append(ctx.run.id))
    async with MemoryStorage(app) as db:
        jobs, queue = bound(app, db, clock)
        ids = [await created(jobs, "note") for _ in range(25)]
        await queue.send([Hint(ids[0]), Hint(ids[0])])
        await queue.deliver(jobs, batch=10, settle="each")
        assert sorted(calls) == sorted(ids)
        assert (queue.deliveries, queue.waiting) == (27, [])


async def test_clearing_forgets_what_was_sent_and_not_what_waits() -> None:
    (app, calls), clock = make_app(), VirtualClock()
    async with MemoryStorage(app) as db:
        jobs, queue = bound(app, db, clock)
        await created(jobs, "flaky", "a")
        queue.clear()
        assert queue.sent == []
        await queue.deliver(jobs)
        assert len(calls) == 1


async def test_the_storage_has_the_edges_of_the_applications_own_machines_and_its_triggers() -> None:
    class Approved(RunMachine):
        """A run that waits for somebody."""

        approval = State("Somebody is to approve it.", role=Role.WAITING, initial=True, waits=True)
        approve = Event(approval.to(RunMachine.ready), doc="Somebody agrees.")
        cancel = RunMachine.cancel | approval.to(RunMachine.canceled)

    app = Kumofire()
    app.job("pay", machine=Approved)(lambda ctx: None)
    async with MemoryStorage(app) as db:
        jobs, queue = bound(app, db, VirtualClock())
        run_id = await created(jobs, "pay")
        await queue.deliver(jobs)
        assert await state(jobs, run_id) == "approval"
        with pytest.raises(RowRefused, match="no such edge"):
            await db.sql("UPDATE kumofire_runs SET state = 'succeeded'")
        await jobs.fire(run_id, "approve")
        await queue.deliver(jobs)
        assert await state(jobs, run_id) == "succeeded"


async def test_after_its_block_it_is_gone() -> None:
    app, _ = make_app()
    async with MemoryStorage(app) as db:
        jobs, _ = bound(app, db)
        await created(jobs, "flaky", "a")
    with pytest.raises(StoreError, match="closed"):
        await jobs.count_runs()
    async with MemoryStorage(app) as db:
        assert await app.bind(db=db).count_runs() == {}


async def test_without_a_clock_the_queue_and_the_jobs_go_by_the_systems() -> None:
    (app, calls), before = make_app(), datetime.now(UTC)
    async with MemoryStorage(app) as db:
        jobs, queue = bound(app, db)
        await created(jobs, "flaky", "a")
        await queue.deliver(jobs)
        assert before - timedelta(seconds=1) < calls[0][2] <= datetime.now(UTC)
        at = queue.next_at()
        assert at is not None
        assert at > before.timestamp() * 1000


def test_a_message_keeps_what_becomes_of_it() -> None:
    message = RecordedMessage.of("an id", 2)
    assert (message.body, message.attempts) == ({"version": 1, "kumofireJobRunId": "an id"}, 2)
    message.retry(delaySeconds=5)
    assert message.disposition == 5
    message.ack()
    assert message.dispositions == [5, "ack"]
    with pytest.raises(AssertionError):
        _ = message.disposition


async def test_the_clock_moves_as_it_is_told_and_never_waits() -> None:
    clock = VirtualClock(datetime(2030, 5, 1, tzinfo=UTC))
    clock.advance(1.5)
    clock.advance(minutes=2, hours=1)
    assert clock.time == datetime(2030, 5, 1, 1, 2, 1, 500_000, tzinfo=UTC)
    before = clock.monotonic()
    await asyncio.gather(*(clock.sleep(3600) for _ in range(3)))
    assert clock.monotonic() - before == 3 * 3600
    for wrong in ({"weekdays": 1}, {"days": 10**12}, {"seconds": "1"}):
        with pytest.raises(InvalidArgument):
            clock.advance(**wrong)  # type: ignore[arg-type]
    for naive in (START.replace(tzinfo=None), 5):
        with pytest.raises(InvalidArgument):
            VirtualClock(naive)  # type: ignore[arg-type]
