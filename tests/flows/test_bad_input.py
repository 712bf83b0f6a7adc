"""What flows are given that they cannot take is a typed error or a state that can be seen, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flows import Data, Entity, Handlers, Order, Trial, Verdict
from harness import Kit
from pydantic import BaseModel

from kumofire_fsm import Fire
from kumofire_fsm.errors import (
    InvalidPayload,
    MigrationConflict,
    TooLarge,
    TransitionNotAllowed,
    UnknownJob,
    UnknownRun,
    UnknownSignal,
)
from kumofire_fsm.flows import End, Flow, Task
from kumofire_fsm.signals import Go

NOBODY = "019b76da-a800-7cb1-bff6-9416823a74ec"


@pytest.fixture
def shop(kit: Kit) -> Handlers:
    return Handlers(kit.app, Order, Entity, Trial)


def answer(kit: Kit, flow: str, step: str, value: Any) -> None:
    """Have a step's handler return a value."""

    async def handle(_ctx: Any, _data: Any) -> Any:
        return value

    tasks = kit.app.registry.jobs[flow].tasks
    tasks[step] = replace(tasks[step], handler=handle)


async def test_a_signal_that_nobody_can_take_is_refused_and_changes_nothing(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        entity = await w.create(Entity, Data())
        before = await w.row(entity)
        with pytest.raises(UnknownRun):
            await w.jobs.signal(NOBODY, Entity.pay)
        with pytest.raises(UnknownSignal, match="it has pay, ship, drop"):
            await w.jobs.signal(entity, Order.approve, Verdict(by="ana"))
        with pytest.raises(InvalidPayload, match="does not validate"):
            await w.jobs.signal(entity, Entity.drop, {"who": "ana"})
        with pytest.raises(InvalidPayload, match="carries nothing; found dict"):
            await w.jobs.signal(entity, Entity.pay, {})
        with pytest.raises(TooLarge, match="the signal 'drop' of 'entity'"):
            await w.jobs.signal(entity, Entity.drop, Verdict(by="a" * 5000))
        assert await w.row(entity) == before
        await w.jobs.signal(entity, Entity.pay)
        await w.jobs.signal(entity, Entity.ship)
        with pytest.raises(TransitionNotAllowed):
            await w.jobs.signal(entity, Entity.ship)


async def test_a_refused_signal_does_not_show_what_it_carried(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        entity = await w.create(Entity, Data())
        with pytest.raises(InvalidPayload) as caught:
            await w.jobs.signal(entity, Entity.drop, {"by": ["4111-1111"]})
        assert "by" in str(caught.value)
        assert "4111" not in str(caught.value)


async def test_a_plain_run_takes_no_signal(kit: Kit, shop: Handlers) -> None:
    kit.app.job("plain")(lambda ctx: None)
    async with kit.bound() as w:
        run_id = await w.create("plain")
        with pytest.raises(UnknownSignal, match=r"which is no flow$"):
            await w.jobs.signal(run_id, "pay")


async def test_data_over_the_limit_or_of_another_shape_is_refused(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        with pytest.raises(TooLarge):
            await w.jobs.create(Order, Data(charge_id="x" * 300_000))
        with pytest.raises(InvalidPayload):
            await w.jobs.create(Order, {"number": "many"})
        with pytest.raises(UnknownJob):
            await w.jobs.create(type("Other", (), {}))
        assert (await w.jobs.list_runs()).runs == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "InvalidResult"),
        ({"number": "many"}, "InvalidResult"),
        (Data(charge_id="x" * 300_000), "TooLarge"),
    ],
    ids=["another type", "another shape", "too large"],
)
async def test_a_handler_that_returns_something_else_has_failed_and_its_data_stays(
    kit: Kit, shop: Handlers, value: Any, said: str
) -> None:
    answer(kit, "trial", "welcome", value)
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data(number=7))
        before = (await w.row(run_id))["payload"]
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "welcome")
        assert said in str(status.last_error)
        assert (await w.row(run_id))["payload"] == before


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (Go("nowhere"), "'nowhere' out of 'welcome' is no edge from there; there are: done, cancel"),
        (Go(Trial.upgrade), "'upgrade' out of 'welcome' is no edge from there"),
        (Fire("advance"), "a step of a flow is left by Go"),
    ],
    ids=str,
)
async def test_a_handler_that_names_no_edge_has_failed_and_is_told_which_there_are(
    kit: Kit, shop: Handlers, raised: BaseException, said: str
) -> None:
    shop.fails["welcome"] = raised
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data(), max_attempts=1)
        await w.deliver(run_id)
        for _ in range(3):
            kit.clock.advance(10)
            await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "welcome")
        assert said in str(status.last_error)


