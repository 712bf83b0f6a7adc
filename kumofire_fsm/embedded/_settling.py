"""How attempts ended, on the way into the database: one statement settles many; what fails is tried again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from kumofire_fsm.embedded._alarm import Alarm
from kumofire_fsm.embedded._trouble import Trouble
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.reading import is_settled
from kumofire_fsm.store.rows import Moved
from kumofire_fsm.work.ending import Ending
from kumofire_fsm.work.settle import settle

__all__ = ["Settling"]

log = logging.getLogger(__package__)

AT_ONCE: Final = 500
"""Endings that one statement settles."""


class Settling:
    """The endings of a worker that are not settled yet.

    Args:
        binding: the application on its database.
        trouble: tells of outages.
        turn: asks for a turn of the worker, which calls `start`.
        wake: has the worker look for work: a run that goes on is due again, and a handler's own SQL may have
            created others.
        go_on: goes on with the next steps of flows, once those before are stored, or with nothing.

    Attributes:
        failed: what the database has failed to store so far; while it fails, nothing else is tried.
        tasks: the settles under way.
    """

    def __init__(
        self,
        binding: Binding,
        trouble: Trouble,
        turn: Callable[[], None],
        wake: Callable[[], None],
        go_on: Callable[[Sequence[tuple[Ending, Moved | None]]], None],
    ) -> None:
        self._binding, self._trouble, self._turn, self._wake = binding, trouble, turn, wake
        self._go_on = go_on
        self.failed: list[Ending] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._ended: list[Ending] = []
        self._sent: list[Sequence[Ending]] = []
        self._again = Alarm(asyncio.get_running_loop(), self.retry)
        self._leaves = False
        self._reached: Counter[tuple[str, str, str]] = Counter()

    @property
    def is_busy(self) -> bool:
        """Whether anything is still to be stored."""
        return bool(self._ended or self.tasks)

    def run_ids(self) -> Iterator[str]:
        """Give the runs that are not settled yet."""
        return (ending.move.id for ending in chain(self.failed, self._ended, *self._sent))

    def settled(self) -> Counter[tuple[str, str]]:
        """Return how many runs were settled so far, by job and state; from any thread."""
        found: Counter[tuple[str, str]] = Counter()
        for (job, machine, state), number in dict(self._reached).items():
            if is_settled(self._binding, machine, state, None):
                found[self._binding.registry.name_of(job), state] += number
        return found

    def add(self, endings: Iterable[Ending]) -> None:
        """Settle these at the end of this turn of the event loop."""
        self._ended += endings
        self._turn()

    def start(self) -> None:
        """Begin to settle what has ended: many together, but those with effects alone."""
        if not self._ended:
            return
        if self._again.is_set:  # the database fails: one try at a time
            self.failed += self._ended
            self._ended.clear()
        endings, self._ended = self._ended, []
        plain = [ending for ending in endings if not ending.effects]
        for start in range(0, len(plain), AT_ONCE):
            self._send(plain[start : start + AT_ONCE])
        for ending in endings if len(plain) < len(endings) else ():
            if ending.effects:
                self._send([ending])

    def retry(self) -> None:
        """Try again what has failed."""
        self._again.cancel()
        failed = self.failed.copy()
        self.failed.clear()
        self.add(failed)

    def retry_once(self) -> None:
        """Try again what has failed; what fails from here on is left to its lease."""
        self._leaves = True
        self.retry()

    def _send(self, endings: Sequence[Ending]) -> None:
        task = asyncio.ensure_future(self._settle(endings))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _settle(self, endings: Sequence[Ending]) -> None:
        self._sent.append(endings)
        try:
            moved, failed, why, _ = await settle(self._binding, endings)
        finally:
            self._sent.remove(endings)
        kept = {ending.move.id: ending for ending in endings if ending.goes_on}
        if going := [(each, moved.get(run_id)) for run_id, each in kept.items() if each not in failed]:
            self._go_on(going)
        due = False
        for run in moved.values():
            self._reached[run.job, run.machine, run.state] += 1
            due = due or (run.wake_at is not None and run.id not in kept)
        if due or endings[0].effects:
            self._wake()
        if why is None:
            self._trouble.over()
        elif self._leaves:
            log.error("%d endings were not stored; their leases run out: %s", len(failed), why)
        else:
            self.failed += failed
            self._again.within(self._trouble.failed(why))
