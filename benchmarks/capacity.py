"""What a million jobs cost on Cloudflare, and how many a database carries: by price list and simulation.

A D1 database does one query at a time. The simulation queues the statements of the price list before it: a
create for each call of your Worker, and for each batch of the queue a claim and its settles.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

from measure import percentile

__all__ = ["cost", "databases", "waits"]

ROWS_WRITTEN, ROWS_READ, PRUNED = 5, 30, 1
"""Of one run, from create to succeeded; the rows read are a generous guess, and hardly count."""
QUEUE_OPERATIONS = 3
MESSAGES_A_BATCH = 100
PRICES = {"rows written": 1.00, "rows read": 0.001, "queue": 0.40, "requests": 0.30, "cpu ms": 0.02}
"""Dollars a million, as Cloudflare's pages had them in November 2026."""

ROUND_TRIP_MS = 1.0
"""What the shortest query holds a database for; it gives the thousand queries a second of D1's own page."""
SETTLED_AT_ONCE = 25
SIMULATED_SECONDS = 30.0
QUEUE_WAIT_SECONDS = 5.0
"""After which time a queue delivers a batch that is not full."""
TENANTS = 500
BEARABLE_MS = 100.0


def cost() -> str:
    """Return what a million jobs cost, beside Workflows."""
    written, read = ROWS_WRITTEN + PRUNED, ROWS_READ
    requests = 1 / MESSAGES_A_BATCH
    rows = [
        ("rows written: 5, and 1 to prune", written * PRICES["rows written"], None),
        (f"rows read: {read}, generously", read * PRICES["rows read"], None),
        ("queue operations: 3", QUEUE_OPERATIONS * PRICES["queue"], None),
        (
            "invocations: one for 100 messages; one an instance",
            requests * PRICES["requests"],
            PRICES["requests"],
        ),
    ]
    lines = ["| a million jobs | kumofire_fsm on D1 and Queues | Cloudflare Workflows |", "|---|---:|---:|"]
    lines += [
        f"| {what} | ${ours:.3g} | {'-' if theirs is None else f'${theirs:.2f}'} |"
        for what, ours, theirs in rows
    ]
    ours, theirs = sum(row[1] for row in rows), sum(row[2] or 0 for row in rows)
    lines.append(f"| **together** | **${ours:.2f}** | **${theirs:.2f}** |")
    lines.append(f"| each millisecond of CPU a job | ${PRICES['cpu ms']:.2f} | ${PRICES['cpu ms']:.2f} |")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives: jobs a second, and how many one call creates."""

    rate: float
    together: int


def statements(load: Load, sqlite_us: float, random_: random.Random) -> Iterator[tuple[float, float, bool]]:
    """Yield (arrival, service, is a create) of each statement, in seconds, not in order."""
    a_run = sqlite_us / 1e6
    base = ROUND_TRIP_MS / 1e3
    at, waiting, oldest = 0.0, 0, 0.0
    while at < SIMULATED_SECONDS:
        at += random_.expovariate(load.rate / load.together)
        yield at, base + load.together * a_run / 4, True
        oldest = oldest if waiting else at
        waiting += load.together
        while waiting >= MESSAGES_A_BATCH or (waiting and at - oldest > QUEUE_WAIT_SECONDS):
            batch = min(waiting, MESSAGES_A_BATCH)
            waiting -= batch
            yield at, base + batch * a_run / 4, False  # the claim
            for settled in range(0, batch, SETTLED_AT_ONCE):
                yield at, base + min(SETTLED_AT_ONCE, batch - settled) * a_run / 2, False
    # Reads of a status are left out: they are as many as you make them.


def waits(load: Load, sqlite_us: float, seed: int = 1) -> list[float]:
    """Return milliseconds from each create's arrival at one database until it is stored."""
    queue = list(statements(load, sqlite_us, random.Random(seed)))
    heapq.heapify(queue)
    free, found = 0.0, []
    while queue:
        arrived, service, is_create = heapq.heappop(queue)
        free = max(free, arrived) + service
        if is_create:
            found.append(1000 * (free - arrived))
    return found


def busiest_share(number: int) -> float:
    """Return which share of the work the busiest of so many databases has, with tenants routed by hash."""
    counts = [0] * number
    for tenant in range(TENANTS):
        counts[crc32(f"tenant-{tenant}".encode()) % number] += 1
    return max(counts) / TENANTS


def databases(sqlite_us: float) -> str:
    """Return how long the slowest hundredth of creates waits, by load and number of databases."""
    numbers = (1, 2, 4, 8)
    head = "".join(f" {number} database{'' if number == 1 else 's'} |" for number in numbers)
    lines = [f"| jobs a second |{head}", "|---|" + "---:|" * len(numbers)]
    for together, rates in ((1, (100, 400, 800, 1_600, 3_200)), (100, (1_600, 3_200, 6_400, 12_800, 25_600))):
        how = "one a call" if together == 1 else f"{together} a call"
        for rate in rates:
            cells = []
            for number in numbers:
                of_one = waits(Load(rate * busiest_share(number), together), sqlite_us)
                p99 = percentile(of_one, 99)
                cells.append(f"{p99:.0f} ms" if p99 < BEARABLE_MS else "too much")
            lines.append(f"| {rate:,}, {how} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(cost(), "\n")
    print(databases(70.0))
