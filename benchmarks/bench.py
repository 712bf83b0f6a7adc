"""Jobs a second beside a hand-written loop and huey, commits a run, and latency: `make bench`.

Everything is durable (synchronous=FULL, WAL). The contenders take turns within each round, and what
counts is the median of the rounds' ratios: the figures themselves vary with the machine and the hour.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import huey_bench
import kumofire_bench
import latency
from floor import Floor
from measure import Result, Table, fresh_file, percentile

HAND, OURS, HUEY = "hand-written", "kumofire", "huey"
ONE, SEQUENTIAL, CREATORS = "one by one", "sequential creates", "100 creators"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    bulk: int
    creators: int
    single: int
    huey: int
    latency: int
    quiet: int


FULL = Size(rounds=7, bulk=10_000, creators=10_000, single=800, huey=500, latency=200, quiet=60)
QUICK = Size(rounds=3, bulk=4_000, creators=4_000, single=300, huey=200, latency=60, quiet=12)


async def measure_round(table: Table, size: Size) -> None:
    """Measure everything once, each contender right after the other."""

    async def ours_one(path: Path) -> Result:
        return await kumofire_bench.one_by_one(path, size.single)

    async def hand_one(path: Path) -> Result:
        return Floor(path).one_by_one(size.single)

    async def huey_one(path: Path) -> Result:
        return await asyncio.to_thread(huey_bench.one_by_one, path, size.huey)

    async def huey_creators(path: Path) -> Result:
        return await asyncio.to_thread(huey_bench.creators, path, size.huey, 100)

    await table.measure(ONE, HAND, hand_one)
    await table.measure(ONE, OURS, ours_one)
    await table.measure(ONE, HUEY, huey_one)
    for work, runs, number in ((SEQUENTIAL, size.single, 1), (CREATORS, size.creators, 100)):

        async def hand(path: Path, runs: int = runs, number: int = number) -> Result:
            return Floor(path).streaming(runs, number)

        async def ours(path: Path, runs: int = runs, number: int = number) -> Result:
            return await kumofire_bench.creators(path, runs, number)

        await table.measure(work, HAND, hand)
        await table.measure(work, OURS, ours)
    await table.measure(CREATORS, HUEY, huey_creators)
    for batch in (100, 500):
        with fresh_file() as path:
            floor = Floor(path)
            _note(table, HAND, batch, floor.create(size.bulk, batch), floor.drain(size.bulk, batch))
        with fresh_file() as path:
            _note(table, OURS, batch, *await kumofire_bench.create_and_drain(path, size.bulk, batch))


def _note(table: Table, who: str, batch: int, created: Result, drained: Result) -> None:
    both = Result(created.runs, created.seconds + drained.seconds, created.commits + drained.commits)
    for work, result in (("create", created), ("drain", drained), ("create + drain", both)):
        table.results.setdefault((f"bulk {batch}: {work}", who), []).append(result)


def show(table: Table) -> None:
    """Print the table: medians, and the ratio to the hand-written loop with its range."""
    print(f"{'runs a second (median)':<24}{HAND:>13}{OURS:>10}{HUEY:>8}   ratio (min-max)     commits a run")
    for work in dict.fromkeys(work for work, _ in table.results):
        rates = [table.rate(work, who) for who in (HAND, OURS, HUEY)]
        hand, ours, huey = (f"{rate:,.0f}" if rate else "-" for rate in rates)
        ratios = table.ratios(work, OURS, HAND)
        commits = " / ".join(
            f"{each:.3g}" for who in (HAND, OURS, HUEY) if (each := table.commits(work, who)) is not None
        )
        ratio = f"{median(ratios):.0%} ({ratios[0]:.0%}-{ratios[-1]:.0%})"
        print(f"{work:<24}{hand:>13}{ours:>10}{huey:>8}   {ratio:<20}{commits}")


def judge(what: str, found: float, aim: float, *, most: bool = False, unit: str = "") -> bool:
    """Print whether an aim is reached."""
    reached = found <= aim if most else found >= aim
    sign = "<=" if most else ">="
    disposition = "reached" if reached else "NOT REACHED"
    print(f"  {disposition:<12}{what}: {found:.3g}{unit} (aim {sign} {aim:g}{unit})")
    return reached


def judge_all(table: Table, latencies: dict[str, list[float]]) -> bool:
    """Print a line for each aim; return whether all are reached."""
    aims = [
        (f"bulk {n}: create + drain", HAND, 60.0, f"bulk {n}, create + drain, of the hand-written loop")
        for n in (100, 500)
    ]
    aims.append((CREATORS, HAND, 50.0, "100 creators, of the hand-written streaming loop"))
    aims.append((ONE, HAND, 50.0, "one by one, of the hand-written three commits"))
    print("\naims")
    told = [
        judge(text, 100 * median(table.ratios(work, OURS, to)), aim, unit="%") for work, to, aim, text in aims
    ]
    told.append(judge("100 creators, times huey", median(table.ratios(CREATORS, OURS, HUEY)), 10, unit="x"))
    commits = [(ONE, 2.0), (SEQUENTIAL, 1.05), (CREATORS, 0.03), ("bulk 100: drain", 0.015)]
    for work, most in commits:
        told.append(judge(f"commits a run, {work}", table.commits(work, OURS) or 0, most, most=True))
    for (name, values), most in zip(latencies.items(), (3, 10, 10), strict=True):
        told.append(judge(f"p50 latency {name}", percentile(values, 50), most, most=True, unit=" ms"))
    return all(told)


async def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, under 20 s")
    size = QUICK if parser.parse_args().quick else FULL
    began, table = time.perf_counter(), Table()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {size.rounds} rounds\n")
    for _ in range(size.rounds):
        await measure_round(table, size)
    show(table)
    latencies = {
        "in the process": await latency.in_process(size.latency),
        "from another process": await latency.from_another_process(size.latency, quiet=False),
        "from another process, quiet file": await latency.from_another_process(size.quiet, quiet=True),
    }
    print("\ncreate to handler, idle: p50 / p99 ms")
    for name, values in latencies.items():
        print(f"  {name:<34}{percentile(values, 50):>6.2f} / {percentile(values, 99):.2f}")
    reached = judge_all(table, latencies)
    print(
        f"\n{'all aims reached' if reached else 'not all aims reached'}; {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    asyncio.run(main())
