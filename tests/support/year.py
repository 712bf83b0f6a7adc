"""A year of recurring jobs through the real dispatcher: every occurrence once, whatever becomes of the ticks.

``python tests/support/year.py`` (``make year``) looks every minute or five, the test in CI less often.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from cron_oracle import MINUTE, changes, milliseconds
from fakes import START
from harness import Bound, Kit, nothing

ZONES = (
    "Europe/London",  # 01:30 is skipped in March, and comes twice in October
    "America/New_York",  # 01:30 comes twice in November
    "Europe/Berlin",
    "Australia/Lord_Howe",  # half an hour: 01:30 comes twice in April
    "Pacific/Chatham",
    "Asia/Kolkata",
)
OFTEN, FIVE, HALF_PAST_ONE = "*/5 * * * *", "0 5 * * *", "30 1 * * *"
Expected = Counter[tuple[str, str, int]]


def expected(zones: Sequence[str], often: Sequence[str], until: datetime) -> Expected:
    """Return how often each (zone, expression, instant) is to occur: once each."""
    found: Expected = Counter()
    for name in zones:
        zone = ZoneInfo(name)
        moved = changes(zone, START - timedelta(days=1), until + timedelta(days=1))
        days = range((until - START).days + 3)
        for day in (START.date() + timedelta(days=n - 1) for n in days):
            for expression, hour, minute in ((FIVE, 5, 0), (HALF_PAST_ONE, 1, 30)):
                at = _first_time(day, hour, minute, zone, moved)
                if START < at <= until:
                    found[name, expression, milliseconds(at)] += 1
        if name in often:
            steps = (until - START) // (5 * MINUTE)
            for n in range(1, steps + 1):
                found[name, OFTEN, milliseconds(START + 5 * n * MINUTE)] += 1
    return found


def _first_time(day: date, hour: int, minute: int, zone: ZoneInfo, moved: Sequence[datetime]) -> datetime:
    """Return when a fixed wall time fires: the first time round, or just after the gap that skips it."""
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    at = local.astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return at
    return max(change for change in moved if change <= at)


async def simulate(
    zones: Sequence[str], often: Sequence[str], until: datetime, step: timedelta, seed: int
) -> Expected:
    """Return how often each occurrence became a run; ticks come late, at once twice, or not at all."""
    chance, kit = random.Random(seed), Kit()
    kit.job("none")(nothing)
    async with kit.bound(with_queue=False) as w:
        names: dict[str, tuple[str, str]] = {}
        for zone in zones:
            for cron in (OFTEN, FIVE, HALF_PAST_ONE)[zone not in often :]:
                made = await w.jobs.create_schedule("none", cron=cron, timezone=zone, misfire="all")
                names[made.id] = zone, cron
        found: Expected = Counter()
        tick = START
        while tick < until:
            tick += step * chance.choice([1] * 12 + [2, 3])  # some ticks do not come
            late = timedelta(seconds=chance.choice([0, 0, 0, 1, 59, 61, 200]))
            kit.clock.advance((min(tick, until) + late - kit.clock.time).total_seconds())
            twice = chance.random() < 0.1
            await asyncio.gather(*[w.jobs.dispatch() for _ in range(2 if twice else 1)])
            if chance.random() < 0.05:
                await w.jobs.dispatch()
            found.update(await _harvest(w, names, milliseconds(until)))
        return found


async def _harvest(w: Bound, names: dict[str, tuple[str, str]], until: int) -> list[tuple[str, str, int]]:
    """Take out the runs that were made."""
    taken = await w.sql("DELETE FROM kumofire_runs RETURNING schedule_id, scheduled_for")
    return [(*names[schedule_id], at) for schedule_id, at in taken if at <= until]


def main() -> None:
    """Simulate 2026 with a look every five minutes, for every schedule in every zone."""
    until = START + timedelta(days=365)
    for step, seed in ((timedelta(minutes=5), 1), (timedelta(minutes=60), 2)):
        began = time.perf_counter()
        wanted = expected(ZONES, ZONES, until)
        found = asyncio.run(simulate(ZONES, ZONES, until, step, seed))
        lost, more = wanted - found, found - wanted
        print(
            f"{sum(wanted.values()):,} occurrences, a look every {step}: {len(lost)} lost, {len(more)} doubled or "
            f"unexpected, {time.perf_counter() - began:.0f} s"
        )
        if lost or more:
            sys.exit(f"lost: {sorted(lost)[:5]}; too many: {sorted(more)[:5]}")


if __name__ == "__main__":
    main()
