"""The embedded worker's pool at moments that are hard to meet: its end, a lost lease, a full line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from harness import Bound, Kit, until, working

from kumofire_fsm.embedded import _pool as worker_pool
from kumofire_fsm.embedded import _room as room
from kumofire_fsm.embedded import _trouble as trouble
from kumofire_fsm.embedded import _upkeep as upkeep
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.engine.binding import EMBEDDED, Timing
from kumofire_fsm.engine.due import claim_due
from kumofire_fsm.ports import Statement
from kumofire_fsm.work import tasks


async def test_what_a_claim_brings_after_the_end_began_is_given_back(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    @kit.job("job")
    async def job(ctx: Any) -> None:
        called.append(ctx.run.id)

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        ids = [await w.create("job") for _ in range(2)]
        pass_on = w.storage._pass

        async def stop_meanwhile(statements: Sequence[Statement], act: Any) -> Any:
            answers = await pass_on(statements, act)
            if statements[0].name == "runs.claim":
                pool.stop()
            return answers

        monkeypatch.setattr(w.storage, "_pass", stop_meanwhile)
        async with working(w, 5) as pool:
            await pool._stopped.wait()
        rows = [await w.row(run_id) for run_id in ids]
        assert [(row["state"], row["starts"], row["attempt"]) for row in rows] == [("queued", 1, 0)] * 2
        assert called == []


async def test_what_was_claimed_and_not_begun_when_the_end_began_is_given_back(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers that never wait are called one after the other: most of a claim still stands in line then."""
    monkeypatch.setattr(tasks, "BURST_SECONDS", 0.0)
    called: list[str] = []

    @kit.job("job")
    async def job(ctx: Any) -> None:
        called.append(ctx.run.id)
        pool.stop()

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        ids = [await w.create("job") for _ in range(20)]
        async with working(w, 20) as pool:
            await pool._stopped.wait()
        assert 1 <= len(called) < 20
        for run_id in ids:
            row, status = await w.row(run_id), await w.status(run_id)
            found = (row["state"], row["starts"], row["attempt"], status.history[-1].event)
            begun = run_id in called
            assert found == (("succeeded", 1, 1, "succeed") if begun else ("queued", 1, 0, "release"))
            assert (row["wake_at"] is None) == begun, "who is given back may start at once elsewhere"
            assert begun or row["wake_at"] <= kit.clock.now()


