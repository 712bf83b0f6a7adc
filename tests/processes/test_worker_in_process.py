"""The worker inside a program: its limits, its end, and what handlers may do to one another: nothing."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta

import pytest
from patience import SECONDS_MAX

from kumofire_fsm import Backoff, InvalidArgument, Kumofire, NewRun, Retry
from kumofire_fsm.errors import StoreError

FAST = Backoff(first=timedelta(milliseconds=10), jitter=False)


@asynccontextmanager
async def working(jobs, **options) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker beside the body, and stop it afterwards."""
    task = asyncio.ensure_future(jobs.run(**options))
    try:
        await asyncio.sleep(0)
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settled(jobs, created, timeout: float = SECONDS_MAX) -> list:
    """Wait for runs, and return their statuses."""
    return [await jobs.wait(each.kumofire_job_run_id, timeout=timeout) for each in created]


# -- how a worker ends ------------------------------------------------------------------------------


def test_a_cancelled_worker_releases_its_runs(tmp_path):
    app, began, seen = Kumofire(), [], []

    @app.job("long")
    async def long(ctx) -> None:
        began.append(ctx.run.id)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(ctx.run.id)
            raise

    async def scenario() -> list:
        async with app.open(tmp_path / "jobs.db") as jobs:
            created = await jobs.create_many([NewRun("long", max_attempts=1)] * 5)
            async with working(jobs, grace=0):
                while len(began) < 5:
                    await asyncio.sleep(0.01)
            return [await jobs.get_status(each.kumofire_job_run_id) for each in created]

    statuses = asyncio.run(asyncio.wait_for(scenario(), 55))  # the handlers would take 60 s
    assert sorted(seen) == sorted(began)
    for status in statuses:
        assert (status.state, status.attempt) == ("queued", 0)
        assert [entry.event for entry in status.history][-2:] == ["start", "release"]


def test_a_cancelled_worker_lets_handlers_finish_within_the_grace_period(tmp_path):
    app, began = Kumofire(), asyncio.Event()

    @app.job("short")
    async def short(ctx) -> str:
        began.set()
        await asyncio.sleep(0.2)
        return "done"

    async def scenario():
        async with app.open(tmp_path / "jobs.db") as jobs:
            created = await jobs.create("short")
            async with working(jobs, grace=5):
                await began.wait()
            return await jobs.get_status(created.kumofire_job_run_id)

    status = asyncio.run(scenario())
    assert (status.state, status.result) == ("succeeded", "done")


def test_what_was_claimed_while_the_worker_stopped_is_released_unstarted(tmp_path):
    app, called = Kumofire(), []

    @app.job("long")
    async def long(ctx) -> None:
        called.append(ctx.run.id)
        await asyncio.sleep(60)

    async def scenario():
        async with app.open(tmp_path / "jobs.db") as jobs:
            async with working(jobs, grace=0.2) as worker:
                await asyncio.sleep(0.1)
                go = threading.Event()
                slow = asyncio.ensure_future(jobs._storage.call(lambda _: go.wait(60)))
                await asyncio.sleep(0.05)
                creating = asyncio.ensure_future(jobs.create("long"))
                await asyncio.sleep(0.05)  # the insert and the claim wait behind the slow commit
                jobs.stop()
                await asyncio.sleep(0.05)
                go.set()
                await slow
                run = (await creating).kumofire_job_run_id
                await asyncio.wait({worker}, timeout=600)
                ended = worker.done()
                status = await jobs.get_status(run)
            return ended, status

    ended, status = asyncio.run(scenario())
    assert ended, "the worker waited for a handler that began after its end"
    assert called == []
    assert (status.state, status.attempt) == ("queued", 0)


