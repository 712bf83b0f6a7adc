"""A schedule of a flow: each occurrence is an instance."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flows import Data, Handlers, Order
from harness import Kit

from kumofire_fsm.errors import DefinitionError


@pytest.mark.parametrize("number", [7, 10**200], ids=["small data", "large data"])
async def test_an_occurrence_is_an_instance_at_its_first_step(kit: Kit, number: int) -> None:
    shop = Handlers(kit.app, Order)
    async with kit.bound() as w:
        data = Data(number=5, charge_id=str(number) * (1 if number == 7 else 3))
        await w.jobs.create_schedule(Order, data, every=timedelta(minutes=1))
        kit.clock.advance(minutes=1)
        await w.jobs.dispatch()
        (run,) = (await w.jobs.list_runs(name="order")).runs
        assert (run.state, run.step) == ("queued", "reserve")
        assert await w.deliver(run.kumofire_job_run_id) == ["ack"]
        assert (await w.status(run.kumofire_job_run_id)).step == "shipped"
        assert shop.seen[0][-1] == data


async def test_a_schedule_is_declared_for_a_flow(kit: Kit) -> None:
    Handlers(kit.app, Order)
    kit.app.schedule(every=timedelta(hours=1), payload={"number": 5})(Order)
    async with kit.bound() as w:
        await w.jobs.sync_schedules()
        (schedule,) = await w.jobs.list_schedules()
        assert (schedule.name, schedule.schedule_key) == ("order", "order")
        assert schedule.payload == {"number": 5, "total": 100, "charge_id": None}


async def test_a_schedule_of_a_flow_that_is_not_registered_is_refused(kit: Kit) -> None:
    kit.app.schedule(every=timedelta(hours=1))(Order)
    with pytest.raises(DefinitionError, match="registered as no job"):
        kit.app.registry.declared_schedules()