@pytest.mark.parametrize("others", [0, 1], ids=["nothing under way", "a handler under way"])
async def test_what_the_database_did_not_store_is_stored_at_the_end(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """It waits for its next try, which is far away, when the worker is told to stop."""
    monkeypatch.setattr(trouble, "FIRST_SECONDS", 3600.0)
    monkeypatch.setattr(trouble, "MOST_SECONDS", 3600.0)
    begun = asyncio.Event()

    @kit.job("job")
    async def job(ctx: Any, payload: str) -> str:
        if payload == "long":
            begun.set()
            await asyncio.sleep(3600)
        w.storage.fail_once("runs.succeed", "before")
        return "done"

    timing = replace(EMBEDDED, lease_ms=86_400_000)
    async with kit.bound(with_queue=False, timing=timing) as w:
        long = [await w.create("job", "long") for _ in range(others)]
        async with working(w, 2) as pool:
            while others and not begun.is_set():
                await asyncio.sleep(0)
            run_id = await w.create("job", "quick")
            while not pool.unsettled():
                await asyncio.sleep(0)
            assert await w.state(run_id) == "running"
        status = await w.status(run_id)
        assert (status.state, status.attempt, status.result) == ("succeeded", 1, "done")
        assert [(await w.state(each), (await w.status(each)).attempt) for each in long] == [
            ("queued", 0)
        ] * others


async def test_the_end_waits_until_what_had_failed_is_stored(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has seen the worker end may look at the file, or take it away."""
    monkeypatch.setattr(worker_pool, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(trouble, "FIRST_SECONDS", 3600.0)
    monkeypatch.setattr(trouble, "MOST_SECONDS", 3600.0)
    again, go_on = asyncio.Event(), asyncio.Event()

    @kit.job("job")
    async def job(ctx: Any) -> None:
        w.storage.fail_once("runs.succeed", "before")

    async with kit.bound(with_queue=False, timing=replace(EMBEDDED, lease_ms=86_400_000)) as w:
        pass_on = w.storage._pass

        async def slow_the_second_time(statements: Sequence[Statement], act: Any) -> Any:
            if statements[0].name == "runs.succeed" and pool.unsettled() == [] and pool._settling._leaves:
                again.set()
                await go_on.wait()
            return await pass_on(statements, act)

        monkeypatch.setattr(w.storage, "_pass", slow_the_second_time)
        run_id = await w.create("job")
        pool = WorkerPool(w.jobs._binding, lambda: 0, 1, "a worker")
        running = asyncio.ensure_future(pool.run())
        while not pool.unsettled() or pool._settling.tasks or pool._is_claiming:
            await asyncio.sleep(0)  # until nothing is under way, not even a claim
        pool.stop()
        await running
        draining = asyncio.ensure_future(pool.drain(0))
        async with asyncio.timeout(600):
            await again.wait()
        for _ in range(200):
            await asyncio.sleep(0)
        assert not draining.done()
        go_on.set()
        await draining
        assert await w.state(run_id) == "succeeded"


async def beats(w: Bound, run_id: str, number: int) -> None:
    """Return when a lease has been renewed so often, and reaches as far as it should."""
    for _ in range(number):
        w.clock.advance(milliseconds=100)
        w.storage.clear()
        while "runs.heartbeat" not in w.storage.names:
            await asyncio.sleep(0.001)
        while (await w.row(run_id))["wake_at"] < w.clock.now() + QUICK.lease_ms:
            await asyncio.sleep(0.001)


QUICK = replace(EMBEDDED, lease_ms=300)
"""Leases that are renewed every 0.1 s."""


async def test_leases_are_renewed_in_the_grace_period(kit: Kit) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @kit.job("job", timeout=3600)
    async def job(ctx: Any) -> None:
        begun.set()
        await go_on.wait()

    async with kit.bound(with_queue=False, timing=QUICK) as w:
        run_id = await w.create("job")
        async with working(w, 1) as pool:
            await begun.wait()
            pool.stop()
            draining = asyncio.ensure_future(pool.drain(3600))
            await beats(w, run_id, 4)
            go_on.set()
            await draining
        assert await w.state(run_id) == "succeeded"


async def test_leases_are_renewed_while_outcomes_cannot_be_stored(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another worker would call the handler again."""
    monkeypatch.setattr(trouble, "FIRST_SECONDS", 3600.0)
    monkeypatch.setattr(trouble, "MOST_SECONDS", 3600.0)
    monkeypatch.setattr(upkeep.Upkeep, "trouble", lambda u, what: trouble.Trouble(what, u._loop.time, 3600.0))

    @kit.job("job", timeout=3600)
    async def job(ctx: Any) -> None:
        w.storage.fail_once("runs.succeed", "before")

    async with kit.bound(with_queue=False, timing=QUICK) as w:
        run_id = await w.create("job")
        async with working(w, 1) as pool:
            while not pool.unsettled():
                await asyncio.sleep(0)
            await beats(w, run_id, 4)
        assert await w.state(run_id) == "succeeded"


async def test_the_history_says_which_worker_started_a_run(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None: ...

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        run_id = await w.create("job")
        async with working(w, 1):
            await until(w, run_id, "succeeded")
        told = {entry.event: entry.facts for entry in (await w.status(run_id)).history}
        assert told["start"] == {"by": "a worker"}


async def test_an_outcome_that_was_not_stored_is_stored_later_without_another_call(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    monkeypatch.setattr(trouble, "FIRST_SECONDS", 0.001)

    @kit.job("job")
    async def job(ctx: Any) -> str:
        called.append(ctx.attempt)
        w.storage.fail_once("runs.succeed", "before")
        return "done"

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        run_id = await w.create("job")
        async with working(w, 1):
            await until(w, run_id, "succeeded")
        assert called == [1]


async def test_a_handler_is_stopped_once_its_lease_is_known_to_be_lost(kit: Kit) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @kit.job("job")
    async def job(ctx: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    timing = Timing(horizon_ms=0, redeliver_ms=0, lost_ms=60_000, lease_ms=60)
    async with kit.bound(with_queue=False, timing=timing) as w:
        run_id = await w.create("job")
        async with working(w, 1):
            await begun.wait()
            kit.clock.advance(120)
            await w.jobs.dispatch()  # somebody else notices that the lease has run out
            await ended.wait()
        row = await w.row(run_id)
        assert (row["state"], row["starts"], row["attempt"]) == ("retrying", 1, 1)


async def test_a_plain_handler_that_hangs_keeps_no_other_from_its_thread(kit: Kit) -> None:
    """The neighbour would wait in line behind it, and fail by its own timeout without having begun."""
    go_on = threading.Event()

    @kit.job("hangs", timeout=0.05, max_attempts=1)
    def hangs(ctx: Any) -> None:
        go_on.wait(600)

    @kit.job("quick", timeout=300)
    def quick(ctx: Any) -> str:
        return "done"

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        try:
            async with working(w, 1) as pool:
                for stuck in (1, 2):  # of one thread, and then of its successor
                    hung = await w.create("hangs")
                    await until(w, hung, "failed")
                    assert pool.stuck == stuck
                    await until(w, await w.create("quick"), "succeeded")
                    assert pool.stuck == stuck
                go_on.set()
                while pool.stuck:
                    await asyncio.sleep(0.001)
        finally:
            go_on.set()


async def test_a_run_that_stood_in_line_for_too_long_is_given_back_and_claimed_again(kit: Kit) -> None:
    calls: list[tuple[str, int]] = []

    @kit.job("job", timeout=60)
    async def job(ctx: Any, payload: str) -> None:
        calls.append((payload, (await w.row(ctx.run.id))["starts"] if payload == "second" else 1))
        kit.clock.advance(12)  # longer than the slack of a lease, but not than the lease

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        ids = await w.create_in_order("job", ("first", "second"))
        async with working(w, 2):
            for run_id in ids:
                await until(w, run_id, "succeeded")
        assert calls == [("first", 1), ("second", 2)]
        assert [(await w.row(run_id))["attempt"] for run_id in ids] == [1, 1]


@pytest.mark.parametrize(("timeout", "lease_s"), [(60, 15), (5, 15), (4, 14)])
async def test_a_lease_is_short_although_its_handler_may_take_long(
    kit: Kit, timeout: int, lease_s: int
) -> None:
    """The runs of a worker that was killed are taken over when their leases end; here these are renewed."""
    leases: list[tuple[int, int]] = []

    @kit.job("job", timeout=timeout)
    async def job(ctx: Any) -> None:
        row = await w.row(ctx.run.id)
        leases.append((row["wake_at"] - kit.clock.now(), row["timeout_at"] - kit.clock.now()))

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        run_id = await w.create("job")
        async with working(w, 1):
            await until(w, run_id, "succeeded")
    assert leases == [(lease_s * 1000, (timeout + 10) * 1000)]


@pytest.mark.parametrize(("late_ms", "starts"), [(2_999, 1), (3_000, 2)])
async def test_a_claim_that_is_answered_when_its_lease_has_ended_is_given_back(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, late_ms: int, starts: int
) -> None:
    """Another worker may have taken the run meanwhile."""
    called: list[int] = []

    @kit.job("job", timeout=60, max_attempts=1)
    async def job(ctx: Any) -> None:
        called.append((await w.row(ctx.run.id))["starts"])

    async with kit.bound(with_queue=False, timing=replace(EMBEDDED, lease_ms=3_000)) as w:
        pass_on, late = w.storage._pass, [late_ms]

        async def answered_late(statements: Sequence[Statement], act: Any) -> Any:
            answers = await pass_on(statements, act)
            if statements[0].name == "runs.claim" and answers[0] and late:
                kit.clock.advance(milliseconds=late.pop())
            return answers

        monkeypatch.setattr(w.storage, "_pass", answered_late)
        run_id = await w.create("job")
        async with working(w, 1):
            await until(w, run_id, "succeeded")
        assert called == [starts]


async def test_while_room_is_made_nothing_else_is_claimed_until_the_suspect_has_started(kit: Kit) -> None:
    begun: list[str] = []
    gates = {name: asyncio.Event() for name in ("first", "second", "suspect", "other")}

    @kit.job("job")
    async def job(ctx: Any, payload: str) -> None:
        begun.append(payload)
        await gates[payload].wait()

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        first, second = await w.create_in_order("job", ("first", "second"))
        async with working(w, 2) as pool:
            while len(begun) < 2:
                await asyncio.sleep(0)
            pool.make_room()
            other, suspect = await w.create_in_order("job", ("other", "suspect"))
            await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", suspect)
            for run_id, name in ((first, "first"), (second, "second"), (suspect, "suspect")):
                gates[name].set()
                await until(w, run_id, "succeeded")
            gates["other"].set()
            await until(w, other, "succeeded")
        assert begun == ["first", "second", "suspect", "other"]


async def test_room_for_a_suspect_is_made_now_and_then_and_others_start_between(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked for: a handler that never ends would keep all others waiting with the suspect."""
    monkeypatch.setattr(room, "SECONDS", 0.02)
    begun, asked = asyncio.Event(), 0

    @kit.job("job")
    async def job(ctx: Any, payload: str) -> None:
        if payload == "long":
            begun.set()
            await asyncio.sleep(3600)

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        await w.create("job", "long")
        async with working(w, 2) as pool:
            await begun.wait()
            pool.make_room()
            other = await w.create("job", "other")
            while await w.state(other) != "succeeded":
                pool.make_room()
                asked += 1
        assert asked > 1


async def test_a_duty_that_the_database_fails_once_is_taken_up_again(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making room for suspects looks into the database; one failure there must not end the looking."""
    monkeypatch.setattr(upkeep, "OVERDUE_SECONDS", 0.001)
    begun, go_on, made = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @kit.job("job")
    async def job(ctx: Any, payload: str) -> None:
        begun.set()
        await go_on.wait()

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        busy = await w.create("job", "busy")
        async with working(w, 1) as pool:
            await begun.wait()
            monkeypatch.setattr(pool, "make_room", made.set)
            w.storage.fail_once("runs.due_suspect", "before")
            suspect = await w.create("job", "suspect")
            await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", suspect)
            await made.wait()
            go_on.set()
            for run_id in (busy, suspect):
                await until(w, run_id, "succeeded")


async def test_after_a_suspect_that_ran_alone_the_next_run_starts_at_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim took one run and left slots free: only its end tells that others may start."""
    monkeypatch.setattr(upkeep, "PLAN_SECONDS", 3600.0)
    begun: list[str] = []

    @kit.job("job")
    async def job(ctx: Any, payload: str) -> None:
        begun.append(payload)

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        other, suspect = await w.create_in_order("job", ("other", "suspect"))
        await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", suspect)
        async with working(w, 2):
            await until(w, other, "succeeded")
    assert begun == ["suspect", "other"]


async def test_a_suspect_starts_as_soon_as_the_room_that_is_made_for_it_is_there(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PLAN_SECONDS", 3600.0)
    monkeypatch.setattr(room, "SECONDS", 3600.0)
    begun, go_on = asyncio.Event(), asyncio.Event()

    @kit.job("job")
    async def job(ctx: Any, payload: str) -> None:
        begun.set()
        await go_on.wait()

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        await w.create("job", "busy")
        suspect = await w.create("job", "suspect", delay=1)
        await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", suspect)
        async with working(w, 2) as pool:
            await begun.wait()
            kit.clock.advance(1)
            pool.make_room()
            go_on.set()
            await until(w, suspect, "succeeded")


SELDOM = replace(EMBEDDED, lease_ms=86_400_000)
"""A worker that sweeps only at deadlines, once its sweeps by the clock are seldom, too."""


@pytest.mark.parametrize("what", ["a run", "an occurrence"])
async def test_a_worker_acts_when_a_time_has_come_and_not_at_its_next_sweep(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The time of a run is for a claim, and that of an occurrence for a sweep: each has its alarm."""
    monkeypatch.setattr(upkeep, "SWEEP_SECONDS", 3600.0)
    called = asyncio.Event()

    @kit.job("job")
    async def job(ctx: Any) -> None:
        called.set()

    kit.clock.advance(59.99)
    async with kit.bound(with_queue=False, timing=SELDOM) as w:
        if what == "a run":
            await w.create("job", delay=0.01)
        else:
            await w.jobs.create_schedule("job", cron="* * * * *")
        async with working(w, 1):
            while "schedules.next_wake" not in w.storage.names:
                await asyncio.sleep(0)
            assert not called.is_set()
            kit.clock.advance(0.01)
            await called.wait()


@pytest.mark.parametrize(
    ("kind", "look"), [("a suspect beside others", "runs.claim"), ("a lease just over", "runs.sweep")]
)
async def test_what_stays_due_is_looked_at_once_more_and_then_seldom(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, kind: str, look: str
) -> None:
    """Nobody here may move it yet: a worker that looked at each plan would never rest."""
    monkeypatch.setattr(upkeep, "SWEEP_SECONDS", 3600.0)
    monkeypatch.setattr(upkeep, "PLAN_SECONDS", 0.0)
    monkeypatch.setattr(upkeep, "OVERDUE_SECONDS", 3600.0)
    begun, go_on = asyncio.Event(), asyncio.Event()

    @kit.job("job", timeout=3600)
    async def job(ctx: Any) -> None:
        begun.set()
        await go_on.wait()

    async with kit.bound(with_queue=False, timing=SELDOM) as w:
        await w.create("job")
        if kind == "a lease just over":
            await claim_due(w.jobs._binding, 1, alone=False, facts="null")
            kit.clock.advance(hours=2)
            await w.create("job")
        else:
            suspect = await w.create("job", delay=3600)
            await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", suspect)
        async with working(w, 2) as pool:
            await begun.wait()
            if kind == "a suspect beside others":
                while not pool._upkeep._start_alarm.is_set:
                    await asyncio.sleep(0)
                w.storage.clear()
                kit.clock.advance(hours=1)
                pool.wake()
            while w.storage.names.count(look) < 2:
                await asyncio.sleep(0)
            for _ in range(100):
                await w.sizes()
            assert w.storage.names.count(look) == 2
            go_on.set()


async def test_commits_of_others_are_looked_for_soon_after_a_write_and_then_ever_more_seldom(
    kit: Kit,
) -> None:
    """A commit is seen once it is on the disk, some time after the write that the system tells of."""
    asked: list[float] = []
    version = 0

    async def written(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == 30

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        pool = WorkerPool(w.jobs._binding, lambda: version, 1, "a worker", written)
        for _ in range(31):
            await pool._upkeep._watch()
        quiet = [min(0.002 * 1.25**each, 1.0) for each in range(30)]
        assert asked == pytest.approx([*quiet, 0.002])
        pool._claim_wanted = False
        version = 1
        await pool._upkeep._watch()
        assert pool._claim_wanted
