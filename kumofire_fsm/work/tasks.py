"""Tasks that call one handler after another.

One task calls any number of handlers that never wait. When a handler waits, another task goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from kumofire_fsm.work.attempt import Attempt

__all__ = ["HandlerTasks"]

BURST_SECONDS: Final = 0.005
"""How long one task may call handlers that never wait before it lets the event loop turn. Where handlers also
wait there are several tasks, and a turn may last as long for each."""


class HandlerTasks:
    """The tasks of one worker.

    Args:
        call: calls the handler of an attempt, until it has ended.
        most: how many handlers may be under way at once.

    Attributes:
        ready: attempts whose handlers are to be called, in order.
        busy: how many tasks call handlers, or are about to.
    """

    def __init__(self, call: Callable[[Attempt], Awaitable[None]], most: int) -> None:
        self._call, self._most = call, most
        self.ready: deque[Attempt] = deque()
        self.busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._clean = contextvars.copy_context()
        self._done: asyncio.Future[None] | None = None
        self._ending = False
        self._owner = owner = asyncio.current_task()
        self._owner_canceled = owner.cancelling() if owner else 0  # whatever was asked of it before

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Have these handlers called."""
        self._ending = False
        self.ready.extend(attempts)
        self.next()

    def next(self) -> None:
        """Let another task call the next handler, unless as many as may are busy."""
        if not self.ready or self.busy >= self._most:
            return
        self.busy += 1
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():
                waiting.set_result(None)
                return
        # In a context of its own: a handler that changed context variables may be what called this.
        fresh = self._clean.run(contextvars.copy_context)  # an eager task factory begins the task in here
        task: asyncio.Task[None] = fresh.run(asyncio.ensure_future, self._work())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def allow(self, more: int) -> None:
        """Change how many handlers may be under way at once."""
        self._most += more
        self.next()

    def are_ending(self) -> bool:
        """Return whether the tasks are cancelled from here on: by `end`, or together with their worker."""
        owner = self._owner
        return self._ending or (
            owner is not None and (owner.done() or owner.cancelling() > self._owner_canceled)
        )

    async def done(self) -> None:
        """Return when all handlers have ended; raise what a handler raised to end its worker."""
        if self.ready or self.busy:
            self._done = asyncio.get_running_loop().create_future()
            await self._done

    async def end(self, *, patient: bool = True) -> None:
        """Cancel all tasks, and wait for them if they are known to end.

        A task whose handler ignores that ends with the handler.
        """
        self._ending = True
        self.ready.clear()  # nothing begins any more
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=None if patient else 0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Go on with what is ready although a handler took its task with it."""
        self._tasks.discard(task)
        waited_for = self._done is not None and not self._done.done()
        if waited_for and not task.cancelled() and (error := task.exception()) is not None:
            assert self._done is not None
            self._done.set_exception(error)
        else:
            self.next()
            self._tell_done()

    def _tell_done(self) -> None:
        if self._done is not None and not (self._done.done() or self.ready or self.busy):
            self._done.set_result(None)

    async def _work(self) -> None:
        clean = contextvars.copy_context()
        while True:
            try:
                while self.ready and not self._ending:
                    await self._burst(clean)
                    if contextvars.copy_context() != clean:
                        return  # the handler changed context variables: a fresh task goes on
            finally:
                self.busy -= 1
            self._tell_done()
            if self._ending:
                return
            wait: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(wait)
            await wait

    async def _burst(self, clean: contextvars.Context) -> None:
        """Call handlers for a short time, or until one changes context variables, then let others run."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + BURST_SECONDS
        while self.ready:
            await self._call(self.ready.popleft())
            if contextvars.copy_context() != clean:
                return
            if loop.time() > ends:
                await asyncio.sleep(0)
                return
