"""A call from another loop, thread or process than the one that was opened works, or says no at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from patience import SECONDS_MAX

from kumofire_fsm import Kumofire, NewRun, PlainContext, RunContext, SyncJobs
from kumofire_fsm.errors import OpenedElsewhere, StoreError


@asynccontextmanager
async def working(app: Kumofire, path: Path, **options: Any) -> AsyncIterator[Any]:
    async with app.open(path, synchronous="OFF") as jobs:
        worker = asyncio.ensure_future(jobs.run(grace=0, **options))
        yield jobs
        jobs.stop(at_once=True)
        await worker


def family() -> Kumofire:
    """An application with a job for children; tests add the parents."""
    app = Kumofire()

    @app.job("child")
    async def child(ctx: RunContext) -> None: ...

    return app


def outcome(app: Kumofire, path: Path, *, runs: int = 1) -> tuple[list[Any], int]:
    """Run so many parents at once; return their statuses, and how many children there are."""

    async def scenario() -> tuple[list[Any], int]:
        async with working(app, path) as jobs:
            made = await jobs.create_many([NewRun("parent", max_attempts=1)] * runs)
            ids = [each.kumofire_job_run_id for each in made]
            done = [await jobs.wait(each, timeout=SECONDS_MAX) for each in ids]
            return done, len((await jobs.list_runs(name="child")).runs)

    return asyncio.run(asyncio.wait_for(scenario(), 2 * SECONDS_MAX))


# -- handlers -------------------------------------------------------------------------------------


def test_a_plain_handler_uses_the_api_and_its_heartbeat_without_await(tmp_path: Path) -> None:
    app = family()

    @app.job("parent")
    def parent(ctx: PlainContext) -> list[Any]:
        made = ctx.jobs.create("child")
        ctx.heartbeat({"done": 1})
        return [made.is_new, ctx.jobs.get_status(ctx.run.id).progress, isinstance(ctx.jobs, SyncJobs)]

    (status,), children = outcome(app, tmp_path / "jobs.db")
    assert (status.state, status.result, children) == ("succeeded", [True, {"done": 1}, True], 1)


def test_two_plain_handlers_with_loops_of_their_own_at_once(tmp_path: Path) -> None:
    """Each runs its own event loop, on which the API is awaited as it is on the worker's."""
    app, both = family(), threading.Barrier(2, timeout=SECONDS_MAX)

    @app.job("parent")
    def parent(ctx: RunContext) -> bool:
        async def inside() -> bool:
            both.wait()
            made = await ctx.jobs.create("child")
            await ctx.heartbeat(1)
            return made.is_new

        return asyncio.run(inside())

    done, children = outcome(app, tmp_path / "jobs.db", runs=2)
    assert [(status.state, status.result) for status in done] == [("succeeded", True)] * 2
    assert children == 2


def test_two_plain_handlers_that_give_what_is_no_coroutine_to_a_loop_fail_and_the_worker_goes_on(
    tmp_path: Path,
) -> None:
    app, both = family(), threading.Barrier(2, timeout=SECONDS_MAX)

    @app.job("parent")
    def parent(ctx: Any) -> None:
        both.wait()
        asyncio.run(ctx.jobs.create("child"))

    done, _ = outcome(app, tmp_path / "jobs.db", runs=2)
    assert [status.state for status in done] == ["failed"] * 2
    assert all("a coroutine was expected" in status.last_error for status in done)


def test_an_async_handler_s_helper_in_a_thread_uses_its_context_without_await(tmp_path: Path) -> None:
    app = family()

    @app.job("parent")
    async def parent(ctx: Any) -> bool:
        def help_it() -> bool:
            ctx.heartbeat(1)
            return ctx.jobs.create("child").is_new

        return await asyncio.to_thread(help_it)

    (status,), children = outcome(app, tmp_path / "jobs.db")
    assert (status.result, children) == (True, 1)


def test_a_plain_function_that_returns_an_awaitable_has_it_awaited_on_the_worker_s_loop(
    tmp_path: Path,
) -> None:
    app = family()

    async def inside(ctx: RunContext) -> bool:
        return (await ctx.jobs.create("child")).is_new

    app.job("parent")(lambda ctx: inside(ctx))
    (status,), children = outcome(app, tmp_path / "jobs.db")
    assert (status.result, children) == (True, 1)


