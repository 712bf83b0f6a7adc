"""Keeps what OpenTelemetry, a processor or a sampler raises from the runs that they are told of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

__all__ = ["harmless"]

log = logging.getLogger(__package__)

Method = TypeVar("Method", bound=Callable[..., Any])


def harmless(instead: type) -> Callable[[Method], Method]:
    """Have a method log what it raises, and do what the method of that name does in the class ``instead``."""

    def decorate(method: Method) -> Method:
        name = method.__name__

        @wraps(method)
        def safe(self: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return method(self, *arguments, **options)
            except Exception:
                log.exception("telemetry failed in %r, and goes without", name)
                return getattr(instead, name)(self, *arguments, **options)

        return cast("Method", safe)

    return decorate
