"""Whatever stands in a column, every call answers or refuses with a typed error, and the other rows move on.

Every column of every table holds every type and magnitude that a STRICT table permits, one column at a time,
in rows of every state; then every read and every move is made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from column_values import Column, chunks, columns, put, values
from fakes import FakeBatch, FakeMessage
from fuzzing import register
from harness import Bound, Kit, nothing
from slices import sliced

from kumofire_fsm import Kumofire, KumofireError, RunMachine
from kumofire_fsm.engine.due import claim_hinted
from kumofire_fsm.models import RunPage

ALL = columns()
OF_ROWS = [each for each in ALL if each.table not in ("kumofire_edges", "kumofire_schema")]
OF_ALL_ROWS = [each for each in ALL if each not in OF_ROWS]
EDGES = "kumofire_edges"
KEYS = {"kumofire_bodies": "owner", "kumofire_controls": "job", "kumofire_paces": "job"}
AT_ONCE = 12
"""Values that stand in one database; each breaks a row of every state."""
TICKS = 60
"""Minutes in which the others have to move on, however many broken rows are looked for among them."""


class Rows(NamedTuple):
    """Some runs in every state, and schedules; nothing is wrong with them yet."""

    runs: list[str]
    settled: list[str]
    schedules: list[str]


async def rows(w: Bound, tag: str) -> Rows:
    """Make a run in every state that one may be found in, and schedules."""
    runs, settled = await runs_of(w, tag)
    return Rows(runs, settled, await schedules_of(w, tag))


async def runs_of(w: Bound, tag: str) -> tuple[list[str], list[str]]:
    """Make a run in every state: those that go on, and those that are settled."""
    due = await w.create("echo", "z" * 1000, tags=[tag], dedupe_key=tag)
    ready = await w.create(
        "echo", {"n": 2}, delay=100, expires_at=w.clock.time.replace(year=2027), tags=[tag]
    )
    running, retrying = await w.create("echo", 3), await w.create("raises", 4, tags=[tag])
    canceling = await w.create("echo", 5)
    succeeded, failed = await w.create("echo", "x" * 1000, tags=[tag]), await w.create("raises", 2)
    await w.deliver(retrying, succeeded, failed)
    assert await w.state(failed) == RunMachine.failed.id
    await claim_hinted(w.jobs._binding, [running, canceling], alone=False)
    await w.jobs.cancel(canceling)
    w.queue.clear()
    return [due, ready, running, retrying, canceling], [succeeded, failed]


async def schedules_of(w: Bound, tag: str) -> list[str]:
    """Make two active schedules, a paused one and an ended one."""
    active = await w.jobs.create_schedule(
        "echo", 1, every=60, schedule_key=f"{tag} a", tags=[tag], overlap="queue"
    )
    large = await w.jobs.create_schedule(
        "echo", "y" * 1000, cron="* * * * *", max_attempts=2, schedule_key=f"{tag} l"
    )
    paused = await w.jobs.create_schedule("echo", 1, every=60, schedule_key=f"{tag} p")
    ended = await w.jobs.create_schedule("echo", 1, every=60, schedule_key=f"{tag} e")
    await w.jobs.pause_schedule(paused.id)
    await w.jobs.end_schedule(ended.id)
    return [active.id, large.id, paused.id, ended.id]


async def controlled(w: Bound, number: int) -> str:
    """Limit a job that has a run, and return its name."""
    name = held(number)
    await w.create(name)
    await w.jobs.limit_job(name, 3, by="ana", note="because")
    return name


async def at_a_pace(w: Bound, number: int) -> str:
    """Start runs of a job with a rate, one of them with a key, and return its name."""
    name = paced(number)
    await w.deliver(await w.create(name), await w.create(name, concurrency_key="k"))
    await w.create(name)
    w.queue.clear()
    return name


def paced(number: int) -> str:
    return f"paced {number}"


def held(number: int) -> str:
    return f"held {number}"


async def answered(call: Awaitable[Any]) -> Any:
    """Return what a call answers, or the typed error that it raises; any other error is the test's."""
    try:
        return await call
    except KumofireError as exc:
        str(exc)
        return exc


