"""When a lease that has run out is lost, and when leases are renewed: arithmetic of clocks that a test moves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm.embedded._lease_trust import LeaseTrust
from kumofire_fsm.embedded._upkeep import Upkeep
from kumofire_fsm.engine.binding import EMBEDDED

LEASE_MS = 1_000


class Sweeps:
    """A worker's sweeps: each asks whether leases that have run out are lost."""

    def __init__(self) -> None:
        self.now, self.ahead = 5_000, 0
        self.trust = LeaseTrust(LEASE_MS, lambda: self.now + self.ahead, lambda: self.now / 1000)

    def after(self, *waits: int) -> list[bool]:
        """Sweep after each of these waits, in milliseconds."""
        answers = []
        for wait in waits:
            self.now += wait
            answers.append(self.trust())
        return answers


def test_leases_end_once_sweeps_were_written_for_half_a_lease_without_a_gap() -> None:
    assert Sweeps().after(0, 250, 249, 1, 250) == [False, False, False, True, True]
    assert Sweeps().trust.sweep_seconds() == 0.25


def test_a_gap_of_more_than_half_a_lease_begins_the_watch_anew() -> None:
    sweeps = Sweeps()
    sweeps.after(0, 250, 250)
    assert sweeps.after(500) == [True]
    assert sweeps.after(501, 250, 249, 1) == [False, False, False, True]


@pytest.mark.parametrize("direction", [1, -1], ids=["forward", "back"])
def test_a_clock_that_somebody_set_begins_the_watch_anew(direction: int) -> None:
    sweeps = Sweeps()
    sweeps.after(0, 250, 250)
    sweeps.ahead += direction * 100
    assert sweeps.after(250) == [True], "a tenth of a lease may be drift"
    sweeps.ahead += direction * 101
    assert sweeps.after(250, 250, 249, 1) == [False, False, False, True]


def test_a_clock_that_is_set_wrong_and_right_between_two_sweeps_begins_the_watch_anew() -> None:
    sweeps = Sweeps()
    sweeps.after(0, 250, 250)
    for ahead in (-3_600_000, 0):
        sweeps.now, sweeps.ahead = sweeps.now + 100, ahead
        sweeps.trust.look()
    assert sweeps.after(50, 250, 199, 1) == [False, False, False, True]


async def test_leases_are_renewed_at_once_when_the_clock_was_set(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal while it was wrong wrote a lease that is worth nothing."""
    sweeps, renewals = Sweeps(), []

    async def renew() -> None:
        renewals.append(sweeps.ahead)

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        pool: Any = SimpleNamespace(in_flight={}, wake=lambda: None)
        upkeep = Upkeep(w.jobs._binding, pool, lambda: 0)
        monkeypatch.setattr(upkeep, "_trust", sweeps.trust)
        monkeypatch.setattr(upkeep, "_renew", renew)
        sweeps.after(0, 250)
        await upkeep._watch()
        for ahead in (-3_600_000, 0):
            upkeep._renew_after = 3_600.0
            sweeps.now, sweeps.ahead = sweeps.now + 1, ahead
            await upkeep._watch()
            async with asyncio.timeout(600):
                await upkeep.keep_leases()
        assert renewals == [-3_600_000, 0]


async def test_a_renewal_that_had_to_wait_is_followed_by_another_at_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote may be a lease from before the wait."""
    time, waits = 0.0, [3.75, 3.85]

    async def renew() -> None:
        nonlocal time
        time += waits.pop(0)

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        pool: Any = SimpleNamespace(in_flight={}, wake=lambda: None)
        upkeep = Upkeep(w.jobs._binding, pool, lambda: 0)
        pause, upkeep._renew_after = upkeep._renew_after, 0.0
        assert pause == 3.75, "a quarter of a lease"
        upkeep._loop = SimpleNamespace(time=lambda: time)
        monkeypatch.setattr(upkeep, "_renew", renew)
        for following in (3.75, 0.0):
            upkeep._renew_after = 0.0
            await upkeep.keep_leases()
            assert upkeep._renew_after == following
