"""Handlers that do not end by themselves: timeouts, exceptions of the platform, a cancelled consumer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness import Kit


async def test_a_handler_over_its_timeout_is_stopped_and_tried_again(kit: Kit) -> None:
    cleaned = []

    @kit.job("slow", timeout=0.02)
    async def slow(ctx: Any) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            cleaned.append(ctx.attempt)

    @kit.job("quick")
    async def quick(ctx: Any) -> None:
        await asyncio.sleep(0)

    async with kit.bound() as w:
        ids = [await w.create("slow"), await w.create("quick")]
        dispositions = await w.deliver(*ids)
        status = await w.status(ids[0])
        assert (dispositions, status.state, cleaned) == ([2, "ack"], "retrying", [1])
        assert status.last_error.startswith(
            "TimeoutError: the handler took longer than its timeout of 0.02 s"
        )


class Killed(BaseException):
    """Such as a platform's CPU limit."""


async def test_a_base_exception_is_not_swallowed_and_the_lease_recovers_the_run(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> str:
        if ctx.attempt == 1:
            raise Killed
        return "second"

    async with kit.bound() as w:
        run_id = await w.create("job")
        with pytest.raises(Killed):
            await w.deliver(run_id)
        assert await w.state(run_id) == "running"
        kit.clock.advance(70)
        await w.jobs.dispatch()
        kit.clock.advance(2)
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.attempt, status.result) == ("succeeded", 2, "second")


async def test_cancelling_the_consumer_itself_settles_nothing(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        await asyncio.sleep(30)

    async with kit.bound() as w:
        run_id = await w.create("job")
        consuming = asyncio.ensure_future(w.deliver(run_id))
        while await w.state(run_id) != "running":
            await asyncio.sleep(0.001)
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming
        assert await w.state(run_id) == "running"
