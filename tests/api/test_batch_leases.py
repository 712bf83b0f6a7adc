"""In a batch nothing renews a lease beside the handlers, so each lasts as long as its attempt may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from harness import Bound, Kit
from pydantic import BaseModel

from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.flows import End, Flow, Task

QUICK = Timing(lease_ms=5_000)
HOMES = {
    "without a queue": (False, None),
    "without a queue, with a short lease": (False, QUICK),
    "with a queue and a short lease": (True, QUICK),
}


class Data(BaseModel):
    n: int = 0


class Two(Flow[Data]):
    "Two long steps."

    first = Task("The first.", initial=True, timeout=timedelta(minutes=2))
    second = Task("The second.", timeout=timedelta(minutes=2))
    end = End("It ends.")
    done = first >> second | second >> end


@asynccontextmanager
async def bound(kit: Kit, home: str) -> AsyncIterator[Bound]:
    """Bind an application; after 40 s of each handler another process has its tick."""
    with_queue, timing = HOMES[home]

    async def long(ctx: Any) -> None:
        kit.clock.advance(5)
        await ctx.heartbeat(progress=1)
        kit.clock.advance(40)
        await w.jobs.dispatch()

    async def step(ctx: Any, data: Data) -> None:
        await long(ctx)

    kit.job("long", timeout=120)(long)
    kit.app.step(Two.first)(step)
    kit.app.step(Two.second)(step)
    async with kit.bound(with_queue=with_queue, timing=timing) as w:
        yield w


@pytest.mark.parametrize("home", HOMES)
async def test_a_heartbeat_shortens_no_lease_of_a_batch(kit: Kit, home: str) -> None:
    async with bound(kit, home) as w:
        run_id = await w.create("long")
        assert await w.deliver(run_id) == ["ack"]
        events = [entry.event for entry in (await w.status(run_id)).history]
        assert events[-2:] == ["start", "succeed"]


@pytest.mark.parametrize("home", HOMES)
async def test_a_step_of_a_flow_shortens_no_lease_of_a_batch(kit: Kit, home: str) -> None:
    async with bound(kit, home) as w:
        run_id = (await w.jobs.create(Two, Data())).kumofire_job_run_id
        assert await w.deliver(run_id) == ["ack"]
        events = [entry.event for entry in (await w.status(run_id)).history]
        assert events[-3:] == ["start", "advance", "succeed"]
