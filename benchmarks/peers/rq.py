"""RQ on a Redis that this benchmark starts with ``appendfsync always``."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contender import Contender, Handled
from redis import Redis
from rq import Queue, SimpleWorker
from rq.timeouts import TimerDeathPenalty

__all__ = ["Peer", "fire"]

HANDLERS: list[Callable[[int], Any]] = []
"""A job names a function of a module."""


def fire(number: int) -> None:
    """Handle one job."""
    HANDLERS[-1](number)


class Worker(SimpleWorker):
    """Works in a thread, where signals are not to be had."""

    death_penalty_class = TimerDeathPenalty

    def _install_signal_handlers(self) -> None:
        pass


class Peer(Contender):
    REQUIRES = ("rq", "redis")
    MODULE = "rq"
    SERVER = "redis"
    HOW = "`SimpleWorker` in a thread; bulk by `enqueue_many`; Redis over a socket, `appendfsync always`"
    TAKEOVER_SECONDS = 10.0

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        logging.disable(logging.CRITICAL)
        HANDLERS.append(handled)
        self.redis = Redis(unix_socket_path=os.environ["BENCH_REDIS"].removeprefix("unix://"))
        self.queue = Queue("bench", connection=self.redis)

    def create(self, number: int) -> None:
        self.queue.enqueue(fire, number, result_ttl=0)

    def create_many(self, numbers: list[int]) -> None:
        self.queue.enqueue_many(Queue.prepare_data(fire, (number,), result_ttl=0) for number in numbers)

    def start(self) -> None:
        self.worker = Worker([self.queue], connection=self.redis)
        self.thread = threading.Thread(target=self.worker.work, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.worker._stop_requested = True
        self.queue.enqueue(fire, -1, result_ttl=0)  # it sleeps until there is something
        self.thread.join()

    def close(self) -> None:
        self.redis.flushall()
        self.redis.close()
