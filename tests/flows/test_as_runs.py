"""An instance is a run: it is created, deduplicated, prepared, expired, listed and pruned as any other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flows import Data, Entity, Handlers, Order, Trial, Verdict, steps
from harness import Kit

from kumofire_fsm import Fail, NewRun
from kumofire_fsm.errors import InvalidArgument, UnknownJob


@pytest.fixture
def shop(kit: Kit) -> Handlers:
    return Handlers(kit.app, Order, Entity, Trial)


async def test_instances_are_created_in_bulk_with_tags_dedupe_and_a_time(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        made = await w.jobs.create_many(
            [
                NewRun(Order, Data(number=1), tags=["a"]),
                NewRun(Entity, Data(number=2), dedupe_key="k"),
                NewRun("trial", {"number": 3}, delay=60),
            ]
        )
        again = await w.jobs.create(Entity, Data(number=9), dedupe_key="k")
        assert (again.is_new, again.kumofire_job_run_id) == (False, made[1].kumofire_job_run_id)
        found = {run.name: (run.step, run.state) for run in (await w.jobs.list_runs()).runs}
        assert found == {
            "order": ("reserve", "queued"),
            "entity": ("placed", "parked"),
            "trial": ("welcome", "queued"),
        }
        assert [run.name for run in (await w.jobs.list_runs(tag="a")).runs] == ["order"]
        assert (await w.jobs.count_runs(name="order")) == {"queued": 1}


async def test_a_job_is_named_by_its_flow_or_its_handler_wherever_a_name_is_taken(
    kit: Kit, shop: Handlers
) -> None:
    @kit.job("mail", aliases=["post"])
    async def mail(ctx: Any) -> None:
        pass

    told: list[str] = []
    kit.app.on_enter("canceled", job=Entity)(lambda transition: told.append(transition.run.name))
    async with kit.bound() as w:
        order, entity = [await w.create(flow, Data()) for flow in (Order, Entity)]
        sent = await w.create(mail)
        for job, run_id in ((Order, order), (Entity, entity), (mail, sent)):
            (run,) = (await w.jobs.list_runs(name=job)).runs
            assert run.kumofire_job_run_id == run_id
            assert sum((await w.jobs.count_runs(name=job)).values()) == 1
            assert (await w.jobs.match_runs("cancel", name=job)).run_ids == (run_id,)
        assert (await w.jobs.pause_job(Order)).name == "order"
        assert (await w.jobs.limit_job(mail, 2)).limit == 2
        assert (await w.jobs.resume_job(Order)).paused_at is None
        await w.jobs.signal(entity, Entity.drop, Verdict(by="ana"))
        assert told == ["entity"]
        for read in (w.jobs.list_runs, w.jobs.count_runs):
            with pytest.raises(UnknownJob, match="is the handler of no job here"):
                await read(name=steps)
            with pytest.raises(InvalidArgument, match="by its name, its handler or its flow; found 5"):
                await read(name=5)
        assert (await w.jobs.list_runs(name="of another application")).runs == ()


async def test_an_instance_is_prepared_for_a_transaction_of_ones_own(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        prepared = w.jobs.prepare_create(Order, Data(number=1))
        for sql, values in prepared.statements:
            await w.sql(sql, *values)
        await w.deliver(prepared.kumofire_job_run_id)
        assert (await w.status(prepared.kumofire_job_run_id)).step == "shipped"


async def test_a_step_starts_children_in_the_transaction_of_its_own_advance(kit: Kit, shop: Handlers) -> None:
    kit.app.job("mail")(lambda ctx, number: number)

    async def pack(ctx: Any, order: Data) -> None:
        ctx.commit(ctx.jobs.prepare_create("mail", order.number).statements)
        ctx.commit(ctx.jobs.prepare_create(Entity, order).statements)

    tasks = kit.app.registry.jobs["order"].tasks
    kit.app.registry.jobs["order"].tasks["pack"] = _with(tasks["pack"], pack)
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(number=7))
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "shipped"
        names = sorted(run.name for run in (await w.jobs.list_runs()).runs)
        assert names == ["entity", "mail", "order"]


async def test_what_a_step_commits_is_refused_with_its_advance(kit: Kit, shop: Handlers) -> None:
    async def pack(ctx: Any, _order: Data) -> None:
        ctx.commit([("INSERT INTO no_such_table VALUES (1)", ())])

    tasks = kit.app.registry.jobs["order"].tasks
    kit.app.registry.jobs["order"].tasks["pack"] = _with(tasks["pack"], pack)
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(number=7))
        for _ in range(4):
            await w.deliver(run_id)
            kit.clock.advance(60)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "undone")
        assert "no_such_table" in str(status.last_error)


async def test_an_instance_that_ends_is_pruned_and_one_that_waits_is_not(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        ids = [await w.create(Order, Data()), await w.create(Order, Data(total=200_000))]
        await w.deliver(*ids)
        kit.clock.advance(hours=1)
        assert await w.jobs.prune(older_than=timedelta(minutes=1)) == 1
        assert [run.step for run in (await w.jobs.list_runs()).runs] == ["approval"]


async def test_an_instance_that_did_not_start_in_time_expires(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        expires = kit.clock.time + timedelta(seconds=10)
        run_id = (await w.jobs.create(Trial, Data(), expires_at=expires)).kumofire_job_run_id
        kit.clock.advance(minutes=3)
        await w.jobs.dispatch()
        status = await w.status(run_id)
        assert (status.state, status.step, shop.calls) == ("canceled", "welcome", [])


async def test_a_failed_instance_is_listed_and_goes_on_where_it_failed(kit: Kit, shop: Handlers) -> None:
    shop.fails["welcome"] = Fail("no mail")
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data(number=3))
        await w.deliver(run_id)
        (failed,) = (await w.jobs.list_runs(state="failed")).runs
        assert (failed.kumofire_job_run_id, failed.step) == (run_id, "welcome")
        shop.fails.clear()
        assert (await w.jobs.redrive(run_id, by="ana")).state == "ready"
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "trying"


async def test_a_raw_write_to_another_step_is_refused(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        await w.deliver(run_id)
        for step in ("shipped", "reserve", "nowhere", "ship"):
            with pytest.raises(Exception, match="kumofire: the flow has no such edge"):
                await w.sql("UPDATE kumofire_runs SET step = ? WHERE id = ?", step, run_id)
        with pytest.raises(Exception, match="kumofire: a run keeps its machine"):
            await w.sql("UPDATE kumofire_runs SET machine = 'order@3' WHERE id = ?", run_id)
        assert (await w.status(run_id)).step == "approval"


def _with(definition: Any, handler: Any) -> Any:
    return replace(definition, handler=handler)