async def every_page(w: Bound, **filters: Any) -> list[str]:
    """Return the ids of all runs, page by page."""
    found, cursor = [], None
    while True:
        page: RunPage = await w.jobs.list_runs(cursor=cursor, limit=4, **filters)
        found += [run.kumofire_job_run_id for run in page.runs]
        cursor = page.cursor
        if cursor is None:
            return found


async def every_read(w: Bound) -> None:
    """Look at everything: each row is answered for, and stands in its list."""
    runs = [row[0] for row in await w.sql("SELECT id FROM kumofire_runs")]
    schedules = [row[0] for row in await w.sql("SELECT id FROM kumofire_schedules")]
    assert sorted(await every_page(w)) == sorted(runs)
    assert set(await every_page(w, tag="good")) <= set(runs)
    for filters in ({"name": "echo"}, {"state": ["queued", "failed"]}, {"created_before": w.clock.time}):
        await every_page(w, **filters)
    assert sum((await w.jobs.count_runs()).values()) <= len(runs)
    said = [row[0] for row in await w.sql("SELECT job FROM kumofire_controls")]
    assert {each.name for each in await w.jobs.list_jobs()} >= set(said)
    for run_id in runs:
        if run_id:  # no call takes an empty one
            await answered(w.jobs.get_status(run_id))
            await answered(w.jobs.wait(run_id, timeout=0))
    await answered(w.jobs.list_jobs())
    listed, after = [], ""
    while page := await w.jobs.list_schedules(after=after, limit=2):
        listed += [each.id for each in page]
        after = page[-1].id
    assert sorted(listed) == sorted(each for each in schedules if each)
    for schedule_id in filter(None, schedules):
        await answered(w.jobs.get_schedule(schedule_id))
        await answered(w.jobs.preview_schedule(schedule_id, n=3))


async def every_move(w: Bound, runs: Sequence[str], schedules: Sequence[str]) -> None:
    """Make every move that the API has, on each of these rows."""
    for run_id in filter(None, runs):
        for call in (
            w.jobs.reschedule(run_id, delay=0), w.jobs.fire(run_id, "cancel", by="ana"), w.jobs.cancel(run_id),
            w.jobs.redrive(run_id),
        ):  # fmt: skip
            await answered(call)
    for schedule_id in filter(None, schedules):
        for call in (
            w.jobs.update_schedule(schedule_id, tags=["a"]), w.jobs.update_schedule(schedule_id, name="raises"),
            w.jobs.update_schedule(schedule_id, timezone="UTC"), w.jobs.update_schedule(schedule_id, end_at=None),
            w.jobs.pause_schedule(schedule_id), w.jobs.resume_schedule(schedule_id, missed="all"),
            w.jobs.trigger_now(schedule_id), w.jobs.end_schedule(schedule_id),
            w.jobs.update_schedule(schedule_id, cron="* * * * *", start_at=None, max_attempts=1, tags=None),
        ):  # fmt: skip
            await answered(call)
    for (name,) in await w.sql("SELECT job FROM kumofire_controls"):
        for call in (
            w.jobs.limit_job(name, 2),
            w.jobs.pause_job(name),
            w.jobs.resume_job(name),
            w.jobs.limit_job(name, None),
        ):
            await answered(call)
    await answered(w.jobs.upsert_schedule("echo", 2, schedule_key="bad a", every=60))
    await answered(w.jobs.sync_schedules([], origin="code"))


