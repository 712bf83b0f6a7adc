"""One history from a seed: its clients, its faults, and then a quiet time in which everything must settle."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Final

from simulation.embedded import EmbeddedWorld
from simulation.faults import Dice, Faults, Key
from simulation.flows.worlds import FlowsAtWorkers, FlowsEmbedded
from simulation.handlers import Applications
from simulation.invariants import Violation
from simulation.queued import QueuedWorld
from simulation.script import Action
from simulation.storage import Database
from simulation.world import START, World

__all__ = ["SETTINGS", "Result", "play", "shared_parts"]

SETTINGS: Final[dict[str, type[World]]] = {
    "workers": QueuedWorld,
    "embedded": EmbeddedWorld,
    "flows": FlowsAtWorkers,
    "flows-embedded": FlowsEmbedded,
}
"""Where histories play."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a history."""

    seed: int
    setting: str
    violation: Violation | None
    world: World
    actions: list[Action]

    def trace(self) -> list[str]:
        """Return what happened, line by line."""
        return self.world.trace.lines()


@cache
def shared_parts(setting: str) -> tuple[Database, Applications]:
    """Return the database and the applications that all histories of a setting use in this process."""
    return SETTINGS[setting].parts()


def play(
    seed: int,
    *,
    setting: str = "workers",
    without_faults: Collection[Key] = (),
    without_actions: Collection[int] = (),
    steps: int | None = None,
    parts: tuple[Database, Applications] | None = None,
) -> Result:
    """Play the history of a seed.

    Args:
        seed: decides everything.
        setting: one of `SETTINGS`.
        without_faults, without_actions: what to leave out of it.
        steps: stop after so many, whatever is unsettled then; None to go on to the end.
        parts: another database and other applications than those that all histories share.
    """
    database, applications = parts or shared_parts(setting)
    database.clear()
    dice = Dice(seed)
    world = SETTINGS[setting](Faults(dice, without_faults), database, applications)
    actions = world.script(dice, world.length_ms, without_actions)
    violation = None
    log = logging.getLogger("kumofire_fsm")
    log.setLevel(logging.CRITICAL + 1)  # what fails on purpose is told by the trace
    try:
        with world.around():
            world.plan(actions)
            while world.events and world.events[0][0] < START + world.length_ms and world.steps != steps:
                world.step()
            if steps is None:
                world.wind_down()
    except Violation as exc:
        violation = exc
        exc.__traceback__ = None
    finally:
        world.loop.close()
        log.setLevel(logging.NOTSET)
    return Result(seed, setting, violation, world, actions)
