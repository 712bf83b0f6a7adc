"""Calls of the API that an application makes on the event loop, and may forget to await.

Python only warns of those, and a run succeeds without what its handler asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["Call", "not_awaited"]

T = TypeVar("T")


class Call(Coroutine[Any, Any, T]):
    """A call that begins when it is awaited, or when a task is made of it, as a coroutine does.

    When it is dropped before, nothing was done for certain, and its name is noted.

    Args:
        name: what was called.
        begin: makes the coroutine that does it.
        forgotten: where the name goes.
    """

    __slots__ = ("__name__", "_begin", "_begun", "_forgotten")

    def __init__(self, name: str, begin: Callable[[], Coroutine[Any, Any, T]], forgotten: list[str]) -> None:
        self.__name__ = name
        self._begin: Callable[[], Coroutine[Any, Any, T]] | None = begin
        self._begun: Coroutine[Any, Any, T] | None = None
        self._forgotten = forgotten

    def __await__(self) -> Generator[Any, Any, T]:
        return self._work().__await__()

    def __del__(self) -> None:
        if self._begin is not None:
            self._forgotten.append(self.__name__)

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._work().send(value)

    def throw(self, *what: Any) -> Any:
        """Go on with an error, as a coroutine does."""
        return self._work().throw(*what)

    def close(self) -> None:
        """End it; who does that knows that it was not awaited."""
        self._begin = None
        if self._begun is not None:
            self._begun.close()

    def _work(self) -> Coroutine[Any, Any, T]:
        if self._begin is not None:
            self._begun, self._begin = self._begin(), None
        assert self._begun is not None
        return self._begun


def not_awaited(names: list[str]) -> str:
    """Return what is said of calls that were forgotten."""
    return f"{', '.join(f'{name}()' for name in dict.fromkeys(names))} was not awaited, so nothing was done"
