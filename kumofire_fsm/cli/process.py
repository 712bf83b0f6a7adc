"""A worker's process, its children and its parent: what ends one of them, and what must not.

asyncio's handlers of signals write into a socket that parent and child share: a signal to a child that a
handler forks, as multiprocessing does, such as ``Process.terminate`` sends, would end the worker, and not the
child. A worker that a reloader began stands in a session of its own, and hears of its parent by a pipe.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import Any, Final

__all__ = ["PARENT", "SIGNALS", "anything_goes_on", "end_with_parent", "give_children_their_own", "leave_it"]

log = logging.getLogger("kumofire_fsm.worker")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What ends a worker."""

PARENT: Final = "KUMOFIRE_PARENT"
"""The environment's variable by which a reloader gives its worker a pipe, whose other end it holds alone."""

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


def end_with_parent() -> None:
    """End this process as a signal would, once the reloader that began it has ended, even by SIGKILL."""
    pipe = os.environ.pop(PARENT, None)  # what a handler begins has another parent
    if pipe is not None:
        os.set_inheritable(int(pipe), False)
        threading.Thread(target=_outlive, args=[int(pipe)], name="kumofire-parent", daemon=True).start()


def _outlive(pipe: int) -> None:
    os.read(pipe, 1)  # nothing is ever written: it returns when nobody holds the other end any more
    log.warning("the process that began this worker is gone, so the worker ends")
    os.kill(os.getpid(), signal.SIGTERM)


def anything_goes_on() -> bool:
    """Return whether a handler whose run was released goes on, in a thread or in spite of all."""
    in_threads = any(thread.name.startswith("kumofire-handler") for thread in threading.enumerate())
    return in_threads or len(asyncio.all_tasks()) > 1


def leave_it(code: int) -> None:
    """End the process all the same."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
