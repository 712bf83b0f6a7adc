"""What a handler fires of its own machine ends the attempt, fenced and answered from every leased state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Fire, RunMachine
from kumofire_fsm.machines import HANDED_BACK, Actor, Deadline, Event, Role, State


class Parked(RunMachine):
    parked = State(role=Role.WAITING, deadline=Deadline("run_at", "resume"))
    refused = State(role=Role.SETTLED)

    park = Event(
        RunMachine.running.to(parked, sets={"run_at": "next_at", **HANDED_BACK})
        | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
    )
    refuse = Event(RunMachine.running.to(refused) | RunMachine.canceling.to(refused), by=Actor.CONSUMER)
    maybe = Event(
        RunMachine.running.to(parked, cond="attempt < max_attempts")
        | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER,
    )
    resume = Event(parked.to(RunMachine.ready), by=Actor.DEADLINE)
    cancel = RunMachine.cancel | parked.to(RunMachine.canceled)


def register(kit: Kit, signal: Any, machine: type[RunMachine] = Parked) -> None:
    @kit.job("job", machine=machine)
    async def job(ctx: Any) -> None:
        if isinstance(signal, Exception):
            raise signal
        await signal(ctx)


def test_a_machine_lists_the_events_that_end_an_attempt_in_any_case():
    assert RunMachine.spec.endings == ("succeed", "retry", "fail", "snooze", "release", "stop")
    assert Parked.spec.endings == (*RunMachine.spec.endings, "park", "refuse")


@pytest.mark.parametrize(
    ("until", "seconds"),
    [(30, 30), (timedelta(minutes=2), 120), (datetime(2026, 1, 1, 1, tzinfo=UTC), 3600), (0.0, 0)],
)
async def test_its_edges_read_until_as_next_at(kit: Kit, until: Any, seconds: int) -> None:
    register(kit, Fire("park", until=until))
    async with kit.bound() as w:
        run_id = await w.create("job")
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.attempt, status.settled) == ("parked", 0, False)
        assert status.run_at == kit.clock.time + timedelta(seconds=seconds)
        assert status.history[-1].facts == {}


async def test_it_may_settle_the_run_in_a_state_of_its_own(kit: Kit) -> None:
    register(kit, Fire("refuse", note="not our customer"))
    async with kit.bound() as w:
        run_id = await w.create("job", dedupe_key="a", dedupe="active")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.settled, status.finished_at) == ("refused", True, kit.clock.time)
        assert status.history[-1].facts == {"note": "not our customer"}
        assert (await w.row(run_id))["dedupe_slot"] is None
        assert (await w.row(run_id))["timeout_at"] is None


async def test_a_long_note_is_cut(kit: Kit) -> None:
    register(kit, Fire("refuse", note="\x01é" * 500))
    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        note = (await w.status(run_id)).history[-1].facts["note"]
        assert (len(note.encode()), note.endswith("[truncated]")) == (160, True)


@pytest.mark.parametrize("event", ["maybe", "start", "heartbeat", "cancel", "resume", "nothing", None])
async def test_an_event_that_could_go_unanswered_is_the_handlers_failure(kit: Kit, event: Any) -> None:
    register(kit, Fire(event))
    async with kit.bound() as w:
        run_id = await w.create("job")
        assert await w.deliver(run_id) == [2]
        status = await w.status(run_id)
        assert (status.state, status.attempt) == ("retrying", 1)
        assert status.last_error == (
            f"InvalidArgument: Fire({event!r}): the handlers of the machine 'parked' may fire "
            "succeed, retry, fail, snooze, release, stop, park, refuse"
        )


@pytest.mark.parametrize("until", [-1, "tomorrow", datetime(2026, 1, 2)])  # noqa: DTZ001
async def test_a_time_that_is_none_is_the_handlers_failure(kit: Kit, until: Any) -> None:
    register(kit, Fire("park", until=until))
    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert status.state == "retrying"
        assert status.last_error is not None
        assert status.last_error.startswith("InvalidArgument: Fire(until=...)")


async def test_a_machine_without_the_event_refuses_it(kit: Kit) -> None:
    register(kit, Fire("park"), RunMachine)
    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        assert await w.state(run_id) == "retrying"


async def test_it_is_fenced_by_its_attempt(kit: Kit) -> None:
    async def late(ctx: Any) -> None:
        kit.clock.advance(100)
        await ctx.jobs.dispatch()  # the lease is lost
        raise Fire("park")

    register(kit, late)
    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        assert (await w.status(run_id)).history[-1].event == "enqueue"
        assert await w.state(run_id) == "queued"


async def test_after_a_cancellation_it_ends_as_the_machine_says(kit: Kit) -> None:
    async def canceled(ctx: Any) -> None:
        await ctx.jobs.cancel(ctx.run.id)
        raise Fire("park", until=60)

    register(kit, canceled)
    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        assert await w.state(run_id) == "canceled"


async def test_outcomes_of_several_machines_settle_in_one_statement(kit: Kit) -> None:
    register(kit, Fire("park", until=60))

    @kit.job("plain")
    async def plain(ctx: Any) -> None:
        pass

    async with kit.bound() as w:
        ids = [await w.create(name) for name in ("job", "plain", "job")]
        w.storage.clear()
        await w.deliver(*ids)
        assert w.storage.names == ["runs.claim", "runs.park+succeed"]
        assert await w.jobs.count_runs() == {"parked": 2, "succeeded": 1}


async def test_a_retry_that_is_fired_is_a_retry_with_its_backoff_and_its_error(kit: Kit) -> None:
    @kit.job("job", max_attempts=2)
    async def job(ctx: Any) -> None:
        raise Fire("retry", note="not yet")

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        status = await w.status(run_id)
        assert (status.state, status.run_at > kit.clock.time) == ("retrying", True)
        assert status.last_error.splitlines()[0] == "Fire: not yet"