def test_stop_at_once_does_not_wait_for_the_grace_period(tmp_path):
    app, began = Kumofire(), asyncio.Event()

    @app.job("long")
    async def long(ctx) -> None:
        began.set()
        await asyncio.sleep(60)

    async def scenario():
        async with app.open(tmp_path / "jobs.db") as jobs:
            run = (await jobs.create("long")).kumofire_job_run_id
            worker = asyncio.ensure_future(jobs.run(grace=600))
            await began.wait()
            jobs.stop()
            await asyncio.sleep(0.1)
            assert not worker.done()
            jobs.stop(at_once=True)
            await asyncio.wait_for(worker, 60)
            return await jobs.get_status(run)

    status = asyncio.run(scenario())
    assert (status.state, status.attempt) == ("queued", 0)


def test_a_worker_that_ended_leaves_no_task_and_no_statement_behind(tmp_path):
    app, late = Kumofire(), []

    @app.job("quick")
    async def quick(ctx) -> None: ...

    async def scenario() -> int:
        async with app.open(tmp_path / "jobs.db") as jobs:
            async with working(jobs):
                await jobs.create("quick", delay=0.1)
                await jobs.wait((await jobs.create("quick")).kumofire_job_run_id, timeout=600)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for thread in (jobs._storage._writer, jobs._storage._reader):
                thread.submit = late.append
            await asyncio.sleep(0.2)
            return len(tasks)

    assert asyncio.run(scenario()) == 0
    assert late == []


def test_a_handler_that_ignores_its_cancellation_does_not_hold_the_worker(tmp_path):
    app, began, free = Kumofire(), asyncio.Event(), []

    @app.job("stubborn")
    async def stubborn(ctx) -> None:
        began.set()
        while not free:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    async def scenario():
        async with app.open(tmp_path / "jobs.db") as jobs:
            run = (await jobs.create("stubborn")).kumofire_job_run_id
            worker = asyncio.ensure_future(jobs.run(grace=0.1))
            await began.wait()
            jobs.stop()
            done, _ = await asyncio.wait({worker}, timeout=600)
            status = await jobs.get_status(run)
            free.append(True)
            await asyncio.wait({worker}, timeout=600)
            return bool(done), status

    ended, status = asyncio.run(scenario())
    assert ended, "the worker waited for ever"
    assert (status.state, status.attempt) == ("queued", 0)


def test_a_worker_ends_although_the_database_stores_nothing_any_more(tmp_path):
    """Its leases run out instead."""
    app, began = Kumofire(), asyncio.Event()

    @app.job("long")
    async def long(ctx) -> None:
        began.set()
        await asyncio.sleep(60)

    async def scenario() -> bool:
        async with app.open(tmp_path / "jobs.db") as jobs:
            await jobs.create("long")
            worker = asyncio.ensure_future(jobs.run(grace=0.1))
            await began.wait()
            await jobs._storage.call(lambda db: db.execute("PRAGMA query_only = ON"))
            jobs.stop()
            done, _ = await asyncio.wait({worker}, timeout=600)
            jobs.stop(at_once=True)
            await asyncio.wait({worker}, timeout=600)
            return bool(done)

    assert asyncio.run(scenario()), "the worker went on trying to store the release"


def test_a_second_worker_on_the_same_jobs_is_refused_and_the_first_goes_on(tmp_path):
    app = Kumofire()

    @app.job("quick")
    async def quick(ctx) -> None: ...

    async def scenario() -> str:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs):
            with pytest.raises(InvalidArgument, match="runs already"):
                await jobs.run()
            return (await jobs.wait((await jobs.create("quick")).kumofire_job_run_id, timeout=600)).state

    assert asyncio.run(scenario()) == "succeeded"


def test_a_worker_can_be_run_again_after_it_ended(tmp_path):
    app = Kumofire()

    @app.job("quick")
    async def quick(ctx) -> None: ...

    async def scenario() -> list[str]:
        states = []
        async with app.open(tmp_path / "jobs.db") as jobs:
            for _ in range(3):
                async with working(jobs):
                    created = await jobs.create("quick")
                    states.append((await jobs.wait(created.kumofire_job_run_id, timeout=600)).state)
        return states

    assert asyncio.run(scenario()) == ["succeeded"] * 3


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": -1}, {"grace": -1}])
def test_impossible_options_are_refused_before_anything_starts(tmp_path, options):
    async def scenario() -> None:
        async with Kumofire().open(tmp_path / "jobs.db") as jobs:
            with pytest.raises(InvalidArgument):
                await asyncio.wait_for(jobs.run(**options), 5)

    asyncio.run(scenario())