async def test_a_plain_handler_on_the_event_loop_fails_where_it_does_not_await(kit: Any) -> None:
    """As on Workers, where there are no threads."""
    app = kit

    @app.job("child")
    async def child(ctx: Any) -> None: ...

    @app.job("create", max_attempts=1)
    def create(ctx: Any) -> None:
        ctx.jobs.create("child")

    @app.job("beat", max_attempts=1)
    def beat(ctx: Any) -> None:
        ctx.heartbeat()

    app.job("awaited", max_attempts=1)(lambda ctx: ctx.heartbeat())

    async with kit.bound() as w:
        ids = [await w.create(name) for name in ("create", "beat", "awaited")]
        await w.deliver(*ids)
        said = [(status.state, status.last_error) for status in [await w.status(each) for each in ids]]
        assert [state for state, _ in said] == ["failed", "failed", "succeeded"]
        assert "create() was not awaited" in said[0][1]
        assert "heartbeat() was not awaited" in said[1][1]


# -- loops ----------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Any], Any]] = {
    "create": lambda jobs: jobs.create("child"),
    "create_many": lambda jobs: jobs.create_many([NewRun("child")]),
    "get_status": lambda jobs: jobs.get_status("0198c0de-0000-7000-8000-000000000000"),
    "wait": lambda jobs: jobs.wait("0198c0de-0000-7000-8000-000000000000"),
    "cancel": lambda jobs: jobs.cancel("0198c0de-0000-7000-8000-000000000000"),
    "upsert_schedule": lambda jobs: jobs.upsert_schedule("child", schedule_key="k", every=60),
    "dispatch": lambda jobs: jobs.dispatch(),
    "run": lambda jobs: jobs.run(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("works", [False, True], ids=["idle", "with a worker"])
def test_a_second_loop_beside_the_first_is_refused_at_once(tmp_path: Path, call: str, works: bool) -> None:
    app = family()

    async def scenario() -> None:
        async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
            worker = asyncio.ensure_future(jobs.run(grace=0)) if works else None
            await jobs.create("child")

            def from_another_loop() -> None:
                async def inside() -> None:
                    await CALLS[call](jobs)

                asyncio.run(asyncio.wait_for(inside(), SECONDS_MAX))

            with pytest.raises(OpenedElsewhere, match=r"another event loop.*ctx\.jobs"):
                await asyncio.to_thread(from_another_loop)
            assert (await jobs.create("child")).is_new  # the first goes on
            if worker is not None:
                jobs.stop()
                await worker

    asyncio.run(asyncio.wait_for(scenario(), 2 * SECONDS_MAX))


def test_of_many_loops_that_begin_at_once_each_call_works_or_is_refused(tmp_path: Path) -> None:
    """None takes another for ended, and drops what it had queued."""
    app, answers = family(), []
    opened: list[Any] = []

    async def open_it() -> None:
        manager = app.open(tmp_path / "jobs.db", synchronous="OFF")
        opened.extend([manager, await manager.__aenter__()])

    first = asyncio.new_event_loop()
    with closing(first):
        first.run_until_complete(open_it())
        jobs, all_ = opened[1], threading.Barrier(8, timeout=SECONDS_MAX)

        def create() -> None:
            async def inside() -> None:
                for _ in range(20):
                    with suppress(OpenedElsewhere):
                        answers.append((await jobs.create("child")).is_new)

            all_.wait()
            asyncio.run(inside())

        threads = [threading.Thread(target=create, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS_MAX)
            assert not thread.is_alive()
        counts = first.run_until_complete(jobs.count_runs())
        assert counts == {"queued": len(answers)}
        first.run_until_complete(opened[0].__aexit__(None, None, None))


def test_loops_that_take_turns_in_one_thread_all_get_their_answers(tmp_path: Path) -> None:
    """A loop that stands still has not ended: what it queued is stored when it goes on."""
    app = family()
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    with closing(one), closing(two):
        manager = app.open(tmp_path / "jobs.db", synchronous="OFF")
        jobs = one.run_until_complete(manager.__aenter__())
        waiting = one.create_task(jobs.create("child"))
        one.run_until_complete(asyncio.sleep(0))  # it is queued, and the loop stands still
        assert two.run_until_complete(jobs.create("child")).is_new
        assert one.run_until_complete(asyncio.wait_for(waiting, SECONDS_MAX)).is_new
        assert one.run_until_complete(jobs.count_runs()) == {"queued": 2}
        one.run_until_complete(manager.__aexit__(None, None, None))


def test_the_worker_s_loop_is_running_so_another_one_does_not_close_it(tmp_path: Path) -> None:
    app = family()

    async def scenario() -> None:
        async with working(app, tmp_path / "jobs.db") as jobs:
            for _ in range(2):
                run = (await jobs.create("child")).kumofire_job_run_id
                assert (await jobs.wait(run, timeout=SECONDS_MAX)).state == "succeeded"
                with pytest.raises(OpenedElsewhere, match="close it there"):
                    await asyncio.to_thread(lambda: asyncio.run(asyncio.wait_for(jobs.close(), SECONDS_MAX)))

    asyncio.run(asyncio.wait_for(scenario(), 2 * SECONDS_MAX))


def test_a_worker_is_stopped_from_another_thread(tmp_path: Path) -> None:
    app = family()

    async def scenario() -> None:
        async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
            worker = asyncio.ensure_future(jobs.run())
            await asyncio.sleep(0)
            await asyncio.to_thread(jobs.stop)
            await worker

    asyncio.run(asyncio.wait_for(scenario(), SECONDS_MAX))


def test_run_after_close_is_refused_at_once(tmp_path: Path) -> None:
    app = family()

    async def scenario() -> None:
        async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
            pass
        with pytest.raises(StoreError, match="closed"):
            await jobs.run()

    asyncio.run(asyncio.wait_for(scenario(), SECONDS_MAX))


# -- the synchronous API --------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["handler", "hook", "plain hook"])
def test_the_synchronous_api_on_its_own_loop_is_refused_at_once(tmp_path: Path, where: str) -> None:
    app, said, found = family(), [], threading.Event()

    def use() -> None:
        try:
            jobs.create("child")
        except OpenedElsewhere as exc:
            said.append(str(exc))
        found.set()

    if where == "handler":

        @app.job("parent")
        async def parent(ctx: Any) -> None:
            use()
    else:
        app.job("parent")(lambda ctx: None)

        @app.on("succeed", job="parent")
        async def hook(transition: Any) -> None:
            use()

        if where == "plain hook":
            app.registry.hooks.clear()
            app.on("succeed", job="parent")(lambda transition: use())

    with app.open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        worker = threading.Thread(target=jobs.run, daemon=True)
        worker.start()
        jobs.create("parent")
        assert found.wait(SECONDS_MAX)
        jobs.stop()
        worker.join(SECONDS_MAX)
        assert not worker.is_alive()
    assert len(said) == 1
    assert said[0].startswith("create() of the synchronous API was called on the event loop")


@pytest.mark.parametrize("call", ["create", "run", "wait"])
def test_the_synchronous_api_after_close_is_refused_at_once(tmp_path: Path, call: str) -> None:
    with family().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        run = jobs.create("child").kumofire_job_run_id
    calls = {"create": lambda: jobs.create("child"), "run": jobs.run, "wait": lambda: jobs.wait(run)}
    with pytest.raises(StoreError, match="closed"):
        calls[call]()


def test_who_waits_while_another_thread_closes_hears_of_it(tmp_path: Path) -> None:
    said: list[str] = []
    with family().open_sync(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        run = jobs.create("child").kumofire_job_run_id
        begun = threading.Event()

        def wait() -> None:
            begun.set()
            try:
                jobs.wait(run)
            except StoreError as exc:
                said.append(str(exc))

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        begun.wait(SECONDS_MAX)
    waiting.join(SECONDS_MAX)
    assert not waiting.is_alive()
    assert len(said) == 1
    assert "closed" in said[0]


def test_what_is_opened_once_is_not_entered_twice(tmp_path: Path) -> None:
    opening = family().open_sync(tmp_path / "jobs.db", synchronous="OFF")
    with opening, pytest.raises(ValueError, match="call open_sync again"):
        opening.__enter__()
