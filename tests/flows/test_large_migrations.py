"""Large data on its way to a flow's later version: statements and answers stay within their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fakes import FakeMessage
from harness import Bound, Kit
from pydantic import BaseModel

from kumofire_fsm import Fail
from kumofire_fsm.cli.storages import SQL_BYTES, _spelled
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.flows import End, Flow, Task
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.reports import FiredAll
from kumofire_fsm.store.schema import migrate
from kumofire_fsm.values.limits import ANSWER_BYTES, PAYLOAD_BYTES, STATEMENT_BYTES


class Data(BaseModel):
    text: str = ""


def declared(version: int) -> Any:
    class Order(Flow[Data], version=version):
        """A flow of one step."""

        work = Task("It works.", initial=True, max_attempts=1)
        over = End("It is over.")
        done = work >> over

    return Order


async def later(kit: Kit, w: Bound) -> Any:
    """Return a binding of an application with the next version on the same database."""
    app, flow = kit.another_app(), declared(2)

    async def work(ctx: Any, data: Any) -> None: ...

    app.step(flow.work)(work)
    app.upgrade(flow, from_version=1)(lambda data: {"text": data["text"] + "!"})
    jobs = app.bind(db=w.storage, queue=w.queue)
    await w.storage.inner.call(lambda db: migrate(db, list(jobs._binding.runs.specs.values())))
    return jobs


def watch(w: Bound, before: Callable[[Sequence[Statement]], None] = lambda statements: None) -> Counter[str]:
    """Return the largest argument and answer of what is executed from now on, in bytes."""
    found = Counter[str]()
    passed = w.storage._pass

    async def measured(statements: Sequence[Statement], act: Any) -> list[list[Row]]:
        before(statements)
        sizes = [len((each.given() or "").encode()) for each in statements]
        found["argument"] = max(found["argument"], *sizes)
        answers = await passed(statements, act)
        total = sum(len(str(column).encode()) for rows in answers for row in rows for column in row)
        found["answer"] = max(found["answer"], total)
        found["batches"] += len(statements) > 1
        return answers

    w.storage._pass = measured  # type: ignore[method-assign]
    return found


async def instances(kit: Kit, w: Bound, flow: Any, number: int, size: int) -> list[str]:
    return [await w.create(flow, Data(text='"' * size)) for _ in range(number)]


@pytest.mark.parametrize(("number", "size"), [(101, 20_000), (40, 120_000)])
async def test_instances_with_large_data_are_moved_in_statements_within_the_limit(
    kit: Kit, number: int, size: int
) -> None:
    flow = declared(1)
    kit.app.step(flow.work)(lambda ctx, data: None)
    async with kit.bound() as w:
        await instances(kit, w, flow, number, size)
        jobs = await later(kit, w)
        found = watch(w)
        (plan,) = await jobs.plan_flows()
        assert (plan.live, plan.refused, await jobs.migrate_flows()) == (number, False, number)
        assert found["argument"] <= STATEMENT_BYTES + 2 * PAYLOAD_BYTES
        assert found["answer"] <= ANSWER_BYTES + 2 * PAYLOAD_BYTES
        rows = await w.sql("SELECT DISTINCT machine, payload FROM kumofire_runs")
        bodies = await w.sql("SELECT count(*) FROM kumofire_bodies WHERE body LIKE '%!\"}'")
        assert (rows, bodies) == ([("order@2", "")], [(number,)])


async def test_settled_instances_with_large_data_begin_again_in_statements_within_the_limit(kit: Kit) -> None:
    flow = declared(1)

    async def work(ctx: Any, data: Any) -> None:
        raise Fail("no")

    kit.app.step(flow.work)(work)
    async with kit.bound() as w:
        ids = await instances(kit, w, flow, 40, 120_000)
        await w.jobs.consume_batch([FakeMessage.of(each) for each in ids])
        jobs = await later(kit, w)
        found = watch(w)
        matched = await jobs.match_runs("redrive", state="failed")
        assert await jobs.fire_all(matched) == FiredAll(40, 0, 0)
        assert found["argument"] <= STATEMENT_BYTES + 2 * PAYLOAD_BYTES
        assert found["answer"] <= ANSWER_BYTES + 2 * PAYLOAD_BYTES


async def test_a_storage_that_takes_less_is_given_fewer_instances_at_once(kit: Kit) -> None:
    flow = declared(1)
    kit.app.step(flow.work)(lambda ctx, data: None)

    def refuse(statements: Sequence[Statement]) -> None:
        """Refuse what `kumofire machine migrate --d1` could not send."""
        if len(";\n".join(map(_spelled, statements))) > SQL_BYTES:
            raise RowRefused("more than this storage takes")

    async with kit.bound() as w:
        await instances(kit, w, flow, 100, 1_000)
        jobs = await later(kit, w)
        found = watch(w, refuse)
        assert await jobs.migrate_flows() == 100
        assert found["batches"] == 8


async def test_an_instance_that_the_database_refuses_alone_stops_a_migration_after_those_before_it(
    kit: Kit,
) -> None:
    flow = declared(1)
    kit.app.step(flow.work)(lambda ctx, data: None)
    async with kit.bound() as w:
        ids = sorted(await instances(kit, w, flow, 5, 10))
        jobs = await later(kit, w)

        def refuse(statements: Sequence[Statement]) -> None:
            moves = [each for each in statements if each.name == "flows.migrate"]
            if any(ids[3] in (each.given() or "") for each in moves):
                raise RowRefused("not this one")

        watch(w, refuse)
        with pytest.raises(RowRefused, match="not this one"):
            await jobs.migrate_flows()
        rows = await w.sql("SELECT count(*) FROM kumofire_runs WHERE machine = 'order@2'")
        assert rows == [(3,)]