# -- how many at once -------------------------------------------------------------------------------


def test_a_thousand_waiting_handlers_are_never_more_than_fifty_at_once(tmp_path):
    app, now, peak, full = Kumofire(timeout=600), 0, 0, asyncio.Event()
    rng = random.Random(7)

    @app.job("wait")
    async def wait(ctx, seconds: float) -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        if now == 50:
            full.set()
        await full.wait()  # however slowly the first fifty begin, none of them ends before they are fifty
        await asyncio.sleep(seconds)
        now -= 1

    async def scenario() -> set[str]:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=50):
            created = await jobs.create_many([NewRun("wait", rng.uniform(0, 0.03)) for _ in range(1000)])
            return {status.state for status in await settled(jobs, created)}

    assert asyncio.run(scenario()) == {"succeeded"}
    assert peak == 50


def test_with_a_concurrency_of_one_handlers_follow_each_other(tmp_path):
    app, log = Kumofire(), []

    @app.job("wait")
    async def wait(ctx) -> None:
        log.append("in")
        await asyncio.sleep(0.002)
        log.append("out")

    async def scenario() -> None:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=1):
            await settled(jobs, await jobs.create_many([NewRun("wait")] * 30))

    asyncio.run(scenario())
    assert log == ["in", "out"] * 30


def test_plain_handlers_run_in_threads_side_by_side(tmp_path):
    app, meeting, threads = Kumofire(), threading.Barrier(5, timeout=600), set()

    @app.job("meet")
    def meet(ctx, number: int) -> int:
        meeting.wait()  # passes only when five are inside
        threads.add(threading.current_thread())
        return number * 2

    async def scenario() -> list[int]:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=5):
            return [
                s.result
                for s in await settled(jobs, await jobs.create_many([NewRun("meet", i) for i in range(5)]))
            ]

    assert asyncio.run(scenario()) == [0, 2, 4, 6, 8]
    assert len(threads) == 5
    assert threading.main_thread() not in threads


# -- suspect runs -----------------------------------------------------------------------------------


def suspect(path, run: str) -> None:
    """Mark a run as one that was under way when a shared claim was lost."""
    with closing(sqlite3.connect(path, timeout=SECONDS_MAX)) as db, db:
        assert db.execute("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", (run,)).rowcount == 1


def test_a_suspect_run_runs_while_nothing_else_does(tmp_path):
    app, path, log = Kumofire(), tmp_path / "jobs.db", []

    @app.job("wait")
    async def wait(ctx, name: str) -> None:
        log.append((name, "in"))
        await asyncio.sleep(0.02)
        log.append((name, "out"))

    async def scenario() -> set[str]:
        async with app.open(path) as jobs:
            created = await jobs.create_many([NewRun("wait", f"suspect-{i}") for i in range(3)])
            for each in created:
                suspect(path, each.kumofire_job_run_id)
            created += await jobs.create_many([NewRun("wait", str(i)) for i in range(30)])
            async with working(jobs, concurrency=4):
                return {status.state for status in await settled(jobs, created)}

    assert asyncio.run(scenario()) == {"succeeded"}
    inside: set[str] = set()
    for name, what in log:
        if what == "in":
            inside.add(name)
            assert len(inside) == 1 or not any(each.startswith("suspect") for each in inside), log
        else:
            inside.remove(name)
    assert len(log) == 2 * 33


