"""Work that the code does not know, because a job or a state is gone, is told of once, and can be seen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import START
from harness import Bound, Kit

from kumofire_fsm import Kumofire, RunMachine, TransitionNotAllowed, UnknownWork
from kumofire_fsm.embedded import _upkeep as upkeep
from kumofire_fsm.engine import unknown
from kumofire_fsm.machines import Deadline, Event, Role, State

LOOKS = START + timedelta(minutes=30)
"""When a process that has not looked yet looks: in this minute, and the nine after it."""


class Reviewed(RunMachine, machine="reviewed"):
    """A run that somebody looks at first."""

    review = State(role=Role.WAITING, deadline=Deadline("created_at + 60000", "refuse", doc="nobody looked"))
    ask = Event(RunMachine.ready.to(review) | RunMachine.queued.to(review), doc="Somebody is to look.")
    refuse = Event(review.to(RunMachine.canceled), doc="It is not to run.")


class Lost(RunMachine, machine="reviewed"):
    """The same machine in the next release, without that state."""


def release(kit: Kit, *jobs: str, machine: type[RunMachine] = RunMachine) -> Kumofire:
    app = kit.another_app()
    for name in jobs:
        app.job(name, machine=machine)(lambda ctx: None)
    return app


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "will not go on here" in record.getMessage()]


@asynccontextmanager
async def deployed(kit: Kit) -> AsyncIterator[tuple[Bound, Any]]:
    """A database with two runs and a schedule of "mail", and the next release, which does not know it."""
    kit.app = release(kit, "mail", "kept")
    async with kit.bound() as w:
        await w.create("mail")
        await w.create("mail")
        await w.create("kept")
        await w.jobs.create_schedule("mail", every=60)
        yield w, release(kit, "kept").bind(db=w.storage, queue=w.queue)


def since(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


async def test_a_job_that_is_gone_is_shown_with_its_runs_and_schedules(kit: Kit) -> None:
    async with deployed(kit) as (w, jobs):
        kit.clock.advance(119)
        assert await jobs.unknown_work() == []  # what is due for less than a minute may be taken elsewhere
        kit.clock.advance(61)
        schedule, runs = await jobs.unknown_work()
        assert schedule == UnknownWork("schedules", "job", "mail", "job", "active", 1, False, since(60))
        assert runs == UnknownWork("runs", "job", "mail", "run", "queued", 2, False, since(120))
        assert await w.jobs.unknown_work() == []  # the release that knows it


async def test_the_status_of_a_run_says_what_is_not_known_of_it(kit: Kit) -> None:
    async with deployed(kit) as (w, jobs):
        mail, kept = [(await w.jobs.list_runs(name=name)).runs[0] for name in ("mail", "kept")]
        assert (mail.unknown, kept.unknown) == (None, None)
        shown = await jobs.get_status(mail.kumofire_job_run_id)
        assert (shown.state, shown.unknown) == ("queued", "job")
        assert [run.unknown for run in (await jobs.list_runs(name="mail")).runs] == ["job", "job"]
        assert (await w.jobs.cancel(mail.kumofire_job_run_id)).settled
        assert (await jobs.get_status(mail.kumofire_job_run_id)).unknown is None  # nothing is to go on


async def test_an_alias_makes_it_known(kit: Kit) -> None:
    async with deployed(kit) as (w, _):
        app = kit.another_app()
        app.job("mail.send", aliases=["mail"])(lambda ctx: None)
        jobs = app.bind(db=w.storage, queue=w.queue)
        kit.clock.advance(600)
        assert [work.name for work in await jobs.unknown_work()] == ["kept"]


async def test_a_state_that_is_gone_is_shown_and_a_cancellation_says_why_it_is_refused(kit: Kit) -> None:
    kit.app = release(kit, "pay", machine=Reviewed)
    async with kit.bound() as w:
        run_id = await w.create("pay", delay=300)
        await w.jobs.fire(run_id, "ask")
        jobs = release(kit, "pay", machine=Lost).bind(db=w.storage, queue=w.queue)
        kit.clock.advance(600)
        await jobs.dispatch()
        assert await w.state(run_id) == "review"  # its deadline does not fire
        (work,) = await jobs.unknown_work()
        assert work == UnknownWork("runs", "state", "pay", "reviewed", "review", 1, False, since(60))
        assert str(work) == (
            "1 run of job 'pay' in 'review', due since 2026-01-01 00:01:00 UTC, will not go on here: the machine "
            "'reviewed' has no such state any more; declare it again, until no run is in it"
        )
        assert (await jobs.get_status(run_id)).unknown == "state"
        with pytest.raises(TransitionNotAllowed, match="of this code has no such state; declare it"):
            await jobs.cancel(run_id)
        # A message for it is not delivered again every second.
        assert (await jobs.consume({"version": 1, "kumofireJobRunId": run_id})).delay_s == 60


async def test_a_machine_that_is_gone_is_shown(kit: Kit) -> None:
    kit.app = release(kit, "pay", machine=Reviewed)
    async with kit.bound() as w:
        run_id = await w.create("pay")
        jobs = release(kit, "pay").bind(db=w.storage, queue=w.queue)
        kit.clock.advance(600)
        (work,) = await jobs.unknown_work()
        assert (work.why, work.machine) == ("machine", "reviewed")
        assert (await jobs.get_status(run_id)).unknown == "machine"


async def test_more_than_a_look_reads_are_told_as_at_least_so_many(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unknown, "LOOK_ROWS", 2)
    async with deployed(kit) as (_, jobs):
        kit.clock.advance(600)
        runs = (await jobs.unknown_work())[-1]
        assert (runs.number, runs.more) == (2, True)
        assert str(runs).startswith("at least 2 runs of job 'mail' in 'queued', due since ")


# -- a dispatcher -------------------------------------------------------------------------------------


async def test_a_dispatcher_warns_once_with_name_and_count(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    async with deployed(kit) as (w, jobs):
        kit.clock.advance(30 * 60)
        await jobs.dispatch()
        told = warnings(caplog)
        why = "no such job is registered; register it, or name it in aliases= of the job that replaced it"
        assert told == [
            f"{what}, due since 2026-01-01 00:0{minute}:00 UTC, will not go on here: {why}"
            for what, minute in (
                ("1 schedule of job 'mail' in 'active'", 1),
                ("2 runs of job 'mail' in 'queued'", 2),
            )
        ]
        for _ in range(5):
            kit.clock.advance(3600)
            await jobs.dispatch()
        assert warnings(caplog) == told
        fresh = release(kit, "kept").bind(db=w.storage, queue=w.queue)  # another process
        await fresh.dispatch()
        assert len(warnings(caplog)) == 2 * len(told)


async def test_of_the_ticks_of_a_process_one_in_sixty_looks(kit: Kit) -> None:
    kit.app = release(kit, "kept")
    async with kit.bound() as w:
        looks = []
        for minute in range(300):
            w.storage.clear()
            await w.jobs.dispatch()
            looks += [minute] if "runs.find_unknown" in w.storage.names else []
            assert len(w.storage.names) <= 3
            kit.clock.advance(60)
        assert looks == [30, 90, 150, 210, 270]


async def test_where_every_tick_is_a_fresh_process_one_in_six_looks(kit: Kit) -> None:
    async with kit.bound() as w:
        looks = 0
        for _ in range(120):
            w.storage.clear()
            await release(kit, "kept").bind(db=w.storage, queue=w.queue).dispatch()
            looks += w.storage.names.count("runs.find_unknown")
            kit.clock.advance(60)
        assert looks == 20


async def test_a_look_that_fails_fails_no_dispatch(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    async with deployed(kit) as (w, jobs):
        kit.clock.advance(30 * 60)
        w.storage.fail_once("find_unknown", "before")
        assert (await jobs.dispatch()).complete
        assert "work that is not known here could not be looked for" in caplog.text


async def test_a_dispatch_that_has_no_statement_left_does_not_look(kit: Kit) -> None:
    kit.app = release(kit, "kept")
    async with kit.bound(max_statements=2) as w:
        kit.clock.advance(30 * 60)
        await w.jobs.dispatch()
        assert w.storage.names == ["schedules.due", "runs.sweep"]


async def test_messages_of_an_unknown_job_are_told_of_once(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    async with deployed(kit) as (w, jobs):
        for run_id, _ in w.queue.sent[:2] * 3:
            assert (await jobs.consume({"version": 1, "kumofireJobRunId": run_id})).delay_s == 60
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.endswith("of job 'mail' (machine 'run', state 'queued'): this job is not known here")


# -- a worker -----------------------------------------------------------------------------------------


async def test_a_worker_warns_once_and_looks_at_a_slow_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(unknown, "OVERDUE_MS", 0)
    monkeypatch.setattr(upkeep, "OVERDUE_SECONDS", 0.001)
    monkeypatch.setattr(upkeep, "UNKNOWN_SECONDS", 0.001)
    old, new = Kumofire(), Kumofire()
    old.job("mail")(lambda ctx: None)
    async with old.open(tmp_path / "jobs.db") as jobs:
        run_id = (await jobs.create("mail")).kumofire_job_run_id
    async with new.open(tmp_path / "jobs.db") as jobs:
        looked = 0

        async def look(binding: Any) -> None:
            nonlocal looked
            looked += 1
            await unknown.warn_of_unknown(binding)

        monkeypatch.setattr(upkeep, "warn_of_unknown", look)
        worker = asyncio.ensure_future(jobs.run())
        async with asyncio.timeout(600):
            while looked < 5:
                await asyncio.sleep(0.001)
        jobs.stop()
        await worker
        assert (await jobs.get_status(run_id)).unknown == "job"
    (told,) = warnings(caplog)
    assert told.startswith("1 run of job 'mail' in 'queued', due since ")


async def test_a_name_that_would_steer_a_terminal_is_escaped(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    kit.app = release(kit, "\x1b[2Jmail\nnext line")
    async with kit.bound() as w:
        await w.create("\x1b[2Jmail\nnext line")
        jobs = release(kit, "kept").bind(db=w.storage, queue=w.queue)
        kit.clock.advance(30 * 60)
        await jobs.dispatch()
        (told,) = warnings(caplog)
        assert r"'\x1b[2Jmail\nnext line'" in told
