"""The jobs API where its event loop is not: each call waits for its result, or is awaited on another loop.

Nothing is implemented a second time: a call is handed to the loop that serves the API.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from kumofire_fsm.errors import KumofireError, OpenedElsewhere, StoreError
from kumofire_fsm.values.owner import forks, same_process
from kumofire_fsm.work.calls import Call

__all__ = ["Elsewhere", "FarJobs", "NotedJobs", "far", "noted", "on_loop", "running_loop", "wait_for"]

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How often a caller that waits looks whether the loop that is to answer is still there."""
CLOSED: Final = "the database was closed before the call was answered"


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls another on its own loop, and does nothing elsewhere."""
    return lambda: call() if running_loop() is loop else None


def wait_for(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, born: int) -> T:
    """Have a coroutine run on a loop in another thread, and wait for its result.

    An exception that ends the waiting, such as a person's interrupt, cancels the coroutine. It is raised once
    that has ended. Another one cancels it again, and nobody waits any more.

    Args:
        work: the coroutine; it is closed where it cannot run.
        loop: the loop.
        born: what `kumofire_fsm.values.owner.forks` gave when the database was opened.

    Raises:
        OpenedElsewhere: that loop runs in this thread, or in the process that this one was forked from.
        StoreError: the loop has ended or stands still, or does so meanwhile.
    """
    future, watch = _handed_over(work, loop, born), _Watch(loop, born)
    try:
        while not concurrent.futures.wait([future], LOOK_SECONDS).done:
            watch.look()
        return future.result()
    except concurrent.futures.CancelledError:
        raise StoreError(CLOSED) from None
    finally:
        if _broken_off(future, loop, born) and loop.is_running():
            with suppress(KumofireError):
                wait_for(_end_of(work), loop, born)
        del future  # an error holds this frame, which is not to hold the error


async def far(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, born: int) -> T:
    """Await a coroutine that runs on another loop."""
    handed, watch = _handed_over(work, loop, born), _Watch(loop, born)
    future = asyncio.wrap_future(handed)
    try:
        while not (await asyncio.wait({future}, timeout=LOOK_SECONDS))[0]:
            watch.look()
        return await future
    finally:
        _broken_off(handed, loop, born)
        del future, handed  # as above


def _broken_off(future: concurrent.futures.Future[Any], loop: asyncio.AbstractEventLoop, born: int) -> bool:
    """Cancel a call that nobody waits for any more; return whether it had not ended."""
    if future.done() or loop.is_closed() or born != forks():
        return False
    future.cancel()
    return True


async def _end_of(work: Coroutine[Any, Any, Any]) -> None:
    """Wait until a call that was cancelled has ended; a cancellation hurries it."""
    tasks = [task for task in asyncio.all_tasks() if task.get_coro() is work]
    try:
        await asyncio.wait(tasks) if tasks else None
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise


class _Watch:
    """Looks, while a caller waits, whether the loop that is to answer is still there.

    Args:
        loop, born: as for `wait_for`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, born: int) -> None:
        self._loop, self._born, self._stood = loop, born, False

    def look(self) -> None:
        """Refuse to wait for a loop that is closed, or stood still at the last look as well.

        Raises:
            OpenedElsewhere, StoreError: as for `wait_for`.
        """
        same_process("the database", self._born)
        if self._loop.is_closed():
            raise StoreError(CLOSED)
        stands = not self._loop.is_running()
        if stands and self._stood:
            raise StoreError("the event loop that serves the database does not run any more; open it again")
        self._stood = stands


def _handed_over(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, born: int
) -> concurrent.futures.Future[T]:
    try:
        _check_place(work, loop, born)
        return asyncio.run_coroutine_threadsafe(work, loop)
    except OpenedElsewhere:
        work.close()
        raise
    except RuntimeError as exc:
        work.close()
        raise StoreError("the database is closed") from exc


def _check_place(work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, born: int) -> None:
    same_process("the database", born)
    if running_loop() is loop:
        name = getattr(work, "__name__", "this call")
        raise OpenedElsewhere(
            f"{name}() of the synchronous API was called on the event loop that is to answer it, and would "
            "wait for ever; there, await the asynchronous API: ctx.jobs in an async handler, transition.jobs "
            "in an async hook"
        )


class Elsewhere:
    """Every method of the jobs API, handed to the loop that serves it.

    Args:
        jobs: the API.
        loop: the loop that serves it.
        born: what `forks` gave when it was opened.
        forgotten: where the names of calls go that were not awaited.
    """

    def __init__(
        self, jobs: Any, loop: asyncio.AbstractEventLoop, born: int, forgotten: list[str] | None = None
    ) -> None:
        self._jobs, self._loop, self._born = jobs, loop, born
        self._forgotten = [] if forgotten is None else forgotten

    def __dir__(self) -> list[str]:
        """Return the names of that API, for completion."""
        return sorted({*super().__dir__(), *dir(self._jobs)})

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        method = getattr(self._jobs, name)
        if not inspect.iscoroutinefunction(method):
            return method  # type: ignore[no-any-return]

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._hand_over(name, functools.partial(method, *args, **kwargs))

        return call

    def _hand_over(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        raise NotImplementedError


class FarJobs(Elsewhere):
    """Every method of the jobs API, to be awaited on another event loop than its own."""

    def _hand_over(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return Call(name, lambda: far(begin(), self._loop, self._born), self._forgotten)


class NotedJobs(Elsewhere):
    """Every method of the jobs API, to be awaited on its own loop."""

    def _hand_over(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return Call(name, begin, self._forgotten)


def noted(jobs: Any, forgotten: list[str]) -> Any:
    """Return the jobs API of this loop; names of calls that are not awaited go to ``forgotten``."""
    return NotedJobs(jobs, asyncio.get_running_loop(), forks(), forgotten)
