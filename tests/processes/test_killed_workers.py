"""Workers killed by SIGKILL lose nothing, double nothing, and cost nobody an attempt but a poison run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest
from slices import SLICE, sliced

from kumofire_fsm import NewRun

# For a longer search: KUMOFIRE_SEEDS="3 4 5 6" pytest tests/processes/test_killed_workers.py
SEEDS = [int(seed) for seed in os.environ.get("KUMOFIRE_SEEDS", str(1 + SLICE % 8)).split()]


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_killed_at_random_moments_lose_and_double_nothing(site, replay, events_of, seed):
    rng = random.Random(seed)
    options = {"concurrency": 8, "lease": 0.6}

    def some(count: int) -> list[NewRun]:
        kinds = ["nap", "nap", "nap", "flaky", "plain"]
        return [
            NewRun(rng.choice(kinds), rng.uniform(0, 0.15), max_attempts=rng.choice([2, 30, 30, 30]))
            for _ in range(count)
        ]

    created: list[str] = []
    workers = [site.worker(**options) for _ in range(2)]
    with site.jobs() as jobs:
        for _ in range(10):
            created += [each.kumofire_job_run_id for each in jobs.create_many(some(35))]
            time.sleep(rng.uniform(0, 0.3))
            victim = rng.randrange(2)
            workers[victim].kill()
            assert workers[victim].wait() == -signal.SIGKILL
            workers[victim] = site.worker(wait=rng.random() < 0.5, **options)
    site.settled()
    for worker in workers:
        site.leave(worker)

    rows = site.rows()
    assert sorted(row["id"] for row in rows) == sorted(created), f"seed {seed}"
    for row in rows:
        replay(row)
        assert row["state"] == "succeeded" or row["max_attempts"] == 2, f"seed {seed}: {row['history']}"
    began = Counter((each.run, each.starts) for each in site.notes("began"))
    assert set(began.values()) == {1}, f"seed {seed}: a start called its handler twice"
    ended = {each.run for each in site.notes("ended")}
    assert {row["id"] for row in rows if row["state"] == "succeeded"} <= ended
    assert sum(events_of(row).count("lose") for row in rows) >= 5, f"seed {seed}: the test proved too little"


def test_a_run_lost_among_others_keeps_its_only_attempt(site, replay, events_of):
    """All handlers are under way when the worker is killed; none of them is at fault."""
    with site.jobs() as jobs:
        created = jobs.create_many([NewRun("nap", 0.15, max_attempts=1) for _ in range(6)])
    first = site.worker(concurrency=10, lease=0.5)
    site.until(lambda: len(site.notes("began")) == len(created), "all have begun")
    first.kill()
    second = site.worker(concurrency=10, lease=0.5)
    site.settled()
    site.leave(second)
    for row in site.rows():
        replay(row)
        assert (row["state"], row["attempt"], row["starts"]) == ("succeeded", 1, 2)
        assert events_of(row)[-4:] == ["start", "lose", "start", "succeed"]


@pytest.mark.parametrize(("job", "code"), sliced([("poison", -signal.SIGKILL), ("exit", 3)], 2))
def test_a_poison_run_that_ends_its_process_fails_alone(site, replay, job, code):
    with site.jobs() as jobs:
        innocent = [NewRun("nap", 0.05, max_attempts=1) for _ in range(12)]
        runs = [*innocent[:6], NewRun(job, max_attempts=2), *innocent[6:]]
        poison = jobs.create_many(runs)[6].kumofire_job_run_id

    deaths, worker = 0, site.worker(concurrency=20, lease=0.5)
    end = time.monotonic() + 600
    while site.open_runs() and time.monotonic() < end:
        if worker.poll() is not None:
            assert worker.returncode == code, site.log(worker)
            deaths += 1
            worker = site.worker(wait=False, concurrency=20, lease=0.5)
        time.sleep(0.02)
    assert site.open_runs() == 0
    site.until(lambda: site.notes("up", pid=worker.pid), "the last worker is up")
    site.leave(worker)

    states = {row["id"]: row["state"] for row in site.rows()}
    assert states.pop(poison) == "failed"
    assert set(states.values()) == {"succeeded"}
    assert "lease ran out" in site.row(poison)["error"]
    for row in site.rows():
        replay(row)
    assert deaths == 4, "twice in company, which proves nothing, and then two attempts alone"


def test_two_poison_runs_do_not_hide_behind_each_other(site, replay):
    with site.jobs() as jobs:
        runs = [NewRun("poison", max_attempts=1) for _ in range(2)]
        jobs.create_many([*runs, NewRun("nap", 0.05, max_attempts=1)])
    deaths, worker = 0, site.worker(concurrency=20, lease=0.4)
    end = time.monotonic() + 600
    while site.open_runs() and time.monotonic() < end:
        if worker.poll() is not None:
            deaths += 1
            worker = site.worker(wait=False, concurrency=20, lease=0.4)
        time.sleep(0.02)
    assert Counter((row["job"], row["state"]) for row in site.rows()) == {
        ("poison", "failed"): 2,
        ("nap", "succeeded"): 1,
    }
    for row in site.rows():
        replay(row)
    assert deaths == 4, "twice together, then each alone"
