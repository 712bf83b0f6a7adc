"""Handlers that go on although their runs are gone: stopped in vain, and counted out of their slots."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from kumofire_fsm.engine.binding import about
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.tasks import HandlerTasks

__all__ = ["CANCEL_SECONDS", "LeftBehind"]

log = logging.getLogger(__package__)

CANCEL_SECONDS: Final = 2.0
"""How long a cancelled handler may tidy up before it is left behind."""


class LeftBehind:
    """The handlers that ignore their cancellation.

    Args:
        handlers: the tasks of the worker; they get a slot more for each that is left behind.
    """

    def __init__(self, handlers: HandlerTasks) -> None:
        self._handlers, self._loop = handlers, asyncio.get_running_loop()
        self._gone_since: dict[Attempt, float] = {}
        self._left: set[Attempt] = set()

    def __len__(self) -> int:
        return len(self._left)

    def stop(self, attempt: Attempt) -> bool:
        """Stop an attempt whose run is gone; return whether it was stopped long ago, and goes on."""
        since = self._gone_since.setdefault(attempt, self._loop.time())
        if self._loop.time() - since > CANCEL_SECONDS:
            return True
        attempt.stop("lost")
        return False

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

    def finished(self, attempt: Attempt) -> None:
        """Note that the worker is rid of an attempt, if not of its handler."""
        self._gone_since.pop(attempt, None)

    def ended(self, attempt: Attempt) -> None:
        """Note that a handler has ended; one that was left behind gives its slot back."""
        if attempt in self._left:
            self._left.discard(attempt)
            self._handlers.allow(-1)
            log.warning(
                "run %s: its handler, which was left behind, has ended",
                attempt.run.id,
                extra=about(attempt.run),
            )
