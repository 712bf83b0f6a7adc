"""The forms of a handler to type checkers: where a job is named by it, payload and result are checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from kumofire_fsm.flows.flow import Flow

__all__ = ["AsyncHandler", "AsyncTick", "JobName", "JobOf", "P", "PlainHandler", "PlainTick", "R", "Tick"]

P = TypeVar("P")
R = TypeVar("R")

AsyncHandler: TypeAlias = Callable[[Any, P], Awaitable[R]] | Callable[[P], Awaitable[R]]
PlainHandler: TypeAlias = Callable[[Any, P], R] | Callable[[P], R]

AsyncTick: TypeAlias = Callable[[Any], Awaitable[R]] | Callable[[Any, None], Awaitable[R]]
"""Of a job that takes no payload, or None."""
PlainTick: TypeAlias = Callable[[Any], R] | Callable[[Any, None], R]

JobOf: TypeAlias = Callable[[Any, P], Any] | Callable[[P], Any] | type[Flow[P]]
"""A job by what it is made of, where its result does not matter."""
Tick: TypeAlias = Callable[[Any], Any] | Callable[[Any, None], Any]
JobName: TypeAlias = str | type[Flow[Any]] | Callable[..., Any]
"""A job by its name, or by what it is made of, where its payload does not matter."""
