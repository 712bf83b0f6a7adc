"""Waits until somebody writes to a file, as the kernel tells: a worker that waits costs nothing meanwhile."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

__all__ = ["FileChanges", "told_of_changes"]

SHORT_SECONDS: Final = 0.01
"""Who waits no longer than that is not called, and reads when the time is over: calls cost more."""

_MODIFY, _ATTRIB, _MOVE_SELF, _DELETE_SELF = 0x2, 0x4, 0x800, 0x400
_EVENTS: Final = _MODIFY | _ATTRIB | _MOVE_SELF | _DELETE_SELF
_READ_BYTES: Final = 64 * (struct.calcsize("iIII") + 256)


def told_of_changes(paths: Sequence[str]) -> FileChanges | None:
    """Return what tells of writes to these files, and of their removal; None where nothing can.

    It is Linux's inotify. It tells of every write on this machine, also by other containers that share the
    file. SQLite's write-ahead log is written by ordinary calls, and its readers are on one machine.
    """
    if not paths:
        return None
    try:
        import ctypes  # not in every build of Python

        libc = ctypes.CDLL(None)
        fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except (ImportError, OSError, AttributeError, TypeError):  # another system
        return None
    if fd < 0:
        return None  # so many are open already
    if any(libc.inotify_add_watch(fd, os.fsencode(path), _EVENTS) < 0 for path in paths):
        os.close(fd)
        return None
    return FileChanges(fd)


class FileChanges:
    """What the kernel tells of some files, for one event loop.

    Args:
        fd: what inotify gave; `close` closes it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def wait(self, seconds: float) -> bool:
        """Return whether something has happened since the last call, or does within some seconds.

        What it tells of is forgotten before it returns. So whoever looks then misses nothing.
        """
        if self._has_heard():
            return True
        if seconds <= SHORT_SECONDS:
            await asyncio.sleep(seconds)
            return self._has_heard()
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _tell, told)
        loop.add_reader(self._fd, _tell, told)
        try:
            await told
        finally:
            timer.cancel()
            loop.remove_reader(self._fd)
        return self._has_heard()

    def _has_heard(self) -> bool:
        with suppress(BlockingIOError):
            return bool(os.read(self._fd, _READ_BYTES))  # what does not fit is told by the next call
        return False

    def close(self) -> None:
        """Hear no more; nobody may wait."""
        os.close(self._fd)


def _tell(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
