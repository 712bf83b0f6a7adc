"""A Cloudflare Worker with the queue and the cron trigger wired; importable inside Workers only."""

from __future__ import annotations

from typing import Any, ClassVar

from workers import WorkerEntrypoint  # type: ignore[import-not-found]  # Cloudflare's SDK

from kumofire_fsm.adapters.cloudflare_queues import CloudflareQueue
from kumofire_fsm.app import Kumofire
from kumofire_fsm.binding import log
from kumofire_fsm.jobs import Jobs

__all__ = ["KumofireWorker"]

RETRY_SECONDS = 30
"""After how long a batch is delivered again that could not be worked on at all."""


class KumofireWorker(WorkerEntrypoint):  # type: ignore[misc]
    """The base of a Worker's ``Default`` class.

    ``class Default(KumofireWorker, app=app, db="JOBS_DB", queue="JOBS_QUEUE")`` consumes the queue and
    dispatches at each cron tick; ``self.jobs`` is the API, and ``ctx.env`` in handlers the Worker's env.

    Args:
        app: the application's jobs.
        db, queue: the names of the bindings in wrangler.jsonc.
    """

    app: ClassVar[Kumofire]
    db_name: ClassVar[str]
    queue_name: ClassVar[str]
    _jobs: Jobs | None = None

    def __init_subclass__(
        cls, *, app: Kumofire, db: str = "JOBS_DB", queue: str = "JOBS_QUEUE", **options: Any
    ) -> None:
        super().__init_subclass__(**options)
        cls.app, cls.db_name, cls.queue_name = app, db, queue

    @property
    def jobs(self) -> Jobs:
        """The jobs API, bound to this event's bindings.

        Raises:
            BindingError: a binding is missing, or is something else.
        """
        if self._jobs is None:
            db, queue = getattr(self.env, self.db_name, None), getattr(self.env, self.queue_name, None)
            self._jobs = self.app.bind(db=db, queue=CloudflareQueue(queue), env=self.env)
        return self._jobs

    async def queue(self, batch: Any, _env: Any = None, _ctx: Any = None) -> None:
        """Consume a batch. Never raises: each message is acknowledged or retried by itself."""
        try:
            await self.jobs.consume_batch(batch)
        except Exception:
            log.exception("a batch could not be consumed; its messages are delivered again")
            for message in batch.messages:
                message.retry(delaySeconds=RETRY_SECONDS)

    async def scheduled(self, _controller: Any, _env: Any = None, _ctx: Any = None) -> None:
        """Dispatch what is due."""
        await self.jobs.dispatch()