def test_a_suspect_run_gets_its_turn_although_other_work_never_ends(tmp_path):
    """The handlers overlap, so that at no moment the worker happens to be idle."""
    app, path, rng = Kumofire(), tmp_path / "jobs.db", random.Random(3)

    @app.job("chain")
    async def chain(ctx) -> None:
        await ctx.jobs.create("chain")
        await asyncio.sleep(rng.uniform(0.05, 0.15))

    @app.job("suspect")
    async def odd(ctx) -> None: ...

    async def scenario() -> str:
        async with app.open(path) as jobs, working(jobs, concurrency=12, grace=1):
            await jobs.create_many([NewRun("chain")] * 10)
            run = (await jobs.create("suspect", delay=0.3)).kumofire_job_run_id
            suspect(path, run)
            with suppress(TimeoutError):
                await jobs.wait(run, timeout=600)
            return (await jobs.get_status(run)).state

    assert asyncio.run(scenario()) == "succeeded"


def test_suspect_runs_that_cannot_start_now_do_not_hold_up_the_others(tmp_path):
    """One long handler is under way, so no suspect may start; but there are free places for others."""
    app, path, ended = Kumofire(), tmp_path / "jobs.db", asyncio.Event()

    @app.job("long")
    async def long(ctx) -> None:
        await ended.wait()

    @app.job("quick")
    async def quick(ctx) -> None: ...

    async def scenario() -> list[str]:
        async with app.open(path) as jobs, working(jobs, concurrency=4, grace=1):
            long_run = await jobs.create("long")
            await asyncio.sleep(0.1)
            suspects = await jobs.create_many([NewRun("quick", delay=0.3)] * 6)
            for each in suspects:
                suspect(path, each.kumofire_job_run_id)
            await asyncio.sleep(0.4)
            others = await jobs.create_many([NewRun("quick")] * 6)
            try:
                states = [status.state for status in await settled(jobs, others)]
            finally:
                ended.set()
            return states + [status.state for status in await settled(jobs, [long_run, *suspects])]

    assert asyncio.run(scenario()) == ["succeeded"] * 13


# -- handlers and each other ------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True], ids=["never waits", "waits"])
@pytest.mark.parametrize("concurrency", [1, 3, 20])
def test_context_variables_of_one_handler_do_not_leak_into_the_next(tmp_path, waits, concurrency):
    app, seen = Kumofire(), []
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="clean")

    @app.job("set")
    async def set_(ctx, number: int) -> None:
        seen.append(var.get())
        var.set(f"left by {number}")
        if waits:
            await asyncio.sleep(0.001)
        assert var.get() == f"left by {number}"

    async def scenario() -> set[str]:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=concurrency):
            created = await jobs.create_many([NewRun("set", i, max_attempts=1) for i in range(40)])
            return {status.state for status in await settled(jobs, created)}

    assert asyncio.run(scenario()) == {"succeeded"}
    assert set(seen) == {"clean"}


def test_context_variables_of_a_plain_handler_do_not_leak_either(tmp_path):
    app, seen = Kumofire(), []
    var: contextvars.ContextVar[str] = contextvars.ContextVar("plain", default="clean")

    @app.job("set")
    def set_(ctx) -> None:
        seen.append(var.get())
        var.set("left")

    async def scenario() -> None:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=2):
            await settled(jobs, await jobs.create_many([NewRun("set")] * 20))

    asyncio.run(scenario())
    assert seen == ["clean"] * 20


@pytest.mark.parametrize("first_step", [True, False], ids=["before it waits", "after it waited"])
def test_a_handler_that_cancels_its_own_task_has_failed_and_holds_up_nobody(tmp_path, first_step):
    app = Kumofire(retry=FAST)

    @app.job("cancel", max_attempts=1)
    async def cancel(ctx) -> None:
        if not first_step:
            await asyncio.sleep(0.001)
        asyncio.current_task().cancel()
        await asyncio.sleep(0.001)

    @app.job("fine")
    async def fine(ctx) -> None:
        await asyncio.sleep(0.001)

    async def scenario() -> dict[str, set[str]]:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=3) as worker:
            bad = await jobs.create_many([NewRun("cancel")] * 3)
            fine = await jobs.create_many([NewRun("fine")] * 6)
            states = {"fine": {s.state for s in await settled(jobs, fine)}}
            states["cancel"] = {s.state for s in await settled(jobs, bad)}
            assert not worker.done()
            return states

    assert asyncio.run(scenario()) == {"fine": {"succeeded"}, "cancel": {"failed"}}


