"""Tasks that call one handler after another.

One lane drains any number of handlers that never wait, and another takes over when a handler waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from kumofire_fsm.work.attempt import Attempt

__all__ = ["Lanes"]

BURST_SECONDS: Final = 0.005
"""How long one lane may call handlers that never wait before it lets the event loop turn. Where handlers also
wait there are several lanes, and a turn may last as long for each."""


class Lanes:
    """The lanes of a `WorkerPool`.

    Args:
        perform: calls the handler of an attempt.
        stopped: whether lanes that find nothing to do are to end.

    Attributes:
        ready: attempts whose handlers are to be called, in order.
    """

    def __init__(self, perform: Callable[[Attempt], Awaitable[None]], stopped: Callable[[], bool]) -> None:
        self._perform, self._stopped = perform, stopped
        self.ready: deque[Attempt] = deque()
        self._lanes: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._clean = contextvars.copy_context()

    def next(self) -> None:
        """Let another lane take the next attempt."""
        if not self.ready:
            return
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():
                waiting.set_result(None)
                return
        # In a context of its own: a handler that changed context variables may be what called this.
        loop = asyncio.get_running_loop()
        lane = loop.create_task(self._lane(), context=self._clean.run(contextvars.copy_context))
        self._lanes.add(lane)
        lane.add_done_callback(self._ended)

    async def end(self, *, patient: bool) -> None:
        """Cancel all lanes, and wait for them if they are known to end."""
        for lane in self._lanes:
            lane.cancel()
        if self._lanes:
            await asyncio.wait(self._lanes, timeout=None if patient else 0)

    def _ended(self, lane: asyncio.Task[None]) -> None:
        """Go on with what is ready although a handler took its lane with it, by cancelling its task."""
        self._lanes.discard(lane)
        self.next()

    async def _lane(self) -> None:
        loop, clean = asyncio.get_running_loop(), contextvars.copy_context()
        while True:
            burst_ends = loop.time() + BURST_SECONDS
            while self.ready:
                await self._perform(self.ready.popleft())
                if contextvars.copy_context() != clean:
                    return  # the handler changed context variables: a fresh lane goes on
                if loop.time() > burst_ends:
                    await asyncio.sleep(0)
                    burst_ends = loop.time() + BURST_SECONDS
            if self._stopped():
                return
            wait: asyncio.Future[None] = loop.create_future()
            self._idle.append(wait)
            await wait
