"""A task for an application's functions: what they do to the task they run in reaches nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

__all__ = ["OwnTask", "calm"]


async def calm(task: asyncio.Task[Any]) -> None:
    """Take back every request to cancel this task: ours, and what a function asked for and swallowed.

    The task goes on with other functions, which would be taken for cancelled. Some errors that a
    `asyncio.TaskGroup` handles leave a request behind as well, up to Python 3.12.
    """
    while task.cancelling():
        task.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # before Python 3.13 a request that was not delivered yet still comes


class OwnTask:
    """A task that calls functions one after the other. Who waits for it ends it; none of them does."""

    def __init__(self) -> None:
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    async def run(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        """Wait for the task to do this work; where the caller is cancelled, so is the task.

        Raises:
            TimeoutError: it took longer, and was cancelled.
        """
        task = asyncio.ensure_future(self._work(work))
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            await self._end(task, seconds)
            raise
        if not task.done():
            await self._end(task, seconds)
            if not task.cancelled():
                task.result()
            raise TimeoutError
        if task.cancelled():
            raise RuntimeError("their task was cancelled by what it called")
        task.result()

    async def _work(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.current_task()
        await work

    async def _end(self, task: asyncio.Task[None], patience: float) -> None:
        """Cancel it, and again after some seconds: a `asyncio.TaskGroup` may lose a request."""
        self._ended = True
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=patience)
        if not task.cancelled():
            task.exception()  # the loop would say that nobody asked for it

    def ends_by(self, exc: BaseException) -> bool:
        """Return whether what a function let out ends the task, and is not of the function's own making."""
        if isinstance(exc, GeneratorExit):
            return not self._is_running()  # else nobody closes it
        return self._ended and isinstance(exc, asyncio.CancelledError)

    async def calm(self) -> None:
        """Take back what a function asked of the task; to be awaited in it, after each."""
        if self._task is not None and self._task.cancelling():
            await calm(self._task)
        if self._ended:
            raise asyncio.CancelledError

    def _is_running(self) -> bool:
        try:
            return asyncio.current_task() is self._task
        except RuntimeError:
            return False
