"""Payloads that the database does not give: their runs come again, each time later, and nothing is asked in vain."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeQueue
from harness import Bound, Kit, d1_error

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.errors import UnknownStoreError
from kumofire_fsm.ports import Row, Statement

SIZE = 250_000
CORRUPT = "D1_ERROR: database disk image is malformed: SQLITE_CORRUPT"


@pytest.fixture
def calls(kit: Kit) -> list[int]:
    """How much the handler of the job "big" was given, at its only attempt."""
    sizes: list[int] = []

    @kit.job("big", max_attempts=1)
    async def big(ctx: Any, text: str) -> None:
        sizes.append(len(text))

    return sizes


async def create(w: Bound) -> list[str]:
    return await w.create_in_order("big", ["x" * SIZE] * 20)


async def test_one_unlucky_answer_is_asked_for_again(kit: Kit, calls: list[int]) -> None:
    async with kit.bound() as w:
        ids = await create(w)
        w.storage.clear()
        w.storage.fail("bodies.read", "before", d1_error(CORRUPT))
        assert await w.deliver(*ids) == ["ack"] * 20
        assert (calls, kit.clock.sleeps) == ([SIZE] * 20, [0.1])
        assert w.storage.names.count("bodies.read") == 3, "16 at once, and once in vain"


async def test_while_they_cannot_be_read_each_wait_is_longer_and_told_once(
    kit: Kit, calls: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kumofire_fsm")
    async with kit.bound() as w:
        ids = await create(w)
        w.storage.fail("bodies.read", "before", d1_error(CORRUPT), times=1_000)
        for least, most in [(10, 20), (20, 40), (40, 80), (40, 80)]:
            w.storage.clear()
            caplog.clear()
            waits = await w.deliver(*ids)
            assert {type(each) for each in waits} == {int}
            assert least <= min(map(int, waits)) < max(map(int, waits)) <= most
            assert w.storage.names == ["runs.claim", *["bodies.read"] * 3, "runs.release"]
            (line,) = (each.getMessage() for each in caplog.records)
            assert line == (
                f"the database failed to read payloads (D1 failed: {CORRUPT}); "
                "their runs are given back for a while"
            )
            kit.clock.advance(most)
        states = {((await w.state(each)), (await w.status(each)).attempt) for each in ids}
        assert (states, calls) == ({("queued", 0)}, [])
        w.storage.fail("nothing", "before", None)
        assert await w.deliver(*ids) == ["ack"] * 20
        assert calls == [SIZE] * 20
        assert len((await w.status(ids[0])).history) == 2 + 2 * 5


async def test_ten_minutes_without_reads_cost_each_run_a_few_deliveries(
    kit: Kit, calls: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Claims and releases work: before, such a batch came each second, 12,020 times."""
    queue = FakeQueue(kit.clock)
    async with kit.bound(real_queue=queue, max_statements=45) as w:
        await create(w)
        w.storage.clear()
        w.storage.fail("bodies.read", "before", d1_error(CORRUPT), times=1_000)
        ends = kit.clock.now() + 600_000
        while (at := queue.next_at()) is not None and at < ends:
            kit.clock.advance(milliseconds=max(0, at - kit.clock.now()))
            await queue.deliver(w.jobs)
        assert (queue.deliveries, queue.dead, len(calls)) == (40, [], 20), "apart, they fit into their claims"
        assert w.storage.names.count("bodies.read") == 3
        assert len([each for each in caplog.records if each.levelno >= logging.ERROR]) == 1


async def test_a_suspect_run_stays_suspect(kit: Kit, calls: list[int]) -> None:
    async with kit.bound() as w:
        ids = await create(w)
        await w.sql("UPDATE kumofire_runs SET suspect = 1")
        w.storage.fail("bodies.read", "before", d1_error(CORRUPT), times=9)
        await w.deliver(*ids)
        assert await w.sql("SELECT state, suspect, count(*) FROM kumofire_runs GROUP BY 1, 2") == [
            ("queued", 1, 20)
        ]


async def test_on_a_file_it_costs_no_attempt_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, execute, calls = Kumofire(), SqliteStorage.execute, list[int]()
    fails, failed = True, asyncio.Event()

    async def failing(storage: SqliteStorage, statement: Statement) -> list[Row]:
        if fails and statement.name == "bodies.read":
            failed.set()
            raise UnknownStoreError("something new")
        return await execute(storage, statement)

    @app.job("big", max_attempts=1)
    async def big(ctx: Any, text: str) -> None:
        calls.append(len(text))

    monkeypatch.setattr(SqliteStorage, "execute", failing)
    async with app.open(tmp_path / "jobs.db") as jobs:
        made = await jobs.create_many([NewRun("big", "x" * SIZE)] * 20)
        ids = [each.kumofire_job_run_id for each in made]
        worker = asyncio.ensure_future(jobs.run())
        async with asyncio.timeout(600):
            await failed.wait()
            while (await jobs.count_runs()).get("running") or "release" not in [
                entry.event for entry in (await jobs.get_status(ids[0])).history
            ]:
                await asyncio.sleep(0.01)
        fails = False
        for run_id in ids:
            status = await jobs.get_status(run_id)
            assert (status.state, status.attempt, status.history[-1].event) == ("queued", 0, "release")
            wait = (status.run_at - status.history[-1].at).total_seconds()
            assert 10 <= wait <= 20
            await jobs.reschedule(run_id, delay=0)
        for run_id in ids:
            assert (await jobs.wait(run_id, timeout=600)).state == "succeeded"
        jobs.stop()
        await worker
    assert calls == [SIZE] * 20
