"""`kumofire migrate` and `machine migrate` on D1: what they decide by what they read, on a stub of wrangler."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from app_versions import APPEALED, APPROVED, PARCEL, PLAIN, REJECTING, REVIEWED, SECOND, Folder, ship
from commands import Done
from stub_wrangler import StubWrangler

from kumofire_fsm import Kumofire
from kumofire_fsm.store.rows import VERSION

LOCAL = ("--local", "--d1", "jobs")
APPLIED = """
CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP);
INSERT INTO d1_migrations (name) VALUES ('0001_notes.sql')
"""
"""What wrangler keeps of the files that it applies; tests/workerd has it from wrangler itself."""


@pytest.fixture
def stub(folder: Folder) -> StubWrangler:
    made = StubWrangler(folder.path)
    made.database().touch()
    return made


def change(stub: StubWrangler, sql: str) -> None:
    with closing(sqlite3.connect(stub.database())) as db:
        db.executescript(sql)


def contents(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as db:
        return list(db.iterdump())


def test_a_dry_run_changes_nothing_and_the_second_time_there_is_nothing_to_add(
    folder: Folder, stub: StubWrangler
) -> None:
    app = folder.write(PLAIN)
    dry = Done(0, "jobs (local): would add 0001_initial.sql\n  0001_initial.sql\n")
    assert folder.migrate(app, *LOCAL, "--dry-run") == dry
    assert contents(stub.database()) == contents(folder.path / "absent.db")
    assert folder.migrate(app, *LOCAL) == Done(0, "jobs (local): added 0001_initial.sql\n")
    assert folder.migrate(app, *LOCAL) == Done(0, "jobs (local): nothing to add\n")
    folder.migrate(app, "--db", "file.db")
    assert contents(stub.database()) == contents(folder.path / "file.db")


def test_edges_are_added_to_what_is_there_beside_wrangler_s_own_migrations(
    folder: Folder, stub: StubWrangler
) -> None:
    change(stub, APPLIED)
    plain, approved = folder.write(PLAIN), folder.write(APPROVED)
    assert folder.migrate(plain, *LOCAL).code == 0
    assert folder.migrate(approved, *LOCAL) == Done(0, "jobs (local): added 34 edges of approved\n")
    assert folder.stored("d1/jobs.sqlite") == folder.declared(approved)


def test_who_has_our_files_from_wrangler_goes_on_that_way(
    folder: Folder, stub: StubWrangler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, approved = folder.write(PLAIN), folder.write(APPROVED)
    assert folder.migrate(plain, *LOCAL).code == 0
    change(stub, APPLIED.replace("0001_notes", "0007_kumofire_0001_initial"))
    assert folder.migrate(plain, *LOCAL) == Done(0, "jobs (local): nothing to add\n")
    refused = (
        "kumofire: jobs (local) got 0007_kumofire_0001_initial.sql from `wrangler d1 migrations apply`; to add {}, go "
        "on that way: the same command with --dir DIR, then wrangler d1 migrations apply\n"
    )
    before = contents(stub.database())
    assert folder.migrate(approved, *LOCAL) == Done(2, "", refused.format("34 edges of approved"))
    ship(monkeypatch, SECOND)
    assert folder.migrate(plain, *LOCAL) == Done(2, "", refused.format("0002_more.sql"))
    assert contents(stub.database()) == before


def test_a_newer_database_is_refused(folder: Folder, stub: StubWrangler) -> None:
    app = folder.write(PLAIN)
    folder.migrate(app, *LOCAL)
    change(stub, "INSERT INTO kumofire_schema VALUES (8, 5)")
    assert folder.migrate(app, *LOCAL) == Done(
        2,
        "",
        "kumofire: the database has schema 8, which serves code for schema 5 and newer; "
        f"this code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm\n",
    )


def test_a_contract_waits_for_live_runs_and_is_then_applied(folder: Folder, stub: StubWrangler) -> None:
    reviewed, rejecting = folder.write(REVIEWED), folder.write(REJECTING)
    folder.migrate(reviewed, "--db", "jobs.db")
    folder.create_run(reviewed, ["escalate"])
    with (
        closing(sqlite3.connect(folder.path / "jobs.db")) as db,
        closing(sqlite3.connect(stub.database())) as d1,
    ):
        db.backup(d1)
    before = contents(stub.database())
    done = folder.migrate(rejecting, *LOCAL, "--contract")
    assert (done.code, "1 live runs are in a state that goes: 1 in 'review' of 'approved'" in done.err) == (
        2,
        True,
    )
    assert contents(stub.database()) == before
    change(stub, "UPDATE kumofire_runs SET state = 'canceled', wake_at = NULL, finished_at = created_at")
    done = folder.migrate(rejecting, *LOCAL, "--contract")
    assert (done.code, done.out.startswith("jobs (local): removed ")) == (0, True)
    assert folder.stored("d1/jobs.sqlite") == folder.declared(rejecting)


def test_what_lacks_edges_does_not_contract(folder: Folder, stub: StubWrangler) -> None:
    folder.migrate(folder.write(APPROVED), *LOCAL)
    done = folder.migrate(folder.write(APPEALED), *LOCAL, "--contract")
    assert (done.code, "--contract comes last, and this code still lacks 1 edge of approved" in done.err) == (
        2,
        True,
    )


def test_instances_of_flows_are_planned_for_and_moved(folder: Folder, stub: StubWrangler) -> None:
    apps = []
    for source in (
        PARCEL.format(version="", stored="stored"),
        later := PARCEL.format(version=', version=2, was={"stored": "waiting_"}', stored="waiting_"),
    ):
        scope: dict[str, object] = {"__name__": "parcels"}
        exec(source, scope)
        apps.append(scope["app"])
    first = apps[0]
    assert isinstance(first, Kumofire)

    async def fill() -> None:
        async with first.open(stub.database(), synchronous="OFF") as jobs:
            ids = [(await jobs.create("parcel", {"number": n})).kumofire_job_run_id for n in range(3)]
            await jobs.signal(ids[0], "hand_over")

    asyncio.run(fill())
    app = folder.write(later)
    assert folder.migrate(app, *LOCAL).code == 0
    said = ["parcel v1 -> v2: 2 live", f"  {'stored':<20}{2:>8} -> waiting_", "nothing stands in the way"]
    done = folder.run("machine", "migrate", app, *LOCAL)
    assert (done.code, done.out.splitlines()) == (0, [*said, "moved 2"])
    with closing(sqlite3.connect(stub.database())) as db:
        moved = db.execute("SELECT machine, step, count(*) FROM kumofire_runs GROUP BY 1, 2 ORDER BY 1, 2")
        assert moved.fetchall() == [("parcel@1", "sent", 1), ("parcel@2", "waiting_", 2)]
