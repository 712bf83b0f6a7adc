"""Workers killed and stopped at random under load: everything settles, and every effect exists once.

``make soak-processes`` runs it for a minute or more; a slice of it is an ordinary test.
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from patience import SECONDS_MAX

from kumofire_fsm import RunMachine
from kumofire_fsm.machines import Role

SECONDS = float(os.environ.get("KUMOFIRE_SOAK_SECONDS", "2"))
"""For how long there is load."""
SEEDS = [int(seed) for seed in os.environ.get("KUMOFIRE_SEEDS", "1").split()]
LEASE = 0.7
WORKERS, CREATORS, MOST_CREATORS = 3, 2, 24
LEDGER = "CREATE TABLE ledger (run TEXT NOT NULL, pid INTEGER NOT NULL) STRICT"
"""Without a unique key: a doubled effect is to be seen, not refused."""


@pytest.fixture(autouse=True)
def no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    """As for the other tests of processes, with the time that the load takes."""
    uncaptured = request.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(MOST_CREATORS * SECONDS + 3 * SECONDS_MAX, exit=True, file=uncaptured)
    yield
    faulthandler.cancel_dump_traceback_later()


class Chaos:
    """Kills and stops the workers of a site at moments that follow from a seed."""

    def __init__(self, site: Any, rng: random.Random) -> None:
        self.site, self.rng, self.did = site, rng, Counter[str]()
        self.workers = [self.start() for _ in range(WORKERS)]
        self.stopped: dict[int, float] = {}

    def start(self) -> subprocess.Popen[bytes]:
        return self.site.worker(wait=False, concurrency=self.rng.choice([2, 8, 20]), lease=LEASE)

    def act(self) -> None:
        """Kill a worker, or stop it for longer than its lease, or let it be."""
        self.go_on()
        victim = self.rng.randrange(WORKERS)
        kind = self.rng.choice(["kill", "stop", "stop", "nothing"])
        if kind == "kill":
            self.kill(victim)
        elif kind == "stop" and victim not in self.stopped:
            self.workers[victim].send_signal(signal.SIGSTOP)
            self.stopped[victim] = time.monotonic() + LEASE * self.rng.uniform(1.2, 3)
            self.did["stopped longer than the lease"] += 1

    def did_enough(self, events_of: Any) -> bool:
        """Return whether workers were killed and stopped, and one of them lost a lease by it."""
        did = self.did["killed"] >= 2 and self.did["stopped longer than the lease"] >= 2
        return did and any("lose" in events_of(row) for row in self.site.rows())

    def kill(self, victim: int) -> None:
        self.workers[victim].kill()
        assert self.workers[victim].wait() == -signal.SIGKILL
        self.stopped.pop(victim, None)
        self.workers[victim] = self.start()
        self.did["killed"] += 1

    def go_on(self, *, now: bool = False) -> None:
        """Let those go on whose time is over, or all."""
        for victim, until in list(self.stopped.items()):
            if now or time.monotonic() > until:
                self.workers[victim].send_signal(signal.SIGCONT)
                del self.stopped[victim]


def creator(site: Any, seed: int, out: Path) -> subprocess.Popen[bytes]:
    """Start a process that creates runs."""
    script = Path(__file__).with_name("creator.py")
    with out.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, script, site.db, str(seed), str(SECONDS)],
            cwd=script.parent,
            stdout=file,
        )


def check(site: Any, created: list[str], replay: Any, events_of: Any) -> dict[str, Any]:
    """Check every promise about what is settled; return the figures."""
    assert site.query("PRAGMA integrity_check")[0][0] == "ok"
    rows, settled = site.rows(), RunMachine.spec.with_role(Role.SETTLED)
    by_hand = [row["id"] for row in rows if row["schedule_id"] is None]
    assert sorted(by_hand) == sorted(created), "none is lost, none is doubled"
    effects = Counter(row["run"] for row in site.query("SELECT run FROM ledger"))
    for row in rows:
        said = dict(row)
        assert row["state"] in settled, said
        assert row["attempt"] <= row["max_attempts"], said
        assert effects.pop(row["id"], 0) == (row["state"] == RunMachine.succeeded.id), said
        if "cancel" not in events_of(row):  # a loss while it is cancelled gives no attempt back
            replay(row)
    assert not effects, "an effect of no run"
    occurrences = Counter((row["schedule_id"], row["scheduled_for"]) for row in rows if row["schedule_id"])
    assert set(occurrences.values()) == {1}
    return {
        "runs": len(rows),
        "occurrences": len(occurrences),
        **Counter(row["state"] for row in rows),
        "starts": sum(row["starts"] for row in rows),
        "lost leases": sum(events_of(row).count("lose") for row in rows),
        "errors": Counter((row["error"] or "none").splitlines()[0][:60] for row in rows).most_common(4),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_under_kills_and_stops_everything_settles_and_each_effect_exists_once(
    site, tmp_path, replay, events_of, seed
):
    rng = random.Random(seed)
    with site.jobs() as jobs:
        site.query(LEDGER)
        schedule = jobs.create_schedule("entry", {"seconds": 0.1, "failures": 0}, every=1, max_attempts=5)
    files: list[Path] = []
    creators: list[subprocess.Popen[bytes]] = []
    chaos = Chaos(site, rng)
    try:
        while len(creators) < MOST_CREATORS and not chaos.did_enough(events_of):  # on a slow machine again
            for number in range(len(files), len(files) + CREATORS):
                files.append(tmp_path / f"created-{number}")
                creators.append(creator(site, 1000 * seed + number, files[-1]))
            while any(each.poll() is None for each in creators):
                time.sleep(rng.uniform(0.05, 0.6))
                chaos.act()
        chaos.go_on(now=True)
        with site.jobs() as jobs:
            jobs.end_schedule(schedule.id)
        began = time.monotonic()
        site.settled()
        calm = time.monotonic() - began
    finally:
        for each in creators:
            each.kill()
            each.wait()
    assert [each.returncode for each in creators] == [0] * len(creators)
    for worker in chaos.workers:  # the last may have just begun
        site.ready(worker)
        site.leave(worker)
    created = [line for file in files for line in file.read_text().split()]
    figures = check(site, created, replay, events_of)
    print(
        f"\nseed {seed}: {SECONDS:g} s of load, settled {calm:.1f} s after it; {dict(chaos.did)}; {figures}"
    )
    assert chaos.did["killed"] >= 2, "the test proved too little"
    assert chaos.did["stopped longer than the lease"] >= 2, "the test proved too little"
    assert figures["lost leases"] >= 1, "the test proved too little"