def test_a_cancellation_that_a_handler_raises_itself_is_a_failed_attempt(tmp_path):
    app = Kumofire(retry=FAST)

    @app.job("raise", max_attempts=2)
    async def raise_(ctx) -> None:
        raise asyncio.CancelledError

    async def scenario():
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs):
            return await jobs.wait((await jobs.create("raise")).kumofire_job_run_id, timeout=600)

    status = asyncio.run(scenario())
    assert (status.state, status.attempt) == ("failed", 2)


# -- timeouts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "plain"])
def test_a_handler_that_takes_longer_than_its_timeout_is_a_failed_attempt(tmp_path, kind):
    app, calls, cancelled, free = Kumofire(retry=FAST), [], [], threading.Event()

    if kind == "async":

        @app.job("slow", timeout=0.1, max_attempts=2)
        async def slow(ctx) -> None:
            calls.append(ctx.attempt)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append(ctx.attempt)
                raise

    else:

        @app.job("slow", timeout=0.1, max_attempts=2)
        def slow(ctx) -> None:
            calls.append(ctx.attempt)
            free.wait(60)

    @app.job("quick")
    async def quick(ctx) -> None: ...

    async def scenario():
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=3, grace=0):
            run = (await jobs.create("slow")).kumofire_job_run_id
            status = await jobs.wait(run, timeout=600)
            after = await jobs.wait((await jobs.create("quick")).kumofire_job_run_id, timeout=600)
            free.set()
            await asyncio.sleep(0.05)  # the plain handler's late return must change nothing
            assert await jobs.get_status(run) == status
            return status, after.state

    status, after = asyncio.run(scenario())
    assert (status.state, status.attempt) == ("failed", 2)
    assert (
        status.last_error.splitlines()[0] == "TimeoutError: the handler took longer than its timeout of 0.1 s"
    )
    assert [entry.event for entry in status.history if entry.event not in ("create", "enqueue")] == [
        "start",
        "retry",
        "start",
        "retry",
    ]
    assert calls == [1, 2]
    assert cancelled == ([1, 2] if kind == "async" else [])
    assert after == "succeeded"


def test_a_retry_without_delay_follows_at_once(tmp_path):
    app, at = Kumofire(), []

    @app.job("again", max_attempts=5)
    async def again(ctx) -> None:
        at.append(time.monotonic())
        if ctx.attempt < 5:
            raise Retry(after=0.002)

    async def scenario() -> int:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs):
            return (await jobs.wait((await jobs.create("again")).kumofire_job_run_id, timeout=600)).attempt

    assert asyncio.run(scenario()) == 5
    assert at[-1] - at[0] < 0.8, "each of four retries waited for a second"


def test_a_handler_that_turns_its_timeout_into_a_result_succeeds(tmp_path):
    app = Kumofire()

    @app.job("tidy", timeout=0.1, max_attempts=1)
    async def tidy(ctx) -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return "partial"
        return "whole"

    @app.job("fine", timeout=5)
    async def fine(ctx) -> str:
        await asyncio.sleep(0.05)
        return "fine"

    async def scenario() -> list:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=1):
            created = [await jobs.create("tidy"), await jobs.create("fine")]
            return [(s.state, s.result) for s in await settled(jobs, created)]

    assert asyncio.run(scenario()) == [("succeeded", "partial"), ("succeeded", "fine")]


def test_a_run_longer_than_its_lease_keeps_it_by_renewal(tmp_path):
    app, calls = Kumofire(), []

    @app.job("long")
    async def long(ctx) -> None:
        calls.append(ctx.attempt)
        await asyncio.sleep(7)

    async def scenario():
        async with (
            app.open(tmp_path / "jobs.db", lease=3) as jobs,
            app.open(tmp_path / "jobs.db", lease=3) as more,
            working(jobs),
            working(more),
        ):
            return await jobs.wait((await jobs.create("long")).kumofire_job_run_id, timeout=600)

    status = asyncio.run(scenario())
    assert (status.state, status.attempt, calls) == ("succeeded", 1, [1])


