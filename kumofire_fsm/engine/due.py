"""Moves what is due: claims runs for a worker, and fires deadlines. One bad row never blocks the others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.halving import or_defer
from kumofire_fsm.engine.moves import Hints, enqueued, follow, give_way
from kumofire_fsm.engine.observing import tell_claimed, tell_fired
from kumofire_fsm.engine.patience import PAUSES_S, patiently
from kumofire_fsm.engine.timed import Timed
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.paces import take
from kumofire_fsm.store.rows import MOVED, ClaimedRun, Moved
from kumofire_fsm.values.ids import new_token
from kumofire_fsm.values.limits import PRIORITIES

__all__ = ["Claimed", "Swept", "claim_due", "claim_hinted", "statements_of_claim", "sweep"]

log = logging.getLogger(__package__)

MAX_TRIES: Final = 24
"""Statements in search of runs that the database refuses: with all others half of an invocation's."""
IDS_LOGGED: Final = 20
"""Runs that one line of the log names."""

Turn = tuple[str, int]
"""A job and a priority, which have their turn together."""
FIRST: Final[Turn] = ("", 0)
_LAST: Final = max(PRIORITIES.values())


class Claimed(NamedTuple):
    """The runs that a claim started, the oldest first, and how many rows it found: it also expires runs.

    ``set_ms`` is how far the clock was ahead of the one that nobody sets then.
    """

    runs: list[ClaimedRun]
    found: int
    set_ms: float


class Swept(NamedTuple):
    """The runs whose deadline fired, whether more is due, and the hints that followed."""

    moved: list[Moved]
    more: bool
    hints: Hints


async def claim_hinted(binding: Binding, ids: Sequence[str], *, alone: bool) -> Claimed:
    """Start the due runs among ``ids``; a suspect one only when it is ``alone``.

    After an answer that leaves open whether they started it is sent once more: its token tells.
    """
    timed, token = Timed(binding.clock), new_token(binding.entropy)
    # Nothing renews a lease beside the handlers of a batch: it covers the wait in the batch and the timeout.
    wait = 0 if alone else binding.timing.batch_wait_ms
    leases = {name: (whole + wait, whole + wait) for name, (whole, _) in binding.leases().items()}

    def statement(part: Sequence[str], now: int) -> Statement:
        return binding.runs.claim(part, now=now, token=token, alone=alone, jobs=leases, **_bounds(binding))

    async def execute(claim: Statement) -> list[Row]:
        send, costs = partial(_started, binding, token, claim), statements_of_claim(binding)
        return await patiently(binding, send, costs, PAUSES_S[-1:])

    try:
        rows = await execute(timed(partial(statement, ids)))
    except RowRefused:
        rows = await _without_refused(execute, binding, ids, partial(statement, now=timed.now))
    return await _claimed(binding, rows, timed)


async def claim_due(binding: Binding, limit: int, *, alone: bool, facts: str) -> Claimed:
    """Start up to ``limit`` due runs, or one suspect run if nothing else is under way (``alone``).

    Args:
        binding: the application on its database.
        limit: how many at most.
        alone: whether nothing else is under way in this worker.
        facts: JSON for the history: who claims.
    """
    timed, token, leases = Timed(binding.clock), new_token(binding.entropy), binding.leases()
    turn, found = binding.turns.get("claim", FIRST), list[str]()

    def statement(ids: Sequence[str] | None, now: int) -> Statement:
        only = alone and (ids is None or len(found) == 1)  # only then is a claim by ids for one run
        window: dict[str, Any] = {"jobs": leases, "limit": limit, "turn": turn, **_bounds(binding)}
        return binding.runs.claim(ids, now=now, token=token, alone=only, facts=facts, **window)

    execute = partial(_started, binding, token)
    try:
        rows = await execute(timed(partial(statement, None)))
    except RowRefused as exc:
        log.error("a claim was refused (%s); looking for the row", exc)
        found += await _due(binding, timed.now, limit, roles=(Role.CLAIMABLE,))
        rows = await _without_refused(execute, binding, found, partial(statement, now=timed.now))
    claimed = await _claimed(binding, rows, timed)
    binding.turns["claim"] = _last_served([(run.job, run.priority) for run in claimed.runs], turn)
    return claimed


