"""Durable jobs whose lifecycles are declared state machines, on Cloudflare D1 or embedded SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kumofire_fsm.app import Kumofire
from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.errors import (
    DefinitionError,
    InvalidArgument,
    KumofireError,
    TransitionNotAllowed,
    UnknownRun,
)
from kumofire_fsm.hooks import Transition
from kumofire_fsm.jobs import Jobs
from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.models import (
    Created,
    DispatchReport,
    HistoryEntry,
    JobStatus,
    NewRun,
    NewSchedule,
    RunCounts,
    RunPage,
    RunStatus,
    SyncReport,
    UnknownWork,
)
from kumofire_fsm.retry import NEVER, Backoff, RetryPolicy
from kumofire_fsm.runs.creation import PreparedRun
from kumofire_fsm.schedules.rows import Schedule
from kumofire_fsm.signals import Cancel, Fail, Fire, Go, Retry, Snooze
from kumofire_fsm.work.bound import BoundJobs
from kumofire_fsm.work.context import PlainContext, RunContext
from kumofire_fsm.work.disposition import Disposition
from kumofire_fsm.work.step_context import PlainStepContext, StepContext
from kumofire_fsm.work.sync import SyncJobs

if TYPE_CHECKING:
    from kumofire_fsm.drawing import diagram
    from kumofire_fsm.embedded.opening import EmbeddedJobs

__version__ = "0.1.0"

__all__ = [
    "NEVER",
    "Backoff",
    "BoundJobs",
    "Cancel",
    "Created",
    "DefinitionError",
    "DispatchReport",
    "Disposition",
    "EmbeddedJobs",
    "Fail",
    "Fire",
    "Go",
    "HistoryEntry",
    "InvalidArgument",
    "JobMachine",
    "JobStatus",
    "Jobs",
    "Kumofire",
    "KumofireError",
    "NewRun",
    "NewSchedule",
    "PlainContext",
    "PlainStepContext",
    "PreparedRun",
    "Retry",
    "RetryPolicy",
    "RunContext",
    "RunCounts",
    "RunMachine",
    "RunPage",
    "RunStatus",
    "Schedule",
    "Snooze",
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


def __getattr__(name: str) -> Any:
    """Import what not every program needs when it is first asked for: pictures, and the embedded runtime."""
    if name == "diagram":
        from kumofire_fsm.drawing import diagram

        return diagram
    if name == "EmbeddedJobs":
        from kumofire_fsm.embedded.opening import EmbeddedJobs

        return EmbeddedJobs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
