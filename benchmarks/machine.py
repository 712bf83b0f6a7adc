"""What machine a figure is from, how quick its disk and its wake-ups are, and what else it was doing."""

from __future__ import annotations

import os
import platform
import queue
import resource
import sqlite3
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["Watch", "describe"]

BUSY_SHARE = 0.05
"""From which share of its processor time taken by others a machine counts as busy."""
SAMPLES = 200


def describe() -> dict[str, Any]:
    """Return what tells one machine from another."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "fsync_ms": round(_fsync_ms(), 3),
        "hand_over_us": round(_hand_over_us(), 1),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _fsync_ms() -> float:
    """Return the median of what it takes to append 4 KB and to have the disk confirm it."""
    found = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(SAMPLES):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            found.append(1000 * (time.perf_counter() - began))
    return median(found)


def _hand_over_us() -> float:
    """Return the median of half a round trip between two threads."""
    there: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    back: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def answer() -> None:
        while (got := there.get()) is not None:
            back.put(got)

    thread = threading.Thread(target=answer)
    thread.start()
    found = []
    for number in range(SAMPLES):
        began = time.perf_counter()
        there.put(number)
        back.get()
        found.append(1e6 * (time.perf_counter() - began) / 2)
    there.put(None)
    thread.join()
    return median(found)


class Watch:
    """Tells afterwards how much of the machine others took while something was measured."""

    def __init__(self) -> None:
        self.began = time.time()
        self._busy, self._ours = _busy_seconds(), _own_seconds()
        self._cores = os.cpu_count() or 1

    def end(self) -> dict[str, Any]:
        """Return when it was, how long it took, and whether the machine was quiet."""
        seconds = time.time() - self.began
        others = (_busy_seconds() - self._busy) - (_own_seconds() - self._ours)
        share = max(0.0, others / (seconds * self._cores))
        return {
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.began)),
            "seconds": round(seconds),
            "others_percent": round(100 * share, 1),
            "machine_was": "busy" if share > BUSY_SHARE else "quiet",
        }


def _busy_seconds() -> float:
    """Return the processor time that the machine has spent on anybody, and what the hypervisor took."""
    line = Path("/proc/stat").read_text("ascii").partition("\n")[0]
    user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)
