"""What happens in the demo: the runs that are created, the kill, and what must be true at the end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobs import Digest, digest_of

from kumofire_fsm import EmbeddedJobs, NewRun, RunMachine, RunStatus
from kumofire_fsm.machines import Role

HERE: Final = Path(__file__).resolve().parent
CONCURRENCY: Final = 8
LEASE_SECONDS: Final = 2.0
WORK_SECONDS: Final = 5.0
"""About how long the digests take in all, whatever their number."""
SKIPPED: Final = {"__pycache__", "node_modules"}


def files_under(folder: Path) -> list[Path]:
    """Return every file under a folder, but for hidden folders, caches and databases."""

    def walk(at: Path) -> Iterator[Path]:
        for each in sorted(at.iterdir()):
            if each.is_dir() and not each.is_symlink():
                if each.name not in SKIPPED and not each.name.startswith("."):
                    yield from walk(each)
            elif each.is_file() and not each.name.endswith((".db", "-wal", "-shm")):
                yield each.resolve()

    return list(walk(folder))


@dataclass
class Story:
    """One run of the demo on an open database."""

    jobs: EmbeddedJobs
    db: Path
    files: list[Path]
    digests: dict[str, Path] = field(default_factory=dict)
    hopeless: str = ""
    endless: str = ""
    schedule: str = ""
    duplicates: int = 0
    killed: int = 0
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def play(self) -> None:
        """Create everything, kill a worker half-way, and return when all runs are settled."""
        self._start_worker()
        await self._create()
        await self._cancel_endless_once_it_runs()
        await self._kill_half_way()
        schedule = await self._two_ticks()
        await self.jobs.end_schedule(schedule)
        while await self.unsettled():
            await asyncio.sleep(0.05)

    async def _create(self) -> None:
        self.hopeless = (await self.jobs.create("hopeless")).kumofire_job_run_id
        self.endless = (await self.jobs.create("endless")).kumofire_job_run_id
        self.schedule = (await self.jobs.create_schedule("tick", every=timedelta(seconds=1))).id
        longest = 0.4 if len(self.files) > CONCURRENCY else 1.0
        pause = min(longest, max(0.001, WORK_SECONDS * CONCURRENCY / max(1, len(self.files))))
        new = [self._new_run(i, path, pause) for i, path in enumerate(self.files)]
        created = await self.jobs.create_many(new)
        self.digests = {
            each.kumofire_job_run_id: path for each, path in zip(created, self.files, strict=True)
        }
        for again in [run for run in new if run.dedupe_key][:10]:
            twin = await self.jobs.create(again.name, again.payload, dedupe_key=again.dedupe_key)
            self.duplicates += not twin.is_new
        self.said.append(
            f"created {len(created)} digests and {self.duplicates} duplicates that were not stored"
        )

    def _new_run(self, i: int, path: Path, pause: float) -> NewRun:
        names = {3: "digest-third-time-lucky", 7: "digest-in-thread"}
        return NewRun(
            names.get(i % 10, "digest"),
            {"path": str(path), "pause": pause},
            delay=0.2 * (i % 10) if i % 5 == 0 else None,
            dedupe_key=str(path) if i % 4 == 0 else None,
            tags=["demo"],
        )

    async def _cancel_endless_once_it_runs(self) -> None:
        while (await self._status(self.endless)).started_at is None:
            await asyncio.sleep(0.02)
        await self.jobs.cancel(self.endless, by="demo", note="somebody changed their mind")

    async def _kill_half_way(self) -> None:
        """Kill the worker with SIGKILL in the middle of handlers, and let another take over."""
        leased = RunMachine.spec.with_role(Role.LEASED)
        while True:
            page = await self.jobs.list_runs(state=leased, name="digest", limit=500)
            # With few files all run at once, and half-way is while they do.
            half = await self._settled_digests() >= min(len(self.files) / 2, len(self.files) - CONCURRENCY)
            if half and (page.runs or not await self.unsettled()):
                break
            await asyncio.sleep(0.01)
        victim = self.workers[-1]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        page = await self.jobs.list_runs(state=leased, limit=500)
        self.killed = len(page.runs)
        self.said.append(f"killed worker {victim.pid} with SIGKILL in the middle of {self.killed} handlers")
        self._start_worker()

    async def _two_ticks(self) -> str:
        while len((await self.jobs.list_runs(schedule_id=self.schedule)).runs) < 2:
            await asyncio.sleep(0.05)
        return self.schedule

    def _start_worker(self) -> None:
        command = [sys.executable, "-m", "kumofire_fsm.cli", "worker", "jobs:app"]
        options = ["--db", str(self.db), "--concurrency", str(CONCURRENCY), "--lease", str(LEASE_SECONDS)]
        log = (self.db.parent / "worker.log").open("ab")
        worker = subprocess.Popen([*command, *options], cwd=HERE, stdout=log, stderr=log)
        log.close()
        self.workers.append(worker)
        self.said.append(f"started worker {worker.pid}")

    def stop_workers(self) -> None:
        """End the worker processes that still run."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
                try:
                    worker.wait(5)
                except subprocess.TimeoutExpired:
                    worker.kill()

    # -- looking --------------------------------------------------------------------------------

    async def unsettled(self) -> int:
        """Return how many runs are not settled."""
        settled = RunMachine.spec.with_role(Role.SETTLED)
        counts = await self.jobs.count_runs()
        return sum(number for state, number in counts.items() if state not in settled)

    async def _settled_digests(self) -> int:
        settled = RunMachine.spec.with_role(Role.SETTLED)
        counts = await self.jobs.count_runs(name="digest")
        return sum(number for state, number in counts.items() if state in settled)

    async def _status(self, run_id: str) -> RunStatus:
        status = await self.jobs.get_status(run_id)
        assert status is not None
        return status

    async def all_runs(self) -> list[RunStatus]:
        """Return every run."""
        runs: list[RunStatus] = []
        cursor = None
        while True:
            page = await self.jobs.list_runs(limit=500, cursor=cursor, results=True)
            runs += page.runs
            cursor = page.cursor
            if cursor is None:
                return runs

    async def recovered(self) -> RunStatus | None:
        """Return a run that was under way in the killed worker."""
        lost = (run for run in await self.all_runs() if any(h.event == "lose" for h in run.history))
        return next((run for run in lost if run.kumofire_job_run_id in self.digests), None)

    async def findings(self) -> list[tuple[str, bool]]:
        """Recompute every digest and check every promise; return what was checked, and whether it held."""
        runs = {run.kumofire_job_run_id: run for run in await self.all_runs()}
        mine = [runs.get(run_id) for run_id in self.digests]
        right = sum(
            run is not None and run.result == Digest.model_dump(digest_of(path))
            for run, path in zip(mine, self.digests.values(), strict=True)
        )
        ticks = [run.scheduled_for for run in runs.values() if run.schedule_id]
        settles = [_times_settled(run) for run in runs.values()]
        expected = len(self.files) + 2 + len(ticks)
        ends = {h.event for h in runs[self.endless].history}
        return [
            (
                f"{right} of {len(self.files)} digests agree with a second computation",
                right == len(self.files),
            ),
            (f"nothing is lost: {len(runs)} of {expected} runs are there", len(runs) == expected),
            ("nothing is stuck: every run is settled", all(run.settled for run in runs.values())),
            ("nothing is doubled: every run settled exactly once", settles == [1] * len(runs)),
            (
                f"{self.duplicates} duplicates gave the first run's id",
                bool(self.duplicates) or not self.files,
            ),
            ("the hopeless job spent its 2 attempts", runs[self.hopeless].attempt == 2),
            ("the endless job was canceled while it ran", {"start", "cancel"} <= ends),
            (
                f"the recurring job made {len(ticks)} runs, one an occurrence",
                2 <= len(ticks) == len(set(ticks)),
            ),
            (f"{self.killed} runs of the killed worker were taken over", self.killed > 0 or not self.files),
        ]


def _times_settled(run: RunStatus) -> int:
    settled = RunMachine.spec.with_role(Role.SETTLED)
    return sum(entry.state in settled for entry in run.history)
