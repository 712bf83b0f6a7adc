"""``kumofire worker --reload``: a worker in a process of its own, begun again when the code changes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from kumofire_fsm.cli.process import PARENT, SIGNALS

__all__ = ["Reloader"]

log = logging.getLogger("kumofire_fsm.worker")
LOOK_SECONDS: Final = 0.5
"""The pause between two looks at the files; it grows with what a look takes."""
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
_ENDS: Final = (*SIGNALS, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

Seen = dict[str, tuple[int, int]]
"""Each file's time of change, and its size."""


class Reloader:
    """Runs ``kumofire`` with these arguments until it is told to end.

    Signals are handed on: the first lets the worker drain, the second ends it at once. A worker that ends by
    itself, as one that cannot import its application, is begun again at the next change. It does not outlive
    this process, whatever ends that.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._command = [sys.executable, "-m", "kumofire_fsm.cli", *arguments]
        self._folder = folder
        self._worker: subprocess.Popen[bytes] | None = None
        self._told = False
        self._pipe: tuple[int, int] | None = None

    def run(self) -> int:
        """Return the worker's exit code once somebody has told it to end."""
        for number in _ENDS:
            signal.signal(number, self._on_signal)
        seen = _seen(self._folder)
        while not self._told:
            # In a session of its own: a terminal's Ctrl-C would reach it as well, and count as the second.
            self._worker = subprocess.Popen(self._command, start_new_session=True, **self._alive())
            if self._told:
                self._worker.terminate()
            seen = self._watch(self._worker, seen)
        return 0 if self._worker is None else max(self._worker.wait(), 0)

    def _alive(self) -> dict[str, Any]:
        """Return what lets a worker see that this process is alive: a pipe whose other end ends with it."""
        if os.name != "posix":
            return {}
        if self._pipe is None:
            self._pipe = os.pipe()
        return {"pass_fds": self._pipe[:1], "env": {**os.environ, PARENT: str(self._pipe[0])}}

    def _watch(self, worker: subprocess.Popen[bytes], seen: Seen) -> Seen:
        """Return once the worker has ended, and is to be begun again or not."""
        failed = False
        for found in _looks(self._folder):
            if self._told:
                break
            if found is not None and found != seen:
                log.info("changed: %s; the worker begins again", _changed(seen, found))
                _terminate(worker)
                seen = found
                break
            if not failed and worker.poll() is not None:
                failed = True
                said = "the worker has ended with code %d; it begins again once the code changes"
                log.info(said, worker.returncode)
        worker.wait()
        return seen

    def _on_signal(self, *_: Any) -> None:
        self._told = True
        if self._worker is not None:
            _terminate(self._worker)


def _terminate(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.terminate()


def _looks(folder: Path) -> Iterator[Seen | None]:
    """Yield what is seen of the files at each look; None while they change, as editors write in pieces."""
    before: Seen | None = None
    while True:
        began = time.monotonic()
        found = _seen(folder)
        yield found if found == before else None
        before = found
        time.sleep(max(LOOK_SECONDS, 10 * (time.monotonic() - began)))


def _seen(folder: Path) -> Seen:
    """Return the files of Python in a folder and those below, but for packages that are installed there."""
    found: Seen = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _LEFT_OUT]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(place, name)  # noqa: PTH118 - a Path for each file takes longer than the look
                try:
                    of = os.stat(path)  # noqa: PTH116
                except OSError:
                    continue  # it went away meanwhile
                found[path] = of.st_mtime_ns, of.st_size
    return found


def _changed(before: Seen, after: Seen) -> str:
    names = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(os.path.relpath(name) for name in names[:3])}{more}"
