"""Recurring jobs on the embedded worker, in real time."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kumofire_fsm import Kumofire
from kumofire_fsm.schedules import occurrences


async def test_a_worker_lets_an_occurrence_wait_for_the_previous_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occurrences, "HOLD_MS", 50)
    app = Kumofire()
    stretches: list[tuple[float, float]] = []
    enough = asyncio.Event()

    @app.schedule(every=1, overlap="queue")
    @app.job("slow")
    async def slow(ctx: Any) -> None:
        began = time.monotonic()
        await asyncio.sleep(1.3)
        stretches.append((began, time.monotonic()))
        if len(stretches) == 3:
            enough.set()

    async with app.open(tmp_path / "jobs.db", sync_schedules=True, synchronous="OFF") as jobs:
        worker = asyncio.create_task(jobs.run())
        async with asyncio.timeout(600):
            await enough.wait()
        worker.cancel()
        shown = await jobs.get_schedule(schedule_key="slow")
    assert all(first[1] <= second[0] for first, second in pairwise(stretches))
    assert all(second[0] - first[1] < 1 for first, second in pairwise(stretches))
    assert (shown.state, shown.made >= 3) == ("active", True)


async def test_a_worker_starts_a_run_that_was_triggered_by_hand_at_once(tmp_path: Path) -> None:
    app = Kumofire()

    @app.job("tick")
    async def tick(ctx: Any) -> str:
        return str(ctx.run.scheduled_for)

    async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        await jobs.create_schedule("tick", cron="0 0 1 1 *", schedule_key="k")
        worker = asyncio.create_task(jobs.run())
        created = await jobs.trigger_now(schedule_key="k")
        status = await jobs.wait(created.kumofire_job_run_id, timeout=600)
        worker.cancel()
    assert (status.state, status.result) == ("succeeded", "None")
