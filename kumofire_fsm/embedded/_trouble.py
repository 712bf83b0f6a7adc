"""Says once that a duty fails, and once that it works again; between, its tries come ever more seldom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from kumofire_fsm.errors import StoreError

__all__ = ["Trouble"]

log = logging.getLogger(__package__)

FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 5.0
"""The pauses between tries: each twice the one before."""


class Trouble:
    """One duty's outages.

    Args:
        what: completes "... cannot be ...", such as "runs cannot be claimed".
        clock: gives seconds, monotonic.
        most: the longest pause in seconds: a lease must not run out in it.
    """

    def __init__(self, what: str, clock: Callable[[], float], most: float = MOST_SECONDS) -> None:
        self._what, self._clock, self._most = what, clock, most
        self._kind: type[Exception] | None = None
        self._since = self._pause = 0.0
        self._tries = 0

    def failed(self, exc: Exception) -> float:
        """Note that a try failed; return after how many seconds the next is due."""
        if self._kind is None:
            self._since, self._tries, self._pause = self._clock(), 0, FIRST_SECONDS / 2
        if type(exc) is not self._kind:  # another kind of trouble is worth another line
            self._kind = type(exc)
            known = isinstance(exc, StoreError)
            log.error("%s: %s; it is tried until it works", self._what, exc, exc_info=not known and exc)
        self._tries += 1
        self._pause = min(2 * self._pause, MOST_SECONDS, self._most)
        return self._pause

    def over(self) -> None:
        """Note that a try succeeded."""
        if self._kind is not None:
            self._kind = None
            told = self._what, self._clock() - self._since, self._tries
            log.warning("over: %s, for %.1f s and %d tries", *told)
