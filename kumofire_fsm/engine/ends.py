"""Tells what an application's code raised to end its worker from what is a failure of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from kumofire_fsm.values.error_text import class_name, leaves

__all__ = ["ends_worker"]

_PANIC: Final = "PanicException"
"""What a library written in Rust raises when it panics, through PyO3; pydantic's core is one."""


def ends_worker(exc: BaseException, *, shared_platform: bool) -> bool:
    """Return whether what the application raised is meant for its worker, and is no failure of its own.

    On Workers an exception that is none of Python's own may be the platform's, which ends the invocation at
    its CPU limit; whoever goes on then is killed in the middle. An embedded worker is ended by a person, who
    interrupts the main thread, or by its loop alone. Some libraries exit where they should raise, and a panic
    of Rust ends nothing.
    """
    return any(_ends_worker(each, shared_platform=shared_platform) for each in leaves(exc))


def _ends_worker(exc: BaseException, *, shared_platform: bool) -> bool:
    if isinstance(exc, GeneratorExit):
        return True
    if isinstance(exc, KeyboardInterrupt):
        return threading.current_thread() is threading.main_thread()
    known = isinstance(exc, Exception | SystemExit | asyncio.CancelledError)
    return shared_platform and not known and class_name(exc) != _PANIC
