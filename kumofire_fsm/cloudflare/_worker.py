"""A Cloudflare Worker with the queue and the cron trigger wired; importable inside Workers only."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from kumofire_fsm.adapters.cloudflare_queues import CloudflareQueue
from kumofire_fsm.adapters.d1 import D1Storage
from kumofire_fsm.app import Kumofire
from kumofire_fsm.cloudflare._calls import ServiceCalls
from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.checks import check_key, whole_number
from kumofire_fsm.values.error_text import logged
from kumofire_fsm.values.limits import D1_STATEMENTS
from kumofire_fsm.values.printable import shown
from kumofire_fsm.work.batch import SettleMode
from kumofire_fsm.work.bound import BoundJobs
from kumofire_fsm.work.consumer import check_options

__all__ = ["KumofireWorker"]

log = logging.getLogger(__package__)

RETRY_SECONDS = 30
"""After how long a batch is delivered again that could not be worked on at all."""


class KumofireWorker(ServiceCalls):
    """The base of a Worker's ``Default`` class.

    ``class Default(KumofireWorker, app=app, db="JOBS_DB", queue="JOBS_QUEUE")`` consumes the queue and
    dispatches at each cron tick; ``self.jobs`` is the API, and ``ctx.env`` in handlers the Worker's env.
    Other Workers call `create`, `status`, `cancel` and `signal` through a service binding.

    Args:
        app: the application's jobs.
        db, queue: the names of the bindings in wrangler.jsonc.
        concurrency: handlers of a batch under way at once; more than one needs CPython 3.14.
        settle: "grouped" or "each"; see `Jobs.consume_batch`.
        max_statements: statements one event may send to D1; default 45, for the free plan's 50. What
            handlers send through ``ctx.env`` is not counted: set it lower by that.
        timing: other durations than the platform's own, such as what a lease adds to a timeout.
    """

    app: ClassVar[Kumofire]
    db_name: ClassVar[str]
    queue_name: ClassVar[str]
    consuming: ClassVar[dict[str, Any]]
    max_statements: ClassVar[int]
    timing: ClassVar[Timing | None]
    _jobs: BoundJobs | None = None

    def __init_subclass__(
        cls,
        *,
        app: Kumofire,
        db: str = "JOBS_DB",
        queue: str = "JOBS_QUEUE",
        concurrency: int = 1,
        settle: SettleMode = "grouped",
        max_statements: int | None = None,
        timing: Timing | None = None,
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        if not isinstance(app, Kumofire):
            raise InvalidArgument(f"app must be a Kumofire; found {shown(app)}")
        check_options(concurrency, settle)
        check_key(db, "db")
        check_key(queue, "queue")
        if max_statements is not None:
            whole_number(max_statements, "max_statements", 1_000_000)
        if timing is not None and not isinstance(timing, Timing):
            raise InvalidArgument(f"timing must be a Timing; found {shown(timing)}")
        app.statements()[0].compile_usual(app.registry.key_limits, app.registry.key_rates)
        cls.app, cls.db_name, cls.queue_name = app, db, queue
        cls.consuming, cls.timing = {"concurrency": concurrency, "settle": settle}, timing
        cls.max_statements = D1_STATEMENTS if max_statements is None else max_statements

    @property
    def jobs(self) -> BoundJobs:  # type: ignore[override]  # read only
        """The jobs API, bound to this event's bindings.

        Raises:
            BindingError: a binding is missing, or is something else.
        """
        if self._jobs is None:
            db, queue = getattr(self.env, self.db_name, None), getattr(self.env, self.queue_name, None)
            self._jobs = self.app.bind(
                db=D1Storage(db, self.db_name, observer=self.app.registry.observer),
                queue=CloudflareQueue(queue, self.queue_name),
                env=self.env,
                timing=self.timing,
                max_statements=self.max_statements,
            )
        return self._jobs

    async def queue(self, batch: Any, _env: Any = None, _ctx: Any = None) -> None:
        """Consume a batch. Never raises: each message is acknowledged or retried by itself."""
        try:
            await self.jobs.consume_batch(batch, **self.consuming)
        except Exception as exc:
            why = logged(exc, ours=True)
            log.error("a batch could not be consumed; its messages are delivered again: %s", why)
            for message in batch.messages:
                message.retry(delaySeconds=RETRY_SECONDS)

    async def scheduled(self, _controller: Any, _env: Any = None, _ctx: Any = None) -> None:
        """Dispatch what is due."""
        await self.jobs.dispatch()
