"""huey's SqliteHuey with fsync=True, used in the way that was seen to be its fastest."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from huey import SqliteHuey
from measure import Result, Timer

__all__ = ["creators", "one_by_one"]

WORKERS = 1
"""Worker threads of the consumer; they share one connection and one lock."""


class Bench:
    """A queue with one task that does nothing, and counts how often it did it."""

    def __init__(self, path: Path, runs: int) -> None:
        logging.getLogger("huey").setLevel(logging.ERROR)
        self.huey = SqliteHuey("bench", filename=str(path), fsync=True)
        self.runs, self.called, self.done = runs, 0, threading.Event()
        lock = threading.Lock()

        @self.huey.task()
        def noop(payload: dict[str, int]) -> None:
            with lock:
                self.called += 1
                if self.called == runs:
                    self.done.set()

        self.noop: Any = noop

    def commits(self) -> int:
        """Count the commits of one run, outside any measurement: enqueue, dequeue."""
        seen: list[str] = []
        self.huey.storage.conn.set_trace_callback(seen.append)
        self.runs += 1
        self.noop({"n": 0})
        self.huey.execute(self.huey.dequeue())
        self.huey.storage.conn.set_trace_callback(None)
        return sum(sql.upper() == "COMMIT" for sql in seen)

    def result(self, timer: Timer) -> Result:
        """Check that all ran, and return the result."""
        assert self.called == self.runs
        runs = self.runs
        result = Result(runs, timer.seconds, self.commits() * runs)
        self.huey.storage.close()
        return result


def one_by_one(path: Path, runs: int) -> Result:
    """Enqueue a task, take it and run it, in one thread: quicker than any of its consumers' polling."""
    bench = Bench(path, runs)
    with Timer() as timer:
        for n in range(runs):
            bench.noop({"n": n})
            bench.huey.execute(bench.huey.dequeue())
    return bench.result(timer)


def creators(path: Path, runs: int, number: int) -> Result:
    """Let ``number`` threads enqueue one task after the other, while a consumer drains."""
    bench = Bench(path, runs)
    consumer = bench.huey.create_consumer(
        workers=WORKERS, periodic=False, initial_delay=0.001, max_delay=0.01
    )
    consumer._set_signal_handlers = lambda: None  # only a main thread may, and this is none

    def create_some() -> None:
        for n in range(runs // number):
            bench.noop({"n": n})

    threads = [threading.Thread(target=create_some) for _ in range(number)]
    with Timer() as timer:
        consumer.start()
        for thread in threads:
            thread.start()
        bench.done.wait()
    consumer.stop(graceful=True)
    return bench.result(timer)
