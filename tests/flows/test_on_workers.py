"""Flows on Workers: what each move costs, and what becomes of the message."""

from __future__ import annotations

import pytest
from flows import Data, Entity, Handlers, Order, Trial, Verdict, steps
from harness import Kit

from kumofire_fsm import Fail, FiredAll
from kumofire_fsm.errors import GuardFailed, InvalidArgument, MailFull, TransitionNotAllowed
from kumofire_fsm.signals import Go


@pytest.fixture
def shop(kit: Kit) -> Handlers:
    return Handlers(kit.app, Order, Entity, Trial)


async def test_a_chain_of_steps_is_a_claim_and_a_move_a_step(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        w.storage.clear()
        assert await w.deliver(run_id) == ["ack"]
        assert w.storage.names == ["runs.claim", *["runs.advance"] * 3, "runs.succeed"]
        assert shop.calls == [("reserve", 1), ("charge", 1), ("pack", 1), ("ship", 1)]
        status = await w.status(run_id)
        assert (status.state, status.step, status.attempt) == ("succeeded", "shipped", 1)
        keys = [key for _, _, key, _, _ in shop.seen]
        assert keys == [f"{run_id}:{n}" for n in range(4)]
        assert shop.seen[-1][4].charge_id == "paid"


async def test_25_instances_take_a_step_in_one_statement(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        ids = await w.create_in_order(Order, [Data(number=n) for n in range(25)])
        w.storage.clear()
        assert await w.deliver(*ids) == ["ack"] * 25
        assert w.storage.names == ["runs.claim", *["runs.advance"] * 3, "runs.succeed"]


async def test_a_wait_a_signal_and_the_rest_of_the_way(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        w.storage.clear()
        assert await w.deliver(run_id) == ["ack"]
        assert w.storage.names == ["runs.claim", "runs.advance", "runs.rest"]
        w.storage.clear()
        w.queue.calls.clear()
        status = await w.jobs.signal(run_id, Order.approve, Verdict(by="ana"), key="w1", by="ana", note="ok")
        assert w.storage.names == ["runs.read", "runs.approve", "runs.read"]
        assert (status.state, status.step) == ("ready", "pack")
        assert len(w.queue.calls) == 1
        assert await w.deliver(run_id) == ["ack"]
        assert [told for step, _, _, told, _ in shop.seen if step == "pack"] == [("approve", {"by": "ana"})]
        status = await w.status(run_id)
        assert (status.state, status.step) == ("succeeded", "shipped")
        entry = next(e for e in status.history if e.event == "approve")
        assert entry.facts == {"by": "ana", "note": "ok", "step": "pack"}


async def test_a_signal_with_a_key_that_came_already_does_nothing(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        for _ in range(3):
            await w.jobs.signal(run_id, Order.approve, Verdict(by="ana"), key="w1")
        assert (await w.row(run_id))["mail"] == '[[1,"approve",{"by":"ana"}]]'
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "shipped"
        row = await w.row(run_id)
        assert (row["mail"], row["letters"], row["keys"]) == ("[]", 1, '["w1"]')


async def test_too_many_signals_that_no_wait_takes_are_refused(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(), delay=100)
        for n in range(50):
            await w.jobs.signal(run_id, "approve", {"by": str(n)})
        with pytest.raises(MailFull):
            await w.jobs.signal(run_id, "approve", {"by": "x"})


async def test_a_signal_between_a_claim_and_the_rest_is_not_lost(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))

        async def meanwhile(*_: object) -> None:
            await w.jobs.signal(run_id, Order.approve, Verdict(by="ana"))

        kit.app.registry.jobs["order"].tasks["charge"] = replace_handler(kit, "charge", meanwhile)
        assert await w.deliver(run_id) == [1]  # it is ready again at once, and takes its message along
        status = await w.status(run_id)
        assert (status.state, status.step) == ("ready", "approval")
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.step) == ("succeeded", "shipped")
        assert ("advance", "pack") in steps(status)


def replace_handler(kit: Kit, step: str, handler):
    from dataclasses import replace

    return replace(kit.app.registry.jobs["order"].tasks[step], handler=handler)


async def test_a_deadline_of_a_wait_moves_it_on(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        await w.deliver(run_id)
        kit.clock.advance(days=3)
        kit.clock.advance(seconds=1)
        w.storage.clear()
        await w.jobs.dispatch()
        status = await w.status(run_id)
        assert (status.state, status.step) == ("queued", "undo_to_undone")
        assert await w.deliver(run_id) == ["ack"]
        assert shop.calls[2:] == [("undo charge", 1), ("undo reserve", 1)]
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "undone")


async def test_a_failing_step_is_retried_and_then_undone(kit: Kit, shop: Handlers) -> None:
    shop.fails["pack"] = ValueError("no paper")
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        assert await w.deliver(run_id) == [2]
        for _ in range(2):
            kit.clock.advance(10)
            await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("ready", "undo_to_undone")
        assert "no paper" in status.last_error
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "undone")
        assert shop.calls == [
            ("reserve", 1),
            ("charge", 1),
            ("pack", 1),
            ("pack", 2),
            ("pack", 3),
            ("undo charge", 1),
            ("undo reserve", 1),
        ]


async def test_an_undo_that_fails_for_good_waits_for_a_person(kit: Kit, shop: Handlers) -> None:
    shop.fails |= {"pack": Fail("no"), "undo charge": Fail("the bank is closed")}
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        await w.deliver(run_id)
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step, status.settled) == ("parked", "undo_to_undone", False)
        assert "the bank is closed" in status.last_error
        del shop.fails["undo charge"]
        await w.jobs.fire(run_id, "retry_undo", by="ana")
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "undone"
        assert [name for name, _ in shop.calls[-3:]] == ["undo charge", "undo charge", "undo reserve"]


