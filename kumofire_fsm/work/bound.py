"""The API with what a Cron Trigger and a Queue call."""

from __future__ import annotations

from typing import Any

from kumofire_fsm.jobs import Jobs
from kumofire_fsm.reports import DispatchReport
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.work import _dispatcher as dispatcher
from kumofire_fsm.work import consumer
from kumofire_fsm.work.batch import SettleMode
from kumofire_fsm.work.disposition import Disposition
from kumofire_fsm.work.lifespan import for_one_event

__all__ = ["BoundJobs"]


class BoundJobs(Jobs):
    """The jobs API that `Kumofire.bind` gives."""

    async def dispatch(self, *, limit: int = 100) -> DispatchReport:
        """Fire every deadline that is due; what a Cron Trigger calls.

        Args:
            limit: rows a round, from 1 to 1,000; rounds repeat until nothing is due, or the invocation's
                statements or its time are spent.
        """
        whole_number(limit, "limit", 1000)
        async with for_one_event(self._binding):
            return await dispatcher.dispatch(self._binding, limit=limit)

    async def consume(self, message: Any) -> Disposition:
        """Work on the run that one message hints at; the message is acknowledged or retried.

        Raises:
            InvalidMessage: a bare body (not a message that can be retried) is not one of ours.
        """
        async with for_one_event(self._binding):
            return await consumer.consume(self._binding, message)

    async def consume_batch(
        self, batch: Any, *, concurrency: int = 1, settle: SettleMode = "grouped"
    ) -> list[Disposition]:
        """Work on the runs of a batch; what a Queue calls. Each message is acknowledged or retried.

        Args:
            batch: anything with ``messages``, or a list of messages.
            concurrency: how many handlers may be under way at once; in a Worker more than one needs
                CPython 3.14.
            settle: "grouped" settles quick endings by 25 in one statement, "each" settles every run as
                soon as its handler ends.

        Raises:
            InvalidArgument: it is not a batch, or an option is out of range or unknown.
        """
        async with for_one_event(self._binding):
            return await consumer.consume_batch(self._binding, batch, concurrency=concurrency, settle=settle)
