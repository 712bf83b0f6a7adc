"""Faults that the simulation found: each stays as a test of its own, as small as it can be said."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from flows import Data, Handlers, Order, Trial, Verdict
from harness import Kit, working
from pydantic import BaseModel

from kumofire_fsm import Cancel, Fail, Snooze
from kumofire_fsm.engine.binding import EMBEDDED
from kumofire_fsm.engine.moves import fire_one
from kumofire_fsm.errors import GuardFailed, TransientStoreError
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.flows.instance import machine_of
from kumofire_fsm.machines import Outcome
from kumofire_fsm.signals import Go


class Text(BaseModel):
    text: str = ""


class Tried(Flow[Text]):
    """Steps that are tried less and more often than the application says."""

    look = Task("Somebody looks.", initial=True, max_attempts=1, undo=True)
    asked = Wait("Somebody answers.", waits=True)
    work = Task("It takes many tries.", max_attempts=5)
    good = End("Done.")
    bad = End("Given up.", Outcome.FAILURE)

    done = look >> asked | work >> good
    go = Signal(asked.to(work), takes=None)
    fail = Flow.any.undo(bad)


@pytest.fixture
def shop(kit: Kit) -> Handlers:
    return Handlers(kit.app, Order, Trial, Tried)


def handled_by(kit: Kit, flow: str, step: str, handler: Any) -> None:
    """Let a step be done by another handler."""
    tasks = kit.app.registry.jobs[flow].tasks
    tasks[step] = replace(tasks[step], handler=handler)


async def test_a_step_that_a_signal_leads_to_is_tried_as_often_as_it_says(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Tried, Text())
        await w.deliver(run_id)
        await w.jobs.signal(run_id, Tried.go)
        assert (await w.row(run_id))["max_attempts"] == 5


async def test_an_undo_has_the_applications_attempts_whatever_failed(kit: Kit, shop: Handlers) -> None:
    shop.fails["work"] = Fail("no")
    async with kit.bound() as w:
        run_id = await w.create(Tried, Text())
        await w.deliver(run_id)
        await w.jobs.signal(run_id, Tried.go)
        await w.deliver(run_id)
        row = await w.row(run_id)
        assert (row["step"], row["max_attempts"]) == ("undo_to_bad", 3)


async def test_a_redrive_to_another_step_has_the_attempts_of_that_step(kit: Kit, shop: Handlers) -> None:
    shop.fails["work"] = Fail("no")
    async with kit.bound() as w:
        run_id = await w.create(Tried, Text())
        await w.deliver(run_id)
        await w.jobs.signal(run_id, Tried.go)
        await w.deliver(run_id)
        await w.deliver(run_id)
        for step, tries in (("look", 1), ("work", 5), ("asked", 3)):
            await w.jobs.redrive(run_id, step=step)
            assert (await w.row(run_id))["max_attempts"] == tries
            await w.jobs.cancel(run_id)


async def test_a_step_whose_answer_was_lost_is_not_stored_twice_with_its_effects(
    kit: Kit, shop: Handlers
) -> None:
    async def pack(ctx: Any, _order: Data) -> None:
        ctx.commit([("INSERT INTO parcels VALUES (?)", (ctx.key,))])

    handled_by(kit, "order", "pack", pack)
    async with kit.bound() as w:
        await w.sql("CREATE TABLE parcels (key TEXT)")
        run_id = await w.create(Order, Data())
        w.storage.fail_once("moved_one", "after")
        assert await w.deliver(run_id) == ["ack"]
        assert await w.sql("SELECT key FROM parcels") == [(f"{run_id}:2",)]
        status = await w.status(run_id)
        assert (status.step, (await w.row(run_id))["visit"]) == ("shipped", 4)
        assert [name for name, _ in shop.calls] == ["reserve", "charge", "ship"]


async def test_a_cancellation_while_the_first_step_is_done_undoes_that_step(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())

        async def reserve(*_: Any) -> None:
            await w.jobs.cancel(run_id)

        handled_by(kit, "order", "reserve", reserve)
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "undo_to_undone"
        await w.deliver(run_id)
        assert [name for name, _ in shop.calls] == ["undo reserve"]


async def test_a_cancellation_after_a_step_whose_answer_was_lost_undoes_it_at_once(
    kit: Kit, shop: Handlers
) -> None:
    async def reserve(ctx: Any, _order: Data) -> None:
        shop.calls.append(("reserve", 1))
        ctx.commit([("INSERT INTO parcels VALUES (?)", (ctx.key,))])

    handled_by(kit, "order", "reserve", reserve)
    async with kit.bound() as w:
        await w.sql("CREATE TABLE parcels (key TEXT)")
        run_id = await w.create(Order, Data())
        send, lost = w.storage._pass, []

        async def once_lost(statements: Any, act: Any) -> Any:
            answers = await send(statements, act)
            if statements[0].name == "runs.advance" and not lost:
                lost.append(run_id)
                await w.jobs.cancel(run_id)
                raise TransientStoreError("the answer is lost")
            return answers

        w.storage._pass = once_lost  # type: ignore[method-assign]
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert [entry.event for entry in status.history][-4:] == ["start", "advance", "cancel", "release"]
        assert (status.state, status.step) == ("ready", "undo_to_undone")
        assert shop.calls == [("reserve", 1)]
        await w.deliver(run_id)
        assert (await w.status(run_id)).state == "failed"  # its end `undone` is a failure
        assert shop.calls == [("reserve", 1), ("undo reserve", 1)]
        assert await w.sql("SELECT key FROM parcels") == [(f"{run_id}:0",)]


@pytest.mark.parametrize(("visit", "moves"), [(0, True), (1, False)])
def test_a_step_that_is_stored_twice_moves_a_canceled_instance_once(visit: int, moves: bool) -> None:
    machine = machine_of(Order.spec)
    row = machine.fields | {"state": "canceling", "step": "reserve", "visit": visit}
    given = {"to_step": "charge", "data": "{}", "to_undo": '["reserve"]', "was_visit": 0}
    if moves:
        assert machine.step(row, "advance", **given)["step"] == "undo_to_undone"
    else:
        with pytest.raises(GuardFailed):
            machine.step(row, "advance", **given)


async def test_a_handler_that_cancels_goes_where_a_cancellation_goes(kit: Kit, shop: Handlers) -> None:
    shop.fails["charge"] = Cancel("nobody wants it")
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "undo_to_undone"
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "undone")
        assert [name for name, _ in shop.calls] == ["reserve", "charge", "undo reserve"]


@pytest.mark.parametrize("said", [Go("somewhere"), Cancel("no")])
async def test_an_undo_that_says_something_else_waits_for_a_person(
    kit: Kit, shop: Handlers, said: BaseException
) -> None:
    shop.fails |= {"pack": Fail("no"), "undo charge": said}
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        await w.deliver(run_id)
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("parked", "undo_to_undone")


async def test_no_step_is_told_of_a_signal_that_led_to_another(kit: Kit, shop: Handlers) -> None:
    shop.fails["pack"] = Fail("no")
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        await w.deliver(run_id)
        await w.jobs.signal(run_id, Order.approve, Verdict(by="ana"))
        await w.deliver(run_id)
        await w.deliver(run_id)
        told = [(step, signal and signal.name) for step, _, _, signal, _ in shop.seen]
        assert told[2:] == [("pack", "approve"), ("undo_to_undone", None), ("undo_to_undone", None)]


async def test_a_redrive_where_it_failed_tells_of_the_signal_once_more(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        await w.deliver(run_id)
        await w.jobs.signal(run_id, Order.approve, Verdict(by="ana"))
        await w.jobs.cancel(run_id)
        await w.deliver(run_id)
        await w.jobs.redrive(run_id, step=Order.pack)
        await w.deliver(run_id)
        assert [signal for step, _, _, signal, _ in shop.seen if step == "pack"] == [None]


async def test_a_look_at_a_wait_is_no_visit(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))

        async def charge(*_: Any) -> None:
            await w.jobs.signal(run_id, Order.approve, Verdict(by="ana"))

        handled_by(kit, "order", "charge", charge)
        await w.deliver(run_id)
        row = await w.row(run_id)
        assert (row["state"], row["step"], row["visit"]) == ("ready", "approval", 2)
        await w.sql("UPDATE kumofire_runs SET mail = '[]'")
        await w.deliver(run_id)
        row = await w.row(run_id)
        assert (row["state"], row["step"], row["visit"]) == ("waiting", "approval", 2)


@pytest.mark.parametrize(("step", "state", "attempt"), [("approval", "retrying", 2), ("ship", "failed", 3)])
def test_a_lost_look_at_a_wait_fails_no_instance(step: str, state: str, attempt: int) -> None:
    """No handler is called there: whoever died over it has said nothing of the instance."""
    machine = machine_of(Order.spec)
    row = {**machine.fields, "state": "running", "step": step, "history": "[]", "wake_at": 7}
    row |= {"attempt": 3, "max_attempts": 3, "shared": 0, "starts": 3, "claim": "c", "undo": "[]"}
    lost = machine.step(row, "lose", now=9, **EMBEDDED.columns())
    assert (lost["state"], lost["attempt"]) == (state, attempt)


async def test_data_that_fits_into_its_row_again_leaves_nothing_apart(kit: Kit, shop: Handlers) -> None:
    async def look(_ctx: Any, _data: Text) -> Text:
        return Text(text="short")

    handled_by(kit, "tried", "look", look)
    async with kit.bound() as w:
        run_id = await w.create(Tried, Text(text="x" * 1_000))
        assert await w.sql("SELECT count(*) FROM kumofire_bodies") == [(1,)]
        await w.deliver(run_id)
        assert json.loads((await w.row(run_id))["payload"]) == {"text": "short"}
        assert await w.sql("SELECT count(*) FROM kumofire_bodies") == [(0,)]


async def test_no_step_begins_when_the_one_before_took_longer_to_store_than_its_lease(
    kit: Kit, shop: Handlers
) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        send = w.storage._pass

        async def slowly(statements: Any, act: Any) -> Any:
            answers = await send(statements, act)
            if statements[0].name == "runs.advance":
                kit.clock.advance(minutes=10)
            return answers

        w.storage._pass = slowly  # type: ignore[method-assign]
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("queued", "charge")
        assert shop.calls == [("reserve", 1)]


async def test_data_that_lands_once_its_step_was_given_back_is_not_stored(kit: Kit, shop: Handlers) -> None:
    async def look(_ctx: Any, _data: Text) -> Text:
        return Text(text="y" * 1_000)

    handled_by(kit, "tried", "look", look)
    async with kit.bound() as w:
        run_id = await w.create(Tried, Text(text="x" * 1_000))
        send, late = w.storage._pass, []

        async def hold_up(statements: Any, act: Any) -> Any:
            if statements[0].name == "runs.rest":
                late.append(statements)
                raise TransientStoreError("no answer")
            return await send(statements, act)

        w.storage._pass = hold_up  # type: ignore[method-assign]
        await w.deliver(run_id)
        row, binding = await w.row(run_id), w.jobs._binding
        back = binding.move(run_id, "release", starts=row["starts"], claim=row["claim"])
        await w.storage.execute(binding.runs.fire(["release"], [back], fenced=True))
        await w.storage.inner.batch(late[0])
        status = await w.status(run_id)
        assert (status.state, status.step) == ("queued", "look")
        assert await w.sql("SELECT body FROM kumofire_bodies") == [
            (Text(text="x" * 1_000).model_dump_json(),)
        ]


async def test_data_that_lands_again_once_the_next_step_is_stored_is_not_stored(
    kit: Kit, shop: Handlers
) -> None:
    def giving(letter: str) -> Any:
        async def handler(_ctx: Any, data: Data) -> Data:
            return data.model_copy(update={"charge_id": letter * 1_000})

        return handler

    handled_by(kit, "order", "reserve", giving("x"))
    handled_by(kit, "order", "charge", giving("y"))
    shop.fails["pack"] = Snooze(60)
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        send, sent = w.storage._pass, []

        async def repeat_the_first(statements: Any, act: Any) -> Any:
            answers = await send(statements, act)
            if statements[0].name == "runs.advance":
                sent.append(statements)
                await w.storage.inner.batch(sent[0])
            return answers

        w.storage._pass = repeat_the_first  # type: ignore[method-assign]
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "pack"
        assert len(sent) == 2
        [(body,)] = await w.sql("SELECT body FROM kumofire_bodies")
        assert json.loads(body)["charge_id"] == "y" * 1_000


async def test_a_step_whose_move_was_stored_with_an_old_lease_is_claimed_anew(kit: Kit) -> None:
    """The lease was renewed while the move waited for a lock, and the move wrote an earlier one."""

    class Walk(Flow[Text]):
        """Two steps."""

        one = Task("The first.", initial=True)
        two = Task("The second.")
        there = End("Arrived.")
        gone = End("Given up.", Outcome.FAILURE)
        done = one >> two >> there
        fail = (one >> gone) | (two >> gone)

    starts: list[int] = []

    @kit.app.step(Walk.one)
    async def one(ctx: Any, data: Text) -> Text:
        return data

    @kit.app.step(Walk.two)
    async def two(ctx: Any, data: Text) -> Text:
        starts.append((await w.row(run_id))["starts"])
        return data

    timing = replace(EMBEDDED, lease_ms=3000)
    async with kit.bound(with_queue=False, timing=timing) as w:

        async def renewed_while_it_waits() -> None:
            (attempt,) = pool.in_flight.values()
            for _ in range(2):
                kit.clock.advance(2)
                await fire_one(w.jobs._binding, attempt.renewal())
                attempt.renewed("running")

        w.storage.meanwhile("before", "runs.advance", renewed_while_it_waits)
        run_id = await w.create(Walk, Text())
        async with working(w, 1) as pool:
            while await w.state(run_id) != "succeeded":
                await asyncio.sleep(0.001)
        assert starts == [2]
