"""`kumofire migrate --contract`: what machines no longer have goes, and only when nobody needs it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from app_versions import APPEALED, APPROVED, PLAIN, REJECTING, REVIEWED, edges
from commands import Done

FILE = ("--db", "jobs.db", "--contract")
FOLDER = ("--dir", "sql")
CONTRACT = "0003_kumofire_machines_contract.sql"
REMOVED = "-- kumofire migrate: remove edges of machines. To apply it twice is harmless."


def test_contract_removes_what_the_machine_no_longer_has(folder):
    old, new = folder.write(REVIEWED), folder.write(REJECTING)
    folder.create_run(old, [])
    pending = (
        "jobs.db: would remove 2 edges of approved\n  approved: approval -> review\n"
        "  approved: review -> canceled\n"
    )
    assert folder.migrate(new, *FILE, "--dry-run") == Done(0, pending)
    assert folder.stored() == folder.declared(old)
    assert folder.migrate(new, *FILE) == Done(0, "jobs.db: removed 2 edges of approved\n")
    assert folder.stored() == folder.declared(new)
    assert folder.migrate(new, *FILE) == Done(0, "jobs.db: nothing to remove\n")
    assert folder.migrate(old, "--db", "jobs.db") == Done(0, "jobs.db: added 2 edges of approved\n")


def test_in_a_folder_it_is_the_next_file_which_may_be_applied_twice(folder):
    old, new = folder.write(REVIEWED), folder.write(REJECTING)
    folder.migrate(old, *FOLDER)
    done = folder.migrate(new, *FOLDER, "--contract")
    assert done == Done(0, f"wrote sql/{CONTRACT}\nsql: removed 2 edges of approved\n")
    files = [folder.path / "sql" / name for name in folder.names("sql")]
    lines = files[-1].read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["--", "SELECT", "DELETE", "DELETE"]
    assert lines[0] == REMOVED
    with closing(sqlite3.connect(":memory:")) as db:
        for file in [*files, files[-1]]:
            db.executescript(file.read_text())
        assert edges(db) == folder.declared(new)
    nothing = Done(0, "sql: nothing to remove\n")
    assert folder.migrate(new, *FOLDER, "--contract") == nothing
    assert folder.migrate(old, *FOLDER).out.endswith("sql: added 2 edges of approved\n")


def test_contract_is_refused_while_live_runs_are_in_a_state_that_goes(folder):
    old, new = folder.write(REVIEWED), folder.write(REJECTING)
    for events in (["escalate"], ["escalate"], ["escalate", "reject"], []):
        folder.create_run(old, events)
    before = folder.stored()
    for options in ((), ("--dry-run",)):
        assert folder.migrate(new, *FILE, *options) == Done(
            2,
            "",
            "kumofire: 2 live runs are in a state that goes: 2 in 'review' of 'approved'; let them finish, or move "
            "them with code that still has the state; nothing was changed\n",
        )
    folder.migrate(old, *FOLDER)
    folder.migrate(new, *FOLDER, "--contract")
    script = (folder.path / "sql" / CONTRACT).read_text()
    with closing(sqlite3.connect(folder.path / "jobs.db")) as db:
        with pytest.raises(
            sqlite3.OperationalError, match=r"kumofire: 2 live runs are in a state that goes \(review\)"
        ):
            db.executescript(script)
        assert edges(db) == before
        db.execute("UPDATE kumofire_runs SET state = 'canceled', finished_at = 1 WHERE state = 'review'")
        db.commit()
    assert folder.migrate(new, *FILE) == Done(0, "jobs.db: removed 2 edges of approved\n")
    assert folder.stored() == folder.declared(new)


def test_an_edge_may_go_while_runs_are_at_both_of_its_ends(folder):
    old, new = folder.write(REJECTING), folder.write(APPROVED)
    folder.create_run(old, [])
    folder.create_run(old, ["reject"])
    assert folder.migrate(new, *FILE) == Done(0, "jobs.db: removed 1 edge of approved\n")


def test_contract_leaves_machines_alone_that_the_application_does_not_know(folder):
    other = folder.write(REJECTING.replace("Approved", "Other"))
    folder.create_run(other, [])
    folder.create_run(folder.write(REVIEWED), [])
    built_in = folder.stored(machine="run"), folder.stored(machine="job")
    folder.migrate(folder.write(REJECTING), *FILE)
    assert folder.stored(machine="other") == folder.declared(other)
    assert (folder.stored(machine="run"), folder.stored(machine="job")) == built_in
    assert folder.migrate(folder.write(PLAIN), *FILE) == Done(0, "jobs.db: nothing to remove\n")


@pytest.mark.parametrize(
    ("there", "source", "lacks"),
    [
        (None, REJECTING, "0001_initial.sql and 35 edges of approved"),
        (REVIEWED, APPEALED, "1 edge of approved"),
    ],
)
@pytest.mark.parametrize("where", [("--db", "jobs.db"), FOLDER])
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_who_contracts_before_migrating_is_refused(folder, there, source, lacks, where, options):
    """It would take away what the code that runs still needs."""
    if there:
        folder.migrate(folder.write(there), *where)
    before = sorted(folder.path.rglob("*.sql")), folder.names()
    assert folder.migrate(folder.write(source), *where, "--contract", *options) == Done(
        2,
        "",
        f"kumofire: --contract comes last, and this code still lacks {lacks}: migrate without --contract, deploy "
        "the code everywhere, and then contract; nothing was changed\n",
    )
    assert (sorted(folder.path.rglob("*.sql")), folder.names()) == before