async def test_an_undo_that_a_person_did_by_hand_is_skipped(kit: Kit, shop: Handlers) -> None:
    shop.fails |= {"pack": Fail("no"), "undo charge": Fail("the bank is closed")}
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())
        await w.deliver(run_id)
        await w.deliver(run_id)
        await w.jobs.fire(run_id, "skip_undo", by="ana")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "undone")
        assert [name for name, _ in shop.calls[-2:]] == ["undo charge", "undo reserve"]


async def test_a_cancellation_undoes_what_was_done(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        await w.deliver(run_id)
        status = await w.jobs.cancel(run_id, by="ana")
        assert (status.state, status.step) == ("ready", "undo_to_undone")
        with pytest.raises(TransitionNotAllowed):
            await w.jobs.fire(run_id, "retry_undo")
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "undone"
        early = await w.create(Order, Data(), delay=100)
        status = await w.jobs.cancel(early)
        assert (status.state, status.step) == ("failed", "undone")  # nothing was done: it is at its end


@pytest.mark.parametrize("fails", [False, True], ids=["canceled", "failed"])
async def test_to_cancel_what_is_being_undone_already_changes_nothing(
    kit: Kit, shop: Handlers, fails: bool
) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=0 if fails else 200_000))
        if fails:
            shop.fails["pack"] = Fail("no")
        await w.deliver(run_id)
        if not fails:
            await w.jobs.cancel(run_id)
        before = await w.row(run_id)
        assert before["step"] == "undo_to_undone"
        status = await w.jobs.cancel(run_id, by="ana")
        assert (status.state, status.step) == ("ready", "undo_to_undone")
        assert await w.row(run_id) == before
        shop.fails["undo charge"] = Fail("the bank is closed")
        await w.deliver(run_id)
        assert (await w.jobs.cancel(run_id)).state == "parked"
        assert (await w.row(run_id))["letters"] == 0


