"""litequeue: one connection, shared under a lock; it sets synchronous=NORMAL, which is raised to FULL."""

from __future__ import annotations

import threading
from pathlib import Path

from contender import Handled, Stepping
from litequeue import LiteQueue

__all__ = ["Peer"]


class Peer(Stepping):
    REQUIRES = ("litequeue",)
    MODULE = "litequeue"
    HOW = "one `LiteQueue` under a lock, raised to synchronous=FULL; bulk in its own `transaction()`"

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        folder.mkdir(exist_ok=True)
        self.queue = LiteQueue(folder / "queue.db")
        self.queue.conn.execute("PRAGMA synchronous = FULL")
        self.lock = threading.Lock()

    def create(self, number: int) -> None:
        with self.lock:
            self.queue.put(str(number))

    def create_many(self, numbers: list[int]) -> None:
        with self.lock, self.queue.transaction():
            for number in numbers:
                self.queue.put(str(number))

    def step(self) -> bool:
        with self.lock:
            message = self.queue.pop()
        if message is None:
            return False
        self.handled(int(message.data))
        with self.lock:
            self.queue.done(message.message_id)
        return True

    def close(self) -> None:
        self.queue.conn.close()
