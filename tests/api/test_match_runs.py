"""match_runs and fire_all: all runs that match a filter are counted, and moved by one mechanism."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from harness import Bound, Kit, nothing

from kumofire_fsm import FiredAll, InvalidArgument, Kumofire, Matched, RunMachine
from kumofire_fsm.errors import TooLarge
from kumofire_fsm.machines import Event, Role, State
from kumofire_fsm.values.limits import LOOK_ROWS, MOVE_RUNS
from kumofire_fsm.values.times import moment

SAID = {"by": "ann", "note": "a mistake"}


@pytest.fixture
def kit() -> Kit:
    kit = Kit()
    for name in ("mail", "report"):
        kit.job(name, max_attempts=1)(nothing)
    return kit


async def fail(b: Bound, name: str, error: str, **options: Any) -> str:
    """Create a run that has failed; its row is written as a worker would leave it."""
    run_id = await b.create(name, **options)
    for event, now in (("start", b.clock.now()), ("fail", b.clock.now())):
        binding = b.jobs._binding
        if event == "start":
            claim = binding.runs.claim(
                [run_id], now=now, token="t", alone=True, jobs={name: (60_000, 60_000)}, limit=1
            )
            await b.storage.inner.execute(claim)
        else:
            row = await b.row(run_id)
            move = binding.move(run_id, "fail", starts=row["starts"], claim=row["claim"], value=error)
            await b.storage.inner.execute(binding.runs.fire(["fail"], [move], fenced=True))
    return run_id


async def test_all_that_wait_are_cancelled_and_each_history_says_who_and_why(kit: Kit) -> None:
    async with kit.bound() as b:
        mine = await b.create_in_order("mail", [None] * 3, delay=3600)
        other = await b.create("report", delay=3600)
        matched = await b.jobs.match_runs("cancel", name="mail")
        assert (sorted(matched.run_ids), matched.by_state, matched.more) == (mine, {"ready": 3}, False)
        assert str(matched) == "3 runs: 3 ready"
        assert [await b.state(each) for each in mine] == ["ready"] * 3, "nothing is changed by a look"

        assert await b.jobs.fire_all(matched, **SAID) == FiredAll(3, 0, 0)
        for each in mine:
            last = (await b.status(each)).history[-1]
            assert (last.event, last.state, last.facts) == ("cancel", "canceled", SAID)
        assert await b.state(other) == "ready"


async def test_what_was_counted_is_what_is_moved_and_what_moved_on_meanwhile_is_left(kit: Kit) -> None:
    async with kit.bound() as b:
        first, second = await b.create_in_order("mail", [None] * 2, delay=3600)
        matched = await b.jobs.match_runs("cancel", name="mail")
        await b.jobs.cancel(first)
        late = await b.create("mail", delay=3600)
        assert await b.jobs.fire_all(matched) == FiredAll(moved=1, left=1, refused=0)
        assert (await b.state(second), await b.state(late)) == ("canceled", "ready")


async def test_a_run_that_starts_after_it_was_found_in_its_queue_goes_on(kit: Kit) -> None:
    async with kit.bound() as b:
        started, cancelling = asyncio.Event(), asyncio.Event()

        @kit.job("slow")
        async def slow(ctx: Any) -> None:
            started.set()
            await cancelling.wait()

        run_id = await b.create("slow")
        matched = await b.jobs.match_runs("cancel", state=["ready", "queued"])
        assert str(matched) == "1 run: 1 queued"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(b.deliver(run_id))
            await started.wait()
            assert await b.jobs.fire_all(matched) == FiredAll(moved=0, left=1, refused=0)
            assert await b.state(run_id) == "running"
            cancelling.set()
        assert await b.state(run_id) == "succeeded"


async def test_a_run_that_failed_again_after_it_was_found_is_left(kit: Kit) -> None:
    @kit.job("bad", max_attempts=1)
    async def bad(ctx: Any) -> None:
        raise ValueError

    async with kit.bound() as b:
        run_id = await b.create("bad")
        await b.deliver(run_id)
        matched = await b.jobs.match_runs("redrive")
        assert str(matched) == "1 run: 1 failed"
        await b.jobs.redrive(run_id)
        await b.deliver(run_id)
        assert await b.jobs.fire_all(matched) == FiredAll(moved=0, left=1, refused=0)
        assert await b.state(run_id) == "failed"
        assert await b.jobs.fire_all(await b.jobs.match_runs("redrive")) == FiredAll(1, 0, 0)


async def test_a_chunk_is_one_statement_of_at_most_500_runs(kit: Kit) -> None:
    async with kit.bound(with_queue=False) as b:
        await b.jobs.create_many([dataclasses.replace(_new("mail"), delay=3600)] * (2 * MOVE_RUNS + 1))
        matched = await b.jobs.match_runs("cancel")
        b.storage.clear()
        assert (await b.jobs.fire_all(matched)).moved == 2 * MOVE_RUNS + 1
        assert b.storage.names == ["runs.cancel"] * 3


async def test_failed_runs_are_redriven_by_the_text_of_their_error_and_hints_are_sent(kit: Kit) -> None:
    async with kit.bound() as b:
        timeout = await fail(b, "mail", "TimeoutError: the server is slow")
        await fail(b, "mail", "ValueError: no such mailbox")
        await fail(b, "report", "TimeoutError: the server is slow")
        matched = await b.jobs.match_runs("redrive", name="mail", state="failed", error="TimeoutError")
        assert matched.run_ids == (timeout,)
        b.queue.clear()
        assert await b.jobs.fire_all(matched, **SAID) == FiredAll(1, 0, 0)
        assert [run_id for run_id, _ in b.queue.sent] == [timeout]
        assert (await b.status(timeout)).history[-1].facts == SAID


async def test_canceled_and_failed_runs_are_redriven_together_where_no_state_is_named(kit: Kit) -> None:
    async with kit.bound() as b:
        failed = await fail(b, "mail", "ValueError: x")
        canceled = await b.create("mail", delay=3600)
        await b.jobs.cancel(canceled)
        matched = await b.jobs.match_runs("redrive")
        assert matched.by_state == {"canceled": 1, "failed": 1}
        assert await b.jobs.fire_all(matched) == FiredAll(2, 0, 0)
        assert await b.state(failed) in ("ready", "queued")


async def test_runs_are_rescheduled_once_each_although_their_place_in_the_index_changes(kit: Kit) -> None:
    async with kit.bound() as b:
        runs = await b.create_in_order("mail", [None] * 3, delay=3600, tags=["blue"])
        matched = await b.jobs.match_runs("reschedule", tag="blue")
        assert await b.jobs.fire_all(matched, delay=7200, **SAID) == FiredAll(3, 0, 0)
        for each in runs:
            status = await b.status(each)
            assert (status.run_at - moment(kit.clock.now())).total_seconds() == 7200
            assert [entry.event for entry in status.history] == ["create", "reschedule"]
            assert status.history[-1].facts == SAID


async def test_runs_are_found_by_their_age(kit: Kit) -> None:
    async with kit.bound() as b:
        old = await b.create("mail", delay=36_000)
        kit.clock.advance(minutes=10)
        border = moment(kit.clock.now())
        await b.create("mail", delay=36_000)
        for event in ("cancel", "reschedule"):
            assert (await b.jobs.match_runs(event, created_before=border)).run_ids == (old,)
        page = await b.jobs.list_runs(created_before=border)
        assert [run.kumofire_job_run_id for run in page.runs] == [old]


async def test_a_dedupe_key_that_another_run_holds_leaves_one_run_and_moves_the_others(kit: Kit) -> None:
    async with kit.bound() as b:
        ids = [await b.create("mail", dedupe_key="k", dedupe="active", delay=3600)]
        await b.jobs.cancel(ids[0])
        ids.append(await b.create("mail", dedupe_key="k", dedupe="active", delay=3600))
        ids.append(await b.create("mail", delay=3600))
        await b.jobs.cancel(ids[2])
        matched = await b.jobs.match_runs("redrive", state="canceled")
        assert await b.jobs.fire_all(matched) == FiredAll(moved=1, left=0, refused=1)
        assert await b.state(ids[0]) == "canceled"


async def test_a_look_goes_on_where_the_one_before_ended_and_stops_at_the_limit(kit: Kit) -> None:
    """More rows than one look reads, of which the last match, in each of the three ways to look."""
    number = LOOK_ROWS + 5
    async with kit.bound(with_queue=False) as b:
        await b.create("report", tags=["blue"], delay=3600)
        kit.clock.advance(milliseconds=1)
        made = [b.jobs._rows.make(dataclasses.replace(_new("mail"), delay=3600)) for _ in range(number)]
        await b.jobs._new.store_all(made)
        kit.clock.advance(milliseconds=1)
        await b.create("report", tags=["blue"], delay=3600)
        assert len((await b.jobs.match_runs("cancel", tag="blue")).run_ids) == 2
        assert len((await b.jobs.match_runs("cancel", name="mail")).run_ids) == number
        some = await b.jobs.match_runs("cancel", limit=7)
        assert (len(some.run_ids), some.more) == (7, True)
        every = await b.jobs.match_runs("cancel")
        assert (await b.jobs.fire_all(every)).moved == number + 2
        assert len((await b.jobs.match_runs("redrive", tag="blue", state="canceled")).run_ids) == 2


class Reviewed(RunMachine, machine="reviewed"):
    """Has a state without a deadline, and an event of its own."""

    review = State(role=Role.WAITING, waits=True)
    ask = Event(RunMachine.ready.to(review))
    drop = Event(review.to(RunMachine.canceled))


async def test_an_event_of_a_lifecycle_of_your_own_is_fired_from_a_state_without_a_deadline(kit: Kit) -> None:
    kit.job("pay", machine=Reviewed)(nothing)
    async with kit.bound() as b:
        pay, _ = await b.create("pay", delay=3600), await b.create("mail", delay=3600)
        assert (await b.jobs.fire_all(await b.jobs.match_runs("ask"))).moved == 1, "of its machine alone"
        matched = await b.jobs.match_runs("drop")
        assert (matched.run_ids, matched.by_state) == ((pay,), {"review": 1})
        assert await b.jobs.fire_all(matched) == FiredAll(1, 0, 0)


async def test_a_filter_or_an_event_that_cannot_be_is_refused(kit: Kit) -> None:
    async with kit.bound() as b:
        for arguments, said in (
            ((("cancel",), {"state": "failed"}), "'cancel' is not allowed from 'failed'; it is from held,"),
            (
                (("cancel",), {"state": "lost"}),
                "this application does not know the state 'lost'; states are canceled,",
            ),
            ((("succeed",), {}), "people cannot fire 'succeed'; they may fire cancel, redrive, reschedule"),
            (((5,), {}), "an event"),
            ((("cancel",), {"limit": 100_001}), "limit must be an integer from 1 to 100000"),
            ((("cancel",), {"error": 5}), "error"),
            ((("cancel",), {"job": "mail"}), r"^match_runs has no option 'job'; it has concurrency_key, "),
            ((("cancel",), {"tags": "blue"}), r"^match_runs has no option 'tags' \(did you mean 'tag'\?\)"),
            ((("cancel",), {"states": ["held"]}), r"'states' \(did you mean 'state'\?\)"),
            ((("cancel",), {"state": {"held": 1}}), "state must be a text or a list of texts"),
            ((("cancel",), {"created_before": "now"}), "created_before must be an aware datetime"),
        ):
            with pytest.raises(InvalidArgument, match=said):
                await b.jobs.match_runs(*arguments[0], **arguments[1])


async def test_what_cannot_be_fired_changes_nothing(kit: Kit) -> None:
    async with kit.bound() as b:
        run_id = await b.create("mail", delay=3600)
        waiting = await b.jobs.match_runs("reschedule")
        as_found = ("ready", 0)
        assert waiting == Matched("reschedule", {run_id: as_found}, more=False)
        for given, options, said in (
            (waiting, {}, "'reschedule' needs run_at or delay"),
            (dataclasses.replace(waiting, event="cancel"), {"delay": 5}, "takes neither run_at nor delay"),
            (waiting.run_ids, {}, "fire_all takes what match_runs gave"),
            (Matched("start", {}, False), {}, "people cannot fire 'start'"),
            (Matched("cancel", None, False), {}, "found must tell of each id how it was found; found None"),
            (Matched("cancel", run_id, False), {}, "found must tell of each id"),
            (
                Matched("cancel", {run_id: as_found, "\ud800": as_found}, False),
                {},
                "an id holds a lone surrogate",
            ),
            (Matched("cancel", {5: as_found}, False), {}, "an id is a text"),
            (Matched("cancel", {run_id: "ready"}, False), {}, "must be a state and how often it had started"),
            (Matched("cancel", {run_id: ("\ud800", 0)}, False), {}, "a state holds a lone surrogate"),
        ):
            with pytest.raises(InvalidArgument, match=said):
                await b.jobs.fire_all(given, **options)
        with pytest.raises(TooLarge):
            await b.jobs.fire_all(waiting, delay=5, note="n" * 1100)
        assert [entry.event for entry in (await b.status(run_id)).history] == ["create"]


async def test_no_state_is_asked_for_by_an_empty_list(kit: Kit) -> None:
    async with kit.bound() as b:
        await b.create_in_order("mail", [None] * 3, delay=3600)
        await fail(b, "mail", "no such host")
        assert (await b.jobs.list_runs(state=[])).runs == ()
        for event in ("cancel", "redrive"):
            matched = await b.jobs.match_runs(event, state=[])
            assert (matched.run_ids, matched.by_state, matched.more) == ((), {}, False)


async def test_nothing_found_moves_nothing(kit: Kit) -> None:
    async with kit.bound() as b:
        matched = await b.jobs.match_runs("cancel", name="nobody")
        assert str(matched) == "0 runs"
        assert await b.jobs.fire_all(matched) == FiredAll(0, 0, 0)


def _new(name: str) -> Any:
    from kumofire_fsm import NewRun

    return NewRun(name)


def test_hooks_are_not_told_of_a_reschedule_that_keeps_the_state(tmp_path: Any) -> None:
    app, told = Kumofire(), []
    app.job("mail")(nothing)

    @app.on_enter("ready")
    def entered(transition: Any) -> None:
        told.append(transition.event)

    with app.open_sync(tmp_path / "jobs.db") as jobs:
        run_id = jobs.create("mail", delay=3600).kumofire_job_run_id
        jobs.reschedule(run_id, delay=7200, by="ann")
        assert jobs.get_status(run_id).history[-1].facts == {"by": "ann"}
    assert told == ["create"]
