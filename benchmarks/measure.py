"""What one measurement gives, and how several are compared: by ratios within a round, and medians."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

__all__ = ["Result", "Table", "Timer", "fresh_file", "percentile"]


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement: runs from create to settled, how long they took, how often it committed."""

    runs: int
    seconds: float
    commits: int

    @property
    def rate(self) -> float:
        """Runs a second."""
        return self.runs / self.seconds


class Timer:
    """Times a ``with`` block, with the garbage of what went before out of the way."""

    seconds = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began


@dataclass(slots=True)
class Table:
    """The results of all rounds, by (work, who)."""

    results: dict[tuple[str, str], list[Result]] = field(default_factory=dict)

    async def measure(self, work: str, who: str, act: Callable[[Path], Awaitable[Result]]) -> None:
        """Measure once, on a fresh file."""
        with fresh_file() as path:
            self.results.setdefault((work, who), []).append(await act(path))

    def of(self, work: str, who: str) -> list[Result]:
        """Return the results of all rounds, in order."""
        return self.results.get((work, who), [])

    def rate(self, work: str, who: str) -> float | None:
        """Return the median of runs a second, or None where it was not measured."""
        results = self.of(work, who)
        return median(r.rate for r in results) if results else None

    def commits(self, work: str, who: str) -> float | None:
        """Return the median of commits a run."""
        results = self.of(work, who)
        return median(r.commits / r.runs for r in results) if results else None

    def ratios(self, work: str, who: str, to: str) -> list[float]:
        """Return each round's ratio of two rates, sorted."""
        pairs = zip(self.of(work, who), self.of(work, to), strict=False)
        return sorted(mine.rate / theirs.rate for mine, theirs in pairs)


@contextmanager
def fresh_file() -> Iterator[Path]:
    """Give the path of a database that does not exist yet, in a directory that goes away again."""
    with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as folder:
        yield Path(folder) / "jobs.db"


def percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that so many per cent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]
