"""Looks for all who wait in this process: one statement asks about many runs, and one sleep serves all.

Who waits is told at once of what this process settles; what others settle is looked for, ever more seldom.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.reading import is_settled
from kumofire_fsm.errors import StoreError

__all__ = ["Waits"]

FIRST_SECONDS: Final = 0.01
MOST_SECONDS: Final = 0.5
"""The pauses between two looks for one who waits: each half as long again as the one before."""
IDS_A_LOOK: Final = 500
"""Runs that one statement asks about, so that it holds up no other reader for long."""


@dataclass(eq=False, slots=True)
class _Wait:
    """One who waits: until when, and when its run is looked at next; by the clock that nobody sets."""

    run_id: str
    told: asyncio.Future[None]
    until: float | None
    next_look: float
    pause: float = FIRST_SECONDS


class Waits:
    """All who wait on one binding. Its task ends with the last of them."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._waits: dict[asyncio.Future[None], _Wait] = {}
        self._looking: asyncio.Task[None] | None = None
        self._begins: asyncio.TimerHandle | None = None
        self._joined: asyncio.Future[None] | None = None

    def join(self, run_id: str, until: float | None) -> asyncio.Future[None]:
        """Return what is done when the run is settled or gone, or the time is over."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._binding.waiters.setdefault(run_id, []).append(told)
        next_look = self._binding.clock.monotonic() + FIRST_SECONDS
        self._waits[told] = _Wait(run_id, told, until, next_look)
        return told

    def look(self) -> None:
        """See to it that somebody looks: not before it is time, as most who wait are told before."""
        if self._looking is None or self._looking.done():
            if self._begins is None:
                self._begins = asyncio.get_running_loop().call_later(FIRST_SECONDS, self._begin)
        elif self._joined is not None and not self._joined.done():
            self._joined.set_result(None)

    def leave(self, told: asyncio.Future[None]) -> None:
        """Forget one who waits no more."""
        wait = self._waits.pop(told)
        waiting = self._binding.waiters.get(wait.run_id, [])
        if told in waiting:
            waiting.remove(told)
        if not waiting:
            self._binding.waiters.pop(wait.run_id, None)
        if self._waits:
            return
        for pending in (self._begins, self._looking):
            if pending is not None:
                pending.cancel()
        self._begins = self._looking = None

    def _begin(self) -> None:
        self._begins, self._looking = None, asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while open_ := [wait for wait in self._waits.values() if not wait.told.done()]:
            await self._sleep(open_)
            now, due = self._binding.clock.monotonic(), []
            for wait in open_:
                if wait.told.done():
                    continue
                if wait.until is not None and wait.until <= now:
                    wait.told.set_result(None)
                elif wait.next_look <= now + wait.pause / 2:  # so that looks fall together
                    wait.pause = min(wait.pause * 1.5, MOST_SECONDS)
                    due.append(wait)
            for start in range(0, len(due), IDS_A_LOOK):
                await self._ask(due[start : start + IDS_A_LOOK])

    async def _sleep(self, waits: list[_Wait]) -> None:
        """Sleep until the next look or the end of somebody's time, or until somebody joins."""
        clock = self._binding.clock
        first = min(min(wait.next_look, wait.until or wait.next_look) for wait in waits)
        self._joined = asyncio.get_running_loop().create_future()
        left = max(round(first - clock.monotonic(), 3), 0.001)
        sleeping = asyncio.ensure_future(clock.sleep(left))
        try:
            await asyncio.wait({sleeping, self._joined}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()

    async def _ask(self, waits: list[_Wait]) -> None:
        """Tell those whose run is settled or gone; where the database fails, each asks for himself."""
        binding, ids = self._binding, sorted({wait.run_id for wait in waits})
        open_: set[str] = set()
        with suppress(StoreError):
            for run_id, machine, state, wake_at in await binding.storage.execute(binding.runs.states(ids)):
                if not is_settled(binding, machine, state, wake_at):
                    open_.add(run_id)
        binding.tell_settled(run_id for run_id in ids if run_id not in open_)
        now = binding.clock.monotonic()
        for wait in waits:
            wait.next_look = now + wait.pause
