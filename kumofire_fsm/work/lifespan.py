"""What an application opens before its handlers are called, and closes after them: its lifespan."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.values.error_text import logged
from kumofire_fsm.values.printable import shown

__all__ = ["Lifespan", "LifespanFunction", "for_one_event", "lifespan_of"]

log = logging.getLogger(__package__)
LifespanFunction: TypeAlias = Callable[[Any], Any]
_RIGHT = "write `async def lifespan(jobs): ...` with one `yield`, of what handlers find in ctx.env"
_STEPS: Final[ContextVar[bool]] = ContextVar("kumofire_lifespan_steps", default=False)
"""Whether this is called by the start or the end of a Worker's lifespan itself."""


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
        if not held and binding.registry.lifespan is not None:
            await self._enter(binding.registry.lifespan)

    async def end(self) -> None:
        """Leave it, if it has begun; what its end itself calls finds that it holds."""
        try:
            await self._leave()
        finally:
            self._binding.lives = False

    async def _enter(self, lifespan: Callable[[Any], AbstractAsyncContextManager[Any]]) -> None:
        binding = self._binding
        with _told("start"):
            opened = lifespan(binding.jobs)
            if not isinstance(opened, AbstractAsyncContextManager):
                raise DefinitionError(f"the lifespan gave {shown(opened)}; {_RIGHT}")
            env = await opened.__aenter__()
        self._opened = opened
        binding.env = binding.opened_with if env is None else env

    async def _leave(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            with _told("end"):
                await opened.__aexit__(None, None, None)


class SharedLifespan(Lifespan):
    """The lifespan that what goes on at once in a Worker shares: the first begins it, the last ends it."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        self._users, self._turn = 0, asyncio.Lock()

    async def begin(self) -> None:
        """Enter it for one more; who comes while another enters or leaves it waits for that."""
        lifespan = self._binding.registry.lifespan
        self._users += 1
        try:
            async with self._turn:
                if self._opened is None and lifespan is not None:
                    await self._within(self._enter(lifespan))
        except BaseException:
            self._users -= 1
            raise

    async def end(self) -> None:
        """Leave it for one; what fails at its end is logged: what was done stands."""
        self._users -= 1
        if self._users:
            return
        try:
            async with self._turn:
                if not self._users:
                    await self._within(self._leave())
        except Exception as exc:
            log.error("%s", logged(exc))

    async def _within(self, step: Awaitable[None]) -> None:
        """Take a step whose own calls wait for no lifespan: they would wait for themselves."""
        token = _STEPS.set(True)
        try:
            await step
        finally:
            with suppress(ValueError):  # a task that is given up may be closed in another context
                _STEPS.reset(token)


@asynccontextmanager
async def for_one_event(binding: Binding) -> AsyncIterator[None]:
    """Hold for an event of a Worker, where nothing outlives one; where it holds already, do nothing."""
    if binding.lives or binding.registry.lifespan is None or _STEPS.get():
        yield
        return
    if binding.shared is None:
        binding.shared = SharedLifespan(binding)
    shared = binding.shared
    await shared.begin()
    try:
        yield
    finally:
        await shared.end()


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Let an error say that it came from the lifespan."""
    try:
        yield
    except Exception as exc:
        exc.add_note(f"(raised by the application's lifespan, at its {where})")
        raise
