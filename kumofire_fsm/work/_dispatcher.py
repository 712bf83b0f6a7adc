"""What a cron tick does: fires every deadline that is due, of schedules and of runs."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.due import sweep
from kumofire_fsm.engine.pruning import prune_kept, retains
from kumofire_fsm.engine.unknown import look_is_due, warn_of_unknown
from kumofire_fsm.errors import StoreError
from kumofire_fsm.reports import DispatchReport
from kumofire_fsm.runs.overview import measure
from kumofire_fsm.schedules.occurrences import advance_due_schedules
from kumofire_fsm.values.limits import PRUNE_RUNS

__all__ = ["dispatch"]

log = logging.getLogger(__package__)

MAX_ROUNDS: Final = 20
"""Rounds of one dispatch; what is still due then waits for the next tick."""
LOOK_MINUTES: Final = 61
"""How often a tick also looks at schedules that are not due: about hourly, at whatever minutes ticks come."""
LOOKED_AT: Final = 100
"""So many, the furthest ahead first; the statement that finds what is due gives them, too."""
ROUND_STATEMENTS: Final = 8
"""What a round may send: five for schedules, one sweep, and a nudge for each when the queue refuses."""
ROUND_MS: Final = ROUND_STATEMENTS * 30_000
"""How long it may take: D1 gives a query 30 s (https://developers.cloudflare.com/d1/platform/limits/)."""
HOOK_READS: Final = 2
"""What it reads for hooks: the runs that schedules made, and those that the sweep moved."""

MEASURE_STATEMENTS: Final = 2
PRUNE_STATEMENTS: Final = 2
PRUNE_MINUTES: Final = 11
"""How often a tick looks for runs whose retention is over, at whatever minutes ticks come. The next one
looks, too, where that found as many as it may delete. A look reads thousands of rows, and D1 counts them."""


async def dispatch(binding: Binding, *, limit: int, rounds: int = MAX_ROUNDS) -> DispatchReport:
    """Repeat rounds of up to ``limit`` rows until nothing is due, or rounds, statements or time are spent."""
    with binding.budget.event():
        return await _dispatch(binding, limit, rounds)


async def _dispatch(binding: Binding, limit: int, rounds: int) -> DispatchReport:
    budget, hooked = binding.budget, bool(binding.registry.hooks)
    hints = "moves" if binding.queue is None else "all"
    report = DispatchReport()
    ahead = 0 if binding.now() // 60_000 % LOOK_MINUTES else LOOKED_AT
    for _ in range(rounds):
        schedules = await advance_due_schedules(binding, limit=limit, ahead=ahead)
        ahead = 0
        swept = await sweep(binding, limit=limit, hints=hints)
        refused = swept.hints.refused + schedules.refused
        report = DispatchReport(
            moved=report.moved + len(swept.moved),
            sent=report.sent + schedules.sent + swept.hints.sent,
            made=report.made + schedules.made,
            skipped=report.skipped + schedules.skipped,
            suspended=report.suspended + schedules.suspended,
            refused=report.refused + refused,
            complete=not swept.more and not schedules.more,
        )
        affords = budget.affords(ROUND_STATEMENTS + hooked * HOOK_READS) and budget.has_time(ROUND_MS)
        if report.complete or refused or not affords:
            break
    if binding.registry.observer.watches and budget.affords(MEASURE_STATEMENTS):
        await _measure(binding)
    if look_is_due(binding) and budget.affords(1):
        await _look(binding)
    if _prune_is_due(binding) and budget.affords(PRUNE_STATEMENTS):
        report = replace(report, pruned=await _prune(binding))
    return report


async def _prune(binding: Binding) -> int:
    """Delete runs whose retention is over; that this fails undoes nothing."""
    try:
        pruned = await prune_kept(binding)
    except StoreError as exc:
        log.warning("runs whose retention is over could not be deleted: %s", exc)
        return 0
    binding.registry.prunes_on = pruned >= PRUNE_RUNS
    return pruned


def _prune_is_due(binding: Binding) -> bool:
    due = binding.registry.prunes_on or binding.now() // 60_000 % PRUNE_MINUTES == 0
    return due and retains(binding)


async def _measure(binding: Binding) -> None:
    """Count runs for telemetry; that this fails undoes nothing."""
    try:
        await measure(binding)
    except StoreError as exc:
        log.warning("runs could not be counted for telemetry: %s", exc)


async def _look(binding: Binding) -> None:
    """Warn of work that nobody here knows; that this fails undoes nothing."""
    try:
        await warn_of_unknown(binding)
    except StoreError as exc:
        log.warning("work that is not known here could not be looked for: %s", exc)
