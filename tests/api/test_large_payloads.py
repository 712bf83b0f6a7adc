"""A claim brings no more payload than an answer may hold: what is too large is read when its turn comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.engine.reading import PAYLOADS_AT_ONCE as AT_ONCE
from kumofire_fsm.errors import TransientStoreError
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.values.limits import ANSWER_BYTES, PAYLOAD_BYTES

LARGE = 200_000


def watch(storage: Any) -> Counter[str]:
    """Return the largest answer of each statement, in letters, which grows as they are executed."""
    execute, largest = storage.execute, Counter[str]()

    async def watched(statement: Statement) -> list[Row]:
        rows: list[Row] = await execute(statement)
        size = sum(len(cell) for row in rows for cell in row if isinstance(cell, str))
        largest[statement.name] = max(largest[statement.name], size)
        return rows

    storage.execute = watched
    return largest


def payload(number: int, size: int = LARGE) -> str:
    return f"{number:04}" + "x" * (size - 4)


def register(kit: Kit, got: list[str]) -> None:
    @kit.job("keep")
    async def keep(ctx: Any, text: str) -> int:
        got.append(text)
        return len(text)


async def create(w: Bound, payloads: list[str]) -> list[str]:
    return await w.create_in_order("keep", payloads)


@pytest.mark.parametrize("concurrency", [1, 7, 100])
async def test_a_batch_of_large_payloads_is_read_in_answers_that_fit(kit: Kit, concurrency: int) -> None:
    got: list[str] = []
    register(kit, got)
    async with kit.bound() as w:
        payloads = [payload(number) for number in range(100)]
        ids = await create(w, payloads)
        largest = watch(w.storage)
        w.storage.clear()
        assert await w.deliver(*ids, concurrency=concurrency) == ["ack"] * 100
        assert sorted(got) == payloads
        assert (await w.jobs.count_runs()) == {"succeeded": 100}
    assert largest["runs.claim"] < 200_000
    assert largest["bodies.read"] <= ANSWER_BYTES
    assert w.storage.names.count("runs.claim") == 1
    assert w.storage.names.count("bodies.read") == -(-100 // AT_ONCE)


@pytest.mark.parametrize(
    ("count", "size"), [(1, PAYLOAD_BYTES - 2), (AT_ONCE, PAYLOAD_BYTES - 2), (100, 40_000), (100, 600)]
)
async def test_what_fits_into_one_answer_costs_no_statement_more(kit: Kit, count: int, size: int) -> None:
    got: list[str] = []
    register(kit, got)
    async with kit.bound() as w:
        ids = await create(w, [payload(number, size) for number in range(count)])
        w.storage.clear()
        await w.deliver(*ids)
        assert len(got) == count
        assert set(w.storage.names) == {"runs.claim", "runs.succeed"}


async def test_only_what_is_too_large_is_left_out(kit: Kit) -> None:
    got: list[str] = []
    register(kit, got)
    async with kit.bound() as w:
        payloads = [payload(number, LARGE if number % 10 == 0 else 100) for number in range(100)]
        ids = await create(w, payloads)
        w.storage.clear()
        await w.deliver(*ids)
        assert got == payloads, "one after the other, in their order"
        assert w.storage.names.count("bodies.read") == 1, "those of the next are read along"


async def test_the_statements_of_an_invocation_are_enough(kit: Kit) -> None:
    got: list[str] = []
    register(kit, got)
    async with kit.bound(max_statements=15) as w:
        ids = await create(w, [payload(number) for number in range(100)])
        for _ in range(10):
            left = [run_id for run_id in ids if not (await w.status(run_id)).settled]
            if not left:
                break
            w.storage.clear()
            await w.deliver(*left)
            assert len(w.storage.names) <= 15
            kit.clock.advance(60)
        assert sorted(got) == sorted(payload(number) for number in range(100)), "each once"


async def test_a_payload_that_cannot_be_read_is_no_handlers_failure(kit: Kit) -> None:
    got: list[str] = []
    register(kit, got)
    async with kit.bound() as w:
        ids = await create(w, [payload(number) for number in range(30)])
        w.storage.fail_once("bodies.read", "before")
        dispositions = await w.deliver(*ids)
        assert all(isinstance(each, int) and 10 <= each <= 20 for each in dispositions), "all come again"
        assert w.storage.names.count("bodies.read") == 1
        kit.clock.advance(20)
        assert await w.deliver(*ids) == ["ack"] * 30
        assert [(await w.status(run_id)).attempt for run_id in ids] == [1] * 30
        assert len(got) == 30


async def test_a_payload_whose_row_is_gone_fails_its_own_run_alone(kit: Kit) -> None:
    got: list[str] = []
    register(kit, got)
    async with kit.bound() as w:
        ids = await create(w, [payload(number) for number in range(30)])
        await w.sql("DELETE FROM kumofire_bodies WHERE owner = ?", ids[3])
        await w.deliver(*ids)
        assert len(got) == 29
        assert "is gone" in ((await w.status(ids[3])).last_error or "")


async def test_time_that_a_payload_takes_is_not_the_handlers(kit: Kit) -> None:
    """It is read within the lease; if that covers the timeout no more, the run is given back."""

    @kit.job("keep", timeout=60)
    async def keep(ctx: Any, text: str) -> None: ...

    async with kit.bound() as w:
        ids = await create(w, [payload(number) for number in range(30)])
        execute = w.storage.execute

        async def slow(statement: Statement) -> list[Row]:
            if statement.name == "bodies.read":
                kit.clock.advance(100)
            return await execute(statement)

        w.storage.execute = slow  # type: ignore[method-assign]
        await w.deliver(*ids)
        assert await w.jobs.count_runs() == {"queued": 30}
        assert {(await w.status(run_id)).attempt for run_id in ids} == {0}


def large_runs(app: Kumofire) -> list[str]:
    got: list[str] = []

    @app.job("keep")
    async def keep(ctx: Any, text: str) -> int:
        got.append(text)
        await asyncio.sleep(0)
        return len(text)

    return got


async def test_a_run_that_is_canceled_while_its_payload_is_read_says_nothing_of_a_handler(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[str] = []
    register(kit, got)
    reading, go_on = asyncio.Event(), asyncio.Event()
    async with kit.bound(with_queue=False) as w, asyncio.timeout(600):
        ids = await create(w, [payload(number) for number in range(30)])
        execute = w.storage.execute

        async def slowly(statement: Statement) -> list[Row]:
            if statement.name == "bodies.read":
                reading.set()
                await go_on.wait()
            return await execute(statement)

        monkeypatch.setattr(w.storage, "execute", slowly)
        pool = WorkerPool(w.jobs._binding, lambda: 0, 30, "a worker")
        running = asyncio.ensure_future(pool.run())
        await reading.wait()
        canceled = {run_id for run_id in ids if (await w.jobs.cancel(run_id)).state == "canceling"}
        go_on.set()
        statuses = [await w.jobs.wait(run_id) for run_id in ids]
        pool.stop()
        await pool.drain(1)
        await running
    ends = {(each.state, each.last_error, each.history[-1].event) for each in statuses}
    assert ends == {("canceled", None, "release")}
    assert (canceled, got) == (set(ids), [])


@pytest.mark.parametrize("concurrency", [5, 100, 1000])
async def test_a_worker_on_a_file_reads_them_in_answers_that_fit(tmp_path: Path, concurrency: int) -> None:
    app = Kumofire()
    got = large_runs(app)
    payloads = [payload(number) for number in range(60)]
    async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        created = await jobs.create_many([NewRun("keep", each) for each in payloads])
        largest = watch(jobs._binding.storage)
        working = asyncio.ensure_future(jobs.run(concurrency=concurrency))
        for each in created:
            assert (await jobs.wait(each.kumofire_job_run_id)).result == LARGE
        working.cancel()
    assert sorted(got) == payloads
    assert max(largest["runs.claim"], largest["bodies.read"]) <= ANSWER_BYTES
    assert (largest["bodies.read"] > 0) is (concurrency >= 100)


async def test_a_worker_whose_database_fails_meanwhile_takes_the_run_again(tmp_path: Path) -> None:
    app = Kumofire()
    got = large_runs(app)
    async with app.open(tmp_path / "jobs.db", synchronous="OFF", lease=0.2) as jobs:
        created = await jobs.create_many([NewRun("keep", payload(number)) for number in range(20)])
        storage = jobs._binding.storage
        execute, failures = storage.execute, iter([TransientStoreError("a disk that hangs")])

        async def failing(statement: Statement) -> list[Row]:
            if statement.name == "bodies.read" and (error := next(failures, None)) is not None:
                raise error
            return await execute(statement)

        storage.execute = failing  # type: ignore[method-assign]
        working = asyncio.ensure_future(jobs.run())
        done = [await jobs.wait(each.kumofire_job_run_id) for each in created]
        working.cancel()
    assert {status.state for status in done} == {"succeeded"}
    assert len(got) == 20
