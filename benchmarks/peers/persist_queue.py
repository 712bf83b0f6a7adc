"""persist-queue: SQLiteAckQueue, with the JSON serializer."""

from __future__ import annotations

from pathlib import Path

from contender import Handled, Stepping
from persistqueue import SQLiteAckQueue
from persistqueue.exceptions import Empty
from persistqueue.serializers import json

__all__ = ["Peer"]


class Peer(Stepping):
    REQUIRES = ("persist-queue",)
    MODULE = "persistqueue"
    HOW = "`SQLiteAckQueue(multithreading=True)` with JSON; `auto_resume` takes back what was under way"

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        self.queue = SQLiteAckQueue(str(folder), multithreading=True, serializer=json)

    def create(self, number: int) -> None:
        self.queue.put(number)

    def step(self) -> bool:
        try:
            item = self.queue.get(block=False, raw=True)
        except Empty:
            return False
        self.handled(item["data"])
        self.queue.ack(id=item["pqid"])
        return True

    def close(self) -> None:
        self.queue.close()
