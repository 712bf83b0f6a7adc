"""One broken row never blocks the others: it is set aside, visible, and the rest moves on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fakes import FakeMessage
from harness import Bound, Kit, nothing

from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.engine.halving import or_defer
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.ports import Statement
from kumofire_fsm.reports import DispatchReport
from kumofire_fsm.schedules import occurrences
from kumofire_fsm.values.limits import ERROR_BYTES


async def corrupt(w: Bound, run_id: str) -> None:
    await w.sql("UPDATE kumofire_runs SET history = '[broken' WHERE id = ?", run_id)


async def corrupt_job(w: Bound, schedule_id: str, column: str = "history", value: Any = "[broken") -> None:
    await w.sql(f"UPDATE kumofire_schedules SET {column} = ? WHERE id = ?", value, schedule_id)


@pytest.mark.parametrize("broken", [0, 1, 4])
async def test_a_broken_run_is_set_aside_for_an_hour_and_the_others_move(kit: Kit, broken: int) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        ids = [await w.create("none", delay=100) for _ in range(5)]
        await corrupt(w, ids[broken])
        kit.clock.advance(100)
        await w.jobs.dispatch()
        rest = [i for i in ids if i != ids[broken]]
        assert sorted(run_id for run_id, _ in w.queue.sent) == sorted(rest)
        assert (await w.row(ids[broken]))["wake_at"] == kit.clock.now() + 3_600_000
        assert await w.jobs.dispatch() == DispatchReport()
        assert await w.jobs.count_runs() == {"queued": 4, "ready": 1}


async def test_a_broken_run_alone_is_set_aside_too(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        run_id = await w.create("none", delay=100)
        await corrupt(w, run_id)
        kit.clock.advance(100)
        assert await w.jobs.dispatch() == DispatchReport()
        assert (await w.row(run_id))["wake_at"] == kit.clock.now() + 3_600_000


async def test_looking_for_a_broken_run_leaves_runs_of_unknown_jobs_alone(kit: Kit) -> None:
    other = kit.another_app()
    other.job("none")(nothing)
    kit.job("none")(nothing)
    kit.job("new")(nothing)
    async with kit.bound() as w:
        unknown = [await w.create("new", delay=100) for _ in range(3)]
        broken = await w.create("none", delay=101)
        good = await w.create("none", delay=102)
        await corrupt(w, broken)
        kit.clock.advance(110)
        await other.bind(db=w.storage, queue=w.queue).dispatch(limit=2)
        assert [run_id for run_id, _ in w.queue.sent] == [good]
        assert [await w.state(run_id) for run_id in unknown] == ["ready"] * 3
        assert (await w.row(broken))["wake_at"] == kit.clock.now() + 3_600_000


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
async def test_a_good_row_beside_more_broken_ones_than_there_are_tries_has_its_turn(
    kit: Kit, last: bool
) -> None:
    """Wherever it stands: which rows are halved with which is drawn by lot each time."""
    items = ["good", *(f"broken {i}" for i in range(20))][:: -1 if last else 1]
    tried: list[int] = []
    moved_in: list[int] = []

    async def act(part: Sequence[str]) -> list[tuple[str]]:
        tried[-1] += 1
        if any(item != "good" for item in part):
            raise RowRefused("broken")
        return [(item,) for item in part]

    def defer(ids: Sequence[str], until: int) -> Statement:
        return w.jobs._binding.runs.defer(ids, until, now=kit.clock.now())

    async with kit.bound() as w:
        for tick in range(60):  # the broken ones come back each time, as if others followed them
            tried.append(0)
            what: dict[str, Any] = {"what": "rows", "id_of": str, "defer": defer, "tries": 8}
            rows = await or_defer(w.jobs._binding, act, items, **what)
            assert rows in ([], [("good",)])
            moved_in += [tick] * len(rows)
    assert max(tried) <= 8
    assert 1 < len(moved_in) < 60, "now and then"


async def test_a_broken_run_in_a_batch_is_not_started_and_the_others_are(kit: Kit) -> None:
    called = []

    @kit.job("note")
    async def note(ctx: Any, payload: int) -> None:
        called.append(payload)

    async with kit.bound() as w:
        ids = await w.create_in_order("note", range(4))
        await corrupt(w, ids[2])
        dispositions = await w.deliver(*ids)
        assert called == [0, 1, 3]
        assert [dispositions[i] for i in (0, 1, 3)] == ["ack"] * 3
        assert dispositions[2] != "ack"
        assert (await w.row(ids[2]))["state"] == "queued"


@pytest.mark.parametrize("size", [1, 4])
async def test_a_run_that_breaks_while_it_runs_is_left_to_its_lease_and_the_others_settle(
    kit: Kit, size: int
) -> None:
    @kit.job("breaks")
    async def breaks(ctx: Any, payload: int) -> None:
        if payload == 0:
            await corrupt(w, ctx.run.id)

    async with kit.bound() as w:
        ids = await w.create_in_order("breaks", range(size))
        dispositions = await w.deliver(*ids)
        assert dispositions[1:] == ["ack"] * (size - 1)
        assert [(await w.row(i))["state"] for i in ids] == ["running"] + ["succeeded"] * (size - 1)
        kit.clock.advance(130)
        await w.jobs.dispatch()
        assert (await w.row(ids[0]))["wake_at"] == kit.clock.now() + 3_600_000


async def test_who_is_refused_is_not_told_that_it_came_too_late(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.job("breaks")
    async def breaks(ctx: Any, payload: int) -> None:
        if payload == 0:
            await corrupt(w, ctx.run.id)

    async with kit.bound() as w:
        ids = await w.create_in_order("breaks", range(3))
        found = await w.jobs.consume_batch([FakeMessage.of(run_id) for run_id in ids])
        assert [each.reason.split(";")[0] for each in found] == [
            "the database refuses the outcome",
            "succeeded",
            "succeeded",
        ]
        told = [record.getMessage() for record in caplog.records if ids[0] in record.getMessage()]
        assert len(told) == 1
        assert "was refused" in told[0]
        kit.clock.advance(130)
        await w.jobs.dispatch()  # its lease has run out, and it is set aside: see above


async def test_a_run_whose_lease_cannot_be_renewed_is_not_lost(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    """As when an edge was removed that this code still needs: others would be told, and it goes on."""
    go, ended = asyncio.Event(), []

    @kit.job("job")
    async def job(ctx: Any) -> str:
        try:
            await go.wait()
        finally:
            ended.append(ctx.attempt)
        return "done"

    def refusals() -> int:
        return sum("heartbeat on run" in record.getMessage() for record in caplog.records)

    timing = Timing(horizon_ms=0, redeliver_ms=0, lease_ms=60)
    async with kit.bound(with_queue=False, timing=timing) as w:
        run_id = await w.create("job")
        pool = WorkerPool(w.jobs._binding, lambda: 0, 1, "a worker")
        running = asyncio.ensure_future(pool.run())
        while await w.state(run_id) != "running":
            await asyncio.sleep(0.001)
        await w.sql("DELETE FROM kumofire_edges WHERE source = 'running' AND target = 'running'")
        while refusals() < 5:
            await asyncio.sleep(0.001)
        assert ended == []
        go.set()
        while await w.state(run_id) != "succeeded":
            await asyncio.sleep(0.001)
        pool.stop()
        await running
        await pool.drain(0)
        assert ended == [1]


async def test_a_run_with_a_broken_history_is_listed_with_the_others(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        ids = [await w.create("none") for _ in range(3)]
        await corrupt(w, ids[1])
        assert {run.kumofire_job_run_id for run in (await w.jobs.list_runs()).runs} == set(ids)
        assert (await w.status(ids[1])).state == "queued"


BROKEN = {
    "no json": ("schedule", "{"),
    "no rule": ("schedule", "{}"),
    "a list": ("schedule", "[]"),
    "bad cron": ("schedule", '{"cron":"nonsense","timezone":"UTC"}'),
    "bad zone": ("schedule", '{"cron":"* * * * *","timezone":"Mars/Olympus"}'),
    "template no json": ("template", "{"),
    "template a list": ("template", "[]"),
    "template a number": ("template", "7"),
    "attempts a text": ("template", '{"max_attempts":"many"}'),
    "no occurrence": ("next_at", None),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("neighbours", [0, 3])
async def test_a_broken_schedule_is_suspended_with_its_error_and_others_fire(
    kit: Kit, kind: str, neighbours: int
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        broken = await w.jobs.create_schedule("none", every=60)
        for _ in range(neighbours):
            await w.jobs.create_schedule("none", every=60)
        run_id = await w.create("none", delay=100)
        await corrupt_job(w, broken.id, *BROKEN[kind])
        kit.clock.advance(60)
        report = await w.jobs.dispatch()
        assert (report.made, report.suspended, report.moved) == (neighbours, 1, 1)
        assert await w.state(run_id) == "queued"
        shown = await w.jobs.get_schedule(broken.id)
        assert (shown.state, shown.next_at) == ("suspended", None)
        assert shown.last_error
        assert await w.jobs.dispatch() == DispatchReport()
        assert len(await w.jobs.list_schedules()) == neighbours + 1


async def test_the_error_of_a_suspended_schedule_is_cut_with_a_mark(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("x" * 100_000)

    kit.job("none")(nothing)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("none", every=60)
        monkeypatch.setattr(occurrences, "decide", broken)
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).suspended == 1
        said = (await w.jobs.get_schedule(made.id)).last_error
        assert said.startswith("ValueError: xxx")
        assert " bytes are cut] ..." in said
        assert said.endswith("xxx")
        assert ERROR_BYTES - 8 <= len(said.encode()) <= ERROR_BYTES


@pytest.mark.parametrize("neighbours", [0, 3])
async def test_a_schedule_that_cannot_move_blocks_neither_schedules_nor_runs(
    kit: Kit, neighbours: int
) -> None:
    """Its history is broken, so that not even its suspension can be written."""
    kit.job("none")(nothing)
    async with kit.bound() as w:
        broken = await w.jobs.create_schedule("none", every=60)
        for _ in range(neighbours):
            await w.jobs.create_schedule("none", every=60)
        run_id = await w.create("none", delay=100)
        # Its rule is broken as well: a fire leaves an active job's history alone, a suspension appends.
        await corrupt_job(w, broken.id)
        await corrupt_job(w, broken.id, "schedule", "{}")
        kit.clock.advance(60)
        report = await w.jobs.dispatch()
        assert (report.made, report.moved) == (neighbours, 1)
        assert await w.state(run_id) == "queued"
        w.storage.clear()
        assert await w.jobs.dispatch() == DispatchReport()
        assert w.storage.names == ["schedules.due", "runs.sweep"]  # set aside, and not tried at every tick


async def test_as_many_broken_schedules_as_the_limit_do_not_starve_the_rest(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        for _ in range(2):
            broken = await w.jobs.create_schedule("none", every=60)
            await corrupt_job(w, broken.id)
            await corrupt_job(w, broken.id, "schedule", "{}")
        kit.clock.advance(1)
        await w.jobs.create_schedule("none", every=60)
        kit.clock.advance(60)
        assert (await w.jobs.dispatch(limit=2)).made == 1
