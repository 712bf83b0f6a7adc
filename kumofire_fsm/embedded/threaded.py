"""Opens a database for a program without an event loop: on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

from kumofire_fsm.errors import InvalidArgument, KumofireError
from kumofire_fsm.values.owner import forks
from kumofire_fsm.work.sync import wait_for

__all__ = ["InThread"]

log = logging.getLogger(__package__)

GivenT = TypeVar("GivenT")


class InThread(Generic[GivenT]):
    """A context manager that enters an async one on an event loop in a thread.

    What is never left is closed when the program ends, while its threads still run: later they stand
    still, and whoever waits for them waits for ever.

    Args:
        opening: the async one.
        made: makes of the jobs API, its loop and the count of `forks` what is given out.
    """

    def __init__(
        self,
        opening: AbstractAsyncContextManager[Any],
        made: Callable[[Any, asyncio.AbstractEventLoop, int], GivenT],
    ) -> None:
        self._opening, self._made = opening, made
        self._born = forks()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._held: asyncio.Task[None] | None = None
        self._leaves: asyncio.Event | None = None
        self._over = False

    def __enter__(self) -> GivenT:
        if self._loop is not None:
            raise InvalidArgument("it is open, or was; call open_sync again")
        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=[loop], name="kumofire-loop", daemon=True)
        self._thread.start()
        try:
            jobs = wait_for(self._enter(), loop, self._born)
        except BaseException:
            self._end()
            raise
        atexit.register(self._at_exit)
        return self._made(jobs, loop, self._born)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database; in a child process do nothing, because it is the parent's."""
        if self._born != forks():
            return
        atexit.unregister(self._at_exit)
        assert self._loop is not None
        try:
            wait_for(self._leave(), self._loop, self._born)
        finally:
            self._end()

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until the end, whatever tasks and callbacks on it raise to end it or the program."""
        while not self._over:
            try:
                loop.run_forever()
            except BaseException as exc:
                log.exception("%s got out on the event loop of open_sync, which goes on", type(exc).__name__)

    def _at_exit(self) -> None:
        with suppress(KumofireError):
            self.__exit__(None, None, None)

    async def _enter(self) -> Any:
        """Open it in a task that closes it as well: a task group of its lifespan needs that, or a context."""
        given = asyncio.get_running_loop().create_future()
        self._leaves = asyncio.Event()
        self._held = asyncio.ensure_future(self._hold(given, self._leaves))
        await asyncio.wait([given, self._held], return_when=asyncio.FIRST_COMPLETED)
        return given.result() if given.done() else self._held.result()

    async def _hold(self, given: asyncio.Future[Any], leaves: asyncio.Event) -> None:
        async with self._opening as jobs:
            given.set_result(jobs)
            await leaves.wait()

    async def _leave(self) -> None:
        assert self._held is not None
        assert self._leaves is not None
        self._leaves.set()
        await self._held

    def _end(self) -> None:
        """End the loop; who still waits for an answer hears that the database is closed."""
        loop, thread = self._loop, self._thread
        assert loop is not None
        assert thread is not None
        with suppress(KumofireError):
            wait_for(_cancel_all(), loop, self._born)
        self._over = True
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    loop = asyncio.get_running_loop()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=1.0) if tasks else None
    await loop.shutdown_asyncgens()
