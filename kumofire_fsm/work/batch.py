"""Calls the handlers of claimed runs, and settles how they ended in groups."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Sequence
from typing import Any, Final, Literal, TypeAlias

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.budget import MOVE_AND_CHECK
from kumofire_fsm.engine.due import Claimed
from kumofire_fsm.engine.reading import PAYLOADS_AT_ONCE
from kumofire_fsm.store.rows import LEFT_OUT
from kumofire_fsm.values.limits import STATEMENT_BYTES
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.disposition import STORE_ERROR_S, Disposition, after_settle
from kumofire_fsm.work.ending import Ending
from kumofire_fsm.work.flow_attempt import attempt_of
from kumofire_fsm.work.payloads import payloads_of
from kumofire_fsm.work.settle import settle
from kumofire_fsm.work.tasks import HandlerTasks

__all__ = ["RESERVE", "Batch", "SettleMode"]

log = logging.getLogger(__package__)

SettleMode: TypeAlias = Literal["grouped", "each"]

SETTLE_EVERY: Final = 25
"""Endings that are held back at most, to be settled by one statement."""
RESERVE: Final = 6
"""Statements kept back when a handler starts: what it sends itself, and the last settle."""


class Batch:
    """The runs that one consumer works on in one invocation.

    Endings are held back while handlers run without waiting, and settled while one waits. One with effects
    is settled as it comes.

    Args:
        binding: the application on its database, and how many statements are left.
        concurrency: handlers at once.
        mode: how endings are settled.
        hinted: the runs whose messages this invocation has: held ones that it admits need no other.

    Attributes:
        dispositions: what becomes of each run's message.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        concurrency: int,
        mode: SettleMode,
        hinted: Container[str] = (),
    ) -> None:
        self.dispositions: dict[str, Disposition] = {}
        self._binding, self._budget, self._each = binding, binding.budget, mode == "each"
        self._hinted = hinted
        # A settle, what it admits, and what hooks read of both.
        self._settle_costs = (1 + bool(binding.key_limits())) * (1 + bool(binding.registry.hooks))
        self._refused = False  # the database has refused an ending: others may cost a search
        self._tasks = HandlerTasks(self._call, concurrency)
        binding.full = lambda: self._under_way >= concurrency
        self._held: list[Ending] = []
        self._going: dict[str, Attempt] = {}
        """Attempts of flows, by run, that go on with another step once this one is stored."""
        self._covered = 0  # until when the leases of what is held back hold
        self._bytes = 0  # how many bytes what is held back adds to a statement
        self._under_way = 0  # handlers that have begun
        self._waiting = 0  # handlers that wait for something
        self._settling: asyncio.Task[None] | None = None
        self._in_time: asyncio.TimerHandle | None = None
        self._begun = False  # one run is worked on whatever the budget, so that there is progress
        self._committed = False  # and so is one with effects
        self._overdrawn = False  # some effects did not fit, and those of later handlers hardly would

    async def work(self, claimed: Claimed) -> None:
        """Call the handlers, one after the other or several at once, and settle how all ended."""
        runs, registry = claimed.runs, self._binding.registry
        payloads = payloads_of(self._binding, runs)
        try:
            what: dict[str, Any] = {
                "hint_ms": self._binding.timing.redeliver_ms,  # each came with a message
                "payloads": payloads,
                "set_ms": claimed.set_ms,
                "worker_ends": self._tasks.are_ending,
            }
            self._tasks.add(attempt_of(self._binding, run, registry.get(run.job), **what) for run in runs)
            for _ in runs:
                self._tasks.next()  # side by side from the beginning, as far as may be
            await self._tasks.done()
            while self._going:
                await self._settle_now()
                await self._tasks.done()
        finally:
            await self._tasks.end()
            await self._settle_now()  # what has ended is stored, whatever ends the worker

    def affords_more(self, beside: int = 0) -> bool:
        """Return whether statements are left for a handler more, all that is to come, and some beside."""
        return self._budget.affords(self._owed() + beside)

    def begins_more(self, beside: int = 0) -> bool:
        """Return whether the statements still let handlers begin, and leave some beside."""
        return not self._overdrawn and self.affords_more(beside)

    def has_time(self, timeout_ms: int) -> bool:
        """Return whether a handler with this timeout ends within the invocation; the first begins anyhow."""
        return not self._begun or self._budget.has_time(timeout_ms)

    async def _call(self, attempt: Attempt) -> None:
        reads = attempt.run.body == LEFT_OUT
        if self._refused and not self.begins_more(reads):
            await self._settle_now()  # a small set costs a small search
        if self._begun and not self.begins_more(reads):
            rest = [attempt, *self._tasks.ready]
            self._tasks.ready.clear()
            self._give_back(rest, "the invocation's statements are spent")
            return
        if not self.has_time(attempt.definition.timeout_ms):
            self._give_back([attempt], "the invocation has no time left for them")
            return
        self._begun = True
        ends = self._binding.now() + attempt.definition.timeout_ms
        if self._held and self._covered < ends <= attempt.run.timeout_at:
            await self._settle_now()  # what is held back would not outlast this handler
        await self._hold(attempt, await self._perform(attempt))

    def _give_back(self, attempts: Sequence[Attempt], why: str) -> None:
        log.info("runs given back: %d; %s", len(attempts), why)
        for each in attempts:
            self._keep(each, each.released())
        self._settle_in_time()

    async def _perform(self, attempt: Attempt) -> Ending:
        waits: list[bool] = []

        def suspended() -> None:
            waits.append(True)
            self._waiting += 1
            self._tasks.next()
            self._settle_meanwhile()

        self._under_way += 1
        try:
            ending = await attempt.perform(suspended)
        finally:
            self._under_way -= 1
            self._waiting -= len(waits)
        return ending or attempt.released()

    async def _hold(self, attempt: Attempt, ending: Ending) -> None:
        if ending.goes_on:
            self._going[ending.move.id] = attempt
        if ending.effects and self._affords(ending):
            await self._settle([ending])
            return
        given_back = bool(ending.effects)
        self._overdrawn = self._overdrawn or given_back
        ending = attempt.released() if given_back else ending
        if self._held and self._bytes + ending.size > STATEMENT_BYTES:
            await self._settle_now()  # else it would take several statements, which nobody has counted
        self._keep(attempt, ending)
        if (self._each and not given_back) or len(self._held) >= SETTLE_EVERY:
            await self._settle_now()
        else:
            if self._waiting:
                self._settle_meanwhile()
            self._settle_in_time()

    def _keep(self, attempt: Attempt, ending: Ending) -> None:
        until = attempt.run.timeout_at
        self._bytes = ending.size + (self._bytes if self._held else 0)
        self._covered = min(self._covered, until) if self._held else until
        self._held.append(ending)

    def _settle_in_time(self) -> None:
        """Have what is held back settled before its leases end: a handler may not heed its timeout."""

        def settle() -> None:
            if self._held and self._settling is None and self._budget.affords(2):  # this, and the last one
                self._settling = asyncio.ensure_future(self._settle_held())

        self._forget_timer()
        if self._held:
            left_ms = self._covered - self._binding.timing.slack_ms - self._binding.now()
            self._in_time = asyncio.get_running_loop().call_later(max(left_ms, 0) / 1000, settle)

    def _forget_timer(self) -> None:
        if self._in_time is not None:
            self._in_time.cancel()

    def _affords(self, ending: Ending) -> bool:
        """Return whether a handler's own statements fit into the invocation; the first always do."""
        own = ending.statements
        affords = not self._committed or self._budget.affords(own + MOVE_AND_CHECK + bool(self._held))
        self._committed = self._committed or affords
        return affords

    def _settle_meanwhile(self) -> None:
        """Settle in the time that handlers wait, while statements are left for all that is to come."""
        ready = self._tasks.ready
        groups = 1 + -(-len(ready) // SETTLE_EVERY)
        reads = -(-sum(each.run.body == LEFT_OUT for each in ready) // PAYLOADS_AT_ONCE)
        coming = self._owed() + groups * self._settle_costs + reads
        if self._held and self._settling is None and self._budget.affords(coming):
            self._settling = asyncio.ensure_future(self._settle_held())

    def _owed(self) -> int:
        """Return the statements that are still to come for what is held back, under way, or left over."""
        alone = self._settle_costs * self._under_way if self._each else 0
        searched = 2 * (len(self._held) + self._under_way) if self._refused else 0
        return RESERVE - 1 + self._settle_costs + alone + searched

    async def _settle_now(self) -> None:
        while self._settling is not None:
            await asyncio.wait([self._settling])
        if self._held:
            await self._settle_held()

    async def _settle_held(self) -> None:
        endings, self._held = self._held, []
        self._forget_timer()
        try:
            await self._settle(endings)
        finally:
            if self._settling is asyncio.current_task():
                self._settling = None
        if self._waiting:
            self._settle_meanwhile()

    async def _settle(self, endings: Sequence[Ending]) -> None:
        moved, failed, why, refused = await settle(self._binding, endings, self._hinted)
        self._refused = self._refused or bool(refused)
        if failed:
            log.error("the database failed to settle %d runs: %s", len(failed), why)
        for ending in endings:
            run_id, attempt = ending.move.id, self._going.pop(ending.move.id, None)
            if attempt is not None and run_id in moved and attempt.go_on(ending, moved[run_id]):
                self._tasks.add([attempt])
                continue
            self.dispositions[run_id] = after_settle(self._binding, run_id, moved.get(run_id))
        reason = "the database refuses the outcome; once the lease has run out, the dispatcher sends another"
        for run_id in refused:
            self.dispositions[run_id] = Disposition(run_id, ack=True, reason=reason)
        reason = "the outcome could not be stored; the lease will run out"
        for ending in failed:
            run_id = ending.move.id
            self.dispositions[run_id] = Disposition(run_id, ack=False, delay_s=STORE_ERROR_S, reason=reason)
