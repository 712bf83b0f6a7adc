"""The threads in which plain handlers run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kumofire_fsm.engine.binding import log

__all__ = ["HandlerThreads"]


class HandlerThreads(ThreadPoolExecutor):
    """Threads for handlers; when none can begin any more, the worker ends and gives its runs back.

    Once the main thread has ended, Python starts nothing in an executor. That is no handler's fault, and
    must cost no attempt.

    Args:
        most: how many there may be.
        give_up: ends the worker, at once.
    """

    def __init__(self, most: int, give_up: Callable[[], None]) -> None:
        super().__init__(most, thread_name_prefix="kumofire-handler")
        self._give_up = give_up

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function in a thread; without one the future never resolves."""
        try:
            return super().submit(function, *args, **kwargs)
        except RuntimeError as exc:
            log.error("no thread can be had for a plain handler: %s; the worker ends, its runs go back", exc)
            self._give_up()
            return Future()
