"""What happens in the demo of flows: 1,000 live orders, killed workers, and a deploy through them."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from kumofire_fsm import EmbeddedJobs, NewRun, RunStatus

HERE: Final = Path(__file__).resolve().parent
LARGE: Final = 4
"""Orders with this rest by five are large: a person looks at them."""
MEND: Final = "app.upgrade(Order, from_version=1)"
"""How the line begins that the plan asks for."""


@dataclass
class Story:
    """The shop: its database, its deploys, and the workers of each."""

    folder: Path
    orders: int = 1_000
    killed: int = 0
    workers: dict[int, list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    _kills: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def db(self) -> Path:
        """The database file."""
        return self.folder / "orders.db"

    def deploy(self, version: int, source: str) -> ModuleType:
        """Put code into the folder of a version, and return it as a module."""
        home = self.folder / f"v{version}"
        home.mkdir(exist_ok=True)
        (home / "shop.py").write_text(source)
        name = f"shop_v{version}"
        spec = importlib.util.spec_from_file_location(name, home / "shop.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def command(self, version: int, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the package on the code of a version."""
        command = [sys.executable, "-m", "kumofire_fsm.cli", *words]
        home = self.folder / f"v{version}"
        return subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)

    # -- workers ----------------------------------------------------------------------------------

    def start_worker(self, version: int) -> None:
        """Start a worker process on the code of a version."""
        command = [sys.executable, "-m", "kumofire_fsm.cli", "worker", "shop:app", "--db", str(self.db)]
        home = self.folder / f"v{version}"
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen([*command, "--lease", "1.5"], cwd=home, stdout=log, stderr=log)
        self.workers.setdefault(version, []).append(worker)

    async def kill_workers(self) -> None:
        """Kill one worker after the other with SIGKILL, for ever, and start another in its place."""
        while True:
            await asyncio.sleep(0.9 + self._kills.random() / 2)
            version, worker = self._kills.choice([(v, w) for v, ws in self.workers.items() for w in ws])
            worker.send_signal(signal.SIGKILL)
            await asyncio.to_thread(worker.wait)
            self.workers[version].remove(worker)
            self.killed += 1
            self.start_worker(version)

    def stop(self, version: int | None = None) -> None:
        """Stop the workers of a version, or all."""
        for each in [version] if version else list(self.workers):
            for worker in self.workers.pop(each, []):
                worker.terminate()
                try:
                    worker.wait(10)
                except subprocess.TimeoutExpired:
                    worker.kill()

    # -- looking ----------------------------------------------------------------------------------

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the database as anybody could."""
        with closing(sqlite3.connect(self.db, timeout=20)) as db:
            return db.execute(sql, values).fetchall()

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many orders are at each (version, step)."""
        sql = "SELECT machine, step, count(*) FROM kumofire_runs GROUP BY machine, step"
        return {(machine, step): number for machine, step, number in self.rows(sql)}

    def live(self) -> int:
        """Return how many orders are not at an end."""
        return int(self.rows("SELECT count(*) FROM kumofire_runs WHERE finished_at IS NULL")[0][0])

    def try_to_cheat(self) -> str:
        """Send an order past its approval by hand; return what the database says."""
        with closing(sqlite3.connect(self.db, timeout=20)) as db:
            try:
                db.execute("UPDATE kumofire_runs SET step = 'ship' WHERE step = 'approval'")
            except sqlite3.IntegrityError as exc:
                return str(exc)
            db.rollback()
            return "the database let it through"


def draft_of(source: str) -> tuple[str, str]:
    """Return the second version without the line that mends it, and the line."""
    lines = source.splitlines(keepends=True)
    (line,) = [each for each in lines if each.startswith(MEND)]
    return "".join(each for each in lines if each != line), line.strip()


async def create(jobs: EmbeddedJobs, shop: ModuleType, number: int) -> list[str]:
    """Create the orders; some are approved before anybody has asked."""
    orders = [{"number": n, "total": 250_000 if n % 5 == LARGE else 100} for n in range(number)]
    created = await jobs.create_many([NewRun(shop.Order, order) for order in orders])
    ids = [each.kumofire_job_run_id for each in created]
    for n in range(LARGE, number, 50):
        await jobs.signal(ids[n], "approve", key=f"approval {n}", by="demo")
    return ids


async def findings(
    jobs: EmbeddedJobs, story: Story, ids: list[str], moves: set[tuple[str, str]]
) -> list[Any]:
    """Check every promise; return what was checked, and whether it held."""
    runs = [run async for run in _all(jobs, ids)]
    ledger = Counter(story.rows("SELECT number, step FROM ledger"))
    wanted = {"reserve", "charge", "packing", "ship"}
    done = [{step for number, step in ledger if number == n} for n in range(story.orders)] if ledger else []
    paths = [_path(run) for run in runs]
    illegal = [pair for path in paths for pair in itertools.pairwise(path) if pair not in moves]
    labelled = sum("label" in path for path in paths)
    doubled = sum(number - 1 for number in ledger.values())
    ends = Counter(run.step for run in runs)
    return [
        (
            f"0 lost: {ends['shipped']:,} of {story.orders:,} orders are delivered",
            ends == {"shipped": story.orders},
        ),
        (f"{doubled} doubled: {sum(ledger.values()):,} rows of the ledger, each once", doubled == 0),
        ("every step of every order is in the ledger", bool(done) and all(wanted <= each for each in done)),
        (f"{len(illegal)} illegal: every step was entered along an edge", not illegal),
        (
            f"{labelled:,} orders went through the step that version 2 inserted",
            labelled == sum(("label" in each) for each in done) > 0,
        ),
        (f"{story.killed} workers were killed with SIGKILL", story.killed > 2),
    ]


async def _all(jobs: EmbeddedJobs, ids: list[str]) -> Any:
    for run_id in ids:
        status = await jobs.get_status(run_id)
        if status is not None:
            yield status


def _path(run: RunStatus) -> list[str]:
    """Return the steps of an order, by the names that they have in version 2."""
    steps = [entry.facts["step"] for entry in run.history if "step" in entry.facts]
    return ["pack" if step == "packing" else step for step in steps]


def bill(runs: list[tuple[Any, ...]]) -> Iterator[str]:
    """Yield how often each event moved an order, from the histories."""
    for event, number in runs:
        yield f"{number:,} {event}"
