"""simplebroker: one consumer looks at the oldest message, handles it, and deletes it then."""

from __future__ import annotations

from pathlib import Path

from contender import Handled, Stepping
from simplebroker import Queue

__all__ = ["Peer"]


class Peer(Stepping):
    REQUIRES = ("simplebroker",)
    MODULE = "simplebroker"
    HOW = "`Queue(persistent=True)`, synchronous=FULL; `peek_one`, then `delete`, so that nothing is lost"

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        folder.mkdir(exist_ok=True)
        self.queue = Queue("jobs", db_path=str(folder / "broker.db"), persistent=True)

    def create(self, number: int) -> None:
        self.queue.write(str(number))

    def step(self) -> bool:
        found = self.queue.peek_one(with_timestamps=True)
        if found is None:
            return False
        message, stamp = found
        self.handled(int(message))
        self.queue.delete(message_id=stamp)
        return True
