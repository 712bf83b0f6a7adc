"""The API that an application gets from `Kumofire.bind` and `Kumofire.open`."""

from __future__ import annotations

from typing import Any

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.models import DispatchReport
from kumofire_fsm.runs.client import RunClient
from kumofire_fsm.schedules.client import ScheduleClient
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.work.batch import SettleMode
from kumofire_fsm.work.consumer import Consumer
from kumofire_fsm.work.dispatcher import dispatch
from kumofire_fsm.work.disposition import Disposition

__all__ = ["Jobs"]


class Jobs(RunClient, ScheduleClient):
    """Runs and schedules of one application on one database."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        binding.jobs = self

    async def dispatch(self, *, limit: int = 100) -> DispatchReport:
        """Fire every deadline that is due; what a Cron Trigger calls.

        Args:
            limit: rows a round, from 1 to 1,000; rounds repeat until nothing is due, or the invocation's
                statements are spent.
        """
        return await dispatch(self._binding, limit=whole_number(limit, "limit", 1000))

    async def consume(self, message: Any) -> Disposition:
        """Work on the run that one message hints at; the message is acknowledged or retried.

        Raises:
            InvalidMessage: a bare body (not a message that can be retried) is not one of ours.
        """
        return await Consumer(self._binding, self).consume(message)

    async def consume_batch(
        self, batch: Any, *, concurrency: int = 1, settle: SettleMode = "grouped"
    ) -> list[Disposition]:
        """Work on the runs of a batch; what a Queue calls. Each message is acknowledged or retried.

        Args:
            batch: anything with ``messages``, or a list of messages.
            concurrency: how many handlers may be under way at once; in a Worker more than one needs
                CPython 3.14.
            settle: "grouped" settles quick outcomes by 25 in one statement, "each" settles every run as
                soon as its handler ends.

        Raises:
            InvalidArgument: one of the options cannot be.
        """
        return await Consumer(self._binding, self, concurrency=concurrency, settle=settle).consume_batch(
            batch
        )
