"""Lists stay small however large what they list: results on request, pages cut by bytes, decoded in turns."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from harness import Bound, Kit, echo, nothing

from kumofire_fsm import InvalidArgument, RunStatus
from kumofire_fsm.runs.status import run_status
from kumofire_fsm.store import runs as store_runs
from kumofire_fsm.store import schedules as store_schedules
from kumofire_fsm.values import columns

LARGE = "x" * 3000


async def done(w: Bound, payloads: list[Any]) -> list[str]:
    """Create a run for each payload, whose result it becomes; return the ids, the newest first."""
    ids = await w.create_in_order("echo", payloads)
    await w.deliver(*ids)
    return ids[::-1]


async def pages(w: Bound, **options: Any) -> list[list[RunStatus]]:
    found, cursor = [], None
    while True:
        page = await w.jobs.list_runs(cursor=cursor, **options)
        found.append(list(page.runs))
        if (cursor := page.cursor) is None:
            return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many bytes an answer may have here."""
    for module in (store_runs, store_schedules):
        monkeypatch.setattr(module, "ANSWER_BYTES", 10_000)
    monkeypatch.setattr("kumofire_fsm.runs.lookup.ANSWER_BYTES", 10_000)
    monkeypatch.setattr("kumofire_fsm.hooks.RUNS_AT_ONCE", 1)  # what fits then
    return 10_000


@pytest.mark.parametrize("result", ["small", LARGE, None])
async def test_a_list_leaves_results_out_and_says_so(kit: Kit, result: str | None) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        (run_id,) = await done(w, [result])
        (listed,) = (await w.jobs.list_runs()).runs
        (whole,) = (await w.jobs.list_runs(results=True)).runs
        status = await w.status(run_id)
        assert (listed.result, listed.result_left_out) == (None, result is not None)
        assert (whole.result, whole.result_left_out) == (result, False)
        assert whole == replace(status, payload=None, payload_left_out=True)


async def test_a_run_without_a_result_has_none_left_out(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.create("none")
        (listed,) = (await w.jobs.list_runs()).runs
        assert (listed.result, listed.result_left_out) == (None, False)


@pytest.mark.parametrize("results", [1, "yes", None])
async def test_whether_results_are_wanted_is_true_or_false(kit: Kit, results: Any) -> None:
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument, match="results must be True or False"):
            await w.jobs.list_runs(results=results)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
