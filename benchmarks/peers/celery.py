"""Celery on a Redis that this benchmark starts with ``appendfsync always``."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery
from celery.contrib.testing.worker import start_worker
from contender import Contender, Handled
from redis import Redis

__all__ = ["Peer"]


class Peer(Contender):
    REQUIRES = ("celery[redis]",)
    MODULE = "celery.app"
    SERVER = "redis"
    HOW = "`task_acks_late`, a solo worker in a thread; Redis over a socket, `appendfsync always`"
    TAKEOVER_SECONDS = 10.0

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        logging.disable(logging.CRITICAL)
        url = "redis+socket://" + os.environ["BENCH_REDIS"].removeprefix("unix://")
        self.app = Celery("bench", broker=url)
        self.app.conf.update(
            task_acks_late=True,
            task_ignore_result=True,
            worker_prefetch_multiplier=100,
            broker_transport_options={"visibility_timeout": 5},
        )

        @self.app.task(name="noop")
        def noop(number: int) -> None:
            handled(number)

        self.noop: Any = noop

    def create(self, number: int) -> None:
        self.noop.delay(number)

    def start(self) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(
            start_worker(self.app, perform_ping_check=False, pool="solo", loglevel="CRITICAL")
        )

    def stop(self) -> None:
        self.stack.close()

    def close(self) -> None:
        self.app.close()
        with Redis(unix_socket_path=os.environ["BENCH_REDIS"].removeprefix("unix://")) as redis:
            redis.flushall()
