"""Drives one handler: as far as it goes without waiting, no task and no timer is made for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import coroutine
from typing import Any

__all__ = ["drive", "without_stop_iteration"]


def without_stop_iteration(handler: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a plain function; a StopIteration cannot pass through a future."""
    try:
        return handler(*arguments)
    except StopIteration as exc:
        raise RuntimeError("the handler raised StopIteration") from exc


@coroutine
def drive(work: Awaitable[Any], suspended: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await ``work``, calling ``suspended`` when it first has to wait.

    A handler that never waits costs no task of its own and no timer: half of the cost of a quick one.
    """
    steps: Any = work.__await__()
    try:
        waits_for = steps.send(None)
    except StopIteration as stop:
        return stop.value
    suspended()
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as exc:
            try:
                waits_for = steps.throw(exc)
            except StopIteration as stop:
                return stop.value
        else:
            try:
                waits_for = steps.send(sent)
            except StopIteration as stop:
                return stop.value
