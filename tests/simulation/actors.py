"""Who acts: one invocation of a client, a dispatcher or a consumer, with its own clock and randomness."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["CURRENT", "Actor", "ActorClock", "ActorEntropy"]


class Actor:
    """One invocation, as a Worker has it: it begins with an event and ends with it, or dies.

    Attributes:
        key: identifies it, whatever else happens in the history.
        skew: how many milliseconds its clock is ahead.
        frozen_until: nothing of it happens before this.
        calls: how many calls of ports it has made.
        wrote: how many changes of rows it has committed.
        harmed: whether a fault has hit a call of it.
        settling: how many calls of the database it waits for that settle attempts, or look whether they did.
        stopping: whether it was told to stop.
        deaf: whether a handler of it has ignored its cancellation.
        concurrency: how many handlers it may have under way; None for one that calls none.
        limit: how many rows one statement of it may move; None where its input bounds it.
        saw: for each run the row that a statement last gave it.
        sent: the runs for which the queue took a hint of it.
        knows: the machines of flows that its code knows.
        position: what it has been told so far; equal positions behave alike.
    """

    def __init__(self, world: World, key: int, name: str, skew: int) -> None:
        self.world, self.key, self.name, self.skew = world, key, name, skew
        self.alive, self.done, self.harmed = True, False, False
        self.stopping = self.deaf = False
        self.frozen_until = 0
        self.calls = self.wrote = self.settling = 0
        self.concurrency: int | None = None
        self.limit: int | None = None
        self.deliveries: list[Any] = []
        self.saw: dict[str, Any] = {}
        self.sent: set[str] = set()
        self.knows: set[str] = set()
        self.position = 0
        self.entropy = random.Random(key)

    def now(self) -> int:
        """Return the time by its own clock."""
        return self.world.now + self.skew + self.world.set_ms

    def latest(self) -> int:
        """Return the latest time that its clock has shown."""
        return self.skew + max(self.world.latest, self.world.now + self.world.set_ms)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Let code run as this actor's that none of its own tasks runs."""
        token = CURRENT.set(self)
        try:
            yield
        finally:
            CURRENT.reset(token)

    def settled(self, _: object) -> None:
        """Note that one of these calls is answered."""
        self.settling -= 1


CURRENT: ContextVar[Actor] = ContextVar("actor")
"""Whose code runs now; tasks and timers inherit it."""


class ActorClock:
    """The clock port: each actor reads its own clock."""

    def now(self) -> int:
        """Return milliseconds since 1970."""
        return CURRENT.get().now()

    def monotonic(self) -> float:
        """Return seconds, by the world's time: nobody sets it."""
        return CURRENT.get().world.now / 1000

    async def sleep(self, seconds: float) -> None:
        """Return after that time."""
        actor = CURRENT.get()
        await actor.world.sleep(actor, seconds)


class ActorEntropy:
    """The entropy port: each actor draws from its own source."""

    def token(self, size: int) -> bytes:
        """Return ``size`` random bytes."""
        return CURRENT.get().entropy.randbytes(size)

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        return CURRENT.get().entropy.random()