async def runtime(w: Bound, every: Sequence[str], until: Callable[[], Awaitable[bool]]) -> None:
    """Tick and consume as the platform does, until the others have moved on; at first with messages for all."""
    for minute in range(TICKS):
        await w.jobs.dispatch()
        hinted = [run_id for run_id, _ in w.queue.sent if run_id]
        w.queue.clear()
        messages = [
            FakeMessage.of(run_id) for run_id in dict.fromkeys([*hinted, *(every if minute < 2 else [])])
        ]
        await w.jobs.consume_batch(FakeBatch(messages))
        if await until():
            return
        w.clock.advance(60)
    raise AssertionError("the others did not move on")


async def scenario(kit: Kit, broken: Sequence[tuple[Column, Any]], *, moves_first: bool) -> None:
    """Break rows, and see that nothing hides or holds up the others."""
    async with kit.bound() as w:
        for number, (column, value) in enumerate(broken):
            tag = f"bad {number}" if number else "bad"
            if column.table == "kumofire_controls":
                ids = [await controlled(w, number)]
            elif column.table == "kumofire_paces":
                ids = [await at_a_pace(w, number)]
            elif column.table == "kumofire_schedules":
                ids = await schedules_of(w, tag)
            else:
                ids = [run_id for some in await runs_of(w, tag) for run_id in some]
            await put(
                w, column, value, f"{KEYS.get(column.table, 'id')} IN ({', '.join('?' * len(ids))})", *ids
            )
        good = await rows(w, "good")
        await every_read(w)
        changed = [
            row[0]
            for row in await w.sql("SELECT id FROM kumofire_runs")
            if row[0] not in (*good.runs, *good.settled)
        ]
        others = [
            row[0] for row in await w.sql("SELECT id FROM kumofire_schedules") if row[0] not in good.schedules
        ]
        if moves_first:
            await every_move(w, changed, others)

        async def moved_on() -> bool:
            states = [(await w.status(run_id)).settled for run_id in good.runs]
            made = [(await w.jobs.get_schedule(schedule_id)).made for schedule_id in good.schedules[:2]]
            return all(states) and all(made)

        await runtime(w, changed, moved_on)
        ends = [await w.state(run_id) for run_id in good.runs]
        assert ends == ["succeeded", "succeeded", "succeeded", "failed", "canceled"]
        await every_read(w)
        await every_move(w, changed, others)
        w.clock.advance(3600)
        await w.jobs.prune(older_than=60)
        assert [await w.jobs.get_status(run_id) for run_id in (*good.runs, *good.settled)] == [None] * 7
        await every_read(w)


def played(broken: Sequence[tuple[Column, Any]], *, moves_first: bool) -> None:
    kit = Kit()
    register(kit)
    for number in range(len(broken)):
        kit.job(held(number))(nothing)
        kit.job(paced(number), rate=(5, 60), key_rate=(5, 60))(nothing)
    asyncio.run(scenario(kit, broken, moves_first=moves_first))


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("column", sliced(OF_ROWS, 4), ids=str)
def test_broken_columns_break_no_call_and_no_neighbour(column: Column) -> None:
    for number, some in enumerate(chunks(values(column), AT_ONCE)):
        played([(column, value) for value in some], moves_first=bool(number % 2))


@pytest.mark.parametrize("column", [each for each in OF_ROWS if each.table == "kumofire_runs"], ids=str)
def test_a_row_that_breaks_while_its_handler_runs_leaves_its_neighbours_alone(column: Column) -> None:
    """A settle of a broken row is refused, or moves it; whatever it does, the others settle."""
    kit, given_ = Kit(), values(column)

    @kit.job("breaks")
    async def breaks(ctx: Any, number: int) -> int:
        await put(w, column, given_[number], "id = ?", ctx.run.id)
        if number % 3:
            raise ValueError("as many handlers end so")
        return number

    async def scenario_() -> None:
        nonlocal w
        async with kit.bound() as w:
            for some in chunks(list(range(len(given_))), AT_ONCE):
                broken = [await w.create("breaks", number) for number in some]
                good = [await w.create("echo", number) for number in some]
                await answered(
                    w.jobs.consume_batch(FakeBatch([FakeMessage.of(each) for each in (*good, *broken)]))
                )
                assert [await w.state(run_id) for run_id in good] == [RunMachine.succeeded.id] * len(good)
            await every_read(w)
            for _ in range(5):
                w.clock.advance(130)
                await w.jobs.dispatch()
            await every_read(w)

    w: Any = None
    register(kit)
    asyncio.run(scenario_())


