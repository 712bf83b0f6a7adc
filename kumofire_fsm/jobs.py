"""The API that an application gets from `Kumofire.bind` and `Kumofire.open`."""

from __future__ import annotations

from typing import Any

from kumofire_fsm.binding import Binding
from kumofire_fsm.client import RunClient
from kumofire_fsm.consumer import Consumer, Verdict
from kumofire_fsm.creation import whole_number
from kumofire_fsm.dispatcher import dispatch
from kumofire_fsm.models import DispatchReport
from kumofire_fsm.schedules import ScheduleClient

__all__ = ["Jobs"]


class Jobs(RunClient, ScheduleClient):
    """Runs and schedules of one application on one database."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        self._consumer = Consumer(binding, self)

    async def dispatch(self, *, limit: int = 100) -> DispatchReport:
        """Fire every deadline that is due; what a Cron Trigger calls.

        Args:
            limit: rows a round, from 1 to 1,000; rounds repeat until nothing is due.
        """
        return await dispatch(self._binding, limit=whole_number(limit, "limit", 1000))

    async def consume(self, message: Any) -> Verdict:
        """Work on the run that one message hints at; the message is acknowledged or retried.

        Raises:
            InvalidMessage: a bare body (not a message that can be retried) is not one of ours.
        """
        return await self._consumer.consume(message)

    async def consume_batch(self, batch: Any) -> list[Verdict]:
        """Work on the runs of a batch; what a Queue calls. Each message is acknowledged or retried."""
        return await self._consumer.consume_batch(batch)
