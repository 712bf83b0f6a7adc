"""What an application opens before its handlers are called, and closes after them: its lifespan."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.values.error_text import logged
from kumofire_fsm.values.printable import shown

__all__ = ["Lifespan", "LifespanFunction", "for_one_event", "lifespan_of"]

log = logging.getLogger(__package__)
LifespanFunction: TypeAlias = Callable[[Any], Any]
_RIGHT = "write `async def lifespan(jobs): ...` with one `yield`, of what handlers find in ctx.env"


def lifespan_of(function: object) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Return what a lifespan is entered by.

    Args:
        function: an async generator function of the jobs API, or one that returns an async context manager.

    Raises:
        DefinitionError: it is neither.
    """
    name = getattr(function, "__name__", None) or shown(function)
    if not callable(function):
        raise DefinitionError(f"a lifespan is a function; found {name}; {_RIGHT}")
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        raise DefinitionError(f"a lifespan is called with the jobs API; {name} cannot be; {_RIGHT}") from None
    if inspect.isasyncgenfunction(function):
        return asynccontextmanager(function)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(f"{name} is no async generator; {_RIGHT}")
    return function


class Lifespan:
    """The lifespan of an application on one binding; without one nothing is done.

    Whatever else breaks, its end is reached as if nothing had. What it raises says where it came from.
    """

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._opened: AbstractAsyncContextManager[Any] | None = None

    async def begin(self) -> None:
        """Enter it, unless it holds; what it yields is what handlers find, unless that is None."""
        binding, held = self._binding, self._binding.lives
        binding.lives = True
        if held or binding.registry.lifespan is None:
            return
        with _told("start"):
            opened = binding.registry.lifespan(binding.jobs)
            if not isinstance(opened, AbstractAsyncContextManager):
                raise DefinitionError(f"the lifespan gave {shown(opened)}; {_RIGHT}")
            env = await opened.__aenter__()
        self._opened = opened
        binding.env = binding.opened_with if env is None else env

    async def end(self) -> None:
        """Leave it, if it has begun."""
        opened, self._opened = self._opened, None
        self._binding.lives = False
        if opened is not None:
            with _told("end"):
                await opened.__aexit__(None, None, None)


@asynccontextmanager
async def for_one_event(binding: Binding) -> AsyncIterator[None]:
    """Hold for an event of a Worker, where nothing outlives one; where it holds already, do nothing.

    What fails at its end is logged: what the event did stands.
    """
    if binding.lives or binding.registry.lifespan is None:
        yield
        return
    lifespan = Lifespan(binding)
    try:
        await lifespan.begin()
        yield
    finally:
        try:
            await lifespan.end()
        except Exception as exc:
            log.error("%s", logged(exc))


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Let an error say that it came from the lifespan."""
    try:
        yield
    except Exception as exc:
        exc.add_note(f"(raised by the application's lifespan, at its {where})")
        raise