async def test_an_instance_at_a_step_that_is_not_known_here_is_left_alone(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data())
        await w.sql("DROP TRIGGER kumofire_runs_step")
        await w.sql("UPDATE kumofire_runs SET step = 'of later code'")
        for _ in range(3):
            await w.deliver(run_id)
            kit.clock.advance(60)
        status = await w.status(run_id)
        assert (status.settled, status.step, status.attempt) == (False, "of later code", 0)
        assert shop.calls == []


async def test_data_that_no_longer_validates_fails_the_step_out_loud(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data(), max_attempts=1)
        await w.sql("""UPDATE kumofire_runs SET payload = '{"number": "many"}'""")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step, shop.calls) == ("failed", "welcome", [])
        assert "number" in str(status.last_error)


async def test_a_guard_that_cannot_compare_fails_the_step_out_loud(kit: Kit) -> None:
    class Loose(BaseModel):
        size: Any = 1

    class Sorted(Flow[Loose]):
        """A flow whose guard may be given a text."""

        sort = Task("It is sorted.", initial=True)
        large = End("It is large.")
        small = End("It is small.")
        done = sort.to(large, cond="data.size > 10") | sort >> small

    kit.app.step(Sorted.sort)(lambda ctx, data: None)
    async with kit.bound() as w:
        run_id = await w.create(Sorted, Loose(size="ten"))
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "sort")


async def test_an_upgrade_that_raises_is_told_by_the_plan_and_moves_nothing(kit: Kit) -> None:
    class Old(Flow[Data], flow="item"):
        """As it was."""

        make = Task("It is made.", initial=True)
        made = End("It is there.")
        done = make >> made

    class New(Flow[Data], version=2, flow="item"):
        """As it is."""

        make = Task("It is made.", initial=True)
        made = End("It is there.")
        done = make >> made

    kit.app.step(Old.make)(lambda ctx, data: None)
    async with kit.bound() as w:
        run_id = await w.create(Old, Data())
        later = kit.another_app()
        later.step(New.make)(lambda ctx, data: None)
        later.upgrade(New, from_version=1)(lambda data: data["nothing of that name"])
        jobs = later.bind(db=w.storage, queue=w.queue)
        (plan,) = await jobs.plan_flows()
        assert plan.refused
        assert "its upgrade raised KeyError: 'nothing of that name'" in str(plan)
        with pytest.raises(MigrationConflict, match=f"instance {run_id} of 'item' cannot be moved"):
            await jobs.migrate_flows()
        with pytest.raises(UnknownSignal, match="follows the machine 'item@1', which is an earlier version"):
            await jobs.signal(run_id, "go")
        assert (await w.row(run_id))["machine"] == "item@1"
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "made"


async def test_a_signal_that_carries_something_is_not_fired_without_it(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        entity = await w.create(Entity, Data())
        await w.jobs.signal(entity, Entity.pay)
        before = await w.row(entity)
        with pytest.raises(InvalidPayload, match="'drop' of 'entity' carries something: send"):
            await w.jobs.fire(entity, "drop")
        matched = await w.jobs.match_runs("drop", name=Entity)
        with pytest.raises(InvalidPayload, match="carries something"):
            await w.jobs.fire_all(matched)
        assert (matched.run_ids, await w.row(entity)) == ((entity,), before)
        assert (await w.jobs.fire(entity, "ship", by="ana")).step == "shipped"
