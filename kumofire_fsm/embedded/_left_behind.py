"""Handlers that go on although they were stopped: given up, and counted out of their slots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from kumofire_fsm.engine.binding import about
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.tasks import HandlerTasks

__all__ = ["CANCEL_SECONDS", "LeftBehind"]

log = logging.getLogger(__package__)

CANCEL_SECONDS: Final = 2.0
"""How long a cancelled handler may tidy up before it is left behind."""
_SLICES: Final = 8
"""In how many parts that time is counted: one in which the process stood still is not."""


class LeftBehind:
    """The handlers that ignore their cancellation.

    Args:
        handlers: the tasks of the worker; they get a slot more for each that is left behind.
        leave: rids the worker of an attempt whose handler has not ended in time, and calls `add`.
    """

    def __init__(self, handlers: HandlerTasks, leave: Callable[[Attempt], None]) -> None:
        self._handlers, self._leave = handlers, leave
        self._loop = asyncio.get_running_loop()
        self._timers: dict[Attempt, asyncio.TimerHandle] = {}
        self._left: set[Attempt] = set()

    def __len__(self) -> int:
        return len(self._left)

    def stopped(self, attempt: Attempt) -> None:
        """Note that a handler was stopped, which has its time to tidy up from now on."""
        self._wait(attempt, _SLICES)

    def _wait(self, attempt: Attempt, slices: int) -> None:
        seconds = CANCEL_SECONDS / _SLICES
        due = self._loop.time() + seconds
        self._timers[attempt] = self._loop.call_at(due, self._passed, attempt, slices, due + seconds)

    def _passed(self, attempt: Attempt, slices: int, late: float) -> None:
        if self._loop.time() < late:
            slices -= 1
        if slices:
            self._wait(attempt, slices)
        else:
            self._leave(attempt)

    def add(self, attempt: Attempt, stuck: int) -> None:
        """Count out the slot of a handler.

        Args:
            attempt: whose it is.
            stuck: how many others go on like it, for the log.
        """
        self._left.add(attempt)
        told = attempt.run.id, attempt.definition.name, stuck + 1
        log.error(
            "run %s: the handler of %r ignores its cancellation; %d are left behind now",
            *told,
            extra=about(attempt.run),
        )
        self._handlers.allow(+1)

    def ended(self, attempt: Attempt) -> None:
        """Note that a handler has ended; one that was left behind gives its slot back."""
        if (timer := self._timers.pop(attempt, None)) is not None:
            timer.cancel()
        if attempt in self._left:
            self._left.discard(attempt)
            self._handlers.allow(-1)
            log.warning(
                "run %s: its handler, which was left behind, has ended",
                attempt.run.id,
                extra=about(attempt.run),
            )
