"""One history from a seed: its clients, its faults, and then a quiet time in which everything must settle."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from simulation.calls import Event
from simulation.faults import Dice, Faults, Key
from simulation.handlers import Applications
from simulation.invariants import Violation
from simulation.script import Action, script
from simulation.storage import Database
from simulation.world import START, TICK_MS, World

__all__ = ["Result", "drain", "play", "shared_parts"]

LENGTH_MS: Final = 240_000
QUIET_MS: Final = 2 * 3_600_000
"""Within this virtual time after the last fault everything settles: the longest wait is for a hint that
was lost again and again, whose redelivery has backed off to 32 times two minutes."""
CLOSING_MS: Final = 200_000
"""Calls of clients that were under way when the faults stopped have ended by then."""
MAX_STEPS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a history."""

    seed: int
    violation: Violation | None
    world: World
    actions: list[Action]

    def trace(self) -> list[str]:
        """Return what happened, line by line."""
        return self.world.trace.lines()


@cache
def shared_parts() -> tuple[Database, Applications]:
    """Return the database and the applications that all histories of this process use."""
    return Database(), Applications()


def play(
    seed: int,
    *,
    without_faults: Collection[Key] = (),
    without_actions: Collection[int] = (),
    steps: int | None = None,
    parts: tuple[Database, Applications] | None = None,
) -> Result:
    """Play the history of a seed.

    Args:
        seed: decides everything.
        without_faults, without_actions: what to leave out of it.
        steps: stop after so many, whatever is unsettled then; None to go on to the end.
        parts: another database and other applications than those that all histories share.
    """
    database, applications = parts or shared_parts()
    database.clear()
    dice = Dice(seed)
    world = World(Faults(dice, without_faults), database, applications)
    actions = script(dice, LENGTH_MS, without_actions)
    violation = None
    log = logging.getLogger("kumofire_fsm")
    log.disabled = True  # what fails on purpose is told by the trace
    try:
        world.plan(actions, LENGTH_MS)
        while world.events and world.events[0][0] < START + LENGTH_MS and world.steps != steps:
            world.step()
        if steps is None:
            drain(world)
    except Violation as exc:
        violation = exc
        exc.__traceback__ = None
    finally:
        world.loop.close()
        log.disabled = False
    return Result(seed, violation, world, actions)


def drain(world: World) -> None:
    """Stop the faults, end the schedules, and tick until everything is settled and quiet.

    Ticks at which nothing is due do nothing, so they are left out.
    """
    world.faults.stopped = True
    stop = world.now
    world.at(stop + CLOSING_MS, Event(None, "client", lambda: world.spawn("client", 0, _end_schedules)))
    while world.steps < MAX_STEPS:
        wake = world.monitor.next_wake()
        tick = None if wake is None else -(-max(wake, world.now + 1) // TICK_MS) * TICK_MS
        if tick is not None and (not world.events or tick <= world.events[0][0]):
            if tick > stop + QUIET_MS:
                break
            world.now = max(world.now, tick)
            world.happen(Event(None, "tick", lambda: world.dispatcher(world.now // TICK_MS)))
            _finish_tick(world)
        elif world.events:
            world.step()
        else:
            break
    if world.steps >= MAX_STEPS:
        world.monitor.found("everything settles", f"the history goes on after {MAX_STEPS} steps")
    world.monitor.finished()


def _finish_tick(world: World) -> None:
    """Let the dispatcher end before the next tick is thought of."""
    dispatcher = world.actors[-1]
    while not dispatcher.done and dispatcher.alive and world.events:
        world.step()


async def _end_schedules(jobs: Any, _actor: Any) -> None:
    for each in await jobs.list_schedules():
        if each.next_at is not None:
            await jobs.end_schedule(each.id)
