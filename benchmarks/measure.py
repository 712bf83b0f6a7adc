"""What one measurement gives: time, processor time, hand-overs, and what a contender counts of itself."""

from __future__ import annotations

import gc
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COUNTS", "Sample", "fresh_file", "measured", "on_cores", "percentile", "resident_mb"]

COUNTS = ("commits", "statements", "turns")
"""What a contender may count of itself, beside its name: attributes that only grow."""


@dataclass(slots=True)
class Sample:
    """One measurement of so many runs.

    Attributes:
        runs: how many.
        seconds: by the wall clock.
        cpu: seconds of processor time of the whole process, the kernel's part included.
        switches: how often a thread waited: for the disk, a lock, another thread (voluntary switches).
        counts: the differences of those of `COUNTS` that the contender has.
    """

    runs: int
    seconds: float = 0.0
    cpu: float = 0.0
    switches: int = 0
    counts: dict[str, int] | None = None


@contextmanager
def measured(runs: int, contender: Any) -> Iterator[Sample]:
    """Measure a ``with`` block, with the garbage of what went before out of the way."""
    sample = Sample(runs)
    gc.collect()
    counts = {name: getattr(contender, name) for name in COUNTS if hasattr(contender, name)}
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    yield sample
    sample.seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    sample.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sample.switches = after.ru_nvcsw - before.ru_nvcsw
    sample.counts = {name: getattr(contender, name) - was for name, was in counts.items()}


@contextmanager
def fresh_file() -> Iterator[Path]:
    """Give the path of a database that does not exist yet, in a directory that goes away again."""
    with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as folder:
        yield Path(folder) / "jobs.db"


def on_cores(cores: list[int]) -> None:
    """Bind every thread of this process, and all that they start, to these cores."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), cores)


def resident_mb() -> float:
    """Return how much memory this process holds now, in MB."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize() / 1e6


def percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that so many per cent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]
