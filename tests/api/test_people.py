"""What people do to runs: cancel, reschedule, redrive, fire, prune."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes import START
from harness import Kit
from states import STATES, register, run_in

from kumofire_fsm import Created, Fail, InvalidArgument, TransitionNotAllowed
from kumofire_fsm.errors import DedupeConflict, TooLarge
from kumofire_fsm.models import HistoryEntry


@pytest.mark.parametrize("state", STATES)
async def test_a_cancellation_in_each_state_and_again(kit: Kit, state: str) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, state)
        for _ in range(2):
            if state in ("succeeded", "failed"):
                with pytest.raises(TransitionNotAllowed) as caught:
                    await w.jobs.cancel(run_id)
                assert (caught.value.row_id, caught.value.event, caught.value.state) == (
                    run_id,
                    "cancel",
                    state,
                )
                assert caught.value.legal == (("redrive",) if state == "failed" else ())
            else:
                status = await w.jobs.cancel(run_id)
                expected = "canceling" if state in ("running", "canceling") else "canceled"
                assert (status.state, status.settled) == (expected, expected == "canceled")
        history = [e.event for e in (await w.status(run_id)).history]
        assert history.count("cancel") == (0 if state in ("succeeded", "failed") else 1)


async def test_a_canceled_run_is_not_started_by_its_message(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, "queued")
        status = await w.jobs.cancel(run_id, by="ann", note="typo")
        assert status.finished_at == START
        assert status.history[-1] == HistoryEntry("cancel", "canceled", START, {"by": "ann", "note": "typo"})
        assert await w.deliver(run_id) == ["ack"]
        assert (await w.status(run_id)).attempt == 0


@pytest.mark.parametrize("state", STATES)
async def test_rescheduling_moves_what_has_not_started(kit: Kit, state: str) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, state)
        later = kit.clock.time + timedelta(hours=5)
        if state not in ("ready", "queued", "retrying"):
            with pytest.raises(TransitionNotAllowed):
                await w.jobs.reschedule(run_id, run_at=later)
            return
        status = await w.jobs.reschedule(run_id, run_at=later)
        assert (status.run_at, status.state) == (later, "retrying" if state == "retrying" else "ready")
        assert await w.deliver(run_id) == ["ack"], "a dispatcher sends another in time"
        kit.clock.advance(hours=5, seconds=-90)
        w.queue.clear()
        await w.jobs.dispatch()
        assert w.queue.sent == [(run_id, 90)]


@pytest.mark.parametrize("options", [{"delay": -1}, {"run_at": START, "delay": 1}, {"run_at": "now"}])
async def test_rescheduling_refuses_what_create_refuses(kit: Kit, options: dict[str, Any]) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, "ready")
        before = await w.row(run_id)
        with pytest.raises(InvalidArgument):
            await w.jobs.reschedule(run_id, **options)
        assert await w.row(run_id) == before


@pytest.mark.parametrize("state", STATES)
async def test_a_redrive_gives_fresh_attempts_to_failed_and_canceled_runs_only(kit: Kit, state: str) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, state)
        if state not in ("failed", "canceled"):
            with pytest.raises(TransitionNotAllowed):
                await w.jobs.redrive(run_id)
            return
        kit.clock.advance(10)
        status = await w.jobs.redrive(run_id, by="bob")
        assert (status.state, status.attempt, status.run_at) == ("ready", 0, START + timedelta(seconds=10))
        assert (status.started_at, status.finished_at, status.last_error) == (None, None, None)
        assert status.history[-1].facts == {"by": "bob"}
        assert w.queue.sent[-1] == (run_id, 0)
        await w.jobs.dispatch()
        assert await w.state(run_id) == "ready", "its hint is under way"
        await w.deliver(run_id)
        assert (await w.status(run_id)).attempt == 1


async def test_a_run_that_expired_runs_when_it_is_redriven_however_late(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, "ready", expires_at=kit.clock.time + timedelta(hours=2))
        kit.clock.advance(hours=2)
        await w.jobs.dispatch()
        assert (await w.status(run_id)).history[-1].event == "expire"
        status = await w.jobs.redrive(run_id)
        assert (status.state, status.expires_at) == ("ready", None)
        kit.clock.advance(hours=2)
        assert (await w.jobs.dispatch()).moved == 1
        assert await w.state(run_id) == "queued", "it does not expire again"
        assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "succeeded"


async def test_a_large_result_is_gone_after_a_redrive(kit: Kit) -> None:
    """No built-in edge redrives a succeeded run, but a subclass may add one: the row is moved by hand."""
    outcomes = iter(["x" * 1000, None])

    @kit.job("twice")
    async def twice(ctx):
        value = next(outcomes)
        if value is None:
            raise Fail("second")
        return value

    async with kit.bound() as w:
        run_id = await w.create("twice")
        await w.deliver(run_id)
        await w.sql("INSERT INTO kumofire_edges VALUES ('run', 'succeeded', 'failed', 0)")
        await w.sql("UPDATE kumofire_runs SET state = 'failed' WHERE id = ?", run_id)
        assert (await w.jobs.redrive(run_id)).result is None
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.result) == ("failed", None)


async def test_a_redrive_takes_its_key_back_or_says_who_holds_it(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        first = await run_in(w, "failed", dedupe_key="k", dedupe="active")
        second = await run_in(w, "queued", dedupe_key="k", dedupe="active")
        assert first != second
        before = await w.row(first)
        with pytest.raises(DedupeConflict, match="holds the dedupe key 'k' of job 'job'") as caught:
            await w.jobs.redrive(first)
        assert (caught.value.row_id, caught.value.state) == (first, "failed")
        assert await w.row(first) == before
        await w.jobs.cancel(second)
        assert (await w.jobs.redrive(first)).state == "ready"
        again = await w.jobs.create("job", 1, dedupe_key="k", dedupe="active")
        assert again == Created(first, is_new=False, payload_differs=True)


CONSUMERS = ["start", "succeed", "retry", "fail", "snooze", "release", "stop", "heartbeat"]


@pytest.mark.parametrize("event", [*CONSUMERS, "enqueue", "redeliver", "nudge", "lose", "expire"])
@pytest.mark.parametrize("state", ["queued", "running", "failed"])
async def test_events_of_consumers_and_deadlines_are_refused(kit: Kit, event: str, state: str) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, state)
        before = await w.row(run_id)
        with pytest.raises(TransitionNotAllowed, match="consumers and deadlines"):
            await w.jobs.fire(run_id, event)
        assert await w.row(run_id) == before


@pytest.mark.parametrize("event", ["explode", "", "Cancel", "create"])
async def test_an_unknown_event_is_refused_with_what_is_legal_now(kit: Kit, event: str) -> None:
    register(kit)
    async with kit.bound() as w:
        for state, legal in [
            ("queued", ("cancel", "reschedule")),
            ("failed", ("redrive",)),
            ("succeeded", ()),
        ]:
            run_id = await run_in(w, state)
            with pytest.raises(TransitionNotAllowed) as caught:
                await w.jobs.fire(run_id, event)
            assert (caught.value.legal, caught.value.state) == (legal, state)
            assert all(name in str(caught.value) for name in legal)


@pytest.mark.parametrize(
    ("state", "event", "legal"),
    [("failed", "cancel", ("redrive",)), ("queued", "redrive", ("cancel", "reschedule"))],
)
async def test_an_illegal_event_is_refused_with_what_is_legal_now(
    kit: Kit, state: str, event: str, legal: Any
) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, state)
        with pytest.raises(TransitionNotAllowed) as caught:
            await w.jobs.fire(run_id, event)
        assert caught.value.legal == legal
        assert f"{event!r} is not allowed from {state!r}; legal now: {', '.join(legal)}" in str(caught.value)


async def test_fire_notes_who_and_why_in_the_history(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        run_id = await run_in(w, "failed")
        status = await w.jobs.fire(run_id, "redrive", by="carol", note="Füße 😀 'x' \"y\"")
        assert status.history[-1].facts == {"by": "carol", "note": "Füße 😀 'x' \"y\""}
        with pytest.raises(TooLarge):
            await w.jobs.fire(run_id, "cancel", note="x" * 2000)
        assert await w.state(run_id) == "ready"
