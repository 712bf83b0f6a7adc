"""localqueue: SimpleQueue with DurabilityMode.DURABLE; its engine is written in Rust."""

from __future__ import annotations

from pathlib import Path

from contender import Handled, Stepping
from localqueue import DeliveryPolicy, DurabilityMode, SimpleQueue

__all__ = ["Peer"]


class Peer(Stepping):
    REQUIRES = ("localqueue",)
    MODULE = "localqueue"
    HOW = "`SimpleQueue(durability=DURABLE)`, its engine in Rust; bulk by `put_many`"
    TAKEOVER_SECONDS = 10.0

    def __init__(self, folder: Path, handled: Handled) -> None:
        super().__init__(folder, handled)
        policy = DeliveryPolicy(lease_seconds=5)
        self.queue = SimpleQueue(str(folder), delivery=policy, durability=DurabilityMode.DURABLE)

    def create(self, number: int) -> None:
        self.queue.put(number)

    def create_many(self, numbers: list[int]) -> None:
        self.queue.put_many(numbers)

    def step(self) -> bool:
        try:
            job = self.queue.get_nowait()
        except Exception as exc:
            if type(exc).__name__ in ("Empty", "QueueEmpty"):
                return False
            raise
        self.handled(job.data)
        self.queue.ack(job)
        return True

    def close(self) -> None:
        self.queue.close()
