"""What the log tells of an attempt that has ended."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kumofire_fsm import Kumofire, RunContext


async def test_an_attempt_that_was_canceled_is_logged_with_the_time_that_it_took(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "kumofire_fsm.work")
    app, began = Kumofire(timeout=3600), asyncio.Event()

    @app.job("sleep")
    async def sleep(ctx: RunContext) -> None:
        began.set()
        await asyncio.sleep(3000)

    async with app.open(":memory:") as jobs:
        worker = asyncio.create_task(jobs.run())
        created = await jobs.create(sleep)
        await began.wait()
        await jobs.cancel(created.kumofire_job_run_id)
        await jobs.wait(created.kumofire_job_run_id, timeout=600)
        jobs.stop()
        await worker
    _, ended = [each for each in caplog.records if each.levelno == logging.DEBUG]
    assert "ended with 'stop'" in ended.message
    assert 0 <= vars(ended)["seconds"] < 600