async def test_what_is_legal_now_is_what_a_person_may_do_at_the_step(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data(total=200_000))
        await w.deliver(run_id)
        with pytest.raises(TransitionNotAllowed) as waits:
            await w.jobs.fire(run_id, "reschedule")
        assert waits.value.legal == ("cancel", "approve", "reject", "look_again")
        shop.fails["undo charge"] = Fail("the bank is closed")
        await w.jobs.cancel(run_id)
        with pytest.raises(GuardFailed) as undoes:
            await w.jobs.fire(run_id, "cancel")
        assert "cancel" not in undoes.value.legal
        await w.deliver(run_id)
        legal = "approve, reject, retry_undo, skip_undo"
        with pytest.raises(TransitionNotAllowed, match=f"not allowed from 'parked'; legal now: {legal}$"):
            await w.jobs.fire(run_id, "reschedule")


async def test_a_cancellation_of_a_running_step_undoes_that_step_too(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Order, Data())

        async def meanwhile(ctx: object, data: Data) -> None:
            await w.jobs.cancel(run_id)

        kit.app.registry.jobs["order"].tasks["charge"] = replace_handler(kit, "charge", meanwhile)
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("ready", "undo_to_undone")
        await w.deliver(run_id)
        assert [name for name, _ in shop.calls] == ["reserve", "undo charge", "undo reserve"]


async def test_a_handler_may_name_the_edge(kit: Kit, shop: Handlers) -> None:
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data())
        await w.deliver(run_id)
        shop.fails["charge"] = Go(Trial.by_hand, Data(number=7))
        await w.jobs.signal(run_id, Trial.upgrade)
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("waiting", "dunning")
        assert steps(status)[-1] == ("rest", "dunning")
        assert (await w.row(run_id))["payload"] == '{"number":7,"total":100,"charge_id":null}'


async def test_a_failed_step_may_be_redriven(kit: Kit, shop: Handlers) -> None:
    shop.fails["welcome"] = Fail("no mail")
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data())
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.step) == ("failed", "welcome")
        shop.fails.clear()
        await w.jobs.redrive(run_id)
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "trying"
        await w.jobs.cancel(run_id)
        with pytest.raises(GuardFailed, match="say at which step it goes on, charge, dunning"):
            await w.jobs.redrive(run_id)
        with pytest.raises(InvalidArgument, match="it may at: charge, dunning, trying, welcome"):
            await w.jobs.redrive(run_id, step="active")
        status = await w.jobs.redrive(run_id, step=Trial.charge)
        assert (status.state, status.step) == ("ready", "charge")
        await w.deliver(run_id)
        assert (await w.status(run_id)).step == "active"


async def test_by_a_filter_instances_at_an_end_are_refused_and_the_log_says_why_once(
    kit: Kit, shop: Handlers, caplog: pytest.LogCaptureFixture
) -> None:
    async with kit.bound() as w:
        ids = [await w.create(Trial, Data()) for _ in range(3)]
        for run_id in ids:
            await w.deliver(run_id)
            await w.jobs.cancel(run_id)
        matched = await w.jobs.match_runs("redrive", state="canceled")
        await w.jobs.redrive(ids[0], step="charge")
        caplog.clear()
        assert await w.jobs.fire_all(matched) == FiredAll(moved=0, left=1, refused=2)
        (said,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
        (first,) = [run_id for run_id in ids if run_id in said]
        assert said == (
            f"'redrive' was refused on 2 runs, left as they were; of the first: run {first} is at an end of its "
            "flow: say at which step it goes on, charge, dunning, trying, welcome"
        )


async def test_the_log_tells_which_step_failed_for_good_though_the_flow_goes_on(
    kit: Kit, shop: Handlers, caplog: pytest.LogCaptureFixture
) -> None:
    shop.fails["charge"] = ValueError("no money")
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data())
        await w.deliver(run_id)
        await w.jobs.signal(run_id, Trial.upgrade)
        for _ in range(3):
            await w.deliver(run_id)
            kit.clock.advance(3600)
        assert (await w.status(run_id)).step == "dunning"
        told = f"run {run_id} of job 'trial'"
        assert [record.getMessage().splitlines()[0] for record in caplog.records] == [
            f"{told}: attempt 1 of 3 failed, and is tried again: ValueError: no money",
            f"{told}: attempt 2 of 3 failed, and is tried again: ValueError: no money",
            f"the step 'charge' of {told} failed for good: ValueError: no money",
        ]
