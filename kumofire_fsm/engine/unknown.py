"""Tells of overdue work that nobody here knows: a job that was renamed or removed, a state that is gone.

Claims and sweeps leave such rows alone, because another release may know them. Where none does, they wait for
ever, and only a person can help.
"""

from __future__ import annotations

import logging
from typing import Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.reports import UnknownWork
from kumofire_fsm.store.unknown import find_unknown
from kumofire_fsm.values.printable import one_line
from kumofire_fsm.values.times import moment

__all__ = ["LOOK_AGAIN_MS", "look_is_due", "unknown_why", "unknown_work", "warn_of_unknown"]

log = logging.getLogger(__package__)

OVERDUE_MS: Final = 60_000
"""For how long work is due before it is told of: so long another process may take that knows it."""
LOOK_ROWS: Final = 200
"""Rows of a group that are counted at most."""
LOOK_AGAIN_MS: Final = 3_600_000
"""How often a dispatcher looks."""
MINUTES: Final = range(30, 40)
"""In which minutes of an hour a process looks that has not looked yet. It may not live for an hour; and cron
expressions mostly name the hour's beginning."""


async def unknown_work(binding: Binding) -> list[UnknownWork]:
    """Return the overdue work that this application does not know, in groups, the oldest first."""
    statement = find_unknown(
        list(binding.runs.specs.values()),
        binding.schedules.spec,
        before=binding.now() - OVERDUE_MS,
        look=LOOK_ROWS,
        jobs=binding.registry.names,
    )
    found = []
    for kind, job, machine, state, number, since in await binding.storage.execute(statement):
        why = "job" if kind == "schedules" else unknown_why(binding, job, machine, state)
        more, due = number >= LOOK_ROWS, moment(max(since, 0))
        found.append(UnknownWork(kind, why or "job", job, machine, state, number, more, due))
    return found


def unknown_why(binding: Binding, job: str, machine: str, state: str) -> str | None:
    """Return which of a run's words this application does not know; None where it knows what matters."""
    spec = binding.runs.specs.get(machine)
    if spec is None:
        return "machine"
    if spec.state(state) is None:
        return "state"
    return "job" if binding.definition(job) is None else None


async def warn_of_unknown(binding: Binding) -> None:
    """Log each kind of unknown work, once in this process."""
    binding.registry.looked_at = binding.now()
    for work in await unknown_work(binding):
        key = work.kind, work.why, work.name, work.machine, work.state
        if key not in binding.registry.told:
            binding.registry.told.add(key)
            log.warning("%s", one_line(str(work)))


def look_is_due(binding: Binding) -> bool:
    """Return whether a dispatcher is to look: once an hour, whether its process lives as long or not."""
    now, last = binding.now(), binding.registry.looked_at
    if last is None:
        return now // 60_000 % 60 in MINUTES
    return now - last >= LOOK_AGAIN_MS
