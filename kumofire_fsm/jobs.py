"""The API on runs and schedules that an application calls, and that handlers find in ``ctx.jobs``."""

from __future__ import annotations

from typing import Any

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.runs.client import RunClient
from kumofire_fsm.runs.control import JobControl
from kumofire_fsm.runs.doctor import Doctor
from kumofire_fsm.runs.overview import RunOverview
from kumofire_fsm.schedules.client import ScheduleClient

__all__ = ["Jobs"]


class Jobs(RunClient, ScheduleClient, JobControl, RunOverview, Doctor):
    """Runs, schedules and jobs of one application on one database."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        binding.jobs = self

    @property
    def env(self) -> Any:
        """What the application was opened or bound with; on Workers the platform's bindings and secrets."""
        return self._binding.opened_with
