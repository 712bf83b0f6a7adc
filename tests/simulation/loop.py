"""An event loop on virtual time: what is ready runs in order; everything else is an event of the world."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from simulation.actors import CURRENT

__all__ = ["Loop"]


class Loop(asyncio.AbstractEventLoop):
    """Runs callbacks first in, first out, until none is left.

    All choice lies outside: an answer of a port or a timer comes when the world says so. Between two
    such events the code of one actor runs without interruption, as it does on a real loop.

    What is ready of an actor that has died is not run: the dead do nothing more.

    Args:
        now: virtual milliseconds.
        set_timer: called with a timer and the millisecond at which it is due.
    """

    def __init__(self, now: Callable[[], int], set_timer: Callable[[asyncio.TimerHandle, int], None]) -> None:
        self._now, self._set_timer = now, set_timer
        self._ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.errors: list[str] = []

    def ready(self, handle: asyncio.Handle) -> None:
        """Take a timer that is due."""
        self._ready.append(handle)

    def run_ready(self) -> None:
        """Run what is ready, and what that makes ready."""
        asyncio._set_running_loop(self)
        try:
            while self._ready:
                handle = self._ready.popleft()
                actor = handle._context.get(CURRENT)
                if not handle.cancelled() and (actor is None or actor.alive):
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def close(self) -> None:
        """Close what is left of dead actors, quietly."""
        asyncio._set_running_loop(self)
        try:
            for task in self.tasks:
                if not task.done():
                    task._log_destroy_pending = False
                    task.get_coro().close()
        finally:
            asyncio._set_running_loop(None)
            self._ready.clear()
            self.tasks.clear()

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._set_timer(handle, max(self._now(), round(when * 1000)))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: the world skips cancelled timers."""

    def time(self) -> float:
        return self._now() / 1000

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self.tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """Call a plain function at once: in the simulation nothing runs beside the loop."""
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_debug(self) -> bool:
        return False
