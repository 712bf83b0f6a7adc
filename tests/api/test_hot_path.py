"""What a run costs on the embedded runtime, counted and not timed: statements, commits, turns, calls."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.adapters import _turns, sqlite

RUNS = 2_000
ROOMS = re.compile(r"kumofire_fsm.((work|engine|runs|values)\b(?!.owner)|store.(?!_))")
"""Not what composes SQL once (`store/_*.py`)."""
CREATE_CALLS, DRAIN_CALLS, ONE_CALLS = 26, 30, 285
"""Calls of Python functions a run, at most: a tenth more than was counted when these were set."""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what reaches SQLite, on a disk that is always quick."""
    counts: Counter[str] = Counter()
    run = sqlite._run

    def counted(db: Any, statement: Any) -> Any:
        counts[statement.name] += 1
        return run(db, statement)

    monkeypatch.setattr(sqlite, "_run", counted)
    monkeypatch.setattr(_turns, "SHORT_SECONDS", 3600.0)
    return counts


@contextmanager
def counted_calls(counts: Counter[str], name: str) -> Iterator[None]:
    """Count the calls of functions that are made for each run; what a clock makes happen does not count."""

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and ROOMS.search(frame.f_code.co_filename):
            counts[name] += 1

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_one_by_one_a_run_is_two_commits_three_statements_and_one_read(
    tmp_path: Path, statements: Counter[str]
) -> None:
    app, called = Kumofire(), Counter[str]()

    @app.job("noop")
    async def noop(ctx: Any) -> None:
        pass

    async def scenario() -> tuple[Counter[str], int]:
        async with app.open(tmp_path / "jobs.db") as jobs:
            worker = asyncio.ensure_future(jobs.run())
            await jobs.wait((await jobs.create("noop")).kumofire_job_run_id)
            statements.clear()
            before = jobs._storage.group_commits
            with counted_calls(called, "one"):
                for _ in range(100):
                    await jobs.wait((await jobs.create("noop")).kumofire_job_run_id)
            found, commits = Counter(statements), jobs._storage.group_commits - before
            jobs.stop()
            await worker
            return found, commits

    found, commits = asyncio.run(scenario())
    exact = {name: found[name] for name in ("runs.insert", "runs.claim", "runs.succeed")}
    # A deadline, a poll or a look that falls into the hundred runs costs a statement of its own, now and then.
    assert exact == {"runs.insert": 100, "runs.claim": pytest.approx(100, abs=5), "runs.succeed": 100}
    assert commits == pytest.approx(200, abs=5)
    assert found["runs.read"] == 100  # the result, once it is known to be there
    assert called["one"] / 100 <= ONE_CALLS, called


def test_in_bulk_the_calls_of_functions_do_not_grow(tmp_path: Path, statements: Counter[str]) -> None:
    app, done = Kumofire(), asyncio.Event()
    called: Counter[str] = Counter()

    @app.job("noop")
    async def noop(ctx: Any, payload: dict[str, int]) -> None:
        called["runs"] += 1
        if called["runs"] == RUNS:
            done.set()

    async def scenario() -> None:
        async with app.open(tmp_path / "jobs.db") as jobs:
            with counted_calls(called, "create"):
                await jobs.create_many([NewRun("noop", {"n": n}) for n in range(RUNS)])
            loop = asyncio.get_running_loop()
            began = loop.time()
            with counted_calls(called, "drain"), pytest.MonkeyPatch.context() as patched:
                patched.setattr(
                    loop, "time", lambda: began
                )  # a slow machine's worker would look round more often
                worker = asyncio.ensure_future(jobs.run(concurrency=100))
                await done.wait()
            jobs.stop()
            await worker
            assert await jobs.count_runs() == {"succeeded": RUNS}

    asyncio.run(scenario())
    found = called["create"] / RUNS, called["drain"] / RUNS
    assert found[0] <= CREATE_CALLS, found
    assert found[1] <= DRAIN_CALLS, found
