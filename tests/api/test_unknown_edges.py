"""An edge that the database does not know yet: who is told, and the command that mends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from harness import Bound, Kit, nothing

from kumofire_fsm import NewRun, RunMachine
from kumofire_fsm.errors import SchemaMismatch
from kumofire_fsm.machines import Deadline, Event, Role, State

COMMAND = "kumofire migrate MODULE:APP --remote --d1 NAME "
SET_ASIDE = 3_600_000


class Approved(RunMachine):
    approval = State(role=Role.WAITING, initial=True, deadline=Deadline("now + 1000", "expire"))
    approve = Event(approval.to(RunMachine.ready))
    expire = RunMachine.expire | approval.to(RunMachine.failed)


@pytest.fixture(autouse=True)
def jobs(kit: Kit) -> None:
    kit.job("pay", machine=Approved)(nothing)
    kit.job("none")(nothing)


@asynccontextmanager
async def lacking(kit: Kit, *edges: tuple[str, str]) -> AsyncIterator[Bound]:
    """A database that lacks edges of the machine; all of them when none is named."""
    async with kit.bound() as w:
        for source, target in edges:
            delete = "DELETE FROM kumofire_edges WHERE machine = 'approved' AND source = ? AND target = ?"
            await w.sql(delete, source, target)
        if not edges:
            await w.sql("DELETE FROM kumofire_edges WHERE machine = 'approved'")
        w.storage.clear()
        yield w


async def test_a_run_of_an_unknown_machine_is_not_created(kit: Kit) -> None:
    async with lacking(kit) as w:
        with pytest.raises(SchemaMismatch) as caught:
            await w.create("pay")
        assert str(caught.value) == (
            "a run cannot be created in 'approval' of the machine 'approved': the database does not know it; register "
            f"the application's machines: {COMMAND}(or --local; for an SQLite file --db FILE, for "
            "wrangler's migrations --dir DIR)"
        )
        assert w.storage.names == ["runs.insert"]
        with pytest.raises(SchemaMismatch, match=COMMAND):
            await w.jobs.create_many([NewRun("none"), NewRun("pay")])
        assert await w.jobs.count_runs() == {}


async def test_runs_that_are_created_at_the_same_time_are_stored_all_the_same(kit: Kit) -> None:
    async with lacking(kit) as w:
        names = ("none", "pay", "none")
        answers = await asyncio.gather(*(w.jobs.create(n) for n in names), return_exceptions=True)
        assert [type(answer).__name__ for answer in answers] == ["Created", "SchemaMismatch", "Created"]
        assert await w.jobs.count_runs() == {"queued": 2}


async def test_a_persons_event_says_what_to_do(kit: Kit) -> None:
    async with lacking(kit, ("approval", "ready")) as w:
        run_id = await w.create("pay")
        with pytest.raises(SchemaMismatch) as caught:
            await w.jobs.fire(run_id, "approve", by="ana")
        assert str(caught.value).startswith(
            f"run {run_id}: 'approve' from 'approval' is an edge of this code's machine 'approved', but the database "
            f"does not know it; register the application's machines: {COMMAND}"
        )
        assert await w.state(run_id) == "approval"


async def test_a_sweep_sets_the_run_aside_and_moves_the_others(kit: Kit, caplog: Any) -> None:
    async with lacking(kit, ("approval", "failed")) as w:
        ids = [await w.create(name, delay=2) for name in ("pay", "none")]
        kit.clock.advance(2)
        await w.jobs.dispatch()
        assert [await w.state(run_id) for run_id in ids] == ["approval", "queued"]
        assert (await w.row(ids[0]))["wake_at"] == kit.clock.now() + SET_ASIDE
    (said,) = (r.message for r in caplog.records if "set aside" in r.message)
    assert said.startswith(f"runs {ids[0]} cannot be moved; set aside for an hour: ")
    assert COMMAND in said


async def test_a_claim_sets_the_run_aside_and_starts_the_others(kit: Kit, caplog: Any) -> None:
    async with lacking(kit, ("ready", "running")) as w:
        ids = [await w.create(name) for name in ("pay", "none")]
        await w.jobs.fire(ids[0], "approve")
        await w.deliver(*ids)
        assert [await w.state(run_id) for run_id in ids] == ["ready", "succeeded"]
        assert (await w.row(ids[0]))["wake_at"] == kit.clock.now() + SET_ASIDE
    assert [COMMAND in r.message for r in caplog.records if "set aside" in r.message] == [True]


async def test_an_outcome_that_is_refused_names_the_command_and_is_left_to_the_lease(
    kit: Kit, caplog: Any
) -> None:
    async with lacking(kit, ("running", "succeeded")) as w:
        ids = [await w.create(name) for name in ("pay", "none")]
        await w.jobs.fire(ids[0], "approve")
        await w.deliver(*ids)
        assert [await w.state(run_id) for run_id in ids] == ["running", "succeeded"]
        kit.clock.advance(minutes=30)
        await w.jobs.dispatch()
        assert await w.state(ids[0]) == "queued"
    refused = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert [m.startswith(f"succeed on run {ids[0]} was refused") and COMMAND in m for m in refused] == [True]


async def test_an_occurrence_is_set_aside_with_the_command(kit: Kit, caplog: Any) -> None:
    async with lacking(kit) as w:
        schedule = await w.jobs.create_schedule("pay", every=timedelta(minutes=1))
        kit.clock.advance(60)
        await w.jobs.dispatch()
        assert await w.jobs.count_runs() == {}
        state, wake_at = (
            await w.sql("SELECT state, wake_at FROM kumofire_schedules WHERE id = ?", schedule.id)
        )[0]
        assert (state, wake_at) == ("active", kit.clock.now() + SET_ASIDE)
    assert [COMMAND in r.message for r in caplog.records if "cannot be moved" in r.message] == [True]
