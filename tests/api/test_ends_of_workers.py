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
        status = await jobs.wait((await jobs.create(name)).kumofire_job_run_id, timeout=5)
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
        states = [(await jobs.wait(run_id, timeout=5)).state for run_id in ids]
        jobs.stop()
        await worker
        assert states == ["succeeded"] * 10
