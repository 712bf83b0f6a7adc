"""Durable jobs whose lifecycles are declared state machines, on Cloudflare D1 or embedded SQLite."""

from kumofire_fsm.app import Kumofire
from kumofire_fsm.context import RunContext
from kumofire_fsm.errors import *  # noqa: F403 -- its __all__ is the list of errors
from kumofire_fsm.errors import __all__ as _errors
from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.models import Created, NewRun, RunPage, RunStatus
from kumofire_fsm.retry import NEVER, Backoff
from kumofire_fsm.schedules import Schedule
from kumofire_fsm.signals import Cancel, Fail, Retry, Snooze

__version__ = "0.1.0"

__all__ = [
    "NEVER",
    "Backoff",
    "Cancel",
    "Created",
    "Fail",
    "JobMachine",
    "Kumofire",
    "NewRun",
    "Retry",
    "RunContext",
    "RunMachine",
    "RunPage",
    "RunStatus",
    "Schedule",
    "Snooze",
    *_errors,
]
