"""Flows on the embedded runtime, from the first step to an end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest
from flows import CardDeclined, Data, Entity, Order, Verdict

from kumofire_fsm import Kumofire
from kumofire_fsm.errors import InvalidPayload, TransitionNotAllowed, UnknownSignal


class Shop:
    """An application that serves orders, and notes what its handlers did."""

    def __init__(self, **fails: BaseException) -> None:
        self.app, self.calls, self.fails = Kumofire(), [], fails
        for task in (Order.reserve, Order.charge, Order.pack, Order.ship):
            self.app.step(task)(self._handler(task.id))
        for task in (Order.reserve, Order.charge):
            self.app.undo(task)(self._handler(f"undo {task.id}"))
        self.app.flow(Entity)

    def _handler(self, name: str) -> Any:
        async def handle(ctx: Any, order: Data) -> Data | None:
            self.calls.append(name)
            if name in self.fails:
                raise self.fails[name]
            return order.model_copy(update={"charge_id": f"paid {ctx.key[-1]}"}) if name == "charge" else None

        return handle

    @asynccontextmanager
    async def open(self, path):
        async with self.app.open(path) as jobs:
            worker = asyncio.ensure_future(jobs.run())
            yield jobs
            jobs.stop()
            await worker


def steps(status: Any) -> list[tuple[str, str]]:
    """Return (event, step) of each entry of a history that entered a step."""
    return [(e.event, e.facts["step"]) for e in status.history if "step" in e.facts]


async def wait_for_step(jobs, run_id, step):
    async with asyncio.timeout(600):
        while (status := await jobs.get_status(run_id)).step != step or status.state == "running":
            await asyncio.sleep(0.01)
    return status


def test_an_order_goes_from_step_to_step_to_its_end(tmp_path):
    async def scenario():
        shop = Shop()
        async with shop.open(tmp_path / "jobs.db") as jobs:
            created = await jobs.create(Order, Data(number=1, total=100))
            return shop.calls, await jobs.wait(created.kumofire_job_run_id, timeout=600)

    calls, status = asyncio.run(scenario())
    assert calls == ["reserve", "charge", "pack", "ship"]
    assert (status.state, status.step) == ("succeeded", "shipped")
    assert steps(status) == [
        ("create", "reserve"),
        ("advance", "charge"),
        ("advance", "pack"),
        ("advance", "ship"),
        ("succeed", "shipped"),
    ]


def test_a_large_order_waits_for_a_signal_and_goes_on(tmp_path):
    async def scenario():
        shop = Shop()
        async with shop.open(tmp_path / "jobs.db") as jobs:
            run_id = (await jobs.create(Order, Data(total=200_000))).kumofire_job_run_id
            waiting = await wait_for_step(jobs, run_id, "approval")
            told = await jobs.signal(run_id, Order.approve, Verdict(by="ana"), key="webhook-17", by="ana")
            await jobs.signal(run_id, Order.approve, Verdict(by="ana"), key="webhook-17")
            return shop.calls, waiting, told, await jobs.wait(run_id, timeout=600)

    calls, waiting, told, status = asyncio.run(scenario())
    assert (waiting.state, waiting.step) == ("waiting", "approval")
    assert told.step in ("pack", "ship", "shipped")
    assert calls == ["reserve", "charge", "pack", "ship"]
    assert (status.state, status.step) == ("succeeded", "shipped")
    assert ("rest", "approval") in steps(status)
    assert steps(status).count(("approve", "pack")) == 1


def test_a_signal_that_comes_early_is_kept_until_the_flow_waits_for_it(tmp_path):
    async def scenario():
        shop = Shop()
        async with shop.app.open(tmp_path / "jobs.db") as jobs:
            run_id = (await jobs.create(Order, Data(total=200_000))).kumofire_job_run_id
            early = await jobs.signal(run_id, Order.approve, Verdict(by="ana"))
            worker = asyncio.ensure_future(jobs.run())
            status = await jobs.wait(run_id, timeout=600)
            jobs.stop()
            await worker
            return early, status

    early, status = asyncio.run(scenario())
    assert early.step == "reserve"
    assert (status.state, status.step) == ("succeeded", "shipped")
    assert steps(status)[2:4] == [("advance", "approval"), ("advance", "pack")]


def test_what_was_done_is_undone_the_last_first_when_a_step_fails_for_good(tmp_path):
    async def scenario():
        shop = Shop(charge=CardDeclined("no"))
        async with shop.open(tmp_path / "jobs.db") as jobs:
            run_id = (await jobs.create(Order, Data())).kumofire_job_run_id
            one = await jobs.wait(run_id, timeout=600)
            shop.fails = {"pack": CardDeclined("no")}
            shop.calls.append("--")
            run_id = (await jobs.create(Order, Data(), max_attempts=1)).kumofire_job_run_id
            return shop.calls, one, await jobs.wait(run_id, timeout=600)

    calls, one, two = asyncio.run(scenario())
    assert calls[:2] == ["reserve", "charge"]
    assert (one.state, one.step) == ("failed", "undone")
    assert "CardDeclined" in one.last_error
    assert calls[calls.index("--") + 1 :] == [
        "reserve",
        "charge",
        "pack",
        "pack",
        "pack",
        "undo charge",
        "undo reserve",
    ]
    assert (two.state, two.step) == ("failed", "undone")


def test_an_entity_is_moved_by_signals_alone(tmp_path):
    async def scenario():
        async with Shop().app.open(tmp_path / "jobs.db") as jobs:
            run_id = (await jobs.create(Entity, Data())).kumofire_job_run_id
            seen = [await jobs.get_status(run_id)]
            seen.append(await jobs.signal(run_id, Entity.pay))
            seen.append(await jobs.signal(run_id, Entity.ship))
            with pytest.raises(TransitionNotAllowed):
                await jobs.signal(run_id, Entity.ship)
            with pytest.raises(UnknownSignal, match="it has pay, ship, drop"):
                await jobs.signal(run_id, "buy")
            with pytest.raises(InvalidPayload):
                await jobs.signal(run_id, Entity.drop, {"who": 1})
            return [(s.state, s.step) for s in seen]

    assert asyncio.run(scenario()) == [("parked", "placed"), ("waiting", "paid"), ("succeeded", "shipped")]