@pytest.mark.parametrize(
    ("column", "which"),
    [
        (column, which)
        for column in OF_ALL_ROWS
        for which in ("one", "all")
        if which == "all" or column.table == EDGES
    ],
    ids=str,
)
def test_a_broken_edge_or_version_raises_typed_errors_only(
    column: Column, which: str, tmp_path: Path
) -> None:
    async def scenario_(path: Path, value: Any) -> None:
        kit = Kit()
        register(kit)
        async with kit.bound(path) as w:
            made = await rows(w, "bad")
            await put(
                w, column, value, "true" if which == "all" else "source = 'ready' AND target = 'queued'"
            )
            for _ in range(3):
                await answered(w.jobs.dispatch())
                w.clock.advance(60)
            await answered(w.jobs.consume_batch(FakeBatch([FakeMessage.of(each) for each in made.runs])))
            await answered(w.jobs.create("echo", 1))
            await answered(w.jobs.create_schedule("echo", 1, every=60))
            await every_move(w, [*made.runs, *made.settled], made.schedules)
            await every_read(w)
        await answered(opened(kit.another_app(), path))

    for number, value in enumerate(values(column)):
        asyncio.run(scenario_(tmp_path / f"{number}.db", value))


async def opened(app: Kumofire, path: Path) -> None:
    register(app)
    async with app.open(path) as jobs:
        await jobs.create("echo", 1)


@pytest.mark.parametrize("turn", sliced(range(4), 4))
def test_a_worker_goes_on_beside_rows_that_are_broken_in_every_column(turn: int, tmp_path: Path) -> None:
    """On the embedded runtime, with its own claims, sweeps and settles, and the clock of the machine."""
    kit = Kit()
    register(kit)
    app = Kumofire()
    register(app)

    async def scenario_() -> None:
        async with kit.bound(tmp_path / "jobs.db", with_queue=False) as w:
            kit.clock.advance(time.time() - kit.clock.now() / 1000)
            for number, column in enumerate(OF_ROWS):
                listed, tag = values(column), f"bad {number}"
                if column.table in ("kumofire_controls", "kumofire_paces"):
                    continue  # it holds up its own job alone, as is seen above
                if column.table == "kumofire_schedules":
                    ids = [
                        (await w.jobs.create_schedule("echo", 1, every=1, schedule_key=f"{tag} {n}")).id
                        for n in "ab"
                    ]
                else:
                    ids = [
                        await w.create("echo", "z" * 1000, dedupe_key=f"{tag} {n}", tags=[tag]) for n in "ab"
                    ]
                key = "owner" if column.table == "kumofire_bodies" else "id"
                for place, row_id in enumerate(ids):
                    await put(w, column, listed[(2 * turn + place) * 5 % len(listed)], f"{key} = ?", row_id)
            good = [await w.create("echo", number) for number in range(20)]
            schedule = await w.jobs.create_schedule("echo", 1, every=1)
        async with app.open(tmp_path / "jobs.db", synchronous="OFF", lease=1) as jobs:
            worker = asyncio.create_task(jobs.run(concurrency=3))
            for run_id in good:
                assert (await jobs.wait(run_id, timeout=600)).state == RunMachine.succeeded.id
            while not (await jobs.get_schedule(schedule.id)).made:
                await asyncio.sleep(0.01)
            assert not worker.done()
            jobs.stop(at_once=True)
            await worker

    asyncio.run(scenario_())
