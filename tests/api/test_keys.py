"""Concurrency keys, with a queue and in a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit, echo

from kumofire_fsm import Cancel, DefinitionError, Fail, InvalidArgument, Kumofire, NewRun, Snooze
from kumofire_fsm.machines import Actor, Event, Role, RunMachine, State
from kumofire_fsm.machines.run import LOOK_MS
from kumofire_fsm.store.rows import CONTROLS, ClaimedRun
from kumofire_fsm.values.limits import LIMIT_MAX
from kumofire_fsm.values.times import moment
from kumofire_fsm.work.ending import Claim
from kumofire_fsm.work.settle import settle

LOST = "UPDATE kumofire_runs SET wake_at = wake_at - 10000000 WHERE id = ?"


def register(kit: Kit, **options: Any) -> list[Any]:
    """Register a job whose handlers end as their payloads say; return the payloads in their order."""
    seen: list[Any] = []

    @kit.job("mail", **{"key_limit": 1, "max_attempts": 3, **options})
    async def mail(ctx: Any, payload: Any) -> None:
        seen.append(payload)
        if payload in ("retry", "fail", "stop", "snooze"):
            raise {"retry": ValueError(), "fail": Fail(), "stop": Cancel(), "snooze": Snooze(600)}[payload]

    return seen


async def created(w: Bound, *keys: str | None, payload: Any = "ok") -> list[str]:
    """Create a run of each key, one after the other."""
    return [await w.create("mail", payload, concurrency_key=key) for key in keys]


async def states(w: Bound, ids: list[str]) -> list[str]:
    return [await w.state(each) for each in ids]


async def start(w: Bound, run_id: str) -> None:
    """Have a run claimed by a consumer that never settles it."""
    specs, jobs = w.jobs._binding.runs, w.jobs._binding.leases()
    limits = w.jobs._binding.key_limits()
    now = w.jobs._binding.now()
    claim = specs.claim([run_id], now=now, token="t", alone=True, jobs=jobs, key_limits=limits)
    assert len(await w.storage.execute(claim)) == 1


async def test_a_batch_of_one_key_is_worked_off_one_run_after_the_other(kit: Kit) -> None:
    seen = register(kit)
    async with kit.bound() as w:
        ids = await created(w, *["a"] * 5, "b", None)
        w.queue.clear()
        assert await w.deliver(*ids) == ["ack"] * 7
        assert await w.jobs.count_runs() == {"succeeded": 7}
        assert len(seen) == 7
        assert w.queue.sent == [], "each has its message here"
        status = await w.status(ids[2])
        assert (status.concurrency_key, status.attempt) == ("a", 1)
        assert [entry.event for entry in status.history] == [
            *("create", "enqueue", "hold_back", "admit", "start", "succeed"),
        ]


async def test_a_message_of_a_held_run_is_acknowledged_and_a_hint_is_sent_when_it_may_start(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        first, second, third = await created(w, "a", "a", "a")
        await start(w, first)
        w.queue.clear()
        assert await w.deliver(second, third) == ["ack", "ack"]
        assert await states(w, [second, third]) == ["held", "held"]
        assert await w.deliver(second) == ["ack"], "a second message of it does nothing"
        kit.clock.advance(3600)
        await w.sql(LOST, first)
        report = await w.jobs.dispatch()
        assert [run_id for run_id, _ in w.queue.sent if run_id == second] == [second]
        assert (await w.state(first), await w.state(second)) in (("queued", "queued"), ("retrying", "queued"))
        assert report.sent >= 1


@pytest.mark.parametrize("payload", ["ok", "retry", "fail", "stop", "snooze"])
async def test_every_ending_admits_the_oldest_held_run_in_its_own_batch(kit: Kit, payload: str) -> None:
    register(kit)
    async with kit.bound() as w:
        (first,) = await created(w, "a", payload=payload)
        others = await created(w, "a", "a")
        await start(w, first)
        await w.deliver(*others)
        assert await states(w, others) == ["held", "held"]
        await w.sql(
            "UPDATE kumofire_runs SET state = 'queued', wake_at = run_at, starts = 0 WHERE id = ?", first
        )
        w.storage.clear()
        w.queue.clear()
        await w.deliver(first)
        assert await states(w, others) == ["queued", "held"]
        assert [run_id for run_id, _ in w.queue.sent] == others[:1]
        assert w.storage.names[:3] == ["runs.claim", w.storage.names[1], "runs.admit"]


async def test_a_held_run_spends_no_attempt(kit: Kit) -> None:
    register(kit, max_attempts=1)
    async with kit.bound() as w:
        ids = await created(w, "a", "a", "a")
        await start(w, ids[0])
        for _ in range(3):
            await w.deliver(*ids[1:])
            kit.clock.advance(LOOK_MS // 1000)
            await w.sql("UPDATE kumofire_runs SET wake_at = wake_at + ? WHERE id = ?", LOOK_MS, ids[0])
            await w.jobs.dispatch()
        assert await states(w, ids[1:]) == ["held", "held"]
        assert (await w.status(ids[1])).attempt == 0


async def test_a_busy_key_starves_no_other(kit: Kit) -> None:
    seen = register(kit)
    async with kit.bound() as w:
        busy = await created(w, *["a"] * 30)
        (other,) = await created(w, "b", payload="other")
        await start(w, busy[0])
        assert await w.deliver(*busy[1:], other) == ["ack"] * 30
        assert seen == ["other"]


async def test_a_held_run_may_be_cancelled_and_put_off(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        ids = await created(w, *["a"] * 4)
        await start(w, ids[0])
        await w.deliver(*ids[1:])
        assert (await w.jobs.cancel(ids[1])).state == "canceled"
        assert (await w.jobs.reschedule(ids[2], delay=3600)).state == "ready"
        assert await states(w, ids) == ["running", "canceled", "ready", "held"]


@pytest.mark.parametrize("how", ["cancel", "reschedule", "expire"])
async def test_a_run_that_may_start_and_does_not_gives_way_to_the_next(kit: Kit, how: str) -> None:
    """Else those behind it would wait until they look for room by themselves."""
    register(kit)
    async with kit.bound() as w:
        (first,) = await created(w, "a")
        expires_at = moment(kit.clock.now() + 60_000) if how == "expire" else None
        second = await w.create("mail", "ok", concurrency_key="a", expires_at=expires_at)
        (third,) = await created(w, "a")
        await start(w, first)
        await w.deliver(second, third)
        await w.sql("UPDATE kumofire_runs SET wake_at = ? WHERE id = ?", kit.clock.now() - 1, first)
        await w.jobs.dispatch()
        assert await states(w, [second, third]) == ["queued", "held"]
        w.queue.clear()
        w.storage.clear()
        if how == "cancel":
            await w.jobs.cancel(second)
        elif how == "reschedule":
            await w.jobs.reschedule(second, delay=3600)
        else:
            kit.clock.advance(61)
            await w.jobs.dispatch()
        assert ("runs.admit" in w.storage.names) is (how != "expire"), "a sweep does it by itself"
        assert await w.state(third) == "queued"
        assert third in [run_id for run_id, _ in w.queue.sent]


@pytest.mark.parametrize("how", ["it is lost", "it ends"])
async def test_a_run_that_expired_while_it_was_held_takes_no_room_from_the_next(kit: Kit, how: str) -> None:
    @kit.job("mail", key_limit=1, max_attempts=1)
    async def mail(ctx: Any, payload: Any) -> None:
        kit.clock.advance(payload)

    async with kit.bound() as w:
        expires_at = moment(kit.clock.now() + 60_000)
        first = await w.create("mail", 61, concurrency_key="a")
        kit.clock.advance(milliseconds=1)
        second = await w.create("mail", 0, concurrency_key="a", expires_at=expires_at)
        third = await w.create("mail", 0, concurrency_key="a")
        if how == "it is lost":
            await start(w, first)
            await w.deliver(second, third)
            assert await states(w, [second, third]) == ["held", "held"]
            kit.clock.advance(61)
            await w.sql("UPDATE kumofire_runs SET wake_at = ? WHERE id = ?", kit.clock.now() - 1, first)
        else:
            await w.deliver(first, second, third)
        await w.jobs.dispatch()
        ends = (
            ["failed", "canceled", "queued"]
            if how == "it is lost"
            else ["succeeded", "canceled", "succeeded"]
        )
        assert await states(w, [first, second, third]) == ends


async def test_what_a_run_that_starts_alone_lets_start_in_the_same_batch_keeps_its_message(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        alone, held = await created(w, "a", "a")
        await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", alone)
        later = kit.clock.now() + LOOK_MS
        await w.sql("UPDATE kumofire_runs SET state = 'held', wake_at = ? WHERE id = ?", later, held)
        w.queue.clear()
        assert await w.deliver(alone, held) == ["ack", 1]
        assert (await states(w, [alone, held]), w.queue.sent) == (["succeeded", "queued"], [])
        assert await w.deliver(held) == ["ack"]


async def test_a_redriven_run_keeps_its_key(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        first, second = await created(w, "a", "a")
        await w.jobs.cancel(first)
        await w.jobs.redrive(first)
        await start(w, second)
        await w.deliver(first)
        assert ((await w.status(first)).concurrency_key, await w.state(first)) == ("a", "held")


async def test_keys_are_listed_counted_and_told(kit: Kit) -> None:
    register(kit, key_limit=2)
    async with kit.bound() as w:
        ids = await created(w, "a", "a", "a", "b", None)
        for each in ids[:2]:
            await start(w, each)
        await w.deliver(ids[2])
        (job,) = await w.jobs.list_jobs()
        assert (job.leased, job.waiting, job.held, job.key_limit) == (2, 2, 1, 2)
        found = await w.jobs.list_runs(concurrency_key="a")
        assert {run.kumofire_job_run_id for run in found.runs} == set(ids[:3])
        assert (await w.jobs.count_runs())["held"] == 1
        held = await w.jobs.list_runs(state="held")
        assert [run.kumofire_job_run_id for run in held.runs] == [ids[2]]


async def test_every_way_of_creating_takes_a_key(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        (made,) = await w.jobs.create_many([NewRun("mail", "ok", concurrency_key="a")])
        prepared = w.jobs.prepare_create("mail", "ok", concurrency_key="b")
        for sql, values in prepared.statements:
            await w.sql(sql, *values)
        keys = [
            (await w.status(each)).concurrency_key
            for each in (made.kumofire_job_run_id, prepared.kumofire_job_run_id)
        ]
        assert keys == ["a", "b"]


async def test_a_key_needs_a_job_that_limits_it_and_a_text(kit: Kit) -> None:
    register(kit)
    kit.job("echo")(echo)
    async with kit.bound() as w:
        with pytest.raises(
            InvalidArgument, match=r"^the job 'echo' has no key_limit and no key_rate, so .* key_limit=1\)$"
        ):
            await w.create("echo", 1, concurrency_key="a")
        for key in ("", 5, "x" * 1000):
            with pytest.raises(InvalidArgument, match="concurrency_key"):
                await w.create("mail", 1, concurrency_key=key)
        assert await w.sql("SELECT * FROM kumofire_runs") == []


async def test_what_ended_a_while_before_it_could_be_stored_admits_what_came_in_its_turn_since(
    kit: Kit,
) -> None:
    register(kit)
    async with kit.bound() as w:
        binding, ended_at = w.jobs._binding, kit.clock.now()
        first, second = [await w.create("mail", "ok", concurrency_key="a", delay=wait) for wait in (0, 600)]
        given = {"now": ended_at, "token": "t", "alone": True, "key_limits": binding.key_limits()}
        (row,) = await w.storage.execute(binding.runs.claim([first], jobs=binding.leases(), **given))
        kit.clock.advance(minutes=10)
        await w.deliver(second)
        assert await w.state(second) == "held"
        claim = Claim(binding, ClaimedRun(*row), binding.registry.get("mail"), shared_platform=False)
        ending = claim.released()
        await settle(binding, [ending._replace(move=ending.move._replace(now=ended_at))])
        assert await w.state(second) == "queued"


async def test_a_held_run_that_a_wrong_clock_put_off_stops_none_behind_it(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        ids = await created(w, "a", "a", "a")
        await start(w, ids[0])
        await w.deliver(*ids[1:])
        assert await states(w, ids) == ["running", "held", "held"]
        await w.sql("UPDATE kumofire_runs SET run_at = run_at + 31536000000 WHERE id = ?", ids[1])
        await w.jobs.cancel(ids[0])
        await w.sql(LOST, ids[0])
        await w.jobs.dispatch()
        assert await states(w, ids) == ["canceled", "held", "queued"]


@pytest.mark.parametrize("limit", [0, -1, "2", True, LIMIT_MAX + 1])
def test_a_limit_of_keys_that_is_none_is_refused(kit: Kit, limit: Any) -> None:
    with pytest.raises(InvalidArgument, match="key_limit must be an integer from 1"):
        kit.job("mail", key_limit=limit)(echo)


@pytest.mark.parametrize("bound", [{"key_limit": 1}, {"key_rate": (1, 1)}], ids=str)
def test_a_lifecycle_in_which_a_run_cannot_be_held_is_refused(kit: Kit, bound: dict[str, Any]) -> None:
    class Checked(RunMachine, machine="checked"):
        checked = State("Was looked at.", role=Role.CLAIMABLE, deadline=RunMachine.ready.deadline)
        check = Event(RunMachine.ready.to(checked))
        start = Event(
            RunMachine.start | checked.to(RunMachine.running, cond="run_at <= now"),
            by=Actor.CONSUMER,
            sets=RunMachine.start.sets,
        )
        enqueue = Event(RunMachine.enqueue | checked.to(RunMachine.queued), by=Actor.DISPATCHER, hints=True)
        expire = Event(
            RunMachine.expire | checked.to(RunMachine.canceled, cond="expires_at <= now"), by=Actor.DEADLINE
        )

    kit.job("free", machine=Checked)(echo)
    with pytest.raises(DefinitionError, match="no edge of 'hold_back' leads from 'checked' of the machine"):
        kit.job("mail", machine=Checked, **bound)(echo)


# -- price --------------------------------------------------------------------------------------


async def test_a_run_without_a_key_costs_no_statement_more_where_keys_are_limited(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.deliver(await w.create("mail", "ok"))
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.succeed"]
        w.storage.clear()
        await w.jobs.dispatch()
        assert w.storage.names == ["schedules.due", "runs.sweep"]
        assert await w.sql(f"SELECT * FROM {CONTROLS}") == []


async def test_a_run_with_a_key_costs_a_statement_when_it_ends_and_no_round_trip(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await w.deliver(await w.create("mail", "ok", concurrency_key="a"))
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.succeed", "runs.admit"]
        assert w.storage.trips == 3


async def test_a_settle_of_many_keys_is_one_statement_more(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        ids = await created(w, *"abcdefghij")
        w.storage.clear()
        await w.deliver(*ids)
        assert w.storage.names == ["runs.claim", "runs.succeed", "runs.admit"]


# -- in a worker --------------------------------------------------------------------------------


class Busy:
    """A job whose handlers note how many of each key are under way at most."""

    def __init__(self, app: Kumofire, **options: Any) -> None:
        self.under_way: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.order: list[str] = []

        @app.job("mail", **options)
        async def mail(ctx: Any, key: str) -> None:
            self.under_way[key] = self.under_way.get(key, 0) + 1
            self.most[key] = max(self.most.get(key, 0), self.under_way[key])
            await asyncio.sleep(0.001)
            self.under_way[key] -= 1
            self.order.append(key)


async def test_a_key_is_kept_over_two_workers_on_one_file_and_filled_again_at_once(tmp_path: Path) -> None:
    app = Kumofire()
    busy = Busy(app, key_limit=2)
    path = tmp_path / "jobs.db"
    async with app.open(path, synchronous="OFF") as one, app.open(path, synchronous="OFF") as two:
        runs = [NewRun("mail", key, concurrency_key=key) for key in "aaaaabbaaaaaccaaaa"]
        made = await one.create_many(runs)
        workers = [asyncio.ensure_future(each.run(concurrency=8)) for each in (one, two)]
        for each in made:
            assert (await one.wait(each.kumofire_job_run_id, timeout=600)).state == "succeeded"
        assert busy.most["a"] <= 2
        assert sorted(busy.order) == sorted("aaaaabbaaaaaccaaaa")
        for each in (one, two):
            each.stop()
        await asyncio.gather(*workers)


async def test_one_slot_does_not_wait_for_a_busy_key(tmp_path: Path) -> None:
    app = Kumofire()
    busy = Busy(app, key_limit=1)
    async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        made = await jobs.create_many([NewRun("mail", key, concurrency_key=key) for key in "a" * 50 + "b"])
        worker = asyncio.ensure_future(jobs.run(concurrency=2))
        for each in made:
            await jobs.wait(each.kumofire_job_run_id, timeout=600)
        assert busy.order.index("b") < 40
        assert busy.most == {"a": 1, "b": 1}
        jobs.stop()
        await worker
