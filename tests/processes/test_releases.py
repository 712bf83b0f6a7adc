"""Workers of two releases on one file: each leaves alone what it does not know."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from kumofire_fsm import NewRun, TransitionNotAllowed
from kumofire_fsm.errors import SchemaMismatch

SCRIPT = Path(__file__).with_name("releases.py")


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The applications of releases.py, in this process."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("releases_of_tests", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "crew")
    return module


def pid_of(site, run: str) -> int:
    return json.loads(site.row(run)["result"])


def test_an_older_release_leaves_alone_what_only_the_newer_knows(site, releases, replay):
    old = site.worker(script=SCRIPT, lease=0.5)
    with releases.NEW.open_sync(site.db, synchronous="OFF") as jobs:
        made = jobs.create_many(
            [NewRun("added"), NewRun("moved"), NewRun("shared", delay=0.5), NewRun("shared"), NewRun("plain")]
        )
        added, moved, parked, shared, plain = (each.kumofire_job_run_id for each in made)
        schedule = jobs.create_schedule("added", every=1)
        assert jobs.fire(parked, "park").state == "parked"
        unknown = [tuple(site.row(run)) for run in (added, moved, parked)]
        for run in (shared, plain):
            assert jobs.wait(run, timeout=600).state == "succeeded"
            assert pid_of(site, run) == old.pid

        overdue = site.row(parked)["wake_at"] + 500
        site.until(lambda: time.time() * 1000 > overdue, "what is parked is overdue")
        later = jobs.create("plain").kumofire_job_run_id
        assert jobs.wait(later, timeout=600).state == "succeeded"
        assert pid_of(site, later) == old.pid, "rows that it does not know keep it from nothing"
        assert [tuple(site.row(run)) for run in (added, moved, parked)] == unknown
        assert jobs.get_schedule(schedule.id).last_at is None

        new = site.worker(script=SCRIPT, lease=0.5, release=1)
        for run in (added, moved):
            assert jobs.wait(run, timeout=600).state == "succeeded"
            assert pid_of(site, run) == new.pid
        assert jobs.wait(parked, timeout=600).state == "succeeded"  # ready again, it may run anywhere
        site.until(lambda: jobs.list_runs(schedule_id=schedule.id).runs, "the schedule has made a run")
        jobs.end_schedule(schedule.id)
    site.settled()
    for row in site.rows():
        replay(row)
        assert row["starts"] == 1
    assert "ERROR" not in site.log(old) + site.log(new)
    site.leave(old)
    site.leave(new)


def test_an_older_release_still_shows_counts_and_refuses_to_move_what_it_does_not_know(site, releases):
    with releases.NEW.open_sync(site.db, synchronous="OFF") as jobs:
        parked = jobs.create("shared", delay=60).kumofire_job_run_id
        moved = jobs.create("moved").kumofire_job_run_id
        jobs.fire(parked, "park")
    before = [tuple(row) for row in site.rows()]
    with releases.OLD.open_sync(site.db, synchronous="OFF") as jobs:
        status = jobs.get_status(parked)
        assert (status.state, status.settled) == ("parked", False)
        assert jobs.get_status(moved).settled is False
        assert {run.kumofire_job_run_id for run in jobs.list_runs().runs} == {parked, moved}
        assert jobs.count_runs() == {"parked": 1, "queued": 1}
        assert jobs.dispatch().complete
        with pytest.raises(TransitionNotAllowed, match="not allowed from 'parked'"):
            jobs.cancel(parked)
        with pytest.raises(SchemaMismatch, match="'own', which this application does not know"):
            jobs.cancel(moved)
        assert jobs.prune(older_than=0) == 0
    assert [tuple(row) for row in site.rows()] == before
