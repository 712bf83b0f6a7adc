"""What an application opens before its handlers are called, and closes after them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import DefinitionError, Kumofire
from kumofire_fsm.errors import InvalidArgument

AT_ITS_START = "(raised by the application's lifespan, at its start)"
AT_ITS_END = "(raised by the application's lifespan, at its end)"


class Pool:
    """What handlers need."""

    def __init__(self, env: Any) -> None:
        self.env, self.is_open = env, True


def application(seen: list[str]) -> Kumofire:
    """Return an application whose handlers need a pool."""
    app = Kumofire()

    @app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[Pool]:
        pool = Pool(jobs.env)
        seen.append("opened")
        yield pool
        assert await jobs.count_runs() is not None, "the database is still open"
        pool.is_open = False
        seen.append("closed")

    @app.job("report")
    async def report(ctx: Any) -> list[Any]:
        seen.append("called")
        assert ctx.env.is_open
        return [ctx.env.env, ctx.jobs.env]

    @app.job("plain")
    def plain(ctx: Any) -> list[Any]:
        seen.append("called")
        assert ctx.env.is_open
        return [ctx.env.env, ctx.jobs.env]

    @app.on_enter("succeeded")
    def told(transition: Any) -> None:
        seen.append(f"told, {transition.env.is_open}")

    return app


ONE_RUN = ["opened", "called", "told, True", "closed"]


@pytest.mark.parametrize("job", ["report", "plain"])
async def test_in_open_handlers_and_hooks_find_what_it_yields(job: str) -> None:
    seen: list[str] = []
    async with application(seen).open(":memory:", env="secret") as jobs:
        worker = asyncio.ensure_future(jobs.run())
        status = await jobs.wait((await jobs.create(job)).kumofire_job_run_id, timeout=600)
        jobs.stop()
        await worker
        assert (status.result, jobs.env) == (["secret", "secret"], "secret")
    assert seen == ONE_RUN


def test_in_open_sync_it_is_the_same() -> None:
    import threading

    seen: list[str] = []
    with application(seen).open_sync(":memory:", env="secret") as jobs:
        worker = threading.Thread(target=jobs.run)
        worker.start()
        status = jobs.wait(jobs.create("report").kumofire_job_run_id, timeout=600)
        jobs.stop()
        worker.join(60)
        assert (status.result, jobs.env) == (["secret", "secret"], "secret")
    assert seen == ONE_RUN


async def test_on_workers_it_holds_for_each_event_and_the_platform_s_env_is_within_reach(kit: Kit) -> None:
    seen: list[str] = []
    app = application(seen)
    async with kit.bound(app=app, env="the platform's") as w:
        run_id = await w.create("report")
        assert seen == []
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == ["the platform's", "the platform's"]
        assert seen == ONE_RUN
        await w.jobs.dispatch()
        assert seen == [*ONE_RUN, "opened", "closed"]


async def test_on_workers_a_hook_finds_it_in_other_events_too(kit: Kit) -> None:
    seen: list[Any] = []

    @kit.app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[str]:
        yield f"{jobs.env} and a client"
        seen.append("closed")

    @kit.job("job")
    async def job(ctx: Any) -> None: ...

    @kit.app.on("create")
    def created(transition: Any) -> None:
        seen.append(transition.env)

    async with kit.bound(env="bindings") as w:
        await w.create("job")
    assert seen == ["bindings and a client", "closed"]


async def test_on_workers_what_goes_on_at_once_shares_one_that_is_open_for_all(kit: Kit) -> None:
    seen: list[str] = []

    @kit.app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[Pool]:
        seen.append("opened")
        await asyncio.sleep(0.02)
        pool = Pool(jobs.env)
        yield pool
        pool.is_open = False
        await asyncio.sleep(0.02)
        seen.append("closed")

    @kit.job("job")
    async def job(ctx: Any, seconds: float) -> None: ...

    @kit.app.on("create")
    async def created(transition: Any) -> None:
        assert transition.env.is_open
        await asyncio.sleep(transition.run.payload)
        assert transition.env.is_open
        seen.append("told")

    async with kit.bound() as w:

        async def create(after: float, seconds: float) -> None:
            await asyncio.sleep(after)
            await w.jobs.create("job", seconds)

        await asyncio.gather(create(0, 0.05), create(0.01, 0.1), create(0.04, 0.1))
        assert seen == ["opened", "told", "told", "told", "closed"]
        await asyncio.gather(create(0, 0), create(0.03, 0))
        assert seen[5:] in (["opened", "told", "told", "closed"], ["opened", "told", "closed"] * 2)
        assert w.jobs._binding.shared._users == 0


@pytest.mark.parametrize("where", ["file", "worker"])
async def test_what_its_start_and_its_end_do_themselves_opens_no_other(kit: Kit, where: str) -> None:
    app, seen = kit.app, list[str]()

    @app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        seen.append("opened")
        await jobs.create("job", 1)
        yield
        await jobs.create("job", 2)
        seen.append("closed")

    @kit.job("job")
    async def job(ctx: Any, number: int) -> None: ...

    @app.on("create")
    def created(transition: Any) -> None:
        seen.append(f"told of {transition.run.payload}")

    if where == "file":
        async with app.open(":memory:"):
            pass
    else:
        async with kit.bound() as w:
            await w.jobs.dispatch()
    assert seen == ["opened", "told of 1", "told of 2", "closed"]


async def test_it_ends_after_the_last_handler_although_the_program_is_cancelled_meanwhile() -> None:
    app, seen, began = Kumofire(), list[str](), asyncio.Event()

    @app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        yield
        seen.append("closed")

    @app.job("job")
    async def job(ctx: Any) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            seen.append("handler tidied up")

    async def program() -> None:
        async with app.open(":memory:") as jobs:
            working = asyncio.ensure_future(jobs.run())
            await jobs.create("job")
            await began.wait()
            asyncio.get_running_loop().call_later(0.02, task.cancel)
        await working

    task = asyncio.ensure_future(program())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["handler tidied up", "closed"]


def test_in_open_sync_one_task_begins_and_ends_it() -> None:
    app, held, tasks = Kumofire(), ContextVar("held", default=0), list[Any]()

    @app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        token = held.set(1)
        tasks.append(asyncio.current_task())
        async with asyncio.TaskGroup() as group:
            beside = group.create_task(asyncio.sleep(60))
            yield
            beside.cancel()
        tasks.append(asyncio.current_task())
        held.reset(token)

    with app.open_sync(":memory:") as jobs:
        assert jobs.count_runs() == {}
    assert tasks[0] is tasks[1]


async def test_one_that_yields_nothing_leaves_what_it_was_opened_with() -> None:
    app, seen = Kumofire(), []

    @app.lifespan
    @asynccontextmanager
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        seen.append("opened")
        yield
        seen.append("closed")

    async with app.open(":memory:", env="as it was") as jobs:
        assert jobs._binding.env == "as it was"
    assert seen == ["opened", "closed"]


@pytest.mark.parametrize("broken", ["start", "body", "end"])
async def test_whatever_breaks_its_end_is_reached_and_the_database_is_closed(
    broken: str, tmp_path: Path
) -> None:
    app, seen = Kumofire(), []

    @app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        if broken == "start":
            raise ZeroDivisionError
        yield
        seen.append("closed")
        if broken == "end":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        async with app.open(tmp_path / "jobs.db"):
            if broken == "body":
                raise ZeroDivisionError
    notes = {"start": [AT_ITS_START], "body": [], "end": [AT_ITS_END]}
    assert getattr(raised.value, "__notes__", []) == notes[broken]
    assert seen == ([] if broken == "start" else ["closed"])
    async with Kumofire().open(tmp_path / "jobs.db") as jobs:
        assert await jobs.count_runs() == {}


async def test_on_workers_a_fault_at_its_start_is_raised_before_anything_is_claimed(kit: Kit) -> None:
    @kit.app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        raise ConnectionError("no network")
        yield

    @kit.job("job")
    async def job(ctx: Any) -> None: ...

    async with kit.bound() as w:
        run_id = await w.create("job")
        with pytest.raises(ConnectionError, match="no network"):
            await w.deliver(run_id)
        assert await w.state(run_id) == "queued"


async def test_on_workers_a_fault_at_its_end_is_logged_and_what_the_event_did_stands(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.app.lifespan
    async def lifespan(jobs: Any) -> AsyncIterator[None]:
        yield
        raise ConnectionError("it was closed already")

    @kit.job("job")
    async def job(ctx: Any) -> None: ...

    async with kit.bound() as w:
        run_id = await w.create("job")
        assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "succeeded"
    (told,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert told.startswith("ConnectionError: it was closed already\n")
    assert told.endswith(AT_ITS_END)


async def no_yield(jobs: Any) -> None: ...


def plain_generator(jobs: Any) -> Iterator[None]:
    yield


async def without_argument() -> AsyncIterator[None]:
    yield


async def with_two(jobs: Any, other: Any) -> AsyncIterator[None]:
    yield


RIGHT = "write `async def lifespan(jobs): ...` with one `yield`, of what handlers find in ctx.env"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (no_yield, "no_yield is no async generator"),
        (plain_generator, "plain_generator is no async generator"),
        (without_argument, "a lifespan is called with the jobs API; without_argument cannot be"),
        (with_two, "a lifespan is called with the jobs API; with_two cannot be"),
        (5, "a lifespan is a function; found 5"),
    ],
)
def test_what_is_no_lifespan_is_refused_where_it_is_registered(function: Any, why: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        Kumofire().lifespan(function)
    assert str(refused.value) == f"{why}; {RIGHT}"


def test_an_application_has_one_lifespan() -> None:
    app = Kumofire()
    app.lifespan(partial(with_two, other=1))
    with pytest.raises(DefinitionError, match="an application has one lifespan"):
        app.lifespan(partial(with_two, other=2))


async def test_what_gives_no_context_manager_is_told_when_it_is_called() -> None:
    app = Kumofire()
    app.lifespan(lambda jobs: 5)
    with pytest.raises(DefinitionError, match="the lifespan gave 5; write `async def lifespan"):
        async with app.open(":memory:"):
            raise InvalidArgument("it was opened")
