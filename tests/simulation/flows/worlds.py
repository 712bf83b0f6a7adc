"""The two worlds, with flows in them, and in some histories a deploy in the middle."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from kumofire_fsm import NewRun
from simulation.actors import Actor
from simulation.calls import Event
from simulation.embedded import EmbeddedWorld
from simulation.faults import Dice
from simulation.flows.declared import MACHINES
from simulation.flows.handlers import FlowApplications
from simulation.flows.monitor import FlowMonitor
from simulation.flows.script import EXPECTED, data_of, perform, script, tend
from simulation.handlers import Applications
from simulation.queued import QueuedWorld
from simulation.script import Action
from simulation.storage import Database
from simulation.world import START, World

__all__ = ["FlowWorld", "FlowsAtWorkers", "FlowsEmbedded"]

TENDS: Final = 40
"""How often a person looks after the faults have stopped."""
TEND_MS: Final = 60_000
ROLLING_MS: Final = 100_000
"""For how long after a deploy old and new code begin side by side."""


class FlowWorld(World):
    """What both have in common.

    Attributes:
        deployed: when the next version is deployed; None in a history without a deploy.
    """

    monitors = FlowMonitor
    monitor: FlowMonitor
    expected = EXPECTED

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        dice = self.faults.dice
        half = self.length_ms // 2
        self.deployed = START + 1_000 + dice.below(half, 801) if dice.below(2, 800) else None
        self.rolls_out = self.deployed is not None
        self._later: set[int] = set()
        """The keys of actors that run the new code whatever the clock says."""

    @classmethod
    def parts(cls) -> tuple[Database, Applications]:
        """Return a database with the machines of all versions, and the applications."""
        return Database(list(MACHINES.values())), FlowApplications()

    @staticmethod
    def script(dice: Dice, length_ms: int, dropped: Collection[int] = ()) -> list[Action]:
        """Return what clients do."""
        return script(dice, length_ms, dropped)

    def version(self, actor: Actor) -> int:
        """Return which version of the code an actor runs: where both may be, its machine says."""
        if self.deployed is None or self.now < self.deployed:
            return 1
        rolled = self.deployed + self.faults.dice.below(ROLLING_MS, 802, actor.key % 6)
        return 2 if self.faults.stopped or self.now >= rolled or actor.key in self._later else 1

    async def perform(self, jobs: Any, action: Action) -> None:
        """Do what one action of a client says."""
        version = 2 if any(job.flow.version == 2 for job in jobs._flow_jobs()) else 1
        await perform(self, jobs, version, action)

    def plan(self, actions: Sequence[Action]) -> None:
        """Schedule the clients' calls, and after a deploy those who migrate."""
        super().plan(actions)
        if self.deployed is not None:
            for number in range(1 + self.faults.dice.below(4, 803)):
                after = self.faults.dice.below(self.length_ms // 2, 804, number)
                self.at(self.deployed + after, Event(None, "client", lambda n=number: self.migrate(n)))

    def migrate(self, number: int) -> None:
        """Begin a client that brings instances to the new version."""
        key = self.actor_key(6, number)
        self._later.add(key)

        async def work(jobs: Any, _: Actor) -> None:
            await jobs.migrate_flows()

        self.note(self.spawn("client", key, work), "migrates")

    def end_schedules(self) -> None:
        """Begin a client that does what needs a person, and look again a while later."""
        self._tend(0)

    def _tend(self, number: int) -> None:
        async def work(jobs: Any, _: Actor) -> None:
            await tend(self, jobs)

        self.spawn("client", self.actor_key(7, number), work)
        if number < TENDS and self.monitor.unsettled():
            self.at(self.now + TEND_MS, Event(None, "client", lambda: self._tend(number + 1)))


class FlowsAtWorkers(FlowWorld, QueuedWorld):
    """Flows on Workers."""


class FlowsEmbedded(FlowWorld, EmbeddedWorld):
    """Flows on the embedded runtime."""

    def burst(self, number: int) -> None:
        """Begin a client that creates many instances at once."""
        count = 4 + self.faults.dice.below(5, 710, number)

        async def create(jobs: Any, actor: Actor) -> None:
            data = [data_of(self.version(actor), "order", total=10 * (n % 2)) for n in range(count)]
            self.monitor.created(await jobs.create_many([NewRun("order", each) for each in data]), data)

        self.note(self.spawn("client", self.actor_key(5, number), create), "creates at once", count)

    def _may_create(self) -> bool:
        """Return whether anything is still to come: also what waits for a person."""
        return super()._may_create() or bool(self.monitor.unsettled())
