"""A lifecycle whose guards read the payload: only orders above 100 need a second person."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from harness import Kit
from pydantic import BaseModel, Field

from kumofire_fsm import RunMachine
from kumofire_fsm.errors import DefinitionError, GuardFailed, InvalidPayload
from kumofire_fsm.machines import Event, Role, State
from kumofire_fsm.values.limits import INLINE_BYTES


class Order(BaseModel):
    amount: int
    note: str = ""


class ApprovedOrder(RunMachine):
    payload = {"amount": int}

    approval = State("A person looks at it.", role=Role.WAITING, waits=True, initial=True)
    second = State("Another looks at large ones.", role=Role.WAITING, waits=True)

    approve = Event(approval.to(second, cond="payload.amount > 100") | approval.to(RunMachine.ready))
    waive = Event(approval.to(RunMachine.ready, cond="payload.amount <= 100"))
    agree = Event(second.to(RunMachine.ready))
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled) | second.to(RunMachine.canceled)


@pytest.fixture
def shop(kit: Kit) -> Kit:
    @kit.job("ship", machine=ApprovedOrder)
    async def ship(ctx: Any, order: Order) -> int:
        return order.amount

    return kit


LARGE = "x" * INLINE_BYTES


@pytest.mark.parametrize("note", ["", LARGE], ids=["in its row", "apart"])
async def test_only_orders_above_100_need_a_second_person(shop: Kit, note: str) -> None:
    async with shop.bound() as w:
        small, large = await w.create_in_order("ship", [Order(amount=n, note=note) for n in (100, 101)])
        assert [(await w.row(each))["payload"] == "" for each in (small, large)] == [bool(note)] * 2
        for each in (small, large):
            await w.jobs.fire(each, "approve", by="ana")
        assert (await w.state(small), await w.state(large)) == ("ready", "second")
        await w.jobs.fire(large, "agree", by="ben")
        assert await w.state(large) == "ready"


async def test_a_guard_that_refuses_is_told_with_its_text(shop: Kit) -> None:
    async with shop.bound() as w:
        run_id = await w.create("ship", Order(amount=101, note=LARGE))
        with pytest.raises(GuardFailed, match=r"needs payload\.amount <= 100$"):
            await w.jobs.fire(run_id, "waive")
        assert await w.state(run_id) == "approval"


async def test_a_run_of_a_schedule_is_judged_by_the_payload_of_its_schedule(shop: Kit) -> None:
    async with shop.bound() as w:
        for amount in (100, 101):
            every = {"every": timedelta(hours=1), "schedule_key": str(amount)}
            await w.jobs.upsert_schedule("ship", Order(amount=amount, note=LARGE), **every)
        shop.clock.advance(3_700)
        await w.jobs.dispatch()
        for run in (await w.jobs.list_runs()).runs:
            await w.jobs.fire(run.kumofire_job_run_id, "approve")
        assert await w.jobs.count_runs() == {"ready": 1, "second": 1}


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"note": "no amount"}, "'amount' must be an integer, and is missing"),
        ({"amount": "101"}, "'amount' must be an integer; found str"),
        ({"amount": None}, "'amount' must be an integer; found null"),
        (101, "'amount' must be an integer, and is missing"),
    ],
)
async def test_a_payload_that_the_guards_cannot_read_is_refused_before_anything_is_stored(
    kit: Kit, payload: object, why: str
) -> None:
    @kit.job("ship", machine=ApprovedOrder)
    async def ship(ctx: Any, order: Any) -> None: ...

    message = f"the payload of 'ship' does not fit its lifecycle 'approved_order': {why}"
    async with kit.bound() as w:
        for make in (
            lambda: w.jobs.create("ship", payload),
            lambda: w.jobs.upsert_schedule("ship", payload, schedule_key="daily", every=timedelta(days=1)),
        ):
            with pytest.raises(InvalidPayload, match=f"^{re.escape(message)}$"):
                await make()
        assert await w.sizes() == dict.fromkeys(await w.sizes(), 0)


class Aliased(BaseModel):
    total: int = Field(alias="amount")


class Other(BaseModel):
    amuont: int


@pytest.mark.parametrize("payload", [Order, Aliased, dict[str, Any], Any, Order | Other])
def test_a_handler_whose_payload_may_have_the_field_is_registered(kit: Kit, payload: Any) -> None:
    async def ship(ctx: Any, order: Any) -> None: ...

    ship.__annotations__["order"] = payload
    kit.job("ship", machine=ApprovedOrder)(ship)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (Other, "reads payload.amount, and the handler's payload has no such field (did you mean 'amuont'?); it has amuont"),
        (int, "reads payload.amount, and the handler's payload is no object with fields"),
        (list[Order], "reads payload.amount, and the handler's payload is no object with fields"),
    ],
)  # fmt: skip
def test_a_handler_whose_payload_never_has_the_field_is_refused(kit: Kit, payload: Any, why: str) -> None:
    async def ship(ctx: Any, order: Any) -> None: ...

    ship.__annotations__["order"] = payload
    with pytest.raises(
        DefinitionError, match=f"^job 'ship': the lifecycle 'approved_order' {re.escape(why)}$"
    ):
        kit.job("ship", machine=ApprovedOrder)(ship)


def test_a_handler_without_a_payload_is_refused(kit: Kit) -> None:
    async def ship(ctx: Any) -> None: ...

    with pytest.raises(DefinitionError, match=r"reads payload\.amount, and the handler takes no payload$"):
        kit.job("ship", machine=ApprovedOrder)(ship)
