"""Durable steps a second: a flow beside a hand-written loop and beside DBOS, on SQLite: `make bench-flows`.

Each instance goes through eight steps that do nothing but to change its data; each step is on the disk (WAL,
synchronous=FULL) before the next begins. The loop and the flow store 25 steps with one statement, and are
done when all is stored. The contenders take turns. The answer goes to results/flows.json, and from there into
the page (`publishing.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import publishing
import results
from agents import Environment, Refused
from bench_peers import environment
from machine import Watch, describe
from measure import Sample, fresh_file, measured
from pydantic import BaseModel

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.flows import End, Flow, Task

if TYPE_CHECKING:
    from kumofire_fsm import EmbeddedJobs

AT_ONCE = 25
STEPS = 8

CLAIM = """
UPDATE kumofire_runs SET state = 'running', wake_at = ?1 + 15000, timeout_at = ?1 + 70000,
  attempt = attempt + 1, starts = starts + 1, claim = ?2, shared = 1, started_at = ?1,
  history = json_insert(history, '$[#]', json_array('start', 'running', ?1))
WHERE id IN (SELECT id FROM kumofire_runs WHERE state = 'queued' AND wake_at <= ?1 LIMIT ?3)
RETURNING id, starts, claim, payload
"""
ENTERED = """step = v.step, visit = r.visit + 1, payload = v.data
FROM (SELECT value ->> 0 AS id, value ->> 1 AS starts, value ->> 2 AS claim, value ->> 3 AS visit,
  value ->> 4 AS now, value ->> 5 AS step, value ->> 6 AS data FROM json_each(?)) AS v
WHERE r.id = v.id AND r.starts = v.starts AND r.claim = v.claim AND r.state = 'running' AND r.visit = v.visit
"""
"""What both moves to a step store, and which rows they move."""
ADVANCE = f"""
UPDATE kumofire_runs AS r SET wake_at = v.now + 15000, timeout_at = v.now + 70000, attempt = 1,
  history = json_insert(r.history, '$[#]',
    json_array('advance', 'running', v.now, json_object('step', v.step))), {ENTERED}
"""
END = f"""
UPDATE kumofire_runs AS r SET state = 'succeeded', wake_at = NULL, timeout_at = NULL, finished_at = v.now,
  history = json_insert(r.history, '$[#]',
    json_array('succeed', 'succeeded', v.now, json_object('step', v.step))), {ENTERED}
"""


def bare(path: Path, instances: int) -> Sample:
    """Have a loop do it on a table of three columns: no history, no fence, no triggers."""
    db = opened(path)
    db.executescript(
        "CREATE TABLE flows (id INTEGER PRIMARY KEY, step INTEGER NOT NULL, data TEXT NOT NULL);"
        "CREATE INDEX due ON flows (id) WHERE step < 8;"
    )
    rows = [(number, 0, json.dumps({"number": number, "done": 0})) for number in range(instances)]
    db.executemany("INSERT INTO flows VALUES (?, ?, ?)", rows)
    due = "SELECT id, step, data FROM flows WHERE step < 8 ORDER BY id LIMIT ?"
    move = (
        "UPDATE flows SET step = step + 1, data = a.value ->> 2 FROM json_each(?) AS a "
        "WHERE flows.id = a.value ->> 0 AND flows.step = a.value ->> 1"
    )
    with measured(STEPS * instances, None) as sample:
        for _ in range(0, instances, AT_ONCE):
            claimed = db.execute(due, (AT_ONCE,)).fetchall()
            for step in range(STEPS):
                claimed = [(id_, step, handled(data)) for id_, _, data in claimed]
                assert db.execute(move, (json.dumps(claimed),)).rowcount == len(claimed)
    assert db.execute("SELECT count(*) FROM flows WHERE step = 8").fetchone() == (instances,)
    db.close()
    return sample


def by_hand(path: Path, instances: int) -> Sample:
    """Have a loop do it on the package's own schema and triggers, with its columns, history and fence."""

    async def create() -> None:
        async with eight_steps().open(path) as jobs:
            await start(jobs, instances)

    asyncio.run(create())
    db = opened(path)
    with measured(STEPS * instances, None) as sample:
        for _ in range(0, instances, AT_ONCE):
            claimed = db.execute(CLAIM, (now_ms(), os.urandom(8).hex(), AT_ONCE)).fetchall()
            for visit, step in enumerate((*"bcdefgh", "over")):
                stored = [
                    (id_, starts, claim, visit, now_ms(), step, handled(data))
                    for id_, starts, claim, data in claimed
                ]
                move = ADVANCE if step != "over" else END
                assert db.execute(move, (json.dumps(stored),)).rowcount == len(claimed)
                claimed = [(id_, starts, claim, data) for id_, starts, claim, *_, data in stored]
    ended = "SELECT count(*) FROM kumofire_runs WHERE state = 'succeeded' AND json_array_length(history) = 11"
    assert db.execute(ended).fetchone() == (instances,)
    db.close()
    return sample


