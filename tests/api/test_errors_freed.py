"""What an error held is free as soon as nobody has the error any more, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Fail, Kumofire
from kumofire_fsm.errors import UnknownJob


class Held:
    """What a frame holds; a large list, say."""


class PanicException(BaseException):
    """As PyO3 raises it for a panic of Rust."""


held: list[weakref.ref[Held]] = []


def hold() -> Held:
    """Return something that is held, and remember it weakly."""
    something = Held()
    held.append(weakref.ref(something))
    return something


@pytest.fixture(autouse=True)
def _without_the_collector() -> Iterator[None]:
    held.clear()
    gc.disable()
    yield
    gc.enable()


async def awaits_and_raises(ctx: Any) -> None:
    something = hold()  # noqa: F841
    await asyncio.sleep(0.01)
    raise ValueError


async def takes_too_long(ctx: Any) -> None:
    something = hold()  # noqa: F841
    await asyncio.sleep(600)


async def calls_what_fails(ctx: Any) -> None:
    something = hold()  # noqa: F841
    await ctx.jobs.create("unknown")


async def survives_what_fails(ctx: Any) -> None:
    with pytest.raises(UnknownJob):
        await calls_what_fails(ctx)


async def fails_for_good(ctx: Any) -> None:
    something = hold()  # noqa: F841
    raise Fail("no")


async def commits_what_is_refused(ctx: Any) -> None:
    something = hold()  # noqa: F841
    ctx.commit([("INSERT INTO missing VALUES (1)", [])])


def raises(ctx: Any) -> None:
    something = hold()  # noqa: F841
    raise ValueError


def panics(ctx: Any) -> None:
    something = hold()  # noqa: F841
    raise PanicException


def returns_what_cannot_be_stored(ctx: Any) -> Any:
    return hold()


def calls_without_await_what_fails(ctx: Any) -> None:
    something = hold()  # noqa: F841
    ctx.jobs.create("unknown")


def survives_without_await_what_fails(ctx: Any) -> None:
    with pytest.raises(UnknownJob):
        calls_without_await_what_fails(ctx)


def calls_from_a_loop_of_its_own_what_fails(ctx: Any) -> None:
    asyncio.run(survives_what_fails(ctx))


HANDLERS: list[Callable[[Any], Any]] = [
    awaits_and_raises,
    takes_too_long,
    calls_what_fails,
    survives_what_fails,
    fails_for_good,
    commits_what_is_refused,
    raises,
    panics,
    returns_what_cannot_be_stored,
    calls_without_await_what_fails,
    survives_without_await_what_fails,
    calls_from_a_loop_of_its_own_what_fails,
]
WITHOUT_A_LOOP = [raises, returns_what_cannot_be_stored]


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
async def test_a_worker_on_a_file_keeps_nothing_of_a_run_that_has_settled(
    tmp_path: Path, handler: Callable[[Any], Any]
) -> None:
    app = Kumofire()
    app.job("job", max_attempts=1, timeout=0.3 if handler is takes_too_long else 600)(handler)

    @app.job("next")
    def follows(ctx: Any) -> None:
        """Nothing: a slot keeps its latest run until it has another."""

    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run(concurrency=1))
        for name in ("job", "next"):
            status = await jobs.wait((await jobs.create(name)).kumofire_job_run_id, timeout=600)
            assert status.settled
        assert [each() for each in held] == [None]
        jobs.stop()
        await worker


@pytest.mark.parametrize(
    "handler",
    [handler for handler in HANDLERS if asyncio.iscoroutinefunction(handler) or handler in WITHOUT_A_LOOP],
    ids=lambda handler: handler.__name__,
)
async def test_a_batch_keeps_nothing_of_a_run_that_has_settled(
    kit: Kit, handler: Callable[[Any], Any]
) -> None:
    kit.job("job", max_attempts=1, timeout=0.3 if handler is takes_too_long else 600)(handler)
    async with kit.bound() as w:
        run = await w.create("job")
        assert await w.deliver(run) == ["ack"]
        assert (await w.status(run)).settled
        assert [each() for each in held] == [None]


def test_the_synchronous_api_keeps_nothing_of_a_call_that_failed(tmp_path: Path) -> None:
    with Kumofire().open_sync(tmp_path / "jobs.db") as jobs:

        def fails() -> None:
            something = hold()  # noqa: F841
            jobs.create("unknown")

        with pytest.raises(UnknownJob):
            fails()
        assert [each() for each in held] == [None]