def test_a_plain_handler_in_a_thread_keeps_its_lease_too(tmp_path):
    app, calls = Kumofire(), []

    @app.job("long")
    def long(ctx) -> None:
        calls.append(ctx.attempt)
        time.sleep(7)

    async def scenario():
        async with app.open(tmp_path / "jobs.db", lease=3) as jobs, working(jobs):
            return await jobs.wait((await jobs.create("long")).kumofire_job_run_id, timeout=600)

    status = asyncio.run(scenario())
    assert (status.state, status.attempt, calls) == ("succeeded", 1, [1])


# -- duties that must not end -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [StoreError("disk I/O error"), RuntimeError("a defect")], ids=["store", "defect"]
)
def test_a_failed_look_at_the_file_does_not_end_the_workers_duties(tmp_path, caplog, error):
    """Were the watch to end the other duties, leases would run out and delayed work would not start."""
    caplog.set_level(logging.CRITICAL)
    app = Kumofire()

    @app.job("long")
    async def long(ctx) -> int:
        await asyncio.sleep(1.0)
        return ctx.attempt

    async def scenario():
        async with app.open(tmp_path / "jobs.db", lease=0.3) as jobs:
            honest, looks = jobs._storage.data_version, 0

            def data_version() -> int:
                nonlocal looks
                looks += 1
                if looks == 3:
                    raise error
                return honest()

            jobs._storage.data_version = data_version
            async with working(jobs):
                created = [await jobs.create("long"), await jobs.create("long", delay=0.3)]
                statuses = await settled(jobs, created)
            return looks, [(s.state, s.result) for s in statuses]

    looks, outcomes = asyncio.run(scenario())
    assert outcomes == [("succeeded", 1)] * 2
    assert looks > 10


def test_a_database_that_fails_for_a_while_delays_outcomes_and_loses_none(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    app, calls = Kumofire(), []

    @app.job("wait")
    async def wait(ctx, seconds: float) -> str:
        calls.append(ctx.run.id)
        await asyncio.sleep(seconds)
        return "done"

    async def scenario() -> list:
        async with app.open(tmp_path / "jobs.db") as jobs, working(jobs, concurrency=10):
            created = await jobs.create_many([NewRun("wait", 0.1 + i / 50) for i in range(10)])
            while len(calls) < 10:
                await asyncio.sleep(0.01)
            storage, broken = jobs._storage, True
            real = storage._writer._work

            def fail(db, group, *, patient) -> None:
                if broken:
                    raise StoreError("the disk is gone")
                real(db, group, patient=patient)

            storage._writer._work = fail
            await asyncio.sleep(0.6)
            broken = False
            return [(s.state, s.result, s.attempt) for s in await settled(jobs, created)]

    assert asyncio.run(scenario()) == [("succeeded", "done", 1)] * 10
    assert len(calls) == 10


def test_a_former_attempt_that_ends_late_does_not_end_the_one_that_took_over(tmp_path):
    app, calls, first_may_end, second_may_end = Kumofire(), [], asyncio.Event(), asyncio.Event()
    first_ended = asyncio.Event()

    @app.job("slow", timeout=5, max_attempts=2, retry=FAST)
    async def slow(ctx) -> str:
        calls.append(ctx.attempt)
        if len(calls) > 1:
            await second_may_end.wait()
            return "second"
        while not first_may_end.is_set():
            with suppress(asyncio.CancelledError):
                await first_may_end.wait()
        asyncio.get_running_loop().call_later(0.1, first_ended.set)
        return "first"

    async def scenario() -> tuple[str, str, int]:
        async with app.open(tmp_path / "jobs.db", lease=0.5) as jobs, working(jobs, concurrency=2):
            run = await jobs.create("slow")
            while len(calls) < 2:
                await asyncio.sleep(0.01)
            first_may_end.set()
            await first_ended.wait()
            second_may_end.set()
            (status,) = await settled(jobs, [run])
            return status.state, status.result, len(calls)

    assert asyncio.run(scenario()) == ("succeeded", "second", 2)
