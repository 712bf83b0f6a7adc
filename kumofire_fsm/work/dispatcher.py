"""What a cron tick does: fires every deadline that is due, and sends the hints that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.hints import send_hints
from kumofire_fsm.engine.hooks import Change, call_hooks
from kumofire_fsm.engine.refused import move_or_defer
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.models import DispatchReport
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.schedules.occurrences import advance_due_schedules
from kumofire_fsm.work.budget import Budget

__all__ = ["dispatch", "sweep"]

MAX_ROUNDS: Final = 20
"""Rounds of one dispatch; what is still due then waits for the next tick."""
ROUND_STATEMENTS: Final = 8
"""What a round may send: five for recurring jobs, one sweep, and a nudge for each when the queue refuses."""

IDS_LOGGED: Final = 20
"""Runs that one line of the log names."""


class Swept(NamedTuple):
    """What one sweep moved, as rows of `Moved` and one column more, and whether more is due."""

    rows: list[Row]
    more: bool


async def dispatch(binding: Binding, *, limit: int, rounds: int = MAX_ROUNDS) -> DispatchReport:
    """Repeat rounds of up to ``limit`` rows until nothing is due, or rounds or statements are spent."""
    budget = Budget(binding.storage)
    hints = "moves" if binding.queue is None else "all"
    report = DispatchReport()
    for _ in range(rounds):
        jobs = await advance_due_schedules(binding, limit=limit)
        moved = await sweep(binding, limit=limit, hints=hints)
        sendable = [(row[0], row[2]) for row in moved.rows if binding.runs.hinted(row[1], row[4])]
        lost = await send_hints(binding, sendable)
        refused = lost + jobs.refused
        report = DispatchReport(
            moved=report.moved + len(moved.rows),
            sent=report.sent + jobs.sent + len(sendable) - lost if binding.queue else 0,
            made=report.made + jobs.made,
            skipped=report.skipped + jobs.skipped,
            suspended=report.suspended + jobs.suspended,
            refused=report.refused + refused,
            complete=not moved.more and not jobs.more,
        )
        if report.complete or refused or not budget.affords(ROUND_STATEMENTS):
            break
    return report


async def sweep(binding: Binding, *, limit: int, hints: str) -> Swept:
    """Fire what is due, once; a row that cannot move is set aside, and the others move."""
    now = binding.now()

    def statement(ids: Sequence[str] | None = None) -> Statement:
        return binding.runs.sweep(
            ids,
            timing=binding.timing.columns(),
            now=now,
            limit=limit,
            hints=hints,
            jobs=list(binding.registry.jobs),
        )

    try:
        rows = await binding.storage.execute(statement())
    except RowRefused as exc:
        log.error("a sweep was refused (%s); looking for the row", exc)
        due = await binding.storage.execute(
            binding.runs.due_ids(now=now, limit=limit, jobs=list(binding.registry.jobs))
        )
        ids = [row[0] for row in due]
        rows = await move_or_defer(binding, ids, statement)
        await _tell(binding, rows, now)
        return Swept(rows, more=len(ids) == limit)
    await _tell(binding, rows, now)
    # A run that was lost is due at once for its hint, if its next try is near.
    again = any(row[5] is not None and row[5] <= now for row in rows)
    return Swept(rows, more=again or (bool(rows) and rows[0][-1] > limit))


async def _tell(binding: Binding, rows: Sequence[Row], now: int) -> None:
    """Tell the log of lost leases, and those who wait for runs, and the hooks."""
    lost = [row[0] for row in rows if row[1] in binding.runs.specs[row[4]].after_lost_lease]
    if lost:
        more = f" and {len(lost) - IDS_LOGGED} more" if len(lost) > IDS_LOGGED else ""
        log.warning("leases lost: %d; of runs %s%s", len(lost), ", ".join(lost[:IDS_LOGGED]), more)
    binding.tell_settled(row[0] for row in rows)
    await call_hooks(binding, [Change(row[0], row[1], row[3], now) for row in rows])
