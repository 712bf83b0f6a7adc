"""What a handler raises, and whom that ends: its attempt, or its worker. And what it leaves in a shared task."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Kumofire, RunStatus


class PanicException(BaseException):
    """As PyO3 raises it for a panic of Rust."""


class Platform(BaseException):
    """What a platform raises to end an invocation."""


def group(*exceptions: BaseException) -> BaseException:
    return BaseExceptionGroup("several", exceptions)


FAILURES = {
    "a panic": PanicException("called `Option::unwrap()` on a `None` value"),
    "a group of a panic": group(PanicException("index out of bounds"), ValueError("bad")),
    "a group of an exit": group(SystemExit(1)),
    "a group of groups": group(ValueError(), group(asyncio.CancelledError())),
    "an exit": SystemExit("usage"),
}
UNKNOWN = {"of its own": Platform("over"), "a group of its own": group(ValueError(), Platform("over"))}
ENDS = {
    "a generator's exit": GeneratorExit(),
    "a group of an interrupt": group(KeyboardInterrupt()),
}


# -- embedded ---------------------------------------------------------------------------------------


async def embedded(tmp_path: Path, app: Kumofire, name: str, **options: Any) -> RunStatus:
    """Create one run, let the worker work on it, and return how it settled."""
    async with app.open(tmp_path / "jobs.db", **options) as jobs:
        worker = asyncio.ensure_future(jobs.run())
        status = await jobs.wait((await jobs.create(name)).kumofire_job_run_id, timeout=600)
        jobs.stop()
        await worker
        return status


@pytest.mark.parametrize("kind", [*FAILURES, *UNKNOWN])
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_on_a_file_what_a_handler_raises_is_a_failed_attempt(
    tmp_path: Path, kind: str, plain: bool
) -> None:
    raised, app = {**FAILURES, **UNKNOWN}[kind], Kumofire()

    def raises(ctx: Any) -> None:
        raise raised

    async def waits_and_raises(ctx: Any) -> None:
        await asyncio.sleep(0)
        raise raised

    app.job("job", max_attempts=1)(raises if plain else waits_and_raises)
    status = await embedded(tmp_path, app, "job")
    assert (status.state, status.attempt) == ("failed", 1)
    assert status.error_type == ("SystemExit" if kind == "a group of an exit" else type(raised).__name__)


async def test_on_a_file_a_retry_policy_that_panics_fails_its_run(tmp_path: Path) -> None:
    def policy(attempt: int, error: BaseException) -> float:
        raise PanicException("in the policy")

    app = Kumofire()

    @app.job("job", max_attempts=3, retry=policy)
    async def job(ctx: Any) -> None:
        raise ValueError

    status = await embedded(tmp_path, app, "job")
    assert (status.state, (status.last_error or "").split("\n")[0]) == (
        "failed",
        "PanicException: in the policy",
    )


# -- on Workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAILURES)
async def test_on_workers_what_is_known_is_a_failed_attempt(kit: Kit, kind: str) -> None:
    @kit.job("job", max_attempts=1)
    async def job(ctx: Any, fails: bool) -> None:
        if fails:
            raise FAILURES[kind]

    async with kit.bound() as w:
        ids = await w.create_in_order("job", [True, False])
        assert await w.deliver(*ids) == ["ack", "ack"]
        assert [await w.state(run_id) for run_id in ids] == ["failed", "succeeded"]


@pytest.mark.parametrize("kind", [*UNKNOWN, *ENDS])
async def test_on_workers_what_may_be_the_platform_s_ends_the_invocation(kit: Kit, kind: str) -> None:
    raised = {**UNKNOWN, **ENDS}[kind]

    @kit.job("job", max_attempts=1)
    async def job(ctx: Any) -> None:
        await asyncio.sleep(0)
        raise raised

    async with kit.bound() as w:
        run_id = await w.create("job")
        with pytest.raises(type(raised)):
            await w.deliver(run_id)
        assert await w.state(run_id) == "running"


@pytest.mark.parametrize("kind", FAILURES)
async def test_a_hook_that_panics_costs_no_run_its_outcome(kit: Kit, kind: str) -> None:
    @kit.job("job", max_attempts=1)
    async def job(ctx: Any, number: int) -> int:
        return number

    @kit.app.on("succeed")
    def hook(transition: Any) -> None:
        raise FAILURES[kind]

    async with kit.bound() as w:
        ids = await w.create_in_order("job", range(3))
        assert await w.deliver(*ids, settle="each") == ["ack"] * 3


# -- a task that handlers share ---------------------------------------------------------------------


async def swallows(ctx: Any) -> None:
    """Ask for a cancellation, swallow it, and do not take it back."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def asks(ctx: Any) -> None:
    """Ask for a cancellation that nothing delivers any more."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def handles_a_group(ctx: Any) -> None:
    """Handle what a task of a group raised, while the group waits."""

    async def breaks() -> None:
        raise ValueError

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(breaks())
            await asyncio.sleep(1)
    except* ValueError:
        pass


async def swallows_in_a_timeout(ctx: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    try:
        async with asyncio.timeout(0.001):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.sleep(0)
    except (TimeoutError, asyncio.CancelledError):
        pass


UNTIDY = [swallows, asks, handles_a_group, swallows_in_a_timeout]


@pytest.mark.parametrize("untidy", UNTIDY, ids=lambda each: each.__name__)
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_request_to_cancel_that_a_handler_leaves_behind_costs_no_other_its_outcome(
    kit: Kit, untidy: Any, concurrency: int
) -> None:
    left: list[int] = []

    @kit.job("job", max_attempts=1)
    async def job(ctx: Any, number: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        left.append(task.cancelling())
        if number % 3 == 0:
            await untidy(ctx)
        elif number % 3 == 1:
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(1)
            except TimeoutError:
                return number
        else:
            await handles_a_group(ctx)
        return number

    async with kit.bound() as w:
        ids = await w.create_in_order("job", range(9))
        assert await w.deliver(*ids, concurrency=concurrency) == ["ack"] * 9
        assert (left, await w.jobs.count_runs()) == ([0] * 9, {"succeeded": 9})


@pytest.mark.parametrize("untidy", UNTIDY, ids=lambda each: each.__name__)
async def test_on_a_file_too(tmp_path: Path, untidy: Any) -> None:
    app = Kumofire()

    @app.job("job", max_attempts=1)
    async def job(ctx: Any, number: int) -> int:
        if number % 2 == 0:
            await untidy(ctx)
        else:
            await asyncio.sleep(0.001)
        return number

    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run(concurrency=2))
        ids = [(await jobs.create("job", number)).kumofire_job_run_id for number in range(10)]
        states = [(await jobs.wait(run_id, timeout=600)).state for run_id in ids]
        jobs.stop()
        await worker
        assert states == ["succeeded"] * 10


# -- a handler that lets a cancellation out ------------------------------------------------------------


async def cancels_itself(ctx: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancels_itself_later(ctx: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.001, task.cancel)
    await asyncio.sleep(60)


async def is_cancelled_by_its_child(ctx: Any) -> None:
    task = asyncio.current_task()
    assert task is not None

    async def child() -> None:
        task.cancel()

    await asyncio.gather(child(), asyncio.sleep(60))


async def awaits_what_is_cancelled(ctx: Any) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


CANCELLED = [cancels_itself, cancels_itself_later, is_cancelled_by_its_child, awaits_what_is_cancelled]
OWN = "RuntimeError: the handler cancelled itself"


def first_line(status: RunStatus) -> str:
    return (status.last_error or "").split("\n")[0]


@pytest.mark.parametrize("handler", CANCELLED, ids=lambda each: each.__name__)
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_in_a_batch_a_cancellation_of_its_own_is_a_failed_attempt(
    kit: Kit, handler: Any, concurrency: int
) -> None:
    @kit.job("job", max_attempts=1)
    async def job(ctx: Any, number: int) -> int:
        if number == 1:
            await handler(ctx)
        return number

    async with kit.bound() as w:
        ids = await w.create_in_order("job", range(4))
        assert await w.deliver(*ids, concurrency=concurrency) == ["ack"] * 4
        states = [(await w.status(run_id)).state for run_id in ids]
        assert states == ["succeeded", "failed", "succeeded", "succeeded"]
        assert first_line(await w.status(ids[1])) == OWN


@pytest.mark.parametrize("handler", CANCELLED, ids=lambda each: each.__name__)
async def test_on_a_file_a_cancellation_of_its_own_is_a_failed_attempt_at_once(
    tmp_path: Path, handler: Any
) -> None:
    app = Kumofire()
    app.job("job", max_attempts=1)(handler)
    status = await embedded(tmp_path, app, "job", lease=600)
    assert (status.state, status.attempt, first_line(status)) == ("failed", 1, OWN)


async def test_a_consumer_that_carries_an_old_request_to_cancel_is_not_being_cancelled(kit: Kit) -> None:
    kit.job("job", max_attempts=1)(cancels_itself)
    async with kit.bound() as w:
        run_id = await w.create("job")
        await swallows(None)
        assert await w.deliver(run_id) == ["ack"]
        assert first_line(await w.status(run_id)) == OWN


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_what_a_cancelled_consumer_was_at_is_left_to_the_lease(kit: Kit, concurrency: int) -> None:
    begun = asyncio.Event()

    @kit.job("job", max_attempts=1)
    async def job(ctx: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with kit.bound() as w:
        ids = [await w.create("job") for _ in range(3)]
        consuming = asyncio.ensure_future(w.deliver(*ids, concurrency=concurrency))
        await begun.wait()
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming
        assert await w.jobs.count_runs() == {"running": 3}


def test_what_a_worker_was_at_when_its_loop_ends_is_given_back(tmp_path: Path) -> None:
    app, begun, opened = Kumofire(), [], list[Any]()

    @app.job("job", max_attempts=1)
    async def job(ctx: Any) -> None:
        begun.append(ctx.attempt)
        await asyncio.sleep(60)

    async def main() -> None:
        opened.append(app.open(tmp_path / "jobs.db"))
        jobs = await opened[0].__aenter__()  # and never left
        ids = [(await jobs.create("job")).kumofire_job_run_id for _ in range(3)]
        opened.append(asyncio.ensure_future(jobs.run(grace=0)))
        while len(begun) < len(ids):
            await asyncio.sleep(0.001)

    async def found() -> list[tuple[str, int]]:
        async with app.open(tmp_path / "jobs.db") as jobs:
            return [(run.state, run.attempt) for run in (await jobs.list_runs()).runs]

    asyncio.run(main())
    assert asyncio.run(found()) == [("queued", 0)] * 3


@pytest.mark.parametrize("handler", [asks, swallows], ids=lambda each: each.__name__)
@pytest.mark.parametrize("on_a_file", [True, False], ids=["file", "batch"])
async def test_what_it_commits_with_a_request_to_cancel_in_its_task_is_committed_once(
    kit: Kit, tmp_path: Path, handler: Any, on_a_file: bool
) -> None:
    async def note(ctx: Any) -> str:
        await handler(ctx)
        ctx.commit([("INSERT INTO notes VALUES (?)", (ctx.run.id,))])
        return "noted"

    async def other(ctx: Any) -> str:
        await asyncio.sleep(0)
        return "other"

    kit.job("note", max_attempts=1)(note)
    kit.job("other", max_attempts=1)(other)
    async with kit.bound(tmp_path / "jobs.db", with_queue=not on_a_file) as w:
        await w.sql("CREATE TABLE notes (run TEXT)")
        ids = [await w.create(name) for name in ("note", "other", "note")]
        if not on_a_file:
            assert await w.deliver(*ids) == ["ack"] * 3
    if on_a_file:
        async with kit.app.open(tmp_path / "jobs.db") as jobs:
            worker = asyncio.ensure_future(jobs.run(concurrency=1))
            for run_id in ids:
                await jobs.wait(run_id)
            jobs.stop()
            await worker
    async with kit.bound(tmp_path / "jobs.db") as w:
        assert [(await w.status(run_id)).result for run_id in ids] == ["noted", "other", "noted"]
        assert sorted(row[0] for row in await w.sql("SELECT run FROM notes")) == sorted([ids[0], ids[2]])
