"""Two releases of one application: ``python releases.py DB --release 1`` is a worker of the newer.

The newer knows one job more, has moved one job to a machine of its own, and has added a state and an
event to a machine that both know.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

from crew import lifespan, note, work

from kumofire_fsm import Backoff, Kumofire, RunContext, RunMachine
from kumofire_fsm.machines import Actor, Deadline, Event, Role, State


class Shared(RunMachine, machine="shared"):
    """A machine as the older release declares it."""


class SharedNext(RunMachine, machine="shared"):
    """The same machine in the newer release: a run may be parked for a second."""

    parked = State("Put aside.", role=Role.WAITING, deadline=Deadline("now + lost_ms", "unpark"))
    park = Event(RunMachine.ready.to(parked), doc="It is put aside.")
    unpark = Event(parked.to(RunMachine.ready), by=Actor.DEADLINE, doc="It was aside for long enough.")


class Own(SharedNext, machine="own"):
    """A machine that the older release does not know at all."""


def release(*machines: tuple[str, type[RunMachine]]) -> Kumofire:
    """Return an application whose jobs all do the same."""
    made = Kumofire(max_attempts=3, retry=Backoff(first=timedelta(milliseconds=20), jitter=False))
    made.lifespan(lifespan)

    async def handler(ctx: RunContext) -> int:
        note("ran", ctx)
        return os.getpid()

    for name, machine in machines:
        made.job(name, machine=machine)(handler)
    return made


OLD = release(("plain", RunMachine), ("moved", RunMachine), ("shared", Shared))
NEW = release(("plain", RunMachine), ("moved", Own), ("shared", SharedNext), ("added", RunMachine))

if __name__ == "__main__":
    asyncio.run(work(OLD, NEW))
