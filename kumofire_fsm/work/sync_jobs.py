"""The jobs API for programs without an event loop; `sync_jobs.pyi` has its methods, for type checkers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from kumofire_fsm.work.sync import Elsewhere, wait_for

__all__ = ["SyncJobs"]


class SyncJobs(Elsewhere):
    """Every method of the jobs API, without ``await``, for any thread but that of its event loop."""

    def _hand_over(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> Any:  # noqa: ARG002
        return wait_for(begin(), self._loop, self._born)
