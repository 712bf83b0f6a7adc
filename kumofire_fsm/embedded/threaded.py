"""The API for programs without an event loop: the same methods, each waiting for its result."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

__all__ = ["SyncJobs", "run_in_thread"]


class SyncJobs:
    """Every method of the jobs API, without ``await``; nothing is implemented a second time."""

    def __init__(self, jobs: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._jobs, self._loop = jobs, loop

    def __dir__(self) -> list[str]:
        """Return the names of that API, for completion."""
        return sorted({*super().__dir__(), *dir(self._jobs)})

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._jobs, name)
        if not inspect.iscoroutinefunction(method):
            return method  # type: ignore[no-any-return]

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._loop).result()

        return call


@contextmanager
def run_in_thread(opening: AbstractAsyncContextManager[Any]) -> Iterator[SyncJobs]:
    """Enter an async context manager on an event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kumofire-loop", daemon=True)
    thread.start()

    def wait_for(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        jobs = wait_for(opening.__aenter__())
        try:
            yield SyncJobs(jobs, loop)
        finally:
            wait_for(opening.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
