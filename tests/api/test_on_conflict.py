"""A dedupe key whose run has another payload: it is told, refused, or replaced as long as the run has not started."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness import Bound, Kit
from pydantic import BaseModel, Field

from kumofire_fsm import Created, InvalidArgument
from kumofire_fsm.errors import DedupeConflict
from kumofire_fsm.models import OnConflict
from kumofire_fsm.values.hidden import HIDDEN


class Card(BaseModel):
    holder: str
    number: str = Field(repr=False)


def with_jobs(kit: Kit) -> Kit:
    @kit.job("echo")
    async def echo(ctx: Any, payload: Any) -> Any:
        return payload

    @kit.job("pay")
    async def pay(ctx: Any, card: Card) -> None: ...

    return kit


async def create(w: Bound, payload: Any, name: str = "echo", **options: Any) -> Created[Any]:
    return await w.jobs.create(name, payload, dedupe_key="k", **options)


BIG = {"text": "x" * 5000}
BIGGER = {"text": "y" * 9000}


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [({"a": 1, "b": 2}, {"b": 2, "a": 1}, False), (1, 1, False), (1, 2, True), (BIG, dict(BIG), False), (BIG, BIGGER, True), (1, BIG, True), (BIG, 1, True), (None, 0, True)],
)  # fmt: skip
async def test_a_second_create_tells_whether_the_payloads_differ_and_costs_no_statement(
    kit: Kit, first: Any, second: Any, differs: bool
) -> None:
    async with with_jobs(kit).bound() as w:
        made = await create(w, first)
        assert (made.is_new, made.payload_differs) == (True, False)
        w.storage.clear()
        again = await create(w, second)
        assert again == Created(made.kumofire_job_run_id, is_new=False, payload_differs=differs)
        assert [name for name in w.storage.names if not name.startswith("bodies")] == [
            "runs.insert",
            "runs.find_holders",
        ]


async def test_of_many_that_one_turn_creates_each_is_told_for_itself(kit: Kit) -> None:
    async with with_jobs(kit).bound() as w:
        found = await asyncio.gather(*(create(w, payload) for payload in (1, 2, 1)))
        assert [(each.is_new, each.payload_differs) for each in found] == [
            (True, False),
            (False, True),
            (False, False),
        ]


async def test_raise_refuses_another_payload_and_takes_the_same(kit: Kit) -> None:
    async with with_jobs(kit).bound() as w:
        made = await create(w, 1, on_conflict="raise")
        assert made.is_new is True
        assert (await create(w, 1, on_conflict="raise")).is_new is False
        with pytest.raises(DedupeConflict) as caught:
            await create(w, 2, on_conflict="raise")
        run_id = made.kumofire_job_run_id
        assert str(caught.value) == (
            f"run {run_id} of job 'echo' holds the dedupe key 'k' with another payload, and is queued: nothing "
            "was stored"
        )
        assert (caught.value.row_id, caught.value.state) == (run_id, "queued")
        assert (await w.status(run_id)).payload == 1


@pytest.mark.parametrize("old", [1, BIG], ids=["small", "large"])
@pytest.mark.parametrize("new", [2, BIGGER], ids=["small", "large"])
@pytest.mark.parametrize("later", [{}, {"delay": 3600}], ids=["queued", "ready"])
async def test_replace_gives_a_run_that_has_not_started_the_new_payload(
    kit: Kit, old: Any, new: Any, later: dict[str, Any]
) -> None:
    async with with_jobs(kit).bound() as w:
        made = await create(w, old, **later)
        replaced = await create(w, new, on_conflict="replace")
        assert replaced == Created(made.kumofire_job_run_id, is_new=False, replaced=True)
        run_id = made.kumofire_job_run_id
        status = await w.status(run_id)
        assert (status.payload, status.run_at == status.created_at) == (new, later == {})
        last = status.history[-1]
        said = {"replaced": 1} if old == 1 else {"replaced_bytes": 5011}
        assert (last.event, last.state, last.facts) == ("replace", status.state, said)
        assert (await create(w, new, on_conflict="replace")).replaced is False  # it is the same now
        kit.clock.advance(3600)
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == new


async def test_a_run_that_has_started_or_is_settled_is_not_replaced(kit: Kit) -> None:
    async with with_jobs(kit).bound() as w:
        run_id = (await create(w, 1)).kumofire_job_run_id
        await w.deliver(run_id)
        with pytest.raises(
            DedupeConflict, match=r"is succeeded: it is not replaced, because it has started or"
        ):
            await create(w, 2, on_conflict="replace")
        assert (await w.status(run_id)).payload == 1
        with pytest.raises(DedupeConflict, match="is canceled"):
            await w.jobs.cancel((await create(w, {"holder": "A", "number": "1"}, "pay")).kumofire_job_run_id)
            await create(w, {"holder": "B", "number": "1"}, "pay", on_conflict="replace")


async def test_the_history_hides_of_a_replaced_payload_what_its_type_hides(kit: Kit) -> None:
    async with with_jobs(kit).bound() as w:
        run_id = (await create(w, {"holder": "Ada", "number": "4111"}, "pay")).kumofire_job_run_id
        await create(w, {"holder": "Eve", "number": "4222"}, "pay", on_conflict="replace")
        status = await w.status(run_id)
        assert status.history[-1].facts == {"replaced": {"holder": "Ada", "number": HIDDEN}}
        assert status.payload == {"holder": "Eve", "number": HIDDEN}


async def test_a_run_that_starts_while_it_is_replaced_keeps_its_payload(kit: Kit) -> None:
    async with with_jobs(kit).bound() as w:
        run_id = (await create(w, 1)).kumofire_job_run_id
        execute = w.storage.execute

        async def start_between(statement: Any) -> Any:
            rows = await execute(statement)
            if statement.name == "runs.read" and (await w.row(run_id))["starts"] == 0:
                w.storage.execute = execute  # type: ignore[method-assign]
                await w.deliver(run_id)
            return rows

        w.storage.execute = start_between  # type: ignore[method-assign]
        with pytest.raises(DedupeConflict, match="is succeeded"):
            await create(w, BIG, on_conflict="replace")
        status = await w.status(run_id)
        assert (status.payload, status.result) == (1, 1)


@pytest.mark.parametrize("way", ["raise", "replace"])
@pytest.mark.parametrize(
    "gone", ["settled", "pruned", "settled, and the key is taken", "settled, as was who took it"]
)
async def test_a_key_that_is_given_up_before_its_holder_is_read_takes_the_work(
    kit: Kit, way: OnConflict, gone: str
) -> None:
    async with with_jobs(kit).bound() as w:
        held = (await create(w, 1, dedupe="active")).kumofire_job_run_id

        async def settle() -> None:
            await w.deliver(held)
            if gone == "pruned":
                kit.clock.advance(2)
                assert await w.jobs.prune(older_than=1) == 1
            if "key is taken" in gone:
                await create(w, {"new": 2}, dedupe="active")
            if "who took it" in gone:
                other = (await create(w, 5, dedupe="active")).kumofire_job_run_id
                w.storage.meanwhile("before", "runs.read", lambda: w.deliver(other))

        w.storage.meanwhile("before", "runs.read", settle)
        made = await create(w, {"new": 2}, dedupe="active", on_conflict=way)
        assert (made.is_new, made.replaced, made.payload_differs) == (
            "key is taken" not in gone,
            False,
            False,
        )
        run_id = made.kumofire_job_run_id
        assert (run_id != held, (await w.status(run_id)).payload) == (True, {"new": 2})
        assert w.queue.waiting.count(run_id) == 1
        await w.deliver(run_id)
        assert await w.state(run_id) == "succeeded"


@pytest.mark.parametrize(("first", "second"), [(2, 3), (2, BIG), (BIG, 2), (BIG, BIGGER)])
async def test_of_two_replacements_at_once_each_tells_the_payload_that_it_has_replaced(
    kit: Kit, first: Any, second: Any
) -> None:
    async with with_jobs(kit).bound() as w:
        run_id = (await create(w, 1)).kumofire_job_run_id
        w.storage.meanwhile("before", "runs.replace", lambda: create(w, first, on_conflict="replace"))
        assert (await create(w, second, on_conflict="replace")).replaced is True
        status = await w.status(run_id)
        said = {"replaced": 2} if first == 2 else {"replaced_bytes": 5011}
        assert [each.facts for each in status.history if each.event == "replace"] == [{"replaced": 1}, said]
        assert status.payload == second
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == second


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on_conflict": "replce", "dedupe_key": "k"}, "on_conflict must be 'return', 'raise' or 'replace'; found 'replce'"),
        ({"on_conflict": ["raise"], "dedupe_key": "k"}, "on_conflict must be 'return', 'raise' or 'replace'; found ['raise']"),
        ({"on_conflict": "raise"}, "on_conflict='raise' needs a dedupe_key"),
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused(kit: Kit, options: dict[str, Any], said: str) -> None:
    async with with_jobs(kit).bound() as w:
        with pytest.raises(InvalidArgument) as caught:
            await w.jobs.create("echo", 1, **options)
        assert str(caught.value) == said
        assert await w.jobs.count_runs() == {}


async def test_prepare_create_and_create_many_only_return(kit: Kit) -> None:
    async with with_jobs(kit).bound() as w:
        with pytest.raises(InvalidArgument, match="prepare_create has no option 'on_conflict'"):
            w.jobs.prepare_create("echo", 1, dedupe_key="k", on_conflict="raise")  # type: ignore[call-overload]
