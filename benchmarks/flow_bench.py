"""Durable steps a second: a flow beside a loop written by hand and beside DBOS, on SQLite, in one run.

`PYTHONPATH=. python benchmarks/flow_bench.py [--quick]`. Each instance goes through eight steps that do
nothing but to change its data; each step is on the disk (WAL, synchronous=FULL) before the next begins. The
loop and the flow store 25 steps with one statement, and are done when all is stored. The contenders take
turns; the best of the rounds counts.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

AT_ONCE = 25
STEPS = 8


def by_hand(path: Path, instances: int) -> float:
    """Have a loop of our own do it: read 25 rows, call the handlers, store what they returned."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "CREATE TABLE flows (id INTEGER PRIMARY KEY, step INTEGER NOT NULL, data TEXT NOT NULL);"
        "CREATE INDEX due ON flows (id) WHERE step < 8;"
    )
    rows = [(number, 0, json.dumps({"number": number, "done": 0})) for number in range(instances)]
    db.executemany("INSERT INTO flows VALUES (?, ?, ?)", rows)

    def handler(data: dict[str, int]) -> dict[str, int]:
        return {**data, "done": data["done"] + 1}

    began = time.perf_counter()
    due = "SELECT id, step, data FROM flows WHERE step < 8 ORDER BY id LIMIT ?"
    for _ in range(0, instances, AT_ONCE):
        claimed = db.execute(due, (AT_ONCE,)).fetchall()
        for step in range(STEPS):
            stored = [(id_, step, json.dumps(handler(json.loads(data)))) for id_, _, data in claimed]
            moved = db.execute(
                "UPDATE flows SET step = step + 1, data = a.value ->> 2 FROM json_each(?) AS a "
                "WHERE flows.id = a.value ->> 0 AND flows.step = a.value ->> 1 RETURNING id",
                (json.dumps(stored),),
            ).fetchall()
            assert len(moved) == len(claimed)
            claimed = [(id_, step, data) for id_, step, data in stored]
    took = time.perf_counter() - began
    assert db.execute("SELECT count(*) FROM flows WHERE step = 8").fetchone() == (instances,)
    db.close()
    return took


def by_flow(path: Path, instances: int) -> float:
    """Have the package do it."""
    from pydantic import BaseModel

    from kumofire_fsm import Kumofire, NewRun
    from kumofire_fsm.flows import End, Flow, Task

    class Data(BaseModel):
        """What an instance carries."""

        number: int
        done: int = 0

    class Eight(Flow[Data]):
        """Eight steps, one after the other."""

        a = Task("One.", initial=True)
        b, c, d, e = Task("Two."), Task("Three."), Task("Four."), Task("Five.")
        f, g, h = Task("Six."), Task("Seven."), Task("Eight.")
        over = End("Done.")
        done = a >> b >> c >> d >> e >> f >> g >> h >> over

    app = Kumofire()

    async def handler(ctx, data):  # type: ignore[no-untyped-def]  # a class of this function has no global name
        return data.model_copy(update={"done": data.done + 1})

    for step in (Eight.a, Eight.b, Eight.c, Eight.d, Eight.e, Eight.f, Eight.g, Eight.h):
        app.step(step)(handler)

    async def scenario() -> float:
        async with app.open(path) as jobs:
            created = []
            for first in range(0, instances, 500):
                several = [NewRun(Eight, Data(number=n)) for n in range(first, min(first + 500, instances))]
                created += await jobs.create_many(several)
            began = time.perf_counter()
            worker = asyncio.ensure_future(jobs.run(concurrency=AT_ONCE))
            for each in created[-2 * AT_ONCE :]:  # the last to begin; of all it would read as many statuses
                await jobs.wait(each.kumofire_job_run_id)
            took = time.perf_counter() - began
            jobs.stop()
            await worker
            assert await jobs.count_runs() == {"succeeded": instances}
        return took

    return asyncio.run(scenario())


def by_dbos(path: Path, instances: int) -> float:
    """Have DBOS do it: a workflow of eight steps, as many at once as it likes."""
    from dbos import DBOS

    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")  # stays with the file

    @DBOS.step()
    def step(data: dict[str, int]) -> dict[str, int]:
        return {**data, "done": data["done"] + 1}

    @DBOS.workflow()
    def eight(number: int) -> int:
        data = {"number": number, "done": 0}
        for _ in range(STEPS):
            data = step(data)
        return data["done"]

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{path}",
            "log_level": "CRITICAL",
            "executor_id": "bench",
            "application_version": "1",
        }
    )
    DBOS.launch()
    began = time.perf_counter()
    handles = [DBOS.start_workflow(eight, number) for number in range(instances)]
    assert all(handle.get_result() == STEPS for handle in handles)
    took = time.perf_counter() - began
    DBOS.destroy()
    return took


CONTENDERS: dict[str, tuple[Callable[[Path, int], float], int]] = {
    "a loop by hand": (by_hand, 2_000),
    "a flow": (by_flow, 2_000),
    "DBOS": (by_dbos, 100),
}
"""By name, what does it, and for how many instances; the slow are given fewer."""


def measured(name: str, instances: int) -> float:
    """Return the steps a second of one contender, in a process of its own.

    Raises:
        Refused: it cannot be installed, or failed.
    """
    from agents import Environment, Refused
    from bench_peers import environment

    where = environment("dbos") if name == "DBOS" else Environment()
    command = [where.python, __file__, "--alone", name, str(instances)]
    done = subprocess.run(command, env=where.variables(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr[-500:])
    return STEPS * instances / float(done.stdout)


def main() -> None:
    """Print a table."""
    if "--alone" in sys.argv:
        name, instances = sys.argv[-2:]
        with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as folder:
            print(CONTENDERS[name][0](Path(folder) / "flows.db", int(instances)))
        return
    from agents import Refused

    quick = "--quick" in sys.argv
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(1 if quick else 3):
        for name, (_, instances) in CONTENDERS.items():
            try:
                found[name].append(measured(name, instances // (10 if quick else 1)))
            except Refused as exc:
                print(f"{name}: {exc}")
    flow = max(found["a flow"])
    print(f"{'':16}{'steps a second':>16}{'a flow is':>14}")
    for name, rates in found.items():
        if rates:
            print(f"{name:16}{max(rates):>16,.0f}{flow / max(rates):>13.2f} x")


if __name__ == "__main__":
    main()
