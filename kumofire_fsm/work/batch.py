"""Calls the handlers of claimed runs, and settles their endings in groups."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.store.runs import ClaimedRun
from kumofire_fsm.work.attempt import Attempt, Ending, release
from kumofire_fsm.work.budget import Budget
from kumofire_fsm.work.disposition import STORE_ERROR_S, Disposition, after_settle
from kumofire_fsm.work.settle import settle, statements_for

__all__ = ["RESERVE", "Batch", "SettleMode"]

SettleMode: TypeAlias = Literal["grouped", "each"]

SETTLE_EVERY: Final = 25
"""Outcomes that are held back at most, to be settled by one statement."""
RESERVE: Final = 6
"""Statements kept back when a handler starts: what it sends itself, and the last settle."""


class Batch:
    """The runs that one consumer works on in one invocation.

    Outcomes are held back while handlers run without waiting, and settled while one waits. What
    becomes of each run's message is noted in ``dispositions``.
    """

    def __init__(
        self,
        binding: Binding,
        jobs: Any,
        budget: Budget,
        dispositions: dict[str, Disposition],
        *,
        concurrency: int,
        mode: SettleMode,
    ) -> None:
        self._binding, self._jobs, self._budget = binding, jobs, budget
        self._verdicts, self._concurrency, self._each = dispositions, concurrency, mode == "each"
        self._todo: deque[ClaimedRun] = deque()
        self._held: list[Ending] = []
        self._covered = 0  # until when the leases of what is held back hold
        self._under_way = 0
        self._waiting = 0  # handlers that wait for something
        self._settling: asyncio.Task[None] | None = None
        self._begun = False  # one run is worked on whatever the budget, so that there is progress
        self._committed = False
        self._dearest = 0  # the most statements that an ending took alone

    async def work(self, runs: Sequence[ClaimedRun]) -> None:
        """Call the handlers, one after the other or several at once, and settle all endings."""
        self._todo.extend(runs)
        try:
            while self._todo:  # a handler that cancels its own task ends its lane, and no more
                await self._work_side_by_side(min(self._concurrency, len(self._todo)))
        finally:
            await self._settle_now()  # what has ended is stored, whatever ends the worker

    async def _work_side_by_side(self, number: int) -> None:
        lanes = [asyncio.ensure_future(self._lane()) for _ in range(number)]
        try:
            await asyncio.wait(lanes, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.wait(lanes)
        for lane in lanes:
            if not lane.cancelled():
                lane.result()  # raises what is meant to end the worker

    def needs(self) -> int:
        """Return the statements that one run more may take, with all that is to come."""
        return self._owed() + self._dearest

    async def _lane(self) -> None:
        while self._todo:
            if self._begun and not self._budget.affords(self.needs()):
                log.info("%d runs are given back: the invocation's statements are spent", len(self._todo))
                self._held += [release(self._binding, run) for run in self._todo]
                self._todo.clear()
                return
            run, self._begun = self._todo.popleft(), True
            ends = self._binding.now() + self._binding.registry.get(run.job).timeout_ms
            if self._held and self._covered < ends <= run.wake_at:
                await self._settle_now()  # what is held back would not outlast this handler
            await self._hold(run, await self._perform(run))

    async def _perform(self, run: ClaimedRun) -> Ending:
        binding = self._binding
        definition = binding.registry.get(run.job)
        if run.wake_at < binding.now() + definition.timeout_ms:
            return release(self._binding, run)  # the lease no longer covers its timeout
        waits: list[bool] = []
        self._under_way += 1

        def suspended() -> None:
            waits.append(True)
            self._waiting += 1
            self._settle_meanwhile()

        try:
            attempt = Attempt(binding, run, definition, self._jobs)
            ending = await attempt.perform_within_timeout(suspended)
        finally:
            self._under_way -= 1
            self._waiting -= len(waits)
        return ending or release(self._binding, run)

    async def _hold(self, run: ClaimedRun, ending: Ending) -> None:
        self._covered = min(self._covered, run.wake_at) if self._held else run.wake_at
        self._held.append(ending)
        self._dearest = max(self._dearest, statements_for(ending))
        if self._each or len(self._held) >= SETTLE_EVERY:
            await self._settle_now()
        elif self._waiting:
            self._settle_meanwhile()

    def _settle_meanwhile(self) -> None:
        """Settle in the time that handlers wait, while statements are left for all that is to come."""
        groups = -(-len(self._todo) // SETTLE_EVERY)
        if self._held and self._settling is None and self._budget.affords(self._owed() + groups + 1):
            self._settling = asyncio.ensure_future(self._settle_held())

    def _owed(self) -> int:
        """Return the statements that are still to come for what is held back, under way, or left over."""
        under_way = self._under_way * (self._dearest + self._each)
        return RESERVE + under_way + sum(map(statements_for, self._held))

    def _affordable(self, endings: Sequence[Ending]) -> list[Ending]:
        """Give back what would not fit into the invocation with its own statements, but never all."""
        kept, cost = [], 0
        for ending in endings:
            cost += statements_for(ending)
            if self._committed and ending.effects and not self._budget.affords(cost + 1):
                cost -= statements_for(ending)
                kept.append(Ending(ending.move._replace(event="release", value=None, next_at=None)))
            else:
                kept.append(ending)
            self._committed = self._committed or bool(ending.effects)
        return kept

    async def _settle_now(self) -> None:
        while self._settling is not None:
            await asyncio.wait([self._settling])
        if self._held:
            await self._settle_held()

    async def _settle_held(self) -> None:
        endings, self._held = self._affordable(self._held), []
        try:
            moved, failed = await settle(self._binding, endings)
        finally:
            if self._settling is asyncio.current_task():
                self._settling = None
        for ending in endings:
            run_id = ending.move.id
            self._verdicts[run_id] = after_settle(self._binding, run_id, moved.get(run_id))
        reason = "the ending could not be stored; the lease will run out"
        for ending in failed:
            run_id = ending.move.id
            self._verdicts[run_id] = Disposition(run_id, ack=False, delay_s=STORE_ERROR_S, reason=reason)
        if self._waiting:
            self._settle_meanwhile()
