"""The package itself: creators and a worker in one process, on one file."""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from contender import Handled, Looping

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.adapters import _group_commit, _turns, sqlite

__all__ = ["Peer", "across", "application", "profile"]


HERE = Path(__file__).parents[1]
SQLITE = "SQLite: statements and commits"
QUIET_SECONDS = 1.0


def application(handled: Handled) -> Kumofire:
    """Return an application with one job that does nothing but to tell of it."""
    app = Kumofire()

    @app.job("noop")
    async def noop(ctx: object, payload: dict[str, int]) -> None:
        handled(payload["n"])

    return app


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts its turns."""

    turns = 0

    def _run_once(self) -> None:
        CountingLoop.turns += 1
        super()._run_once()  # type: ignore[misc]


class CountedStatements:
    """Counts the statements that reach SQLite."""

    count = 0
    run = staticmethod(sqlite._run)

    @classmethod
    def counted(cls, db: Any, statement: Any) -> Any:
        cls.count += 1
        return cls.run(db, statement)


sqlite._run = CountedStatements.counted


class Peer(Looping):
    MODULE = "kumofire_fsm"
    HOW = "creators and the worker share a process and an event loop; `wait` tells the end of a run"
    TAKEOVER_SECONDS = 25.0  # a lease is 15 s, as it comes
    loop_factory = CountingLoop

    def __init__(self, folder: Path, handled: Handled) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, handled)

    @property
    def commits(self) -> int:
        return self.jobs._storage.group_commits

    @property
    def statements(self) -> int:
        return CountedStatements.count

    @property
    def turns(self) -> int:
        return CountingLoop.turns

    async def opened(self) -> None:
        self.stack = AsyncExitStack()
        app = application(self.handled)
        self.jobs = await self.stack.enter_async_context(app.open(self.folder / "jobs.db"))

    async def closed(self) -> None:
        await self.stack.aclose()

    async def created(self, number: int) -> str:
        return (await self.jobs.create("noop", {"n": number})).kumofire_job_run_id

    async def created_many(self, numbers: list[int]) -> None:
        await self.jobs.create_many([NewRun("noop", {"n": number}) for number in numbers])

    async def created_and_done(self, number: int) -> None:
        assert (await self.jobs.wait(await self.created(number))).state == "succeeded"

    async def started(self, size: int) -> None:
        self.worker = asyncio.ensure_future(self.jobs.run(concurrency=size))

    async def stopped(self) -> None:
        self.jobs.stop()
        await self.worker


def across(pauses: list[float]) -> list[float]:
    """Return milliseconds from a create in another process to the handler, while nothing else happens."""
    handled = Handled()
    with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as folder:
        return asyncio.run(_across(Path(folder) / "jobs.db", handled, pauses))


async def _across(path: Path, handled: Handled, pauses: list[float]) -> list[float]:
    enough, loop = asyncio.Event(), asyncio.get_running_loop()
    handled.expect(len(pauses), lambda: loop.call_soon(enough.set))
    async with application(handled).open(path) as jobs:
        worker = asyncio.ensure_future(jobs.run())
        creator = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "peers.kumofire",
            str(path),
            json.dumps(pauses),
            stdout=asyncio.subprocess.PIPE,
            cwd=HERE,
        )
        output, _ = await creator.communicate()
        await enough.wait()
        jobs.stop()
        await worker
    return [(handled.at[n] - began) / 1e6 for n, began in enumerate(json.loads(output))]


async def _create(path: str, pauses: list[float]) -> list[int]:
    began = []
    async with application(Handled()).open(path) as jobs:
        for number, pause in enumerate(pauses):
            await asyncio.sleep(pause)
            began.append(time.time_ns())
            await jobs.create("noop", {"n": number})
    return began


def work_off(folder: str, cpu_seconds: float) -> dict[str, int]:
    """Work with others on a file until nothing more is to be had; tell how many, and from when to when."""
    handled = Handled()

    def compute(number: int) -> None:
        until = time.thread_time() + cpu_seconds
        while time.thread_time() < until:
            pass

    handled.body = compute if cpu_seconds else None
    return asyncio.run(_work_off(Path(folder) / "jobs.db", handled))


async def _work_off(path: Path, handled: Handled) -> dict[str, int]:
    async with application(handled).open(path) as jobs:
        worker, before = asyncio.ensure_future(jobs.run()), -1
        while handled.count != before:
            before = handled.count
            await asyncio.sleep(QUIET_SECONDS)
        jobs.stop()
        await worker
    at = handled.at.values()
    return {"handled": handled.count, "first": min(at, default=sys.maxsize), "last": max(at, default=0)}


def profile(runs: int) -> dict[str, list[list[Any]]]:
    """Return where the processor time of a run goes: (room, microseconds a run), the most first.

    SQLite's part and the whole are measured without a profiler, which makes small functions look dear;
    with one, the rest is divided among the rooms.
    """
    _turns.SHORT_SECONDS = 3600.0  # what the connection's thread does would not be seen
    found = {}
    for work, part in (("one_by_one", runs // 10), ("create", runs), ("drain", runs)):
        in_sqlite = {"seconds": 0.0}
        whole = _worked(work, part, timed_sqlite(in_sqlite))
        profiler = cProfile.Profile(time.process_time)
        _worked(work, part, profiler)
        sqlite_us, whole_us = 1e6 * in_sqlite["seconds"] / part, 1e6 * whole / part
        rooms = _by_room(pstats.Stats(profiler))
        total = sum(rooms.values())
        parts = {room: (whole_us - sqlite_us) * own / total for room, own in rooms.items()}
        parts[SQLITE] = sqlite_us
        found[work] = sorted(([room, us] for room, us in parts.items()), key=lambda each: -each[1])
    return found


@contextmanager
def timed_sqlite(spent: dict[str, float]) -> Iterator[None]:
    """Count the processor time of statements and commits, in ``seconds``."""

    def timed(function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                spent["seconds"] += time.thread_time() - began

        return call

    before = sqlite._run, _group_commit._do
    sqlite._run, _group_commit._do = timed(before[0]), timed(before[1])
    try:
        yield
    finally:
        sqlite._run, _group_commit._do = before


def _worked(work: str, runs: int, watch: AbstractContextManager[Any]) -> float:
    """Return the processor time that some work took, in seconds; watch it, and not what comes before it."""
    with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as folder:
        peer = Peer(Path(folder), Handled())
        if work == "drain":
            peer.bulk(runs, 100)
        began = time.process_time()
        with watch:
            if work == "one_by_one":
                peer.one_by_one(runs)
            else:
                (peer.bulk if work == "create" else peer.drain)(runs, 100)
        spent = time.process_time() - began
        peer.close()
    return spent


def _by_room(stats: Any) -> dict[str, float]:
    rooms: Counter[str] = Counter()
    for (file, _, function), (_, _, own, _, _) in stats.stats.items():
        rooms[_room(file, function)] += own
    del rooms[SQLITE]
    return rooms


def _room(file: str, function: str) -> str:
    if "kumofire_fsm" in file:
        return Path(file).parent.name
    if "sqlite3" in function:
        return SQLITE
    if "asyncio" in file or "select" in function or "asyncio" in function:
        return "the event loop"
    if "json" in file or "_json" in function:
        return "json"
    return "pydantic" if "pydantic" in file + function else "the rest of Python"


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_create(sys.argv[1], json.loads(sys.argv[2])))))