def opened(path: Path) -> sqlite3.Connection:
    """Return a connection whose every statement is durable."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
    return db


def handled(data: str) -> str:
    """Do what a handler does, from JSON to JSON."""
    found = json.loads(data)
    return json.dumps({**found, "done": found["done"] + 1})


def now_ms() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


class Data(BaseModel):
    """What an instance carries."""

    number: int
    done: int = 0


def eight_steps() -> Kumofire:
    """Return an application with a flow of eight steps, one after the other."""

    class Eight(Flow[Data]):
        """Eight steps."""

        a = Task("One.", initial=True)
        b, c, d, e = Task("Two."), Task("Three."), Task("Four."), Task("Five.")
        f, g, h = Task("Six."), Task("Seven."), Task("Eight.")
        over = End("Done.")
        done = a >> b >> c >> d >> e >> f >> g >> h >> over

    app = Kumofire()

    async def handler(_ctx: Any, data: Data) -> Data:
        return data.model_copy(update={"done": data.done + 1})

    for step in (Eight.a, Eight.b, Eight.c, Eight.d, Eight.e, Eight.f, Eight.g, Eight.h):
        app.step(step)(handler)
    return app


async def start(jobs: EmbeddedJobs, instances: int) -> list[str]:
    """Start instances, which no worker takes yet; return their ids."""
    ids: list[str] = []
    for first in range(0, instances, 500):
        several = [NewRun("eight", Data(number=n)) for n in range(first, min(first + 500, instances))]
        ids += [each.kumofire_job_run_id for each in await jobs.create_many(several)]
    return ids


def by_flow(path: Path, instances: int) -> Sample:
    """Have the package do it."""

    async def scenario() -> Sample:
        async with eight_steps().open(path) as jobs:
            ids = await start(jobs, instances)
            with measured(STEPS * instances, None) as sample:
                worker = asyncio.ensure_future(jobs.run(concurrency=AT_ONCE))
                for run_id in ids[-2 * AT_ONCE :]:  # the last to begin; of all it would read as many statuses
                    await jobs.wait(run_id)
            jobs.stop()
            await worker
            assert await jobs.count_runs() == {"succeeded": instances}
        return sample

    return asyncio.run(scenario())


CONTENDERS: dict[str, tuple[Callable[[Path, int], Sample] | None, int]] = {
    "bare": (bare, 2_000),
    "by_hand": (by_hand, 2_000),
    "kumofire": (by_flow, 2_000),
    "dbos": (None, 100),
}
"""By name, what does it (None for what has a file and an environment of its own), and for how many instances:
the slow are given fewer."""


def alone(name: str, instances: int) -> dict[str, Any]:
    """Return what one contender takes, in a process of its own.

    Raises:
        Refused: it cannot be installed, or failed.
    """
    ours = CONTENDERS[name][0] is not None
    where = Environment() if ours else environment(name)
    script = [__file__, "--alone", name] if ours else [str(Path(__file__).with_name(f"flow_{name}.py"))]
    command = [str(where.python), *script, str(instances)]
    done = subprocess.run(command, env=where.variables(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr[-500:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--dry", action="store_true", help="print what was found, and write nothing")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        contender, _ = CONTENDERS[options.alone[0]]
        assert contender is not None
        with fresh_file() as path:
            print(json.dumps(asdict(contender(path, int(options.alone[1])))))
        return
    rounds, of = (1, 10) if options.quick else (5, 1)
    machine, watch = describe(), Watch()
    samples: dict[str, list[dict[str, Any]]] = {}
    skipped: dict[str, str] = {}
    for number in range(rounds):
        for name, (_, instances) in list(CONTENDERS.items())[:: 1 if number % 2 == 0 else -1]:
            if name in skipped:
                continue
            try:
                samples.setdefault(name, []).append(alone(name, instances // of))
            except Refused as exc:
                print(f"{name}: {exc}")
                skipped[name] = str(exc)
                samples.pop(name, None)
    found: dict[str, Any] = {"machine": machine, "rounds": rounds, "samples": samples, "skipped": skipped}
    found["took"] = watch.end()
    publishing.publish("flows", results.rounded(found), dry=options.dry)


if __name__ == "__main__":
    main()
