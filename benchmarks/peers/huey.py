"""huey: SqliteHuey with fsync=True. What it takes from the queue is deleted there before it is done."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from contender import Handled, Stepping
from huey import SqliteHuey

__all__ = ["Peer"]


class Peer(Stepping):
    REQUIRES = ("huey",)
    MODULE = "huey"
    HOW = "`SqliteHuey(fsync=True)`; one by one and drain in the creator's thread, else its consumer"

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        folder.mkdir(exist_ok=True)
        logging.getLogger("huey").setLevel(logging.ERROR)
        self.huey = SqliteHuey("bench", filename=str(folder / "huey.db"), fsync=True)

        @self.huey.task()
        def noop(number: int) -> None:
            handled(number)

        self.noop: Any = noop

    def create(self, number: int) -> None:
        self.noop(number)

    def step(self) -> bool:
        task = self.huey.dequeue()
        if task is None:
            return False
        self.huey.execute(task)
        return True

    def start(self) -> None:
        self.consumer = self.huey.create_consumer(
            workers=1, periodic=False, initial_delay=0.001, max_delay=0.01
        )
        self.consumer._set_signal_handlers = lambda: None  # they are the agent's
        self.consumer.start()

    def stop(self) -> None:
        self.consumer.stop(graceful=True)

    def close(self) -> None:
        self.huey.storage.close()
