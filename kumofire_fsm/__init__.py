"""Durable jobs whose lifecycles are declared state machines, on Cloudflare D1 or embedded SQLite."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.errors import (
    DefinitionError,
    InvalidArgument,
    KumofireError,
    TransitionNotAllowed,
    UnknownRun,
)

if TYPE_CHECKING:
    from kumofire_fsm import flows as flows
    from kumofire_fsm import machines as machines
    from kumofire_fsm.app import Kumofire
    from kumofire_fsm.drawing import diagram
    from kumofire_fsm.embedded.opening import EmbeddedJobs
    from kumofire_fsm.engine.binding import Timing
    from kumofire_fsm.hooks import Transition
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.machines import JobMachine, RunMachine
    from kumofire_fsm.models import (
        Created,
        HistoryEntry,
        JobStatus,
        NewRun,
        NewSchedule,
        RunCounts,
        RunPage,
        RunStatus,
    )
    from kumofire_fsm.reports import (
        CommonError,
        DispatchReport,
        FiredAll,
        Health,
        JobCounts,
        Lag,
        Matched,
        Stats,
        SyncReport,
        UnknownWork,
    )
    from kumofire_fsm.retention import Retention
    from kumofire_fsm.retry import NEVER, Backoff, RetryPolicy
    from kumofire_fsm.runs.creation import PreparedRun
    from kumofire_fsm.schedules.rows import Schedule
    from kumofire_fsm.signals import Cancel, Fail, Fire, Go, Retry, Snooze
    from kumofire_fsm.work.bound import BoundJobs
    from kumofire_fsm.work.context import PlainContext, RunContext
    from kumofire_fsm.work.disposition import Disposition
    from kumofire_fsm.work.step_context import PlainStepContext, StepContext
    from kumofire_fsm.work.sync_jobs import SyncJobs

__version__ = "0.1.0"

__all__ = [
    "NEVER",
    "Backoff",
    "BoundJobs",
    "Cancel",
    "CommonError",
    "Created",
    "DefinitionError",
    "DispatchReport",
    "Disposition",
    "EmbeddedJobs",
    "Fail",
    "Fire",
    "FiredAll",
    "Go",
    "Health",
    "HistoryEntry",
    "InvalidArgument",
    "JobCounts",
    "JobMachine",
    "JobStatus",
    "Jobs",
    "Kumofire",
    "KumofireError",
    "Lag",
    "Matched",
    "NewRun",
    "NewSchedule",
    "PlainContext",
    "PlainStepContext",
    "PreparedRun",
    "Retention",
    "Retry",
    "RetryPolicy",
    "RunContext",
    "RunCounts",
    "RunMachine",
    "RunPage",
    "RunStatus",
    "Schedule",
    "Snooze",
    "Stats",
    "StepContext",
    "SyncJobs",
    "SyncReport",
    "Timing",
    "Transition",
    "TransitionNotAllowed",
    "UnknownRun",
    "UnknownWork",
    "diagram",
]

_HOMES: Final = {
    "app": ("Kumofire",),
    "drawing": ("diagram",),
    "embedded.opening": ("EmbeddedJobs",),
    "engine.binding": ("Timing",),
    "hooks": ("Transition",),
    "jobs": ("Jobs",),
    "machines": ("JobMachine", "RunMachine"),
    "models": (
        "Created",
        "HistoryEntry",
        "JobStatus",
        "NewRun",
        "NewSchedule",
        "RunCounts",
        "RunPage",
        "RunStatus",
    ),
    "reports": (
        "CommonError",
        "DispatchReport",
        "FiredAll",
        "Health",
        "JobCounts",
        "Lag",
        "Matched",
        "Stats",
        "SyncReport",
        "UnknownWork",
    ),
    "retention": ("Retention",),
    "retry": ("NEVER", "Backoff", "RetryPolicy"),
    "runs.creation": ("PreparedRun",),
    "schedules.rows": ("Schedule",),
    "signals": ("Cancel", "Fail", "Fire", "Go", "Retry", "Snooze"),
    "work.bound": ("BoundJobs",),
    "work.context": ("PlainContext", "RunContext"),
    "work.disposition": ("Disposition",),
    "work.step_context": ("PlainStepContext", "StepContext"),
    "work.sync_jobs": ("SyncJobs",),
}
"""Where each name is declared. It is imported when it is first asked for: a command that prints its help
needs none of them, and a Worker no embedded runtime."""
_HOME: Final = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # for type checkers it would make every misspelled name one of ours

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and keep it."""
        if name in ("flows", "machines"):
            return import_module(f"kumofire_fsm.{name}")
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"kumofire_fsm.{_HOME[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
