"""Keeps what OpenTelemetry, a processor or a sampler raises from the runs that they are told of.

What is ill fails at every call, so each kind of failure is logged once in a process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

__all__ = ["harmless"]

log = logging.getLogger(__package__)

Method = TypeVar("Method", bound=Callable[..., Any])

_logged: set[tuple[str, type[Exception]]] = set()
"""What has failed so far: the method, and what it raised."""


def harmless(instead: type) -> Callable[[Method], Method]:
    """Have a method log what it raises, and do what the method of that name does in the class ``instead``."""

    def decorate(method: Method) -> Method:
        name = method.__name__

        @wraps(method)
        def safe(self: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return method(self, *arguments, **options)
            except Exception as exc:
                if (kind := (method.__qualname__, type(exc))) not in _logged:
                    _logged.add(kind)
                    log.exception("telemetry failed in %r, and goes without; it is told once", name)
                return getattr(instead, name)(self, *arguments, **options)

        return cast("Method", safe)

    return decorate
