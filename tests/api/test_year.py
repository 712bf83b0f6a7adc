"""A year of recurring jobs: each expected occurrence becomes one run, and nothing else does."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from fakes import START
from year import ZONES, expected, simulate


def test_a_year_in_six_zones_loses_and_doubles_nothing_although_ticks_come_late_twice_or_never() -> None:
    """Every five minutes in one zone; ``make year`` has it in all of them, and more looks."""
    until, often = START + timedelta(days=365), ZONES[:1]
    wanted = expected(ZONES, often, until)
    assert sum(wanted.values()) == 105_120 + 2 * 6 * 365
    found = asyncio.run(simulate(ZONES, often, until, timedelta(hours=1), seed=1))
    assert found == wanted
