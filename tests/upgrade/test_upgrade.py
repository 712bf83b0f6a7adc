"""A database that an earlier release wrote keeps its promises under the code of today."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm import Kumofire
from kumofire_fsm.store.rows import VERSION
from kumofire_fsm.store.schema import migrate

HERE = Path(__file__).parent
RELEASES = sorted(HERE.glob("release_*.sql"))


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_release_of_tests", HERE / "make_release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = load()


@pytest.fixture(params=RELEASES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> SimpleNamespace:
    """The database of a release: its path, when it was written, and its rows."""
    text, path = request.param.read_text("utf-8"), tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(text)
        db.row_factory = sqlite3.Row
        runs = {row["id"]: dict(row) for row in db.execute("SELECT * FROM kumofire_runs")}
    written = int(text.splitlines()[0].rsplit(" ", 1)[1])
    return SimpleNamespace(path=path, written=datetime.fromtimestamp(written / 1000, UTC), runs=runs)


def shape(path: Path) -> dict[str, str]:
    """Every table, index and trigger of ours, without its spaces."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return {name: " ".join(sql.split()) for name, sql in found}


def expected(row: dict[str, Any]) -> str:
    """How a run is to end: its last tag says so."""
    return json.loads(row["tags"])[-1]


def check_all(rows: dict[str, dict[str, Any]], old: SimpleNamespace) -> None:
    """Every run of the release has ended as it should, within its attempts, with its history."""
    for run_id, before in old.runs.items():
        row = rows[run_id]
        assert row["state"] == expected(before), row
        assert row["wake_at"] is None
        assert row["attempt"] <= row["max_attempts"]
        history = json.loads(before["history"])
        assert json.loads(row["history"])[: len(history)] == history


def stored(path: Path) -> dict[str, dict[str, Any]]:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return {row["id"]: dict(row) for row in db.execute("SELECT * FROM kumofire_runs")}


def test_there_is_a_database_of_a_release_and_each_is_small() -> None:
    assert RELEASES
    assert all(file.stat().st_size < 50_000 for file in RELEASES)


async def test_an_upgraded_schema_is_that_of_a_new_file(old: SimpleNamespace, tmp_path: Path) -> None:
    kit, fresh = Kit(), tmp_path / "fresh.db"
    async with kit.bound(old.path) as w:
        assert (await w.sql("SELECT max(version) FROM kumofire_schema"))[0][0] == VERSION
        assert not await w.storage.inner.call(migrate)
    async with kit.bound(fresh):
        pass
    assert shape(old.path) == shape(fresh)


async def settle(w: Bound) -> None:
    """Dispatch and consume until nothing is open but what lies far ahead."""
    for _ in range(40):
        await w.jobs.dispatch()
        ids = [run_id for run_id, _ in w.queue.sent]
        w.queue.clear()
        await w.deliver(*ids)
        w.clock.advance(seconds=30)


async def test_everything_in_a_database_of_a_release_settles_as_it_should(old: SimpleNamespace) -> None:
    kit = Kit()
    release.register(kit)
    kit.clock.advance((old.written - kit.clock.time) / timedelta(seconds=1))
    async with kit.bound(old.path) as w:
        runs = (await w.jobs.list_runs(limit=500)).runs
        assert {run.kumofire_job_run_id for run in runs} == old.runs.keys()
        assert all(entry.event != "unreadable" for run in runs for entry in run.history)
        keys = [("for ever", "forever", False), ("active", "active", False), ("was active", "active", True)]
        for key, scope, new in keys:
            made = await w.jobs.create("work", "new", dedupe_key=key, dedupe=scope)
            assert made.is_new is new, key
            assert new or old.runs[made.kumofire_job_run_id]["dedupe_key"] == key
        by_key = {each.schedule_key: each for each in await w.jobs.list_schedules()}
        await w.jobs.resume_schedule(by_key["paused"].id)
        await w.jobs.upsert_schedule("work", "mended", schedule_key="broken", every=300)

        kit.clock.advance(minutes=3)  # the upgrade takes a while
        await settle(w)
        kit.clock.advance(hours=1)
        await settle(w)
        for run in (await w.jobs.list_runs(limit=500, results=True)).runs:
            if run.kumofire_job_run_id not in old.runs:
                assert run.settled or run.run_at > kit.clock.time - timedelta(minutes=10)
            elif run.name == "work" and run.result is not None:
                assert run.result == await payload_of(w, run.kumofire_job_run_id)
        fired = {
            each.schedule_key: each for each in await w.jobs.list_schedules() if each.last_at is not None
        }
        assert fired.keys() == {"cron", "every", "paused", "broken"}
        (large, *_) = (await w.jobs.list_runs(schedule_id=fired["every"].id, results=True)).runs[::-1]
        assert large.result == release.LARGE
    check_all(stored(old.path), old)


async def payload_of(w: Bound, run_id: str) -> Any:
    row = await w.row(run_id)
    if row["payload"]:
        return json.loads(row["payload"])
    body = await w.sql("SELECT body FROM kumofire_bodies WHERE owner = ? AND kind = 'payload'", run_id)
    return json.loads(body[0][0])


def test_an_embedded_worker_of_today_settles_it_too(old: SimpleNamespace) -> None:
    app = Kumofire()
    release.register(SimpleNamespace(job=app.job))

    async def scenario() -> None:
        async with app.open(old.path, lease=0.5, synchronous="OFF") as jobs:
            worker = asyncio.create_task(jobs.run())
            for run_id in old.runs:
                await jobs.wait(run_id, timeout=600)
            jobs.stop()
            await worker

    asyncio.run(scenario())
    check_all(stored(old.path), old)
