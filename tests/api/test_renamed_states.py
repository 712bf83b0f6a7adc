"""A state is renamed through a deploy: rows that older code left in it leave it by declared edges."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit, nothing

from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.engine.due import claim_hinted
from kumofire_fsm.engine.moves import fire_one
from kumofire_fsm.errors import MigrationConflict, SchemaMismatch
from kumofire_fsm.machines import Actor, Deadline, Event, Outcome, Role, State
from kumofire_fsm.store.edges import Leftovers
from kumofire_fsm.store.schema import Missing

DAY = Deadline("now + 86400000", "overlook")


class Old(RunMachine, machine="payment"):
    """As it was: rows wait in approval, and are rejected."""

    approval = State("Waits for a person.", role=Role.WAITING, initial=True, deadline=DAY)
    rejected = State("Refused.", role=Role.SETTLED, outcome=Outcome.FAILURE)
    approve = Event(approval.to(RunMachine.ready))
    reject = Event(approval.to(rejected))
    overlook = Event(approval.to(RunMachine.canceled), by=Actor.DEADLINE)
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled)
    redrive = Event(RunMachine.canceled.to(approval), sets=RunMachine.redrive.sets)


class New(RunMachine, machine="payment"):
    """As it is: approval is called review, and rejected is called declined."""

    review = State("Waits for a person.", role=Role.WAITING, initial=True, deadline=DAY)
    declined = State("Refused.", role=Role.SETTLED, outcome=Outcome.FAILURE)
    approval = State("Review, as it was called.", role=Role.WAITING, retired=True, deadline=DAY)
    rejected = State("Declined, as it was called.", role=Role.SETTLED, retired=True)
    approve = Event(review.to(RunMachine.ready) | approval.to(RunMachine.ready))
    decline = Event(review.to(declined) | approval.to(declined))
    overlook = Event(review.to(RunMachine.canceled) | approval.to(RunMachine.canceled), by=Actor.DEADLINE)
    cancel = RunMachine.cancel | review.to(RunMachine.canceled) | approval.to(RunMachine.canceled)
    redrive = Event(RunMachine.canceled.to(review), sets=RunMachine.redrive.sets)


class Newest(RunMachine, machine="payment"):
    """As it will be, once no row is in the old states."""

    review = State("Waits for a person.", role=Role.WAITING, initial=True, deadline=DAY)
    declined = State("Refused.", role=Role.SETTLED, outcome=Outcome.FAILURE)
    approve = Event(review.to(RunMachine.ready))
    decline = Event(review.to(declined))
    overlook = Event(review.to(RunMachine.canceled), by=Actor.DEADLINE)
    cancel = RunMachine.cancel | review.to(RunMachine.canceled)
    redrive = Event(RunMachine.canceled.to(review), sets=RunMachine.redrive.sets)


def app(kit: Kit, machine: type[RunMachine]) -> Kumofire:
    made = kit.another_app()
    made.job("pay", machine=machine)(nothing)
    return made


async def contract(w: Bound, machine: type[RunMachine]) -> str:
    """Do what `kumofire migrate --contract` does."""

    def act(db: Any) -> str:
        change = Leftovers.of(db.execute, [machine.spec])
        for statement in change.statements():
            db.execute(statement)
        return str(change)

    return await w.storage.inner.call(act)


async def test_rows_of_the_old_state_go_on_under_the_new_code_beside_the_old_one(
    kit: Kit, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.db"
    async with kit.bound(file, app=app(kit, Old)) as old:
        ids = [await old.create("pay") for _ in range(4)]
        late = await old.create("pay")
        await old.jobs.fire(late, "reject")
        async with kit.bound(file, app=app(kit, New)) as new:
            assert [await new.state(run_id) for run_id in ids] == ["approval"] * 4
            # A person's events, a deadline, and the old code at the same time.
            await new.jobs.fire(ids[0], "approve")
            assert (await new.state(ids[0]), await new.deliver(ids[0])) == ("ready", ["ack"])
            assert await new.state(ids[0]) == "succeeded"
            await new.jobs.fire(ids[1], "decline")
            await old.jobs.fire(ids[2], "approve")
            fresh = [await new.create("pay"), await old.create("pay")]
            assert [await new.state(run_id) for run_id in fresh] == ["review", "approval"]
            assert [await old.state(run_id) for run_id in fresh] == ["review", "approval"]
            new.clock.advance(86_400)
            await new.jobs.dispatch()
            assert [await new.state(run_id) for run_id in (ids[3], *fresh)] == ["canceled"] * 3
            # Nothing enters the old state any more.
            assert (await new.jobs.redrive(ids[3])).state == "review"
            counted = await new.jobs.count_runs()
            assert {state: number for state, number in counted.items() if number} == {
                "review": 1, "queued": 1, "declined": 1, "rejected": 1, "succeeded": 1, "canceled": 2,
            }  # fmt: skip
            # What was settled in an old state counts as settled: it is pruned.
            new.clock.advance(1000)
            assert await new.jobs.prune(older_than=timedelta(seconds=1)) == 5


async def test_the_old_states_go_in_the_end_and_not_before_their_rows(kit: Kit, tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    async with kit.bound(file, app=app(kit, Old)) as old, kit.bound(file, app=app(kit, New)) as new:
        run_id = await old.create("pay")
        await new.create("pay")
        with pytest.raises(MigrationConflict, match="1 live runs are in a state that goes: 1 in 'approval'"):
            await contract(new, Newest)
        assert await contract(new, New) == "3 edges of payment"
        # The old code can no longer bring a row into the retired state; the row in it goes on.
        with pytest.raises(SchemaMismatch, match="cannot be created in 'approval'"):
            await old.create("pay")
        await new.jobs.cancel(run_id)
        assert await contract(new, Newest) == "3 edges of payment"
    async with kit.bound(file, app=app(kit, Newest)) as newest:
        assert await newest.state(await newest.create("pay")) == "review"
        assert await contract(newest, Newest) == "0 edge of "


LEASE = {"role": Role.LEASED, "deadline": Deadline("least(now + lease_ms, timeout_at)", "lose")}


class Checked(RunMachine, machine="check"):
    """Handlers run in checking; nothing is in running any more."""

    running = State("Checking, as it was called.", retired=True, **LEASE)
    checking = State("It is looked at.", **LEASE)
    start = Event(
        RunMachine.ready.to(checking) | RunMachine.queued.to(checking) | RunMachine.retrying.to(checking),
        by=Actor.CONSUMER,
        sets=RunMachine.start.sets,
    )
    heartbeat = RunMachine.heartbeat | checking.to.itself()
    succeed = RunMachine.succeed | checking.to(RunMachine.succeeded)
    retry = RunMachine.retry | checking.to(RunMachine.failed)
    fail = RunMachine.fail | checking.to(RunMachine.failed)
    stop = RunMachine.stop | checking.to(RunMachine.canceled)
    snooze = RunMachine.snooze | checking.to(RunMachine.ready)
    release = RunMachine.release | checking.to(RunMachine.queued)
    lose = RunMachine.lose | checking.to(RunMachine.queued)


class Back(Checked, machine="check"):
    """Handlers run in running again."""

    running = State("It runs.", **LEASE)
    checking = State("Running, as it was called.", retired=True, **LEASE)
    start = RunMachine.start


async def test_a_run_under_way_at_the_deploy_settles_and_a_dead_worker_s_is_taken_over(
    kit: Kit, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.db"
    async with kit.bound(file, app=app(kit, Checked)) as old, kit.bound(file, app=app(kit, Back)) as new:
        alive, dead = [await old.create("pay") for _ in range(2)]
        for run_id in (alive, dead):
            (claimed,) = (await claim_hinted(old.jobs._binding, [run_id], alone=True)).runs
            assert claimed.state == "checking"
        # The newer code settles what was started before it, too.
        (run,) = [await new.row(alive)]
        move = new.jobs._binding.move(alive, "succeed", starts=run["starts"], claim=run["claim"], value="1")
        assert (await fire_one(new.jobs._binding, move)).state == "succeeded"
        new.clock.advance(3600)
        await new.jobs.dispatch()
        assert await new.state(dead) == "queued"
        assert (await new.deliver(dead), await new.state(dead)) == (["ack"], "succeeded")
        assert [entry.state for entry in (await new.status(dead)).history][-2:] == ["running", "succeeded"]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_retired_state_keeps_the_deadline_that_its_rows_have(
    kit: Kit, tmp_path: Path, waits: bool
) -> None:
    """Rows in it would never wake, or wake and find nothing to fire."""

    def machine(waits: bool, *, retired: bool) -> type[RunMachine]:
        options: dict[str, Any] = {"waits": True} if waits else {"deadline": Deadline("now + 1", "go")}
        old = State("Old.", role=Role.WAITING, retired=retired, initial=not retired, **options)
        body = {"old": old, "go": Event(old.to(RunMachine.ready))}
        return type(RunMachine)("Timed", (RunMachine,), body, machine="timed")

    file = tmp_path / "jobs.db"
    async with kit.bound(file, app=app(kit, machine(waits, retired=False))) as old:
        now, then = ("a", "none") if waits else ("no", "one")
        message = f"the state 'old' of the machine 'timed' has {now} deadline, and had {then} when it was registered"
        changed = machine(not waits, retired=True)
        with pytest.raises(MigrationConflict, match=f"^{re.escape(message)}"):
            await old.storage.inner.call(lambda db: Missing.of(db.execute, [changed.spec]))
        kept = machine(waits, retired=True)
        missing = await old.storage.inner.call(lambda db: Missing.of(db.execute, [kept.spec]))
        assert [(edge.source, edge.target) for edge in missing.edges] == [("", "queued"), ("", "ready")]
