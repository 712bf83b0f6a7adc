"""Several processes on one file share the work; each run's handler runs exactly once."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from slices import sliced

from kumofire_fsm import NewRun


@pytest.mark.parametrize("workers", sliced([2, 4], 2))
def test_of_2000_runs_each_handler_runs_exactly_once(site, workers):
    crew = [site.worker(wait=False) for _ in range(workers)]
    for worker in crew:
        site.until(lambda pid=worker.pid: site.notes("up", pid=pid), "all workers are up")
    with site.jobs() as jobs:
        created = [
            each.kumofire_job_run_id for _ in range(2) for each in jobs.create_many([NewRun("quick")] * 1000)
        ]
    site.settled()
    for worker in crew:
        site.leave(worker)
    assert Counter(each.run for each in site.notes("ran")) == Counter(created)
    found = site.query(
        "SELECT state, attempt, starts, count(*), json_array_length(history) FROM kumofire_runs GROUP BY 1, 2, 3, 5"
    )
    assert [tuple(row)[:4] for row in found] == [("succeeded", 1, 1, 2000)]
    shares = Counter(each.pid for each in site.notes("ran"))
    assert set(shares) == {worker.pid for worker in crew}, "every process had a share"


def test_a_worker_stopped_longer_than_its_lease_cannot_settle_what_another_took_over(
    site, tmp_path, replay, events_of
):
    door = tmp_path / "door"
    with site.jobs() as jobs:
        run = jobs.create("gate", str(door)).kumofire_job_run_id
    stale = site.worker(lease=0.5)
    site.until(lambda: site.notes("began"), "the first worker has begun")
    site.halt(stale)
    fresh = site.worker(lease=0.5)
    site.until(lambda: site.notes("began", pid=fresh.pid), "the second worker has begun")
    door.touch()
    stale.send_signal(signal.SIGCONT)  # its door is open by now: it ends at once
    site.settled()
    row = site.row(run)
    assert (row["state"], json.loads(row["result"])) == ("succeeded", fresh.pid)
    assert events_of(row)[-4:] == ["start", "lose", "start", "succeed"]
    replay(row)
    told = ("came too late", "its lease is gone")
    site.until(lambda: any(text in site.log(stale) for text in told), "the first worker has noticed")
    site.leave(stale)
    site.leave(fresh)
    assert tuple(site.row(run)) == tuple(row)


def test_the_handler_of_a_worker_that_lost_its_lease_is_cancelled(site, tmp_path, replay):
    door = tmp_path / "door"
    with site.jobs() as jobs:
        run = jobs.create("gate", str(door)).kumofire_job_run_id
    stale = site.worker(lease=0.5)
    site.until(lambda: site.notes("began"), "the first worker has begun")
    site.halt(stale)
    fresh = site.worker(lease=0.5)
    site.until(lambda: site.notes("began", pid=fresh.pid), "the second worker has begun")
    stale.send_signal(signal.SIGCONT)
    site.until(lambda: site.notes("cancelled", pid=stale.pid), "the stale handler is cancelled")
    assert site.row(run)["state"] == "running"
    door.touch()
    site.settled()
    assert json.loads(site.row(run)["result"]) == fresh.pid
    replay(site.row(run))
    # The stale worker goes on with other work.
    site.leave(fresh)
    with site.jobs() as jobs:
        jobs.create("quick")
    site.settled()
    assert [each.pid for each in site.notes("ran")] == [stale.pid]
    site.leave(stale)


def test_work_of_another_process_is_started_soon_although_nothing_else_happens(site):
    site_worker = site.worker()
    with site.jobs() as jobs:
        run = jobs.create("quick").kumofire_job_run_id
        assert jobs.wait(run, timeout=600).state == "succeeded"
        later = jobs.create("quick", delay=0.5).kumofire_job_run_id
        status = jobs.wait(later, timeout=600)
    assert status.started_at >= status.run_at
    site.leave(site_worker)


def test_a_run_delayed_before_the_worker_began_fires_without_any_other_event(site):
    with site.jobs() as jobs:
        run = jobs.create("quick", delay=1.5).kumofire_job_run_id
    worker = site.worker()
    assert site.row(run)["starts"] == 0
    site.settled()
    row = site.row(run)
    assert row["run_at"] <= row["started_at"]
    site.leave(worker)


def test_a_recurring_job_of_another_process_fires_again_and_again_without_any_other_event(site):
    workers = [site.worker(wait=False) for _ in range(2)]
    with site.jobs() as jobs:
        schedule = jobs.create_schedule("quick", every=1, schedule_key="tick")
    site.until(lambda: len(site.notes("ran")) >= 3, "it has made three runs")
    for worker in workers:
        site.ready(worker)
        site.leave(worker)
    rows = site.rows()
    at = sorted(row["scheduled_for"] for row in rows)
    assert {row["schedule_id"] for row in rows} == {schedule.id}
    assert at == list(range(at[0], at[0] + 1000 * len(at), 1000)), "neither lost nor doubled"
    assert Counter(each.run for each in site.notes("ran")) == Counter(
        row["id"] for row in rows if row["state"] == "succeeded"
    )


def test_a_cancellation_by_another_process_is_noticed(site, events_of):
    worker = site.worker(lease=0.9)
    with site.jobs() as jobs:
        run = jobs.create("listener").kumofire_job_run_id
        site.until(lambda: site.notes("began"), "the handler has begun")
        assert jobs.cancel(run).state == "canceling"
        site.until(lambda: site.notes("saw"), "the handler saw it")
        assert jobs.wait(run, timeout=600).state == "canceled"
    row = site.row(run)
    assert events_of(row)[-3:] == ["start", "cancel", "stop"]
    assert row["error"].splitlines()[0] == "as you wish"
    site.leave(worker)
