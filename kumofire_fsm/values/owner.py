"""Where something was opened: in which process, and on which event loop it is served.

From elsewhere a future is never resolved and a lock never freed. So whoever waits asks here first.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from contextlib import suppress

from kumofire_fsm.errors import OpenedElsewhere

__all__ = ["Owner", "end_child", "forks", "same_process"]

_forks = 0


def _in_child() -> None:
    global _forks  # noqa: PLW0603 - how often this process was forked is a fact of the process
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def forks() -> int:
    """Return a number that differs in a process that was forked."""
    return _forks


def same_process(what: str, born: int) -> None:
    """Refuse a child of the process in which something was opened.

    Args:
        what: what it is, for the message.
        born: what `forks` gave when it was opened.

    Raises:
        OpenedElsewhere: this process was forked since.
    """
    if born != _forks:
        raise OpenedElsewhere(
            f"{what} was opened before this process ({os.getpid()}) was forked, and its threads did not come "
            "along; open it again in the child"
        )


def end_child(born: int, error: BaseException | None = None) -> None:
    """End this process, as a program ends, if it was forked since; what it came out of is its parent's.

    Args:
        born: what `forks` gave before.
        error: what it came out with.
    """
    if born == _forks:
        return
    code: object = 0 if error is None else 1
    with suppress(Exception):  # whatever cannot be written, it ends
        if isinstance(error, SystemExit):
            code = error.code or 0
            if not isinstance(code, int):
                sys.stderr.write(f"{code}\n")
        elif error is not None:
            traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF if isinstance(code, int) else 1)


class Owner:
    """Remembers the process that made it, and the event loop that uses it.

    One loop may follow another, as when a script calls ``asyncio.run`` several times. Two at once may not.

    Args:
        what: what it is about, for messages.
    """

    __slots__ = ("_forks", "_lock", "_loop", "_what")

    def __init__(self, what: str) -> None:
        self._what, self._forks, self._lock = what, _forks, threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that made it."""
        return self._forks != _forks

    def here(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop.

        Raises:
            OpenedElsewhere: another loop uses it, or this process was forked since.
        """
        if self._forks != _forks:
            same_process(self._what, self._forks)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._take(loop)
        return loop

    def _take(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:  # of two threads that find the last loop ended, one goes on
            former = self._loop
            if former is not None and former is not loop and former.is_running():
                raise OpenedElsewhere(
                    f"{self._what} is in use on another event loop than the one of this thread "
                    f"({threading.current_thread().name}); in a handler use ctx.jobs, which works in every "
                    "thread, and elsewhere open_sync, or asyncio.run_coroutine_threadsafe"
                )
            self._loop = loop
