"""A flow's later version: instances under way are planned for, refused or moved, beside workers of both versions."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
from fakes import FakeMessage
from harness import Kit
from pydantic import BaseModel, Field, field_validator

from kumofire_fsm import Fail
from kumofire_fsm.errors import (
    DedupeConflict,
    DefinitionError,
    InvalidArgument,
    MigrationConflict,
    SchemaMismatch,
    UnknownSignal,
)
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.machines import Deadline, Outcome
from kumofire_fsm.reports import FiredAll
from kumofire_fsm.store.schema import migrate


class One(BaseModel):
    number: int


class Two(BaseModel):
    number: int
    warehouse: str


def first():
    class Order(Flow[One]):
        """As it was."""

        reserve = Task("Stock is set aside.", initial=True, undo=True)
        approval = Wait("A person looks.", waits=True)
        packing = Task("Everything goes into one parcel.")
        shipped = End("Delivered.")
        undone = End("Given back.")
        done = reserve >> approval | packing >> shipped
        approve = Signal(approval.to(packing), takes=None)
        fail = Flow.any.undo(undone)

    return Order


def second(data=Two, **was):
    class Order(Flow[data], version=2, was=was):
        """With a step more, one renamed, and a field that is required."""

        reserve = Task("Stock is set aside.", initial=True, undo=True)
        approval = Wait("A person looks.", waits=True)
        pack = Task("Everything goes into one parcel.")
        label = Task("A label is printed.")
        shipped = End("Delivered.")
        undone = End("Given back.")
        done = reserve >> approval | pack >> label >> shipped
        approve = Signal(approval.to(pack), takes=None)
        fail = Flow.any.undo(undone)

    return Order


def serve(app, flow, calls):
    for step in flow.spec.steps:
        task = getattr(flow, step.id, None)
        if isinstance(task, Task):

            async def handle(ctx: Any, order: Any, name: str = step.id) -> None:
                calls.append(name)

            app.step(task)(handle)
            if step.undo:

                async def undo(ctx: Any, order: Any, name: str = step.id) -> None:
                    calls.append(f"undo {name}")

                app.undo(task)(undo)


async def moved(kit: Kit, w, later, calls):
    """Return a binding of an application with the later version on the same database."""
    app = kit.another_app()
    serve(app, later, calls)
    jobs = app.bind(db=w.storage, queue=w.queue)
    await w.storage.inner.call(lambda db: migrate(db, list(jobs._binding.runs.specs.values())))
    return app, jobs


async def test_a_plan_says_what_stands_in_the_way_and_nothing_is_changed(kit: Kit) -> None:
    calls: list[str] = []
    old = first()
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        ids = [await w.create(old, One(number=n)) for n in range(3)]
        await w.deliver(*ids)
        await w.jobs.signal(ids[0], old.approve)
        _, jobs = await moved(kit, w, second(), calls)
        (plan,) = await jobs.plan_flows()
        assert plan.refused
        assert str(plan).splitlines() == [
            "order v1 -> v2: 3 live",
            "  approval                   2 -> approval",
            (
                '  packing                    1 -> (nowhere)   no step of that name; say was={"packing": "..."}, '
                "or keep the step"
            ),
            (
                "data: 3 of 3 checked do not validate: field 'warehouse': Field required; give the field a "
                "default, or an @app.upgrade(order, from_version=...)"
            ),
            "refused",
        ]
        with pytest.raises(MigrationConflict):
            await jobs.migrate_flows()
        assert {row[0] for row in await w.sql("SELECT machine FROM kumofire_runs")} == {"order@1"}


async def test_old_and_new_code_work_side_by_side_and_instances_are_moved_with_their_data(kit: Kit) -> None:
    calls: list[str] = []
    old, new = first(), second(packing="pack")
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        ids = [await w.create(old, One(number=n)) for n in range(3)]
        await w.deliver(*ids)
        await w.jobs.signal(ids[0], old.approve)
        app, jobs = await moved(kit, w, new, calls)
        app.upgrade(new, from_version=1)(lambda data: {**data, "warehouse": "north"})
        fresh = (await jobs.create(new, Two(number=9, warehouse="south"))).kumofire_job_run_id
        assert await w.deliver(fresh) == [60]  # the old code does not know it
        (plan,) = await jobs.plan_flows()
        assert (plan.live, plan.refused, plan.steps[("order@1", "packing")]) == (3, False, (1, "pack"))
        assert await jobs.migrate_flows() == 3
        assert await jobs.migrate_flows() == 0
        row = await w.row(ids[0])
        assert (row["machine"], row["step"], row["payload"]) == (
            "order@2",
            "pack",
            '{"number":0,"warehouse":"north"}',
        )
        assert row["undo"] == '["reserve"]'
        status = await jobs.get_status(ids[0])
        assert (status.history[-1].event, status.history[-1].facts) == ("migrate", {"version": 2})
        calls.clear()
        await jobs.signal(ids[1], new.approve)
        await jobs.consume_batch([FakeMessage.of(ids[0]), FakeMessage.of(ids[1])])
        assert calls == ["pack", "pack", "label", "label"]
        assert [(await jobs.get_status(i)).step for i in ids[:2]] == ["shipped", "shipped"]


def without_reserve(**was):
    class Order(Flow[One], version=2, was=was):
        """Stock is set aside under another name."""

        set_aside = Task("Stock is set aside.", initial=True, undo=True)
        approval = Wait("A person looks.", waits=True)
        packing = Task("Everything goes into one parcel.")
        shipped = End("Delivered.")
        undone = End("Given back.")
        done = set_aside >> approval | packing >> shipped
        approve = Signal(approval.to(packing), takes=None)
        fail = Flow.any.undo(undone)

    return Order


async def test_what_was_done_and_is_no_step_any_more_is_not_dropped_from_what_is_undone(kit: Kit) -> None:
    calls: list[str] = []
    old = first()
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        ids = [await w.create(old, One(number=n)) for n in range(2)]
        await w.deliver(*ids)
        _, jobs = await moved(kit, w, without_reserve(), calls)
        (plan,) = await jobs.plan_flows()
        assert (plan.refused, plan.lost) == (True, {"reserve": 2})
        assert str(plan).splitlines() == [
            "order v1 -> v2: 2 live",
            "  approval                   2 -> approval",
            (
                'undo: 2 have done \'reserve\', which no step of that name undoes; say was={"reserve": "..."}, '
                "or None where nothing is to be undone, or keep the step"
            ),
            "refused",
        ]
        with pytest.raises(MigrationConflict, match=r"it has done 'reserve', which is no step any more"):
            await jobs.migrate_flows()
        assert (await w.row(ids[0]))["undo"] == '["reserve"]'


@pytest.mark.parametrize(("now", "undo"), [("set_aside", '["set_aside"]'), (None, "[]")])
async def test_was_says_what_undoes_a_step_that_is_gone_or_that_nothing_does(
    kit: Kit, now: str | None, undo: str
) -> None:
    calls: list[str] = []
    old = first()
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        run_id = await w.create(old, One(number=1))
        await w.deliver(run_id)
        _, jobs = await moved(kit, w, without_reserve(reserve=now), calls)
        (plan,) = await jobs.plan_flows()
        assert (plan.refused, plan.lost, await jobs.migrate_flows()) == (False, {}, 1)
        assert (await w.row(run_id))["undo"] == undo


@pytest.mark.parametrize(
    ("ahead", "left"), [(0, 1), (1, 0)], ids=["by a right clock", "by one that was an hour ahead"]
)
async def test_what_is_under_way_is_left_until_it_rests_if_it_was_begun(
    kit: Kit, ahead: int, left: int
) -> None:
    calls: list[str] = []
    old, new = first(), second(One, packing="pack")
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        run_id = await w.create(old, One(number=1))
        kit.clock.advance(hours=ahead)
        w.storage.fail_once("runs.rest", "before")
        await w.deliver(run_id)
        assert await w.state(run_id) == "running"
        kit.clock.advance(hours=-ahead)
        _, jobs = await moved(kit, w, new, calls)
        (plan,) = await jobs.plan_flows()
        assert (plan.left, await jobs.migrate_flows()) == (left, 1 - left)
        assert ("1 are under way now" in str(plan)) is (left == 1)


def test_an_upgrade_is_from_a_version_before(kit: Kit) -> None:
    new = second(packing="pack")
    for version in (0, 2, "1", True):
        with pytest.raises(DefinitionError, match="from_version"):
            kit.app.upgrade(new, from_version=version)
    kit.app.upgrade(new, from_version=1)(dict)
    with pytest.raises(DefinitionError, match="already"):
        kit.app.upgrade(new, from_version=1)


async def _async(data): ...


def _generator(data):
    yield data


async def _async_generator(data):
    yield data


class _AsyncCall:
    async def __call__(self, data): ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_async, "async, or a generator"),
        (partial(_async), "async, or a generator"),
        (_generator, "async, or a generator"),
        (_async_generator, "async, or a generator"),
        (_AsyncCall(), "async, or a generator"),
        (
            lambda: {"warehouse": "north"},
            r"called as upgrade\(data\); found \(\): too many positional arguments",
        ),
        (lambda data, more: {}, "missing a required argument: 'more'"),
        (lambda *, data: {}, "too many positional arguments"),
        ({"warehouse": "north"}, r"upgrade\(data\) -> data; found"),
    ],
)
def test_an_upgrade_that_could_not_work_is_refused_where_it_is_registered(
    kit: Kit, function: Any, why: str
) -> None:
    new = second(packing="pack")
    with pytest.raises(DefinitionError, match=f"upgrade of 'order' from version 1 is .*{why}"):
        kit.app.upgrade(new, from_version=1)(function)
    kit.app.upgrade(new, from_version=1)(lambda data, warehouse="north": {**data, "warehouse": warehouse})


async def failed_of_version_1(kit: Kit, w, calls, **options: Any) -> list[str]:
    """Return instances of version 1 that failed in the step that version 2 has renamed, and cannot undo."""

    class Order(Flow[One]):
        """As it was."""

        packing = Task("Everything goes into one parcel.", initial=True)
        shipped = End("Delivered.")
        done = packing >> shipped

    async def fail(ctx: Any, order: Any) -> None:
        raise Fail("no paper")

    app = kit.another_app()
    app.step(Order.packing)(fail)
    jobs = app.bind(db=w.storage, queue=w.queue)
    await w.storage.inner.call(lambda db: migrate(db, list(jobs._binding.runs.specs.values())))
    number = 1 if options else 2
    created = [await jobs.create(Order, One(number=n), **options) for n in range(number)]
    ids = [each.kumofire_job_run_id for each in created]
    await jobs.consume_batch([FakeMessage.of(each) for each in ids])
    assert (await jobs.count_runs()) == {"failed": number}
    return ids


async def test_what_failed_in_a_version_before_begins_again_in_this_one(kit: Kit) -> None:
    calls: list[str] = []
    async with kit.bound() as w:
        one, two = await failed_of_version_1(kit, w, calls)
        new = second(packing="pack")
        app, jobs = await moved(kit, w, new, calls)
        with pytest.raises(MigrationConflict, match="version 2: field 'warehouse': Field required"):
            await jobs.redrive(one)
        found = await jobs.match_runs("redrive", state="failed")
        assert await jobs.fire_all(found) == FiredAll(0, 0, 2)
        app.upgrade(new, from_version=1)(lambda data: {**data, "warehouse": "north"})
        (plan,) = await jobs.plan_flows()
        assert (plan.live, await jobs.migrate_flows()) == (0, 0)  # what is settled stands in nobody's way
        status = await jobs.redrive(one, by="ana")
        assert (status.state, status.step) == ("ready", "pack")
        assert (await w.row(one))["machine"] == "order@2"
        assert status.history[-1].facts == {"by": "ana", "version": 2, "step": "pack"}
        for before in (("failed", 0), ("canceled", 1)):
            moved_on = dataclasses.replace(found, found={two: before})
            assert await jobs.fire_all(moved_on) == FiredAll(moved=0, left=1, refused=0)
        assert await jobs.fire_all(found) == FiredAll(moved=1, left=1, refused=0)
        await jobs.consume_batch([FakeMessage.of(one), FakeMessage.of(two)])
        assert [(await jobs.get_status(i)).step for i in (one, two)] == ["shipped", "shipped"]
        assert calls == ["pack", "pack", "label", "label"]


async def test_what_failed_in_a_version_before_stays_while_another_holds_its_dedupe_key(kit: Kit) -> None:
    calls: list[str] = []
    async with kit.bound() as w:
        await failed_of_version_1(kit, w, calls, dedupe_key="k", dedupe="active")
        (one,) = [run.kumofire_job_run_id for run in (await w.jobs.list_runs()).runs]
        new = second(One, packing="pack")
        _, jobs = await moved(kit, w, new, calls)
        await jobs.create(new, One(number=5), dedupe_key="k", dedupe="active")
        with pytest.raises(DedupeConflict, match="'redrive': another run holds the dedupe key 'k'"):
            await jobs.redrive(one)
        assert ((await w.row(one))["machine"], await w.state(one)) == ("order@1", "failed")


async def test_what_an_application_says_of_data_that_does_not_fit_is_told_without_it(kit: Kit) -> None:
    class Picky(One):
        """Refuses what it is given, and says so."""

        card: str = Field(default="4000-0566", validate_default=True)

        @field_validator("card")
        @classmethod
        def check(cls, card: str) -> str:
            raise ValueError(f"{card} is no card")

    async with kit.bound() as w:
        one, _ = await failed_of_version_1(kit, w, [])
        _, jobs = await moved(kit, w, second(Picky, packing="pack"), [])
        with pytest.raises(MigrationConflict, match=r"field 'card': Value error, \.\.\. is no card$"):
            await jobs.redrive(one)


async def test_what_failed_in_a_step_that_is_gone_says_so_or_goes_on_elsewhere(kit: Kit) -> None:
    calls: list[str] = []
    async with kit.bound() as w:
        one, _ = await failed_of_version_1(kit, w, calls)
        new = second(One)
        _, jobs = await moved(kit, w, new, calls)
        with pytest.raises(MigrationConflict, match="there is no step 'packing' in version 2"):
            await jobs.redrive(one)
        with pytest.raises(InvalidArgument, match="it may at: approval, label, pack, reserve"):
            await jobs.redrive(one, step="packing")
        status = await jobs.redrive(one, step=new.label)
        assert (status.state, status.step) == ("ready", "label")


async def test_what_people_say_of_a_live_instance_of_another_version_tells_what_to_do(kit: Kit) -> None:
    calls: list[str] = []
    old, new = first(), second(One, packing="pack")
    serve(kit.app, old, calls)
    async with kit.bound() as w:
        before = await w.create(old, One(number=1))
        await w.deliver(before)
        _, jobs = await moved(kit, w, new, calls)
        with pytest.raises(SchemaMismatch, match="bring it to this one first, by kumofire machine migrate"):
            await jobs.cancel(before)
        with pytest.raises(UnknownSignal, match="earlier version than this code's 2"):
            await jobs.signal(before, new.approve)
        later = (await jobs.create(new, One(number=2))).kumofire_job_run_id
        with pytest.raises(SchemaMismatch, match="later version than this code's 1: do it with that code"):
            await w.jobs.cancel(later)


def waits(deadline: Deadline | None):
    class Entity(Flow[One]):
        """A wait whose deadline changes."""

        placed = Wait("It waits.", initial=True, waits=deadline is None, deadline=deadline)
        paid = End("The money is there.")
        dropped = End("Too late.", Outcome.CANCELLATION)
        if deadline is not None:
            late = placed.to(dropped)
        pay = Signal(placed.to(paid), takes=None)
        drop = Signal(placed.to(dropped), takes=None)

    return Entity


@pytest.mark.parametrize(("before", "after"), [(None, 5), (5, None), (5, 50), (50, 5)])
async def test_what_rests_keeps_its_deadline_until_it_is_looked_at_again(
    kit: Kit, before: int | None, after: int | None
) -> None:
    old, new = (
        waits(None if days is None else Deadline(f"now + {days} * 86400000", "late"))
        for days in (before, after)
    )
    kit.app.flow(old)
    async with kit.bound() as w:
        kept, looked, paid = [await w.create(old, One(number=n)) for n in range(3)]
        app = kit.another_app()
        app.flow(new)
        jobs = app.bind(db=w.storage, queue=w.queue)
        await w.storage.inner.call(lambda db: migrate(db, list(jobs._binding.runs.specs.values())))
        assert (await jobs.signal(paid, new.pay)).step == "paid"  # a signal moves it, whatever it waits for
        kit.clock.advance(days=1)
        at = kit.clock.now()
        await jobs.fire(looked, "look_again", by="ana")
        await jobs.consume_batch([FakeMessage.of(looked)])
        days = 86_400_000
        assert (await w.row(looked))["wake_at"] == (None if after is None else at + after * days)
        assert (await w.row(looked))["visit"] == 0
        assert (await w.row(kept))["wake_at"] == (None if before is None else at + (before - 1) * days)
        kit.clock.advance(days=60)
        for _ in range(2):
            await jobs.dispatch()
            await jobs.consume_batch([FakeMessage.of(each) for each in (kept, looked)])
        ends = {None: "placed", 5: "dropped", 50: "dropped"}
        assert (await jobs.get_status(looked)).step == ends[after]
        assert (await jobs.get_status(kept)).step == ("placed" if None in (before, after) else "dropped")
