"""The queue: it keeps hints until they are due, and may refuse, lose, repeat, delay and reorder them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kumofire_fsm.ports import Hint
from kumofire_fsm.values.message import message_body
from simulation.faults import MESSAGE, Fault

if TYPE_CHECKING:
    from simulation.actors import Actor
    from simulation.world import World

__all__ = ["ActorQueue", "Delivery", "Message", "Queue"]

MAX_DELIVERIES = 4
"""After so many a message is dropped, as a queue without a dead-letter queue does."""
VISIBILITY_MS = 20_000
"""After this a message whose consumer has died comes again."""
LATE_MS = 70_000


class Message:
    """One message in the queue."""

    __slots__ = ("deliveries", "due", "key", "run_id")

    def __init__(self, run_id: str, key: int) -> None:
        self.run_id, self.key, self.deliveries = run_id, key, 0
        self.due = 0
        """When it is to be delivered; the queue takes its time beside."""


class Delivery:
    """One delivery of a message to one consumer: what the consumer acknowledges or retries."""

    def __init__(self, actor: Actor, message: Message) -> None:
        self._actor, self.message = actor, message
        self.body: Any = message_body(message.run_id)
        self.disposition: str | None = None
        self.attempts = message.deliveries

    def ack(self) -> None:
        """Take the message off the queue."""
        world = self._actor.world
        self.disposition = "ack"
        world.note(self._actor, "acknowledges", self.message.run_id)
        world.monitor.acknowledged(self._actor, self.message.run_id)

    def retry(self, *, delaySeconds: int = 0) -> None:
        """Deliver the message again."""
        self.disposition = "retry"
        self._actor.world.note(self._actor, f"retries in {delaySeconds} s", self.message.run_id)
        self._actor.world.monitor.kept(self._actor, self.message.run_id)
        self._actor.world.queue.again(self.message, delaySeconds * 1000)


class Queue:
    """What is on its way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.waiting: list[tuple[int, Message]] = []
        self.deliveries: Counter[str] = Counter()
        """How many messages of each run were delivered."""

    def take(self, actor: Actor, hints: Sequence[Hint], call: int) -> None:
        """Take hints from an actor's call."""
        dice, faults = self._world.faults.dice, self._world.faults
        for i, hint in enumerate(hints):
            waits = [message.due for _, message in self.waiting if message.run_id == hint.run_id]
            self._world.monitor.hinted(actor, hint.run_id, waits)
            message = Message(hint.run_id, dice.bits(200, actor.key, call, i))
            fault = faults.strike(MESSAGE, message.key)
            if fault is not None:
                self._world.note(None, fault, hint.run_id)
            if fault is Fault.DROP:
                continue
            self._put(message, hint.delay_s * 1000 + (LATE_MS if fault is Fault.DELAY else 0))
            if fault is Fault.DOUBLE:
                self._put(Message(hint.run_id, dice.bits(201, message.key)), hint.delay_s * 1000)

    def again(self, message: Message, delay_ms: int) -> None:
        """Put a delivered message back, unless it came too often."""
        if message.deliveries < MAX_DELIVERIES:
            self._put(message, delay_ms)
        else:
            self._world.note(None, "is dropped after its last delivery", message.run_id)
            self._world.monitor.dropped(message.run_id)

    def collect(self, first: Message, most: int) -> list[Message]:
        """Take a message and others that are due out, as one batch."""
        now = self._world.now
        due = [m for at, m in self.waiting if at <= now and m is not first][: most - 1]
        batch = [first, *due]
        self.waiting = [(at, m) for at, m in self.waiting if m not in batch]
        for message in batch:
            message.deliveries += 1
            self.deliveries[message.run_id] += 1
        return batch

    def holds(self, message: Message) -> bool:
        """Return whether it still waits."""
        return any(m is message for _, m in self.waiting)

    def _put(self, message: Message, delay_ms: int) -> None:
        latency = self._world.pace.message(message.key, message.deliveries)
        message.due = self._world.now + delay_ms
        at = message.due + latency
        self.waiting.append((at, message))
        self._world.deliver_at(at, message)


class ActorQueue:
    """The queue port of one actor."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    async def send(self, hints: Sequence[Hint]) -> None:
        """Send hints; see `kumofire_fsm.ports.Queue`."""
        await self._actor.world.send(self._actor, list(hints))