async def test_a_page_ends_with_the_run_that_fills_it(kit: Kit, small: int, count: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await done(w, [LARGE] * count)
        found = await pages(w, limit=500, results=True)
        # Four results of 3,000 bytes, with their histories, fill 10,000.
        assert [len(page) for page in found if page] == [4] * (count // 4) + [count % 4] * bool(count % 4)
        assert [run.kumofire_job_run_id for page in found for run in page] == ids
        assert {run.result for page in found for run in page} == {LARGE}


async def test_what_is_left_out_fills_no_page(kit: Kit, small: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await done(w, [LARGE] * 20)
        (page,) = await pages(w)
        assert [run.kumofire_job_run_id for run in page] == ids


@pytest.mark.parametrize("column", ["error", "history", "progress"])
async def test_errors_histories_and_progress_fill_a_page(kit: Kit, small: int, column: str) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        ids = (await w.create_in_order("none", [None] * 9))[::-1]
        value = (
            json.dumps([["create", "queued", 0, {"x": LARGE}]]) if column == "history" else json.dumps(LARGE)
        )
        await w.sql(f"UPDATE kumofire_runs SET {column} = ?", value)
        found = await pages(w, limit=100)
        assert [len(page) for page in found] == [4, 4, 1]
        assert [run.kumofire_job_run_id for page in found for run in page] == ids


@pytest.mark.parametrize("letter", ["x", "ü", "💾"])
async def test_what_counts_are_bytes(kit: Kit, small: int, letter: str) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await done(w, [letter * (3000 // len(letter.encode()))] * 5)
        assert [len(page) for page in await pages(w, results=True)] == [4, 1]


async def test_one_run_is_listed_however_large_it_is(kit: Kit, small: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await done(w, ["x" * 20_000, "small", "x" * 20_000])
        found = await pages(w, results=True)
        assert [[run.kumofire_job_run_id for run in page] for page in found if page] == [[ids[0]], ids[1:]]
        # More than an answer may have: only a list cut by bytes meets such a one.
        assert [run.result_left_out for page in found for run in page] == [True, False, True]


async def test_a_page_that_ends_at_its_limit_has_a_cursor_if_there_is_more(kit: Kit) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.create_in_order("none", [None] * 4)
        assert [len(page) for page in await pages(w, limit=2)] == [2, 2]
        assert [len(page) for page in await pages(w, limit=3)] == [3, 1]
        assert await pages(w, name="none", state="failed") == [[]]


async def test_a_result_whose_row_is_gone_hides_no_run(kit: Kit, small: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await done(w, [LARGE] * 3)
        await w.sql("DELETE FROM kumofire_bodies WHERE owner = ?", ids[1])
        (page,) = await pages(w, results=True)
        assert [run.result for run in page] == [LARGE, None, LARGE]


async def test_schedules_are_listed_until_their_payloads_fill_a_page(kit: Kit, small: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        made = []
        for _ in range(7):
            made.append((await w.jobs.create_schedule("echo", LARGE, every=60)).id)
            kit.clock.advance(milliseconds=1)
        found, sizes = [], []
        while page := await w.jobs.list_schedules(after=found[-1].id if found else ""):
            found += page
            sizes.append(len(page))
        assert ([each.id for each in found], sizes) == (made, [4, 3])


async def test_a_dispatch_reads_no_payload_of_a_schedule(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        for _ in range(3):
            await w.jobs.create_schedule("echo", LARGE, every=60)
        execute, largest = w.storage.execute, 0

        async def watched(statement: Any) -> Any:
            nonlocal largest
            rows = await execute(statement)
            if statement.name == "schedules.due":
                largest = max([largest, *(len(str(row)) for row in rows)])
            return rows

        w.storage.execute = watched  # type: ignore[method-assign]
        kit.clock.advance(60)
        assert (await w.jobs.dispatch()).made == 3
        assert 0 < largest < 2000
        await w.deliver(*(run_id for run_id, _ in w.queue.sent))
        assert {run.result for run in (await w.jobs.list_runs(results=True)).runs} == {LARGE}


async def test_whoever_waits_gets_a_turn_between_the_runs_of_a_list(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, seen = 0, []

    async def other() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    def noted(binding: Any, row: Any) -> RunStatus:
        seen.append(turn)
        return run_status(binding, row)

    monkeypatch.setattr(columns, "TURN_SECONDS", -1.0)
    monkeypatch.setattr("kumofire_fsm.runs.lookup.run_status", noted)
    kit.job("none")(nothing)
    async with kit.bound() as w:
        await w.create_in_order("none", [None] * 30)
        beside = asyncio.ensure_future(other())
        await w.jobs.list_runs()
        beside.cancel()
        assert seen == list(range(seen[0], seen[0] + 30))


async def test_reading_a_run_for_any_other_reason_reads_no_result(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await done(w, [LARGE] * 3)
        execute, sizes = w.storage.execute, []

        async def watched(statement: Any) -> Any:
            rows = await execute(statement)
            if statement.name == "runs.read":
                sizes.append(max(len(str(row)) for row in rows))
            return rows

        w.storage.execute = watched  # type: ignore[method-assign]
        assert await w.deliver(*ids) == ["ack"] * 3
        with pytest.raises(Exception, match="not allowed"):
            await w.jobs.reschedule(ids[0], delay=5)
        assert len(sizes) == 2
        assert max(sizes) < len(LARGE)


async def test_a_hook_gets_the_result_of_each_run_however_many_have_large_ones(kit: Kit, small: int) -> None:
    seen: list[Any] = []
    kit.job("echo")(echo)

    @kit.app.on("succeed")
    def note(transition: Any) -> None:
        seen.append((transition.run.result, transition.run.result_left_out))

    async with kit.bound() as w:
        await done(w, [LARGE] * 5)
    assert seen == [(LARGE, False)] * 5
