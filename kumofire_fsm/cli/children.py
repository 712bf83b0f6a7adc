"""Takes the worker's signal handlers from processes that its handlers fork, as multiprocessing does.

asyncio's handlers write into a socket that parent and child share: a signal to the child, such as
``Process.terminate`` sends, would end the worker, and not the child.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, Final

__all__ = ["SIGNALS", "give_children_their_own"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What ends a worker."""

_forking = threading.local()
_registered = False


def give_children_their_own() -> None:
    """Restore the default handlers in every process that is forked from this one, from now on."""
    global _registered  # noqa: PLW0603 - what is registered stays so for the life of the process
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(before=_hold, after_in_parent=_go_on, after_in_child=_restore)


def _hold() -> None:
    """Hold signals back until the child is ready for them: its parent may terminate it at once."""
    held: Any = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    _forking.mask = held


def _go_on() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _restore() -> None:
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _go_on()  # what was held back ends the child here; an exception would be lost
    signal.signal(signal.SIGINT, signal.default_int_handler)
