"""The threads of plain handlers: daemons, so that one that hangs does not keep its process from ending."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

__all__ = ["HandlerThreads", "Threads"]

log = logging.getLogger(__package__)

T = TypeVar("T")
_Work = tuple["Future[Any]", Callable[[], Any]]


class HandlerThreads(Executor):
    """Calls functions in up to ``most`` threads.

    Those of `concurrent.futures.ThreadPoolExecutor` are waited for when the interpreter ends: for ever if one
    hangs.

    When no thread can begin, and none is there, the worker ends and gives its runs back. That is no handler's
    fault, and costs no attempt.

    Args:
        most: how many there may be.
        give_up: ends the worker, at once.

    Attributes:
        busy: how many threads call a function now.
    """

    def __init__(self, most: int, give_up: Callable[[], None]) -> None:
        self._most, self._give_up = most, give_up
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._waiting = self.busy = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a function called; without a thread the future never resolves."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting += 1
            more = self._threads - self.busy < self._waiting and self._threads < self._most
            self._threads += more
        self._work.put((future, lambda: fn(*args, **kwargs)))
        if more:
            self._begin()
        return future

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._main, name="kumofire-handler", daemon=True).start()
        except RuntimeError as exc:
            with self._lock:
                self._threads -= 1
                alone = self._threads == 0
            log.error("no thread can be had for a plain handler: %s", exc)
            if alone:
                self._give_up()

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Let the threads end once they are idle; nobody waits for them."""
        for _ in range(self._most):
            self._work.put(None)

    def _main(self) -> None:
        while (work := self._work.get()) is not None:
            future, function = work
            with self._lock:
                self._waiting -= 1
                self.busy += 1
            try:
                _call(future, function)
            finally:
                with self._lock:
                    self.busy -= 1
            del work, future, function  # nothing of a call outlives it


def _call(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as exc:
        future.set_exception(exc)
    finally:
        del future, function  # an error holds this frame, which is not to hold the error


class Threads:
    """The threads of a worker's plain handlers, and those that it has left because one of them hangs.

    Args:
        most, give_up: as for `HandlerThreads`.

    Attributes:
        executor: where plain handlers are called now.
    """

    def __init__(self, most: int, give_up: Callable[[], None]) -> None:
        self._new = partial(HandlerThreads, most, give_up)
        self.executor = self._new()
        self._left: list[HandlerThreads] = []

    @property
    def hung(self) -> int:
        """How many calls go on in threads that were left."""
        return sum(threads.busy for threads in self._left)

    def leave(self) -> None:
        """Leave the threads: one cannot be stopped, and others would wait for it until their own timeout."""
        self.executor.shutdown()
        self._left = [each for each in (*self._left, self.executor) if each.busy]
        self.executor = self._new()

    def shutdown(self) -> None:
        """Let the threads end once they are idle."""
        self.executor.shutdown()