async def sweep(
    binding: Binding, *, limit: int, hints: str, leases_end: Callable[[], bool] = lambda: True
) -> Swept:
    """Fire deadlines that are due, once; a row that cannot move is set aside, and the others move.

    What is under way in this process keeps its lease within its timeout: only a renewal tells if it is lost.

    Args:
        binding: the application on its database.
        limit: rows at most.
        hints: which deadlines count; see `kumofire_fsm.store.moves.RunMoves.sweep`.
        leases_end: asked when the sweep is executed, whether leases that have run out are lost.
    """
    timed, known, owned = Timed(binding.clock), list(binding.registry.names), binding.owned()
    timing, ended = binding.timing.columns(), True
    limits, rates, turn = binding.limits(), binding.rates(), binding.turns.get("sweep", FIRST)

    def statement(ids: Sequence[str] | None, now: int) -> Statement:
        window: dict[str, Any] = {"now": now, "limit": limit, "hints": hints, "jobs": known}
        window |= {"limits": limits, "rates": rates, "key_limits": binding.key_limits(), "turn": turn}
        window |= {"owned": owned, "leases_end": ended}
        return binding.runs.sweep(ids, timing=timing, **window)

    def before() -> None:
        nonlocal ended
        ended = leases_end()

    try:
        rows = await binding.storage.execute(timed(partial(statement, None), before))
    except RowRefused as exc:
        log.error("a sweep was refused (%s); looking for the row", exc)
        ids = await _due(binding, timed.now, limit)
        rows = await _without_refused(
            binding.storage.execute, binding, ids, partial(statement, now=timed.now)
        )
        more = len(ids) == limit
    else:
        more = bool(rows) and rows[0][-1] > limit
    moved, now = [Moved(*row[: len(MOVED)]) for row in rows], timed.now
    binding.turns["sweep"] = _last_served([(run.job, _LAST) for run in moved], turn)
    # A run that was lost is due at once for its hint, if its next try is near.
    more = more or any(run.wake_at is not None and run.wake_at <= now for run in moved)
    _warn_of_lost(binding, moved)
    if binding.registry.observer.watches:
        tell_fired(binding, zip(moved, (row[-2] for row in rows), strict=True))
    return Swept(moved, more, await follow(binding, moved, now, enqueued))


async def _claimed(binding: Binding, rows: Iterable[Row], timed: Timed) -> Claimed:
    runs, at = [ClaimedRun(*row) for row in rows], timed.now
    moved = [
        Moved(r.id, r.state, r.run_at, r.job, r.machine, r.wake_at, r.concurrency_key, r.starts) for r in runs
    ]
    if binding.registry.observer.watches:
        tell_claimed(binding, runs, at)
    await follow(binding, moved, at)
    await give_way(binding, moved)
    started = [r for r in runs if binding.runs.specs[r.machine].has_role(r.state, Role.LEASED)]
    started.sort(key=lambda run: (run.run_at, run.id))
    return Claimed(started, len(runs), at - timed.steady_ms)


def _bounds(binding: Binding) -> dict[str, Any]:
    """Return what a claim has to know of how many runs may start."""
    return {
        "limits": binding.limits(),
        "rates": binding.rates(),
        "key_limits": binding.key_limits(),
        "key_rates": binding.key_rates(),
        "horizon_ms": binding.timing.horizon_ms,
    }


async def _due(binding: Binding, now: int, limit: int, roles: Iterable[Role] = tuple(Role)) -> list[str]:
    """Return the ids of due runs, to move them one by one."""
    found = binding.runs.due_ids(now=now, limit=limit, jobs=list(binding.registry.names), roles=roles)
    return [row[0] for row in await binding.storage.execute(found)]


def statements_of_claim(binding: Binding) -> int:
    """Return how many statements a claim sends: one more where a job has a rate, or its keys have."""
    return 1 + bool(binding.rates() or binding.key_rates())


async def _started(binding: Binding, token: str, claim: Statement) -> list[Row]:
    """Execute a claim, and in its commit take what it started from the allowances of jobs and keys."""
    rates = {"rates": binding.rates(), "key_rates": binding.key_rates()}
    if not any(rates.values()):
        return await binding.storage.execute(claim)
    specs = list(binding.runs.specs.values())
    return (await binding.storage.batch([claim, take(specs, token=token, **rates)]))[0]


async def _without_refused(
    execute: Callable[[Statement], Awaitable[list[Row]]],
    binding: Binding,
    ids: Sequence[str],
    statement: Callable[[Sequence[str]], Statement],
) -> list[Row]:
    """Run a statement by ids on what the database accepts, and set the refused runs aside."""
    return await or_defer(
        binding,
        lambda part: execute(statement(part)),
        ids,
        what="runs",
        id_of=str,
        defer=lambda some, until: binding.runs.defer(some, until, now=binding.now()),
        tries=MAX_TRIES,
    )


def _last_served(jobs: Iterable[Turn], turn: Turn) -> Turn:
    """Return whose turn it was last, of jobs and classes served in turn, each as often as it stands here.

    They are taken by their names, from the one after ``turn`` on; those with most runs had the last rounds.
    """
    served = Counter(jobs)
    return max(served, key=lambda job: (served[job], job <= turn, job), default=turn)


def _warn_of_lost(binding: Binding, moved: Iterable[Moved]) -> None:
    lost = [run.id for run in moved if run.state in binding.runs.specs[run.machine].after_lost_lease]
    if lost:
        more = f" and {len(lost) - IDS_LOGGED} more" if len(lost) > IDS_LOGGED else ""
        log.warning("leases lost: %d; of runs %s%s", len(lost), ", ".join(lost[:IDS_LOGGED]), more)
