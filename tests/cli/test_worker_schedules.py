"""``kumofire worker`` stores the schedules that the code declares, unless it is told not to."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kumofire_fsm import Kumofire
from kumofire_fsm.cli.worker import work

OPTIONS: dict[str, Any] = {"concurrency": 1, "lease": 15.0, "grace": 1.0}


def made(*, declares: bool) -> Kumofire:
    """Return an application whose worker ends as soon as it has begun."""
    app = Kumofire()

    @app.job("report")
    async def report(ctx: Any) -> None: ...

    if declares:
        app.schedule(at=datetime(2100, 1, 1, tzinfo=UTC), key="once")(report)
    return app


def worked(app: Kumofire, db: Path, *, sync_schedules: bool, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Work until the worker has begun; return the keys of the schedules that are active then."""
    caplog.set_level(logging.INFO)
    caplog.clear()

    async def scenario() -> None:
        worker = asyncio.ensure_future(work(app, db, **OPTIONS, sync_schedules=sync_schedules))
        while not any("a worker starts" in each for each in caplog.messages):
            await asyncio.sleep(0.01)
            if worker.done():
                worker.result()
        worker.cancel()
        await asyncio.wait([worker])

    asyncio.run(scenario())
    with app.open_sync(db) as jobs:
        return [str(each.schedule_key) for each in jobs.list_schedules() if each.state == "active"]


def test_a_worker_stores_what_is_declared_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app, db = made(declares=True), tmp_path / "jobs.db"
    assert worked(app, db, sync_schedules=True, caplog=caplog) == ["once"]
    assert "schedules: created once" in caplog.messages
    assert worked(app, db, sync_schedules=True, caplog=caplog) == ["once"]
    assert "schedules: unchanged once" in caplog.messages


def test_a_worker_that_is_told_not_to_or_declares_none_touches_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app, db = made(declares=True), tmp_path / "jobs.db"
    assert worked(app, db, sync_schedules=False, caplog=caplog) == []
    with app.open_sync(db) as jobs:
        jobs.sync_schedules()
    assert worked(made(declares=False), db, sync_schedules=True, caplog=caplog) == ["once"]
    assert not any("schedules:" in each for each in caplog.messages)
