"""A year of recurring jobs: each expected occurrence becomes one run, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from fakes import START
from slices import part
from year import ZONES, expected, simulate


@pytest.mark.parametrize(
    ("zones", "often", "days", "hours", "occurrences"),
    [
        pytest.param(ZONES, (), 365, 3, 2 * 6 * 365, id="six zones", marks=part(0, 3)),
        pytest.param(
            ZONES[:1], ZONES[:1], 60, 1, 60 * (12 * 24 + 2), id="every five minutes", marks=part(1, 3)
        ),
    ],
)
def test_no_occurrence_is_lost_or_doubled_although_ticks_come_late_twice_or_never(
    zones: Sequence[str], often: Sequence[str], days: int, hours: int, occurrences: int
) -> None:
    """`make year` has every five minutes in all zones for the whole year, and more looks."""
    until = START + timedelta(days=days)
    wanted = expected(zones, often, until)
    assert sum(wanted.values()) == occurrences
    found = asyncio.run(simulate(zones, often, until, timedelta(hours=hours), seed=1))
    assert found == wanted
