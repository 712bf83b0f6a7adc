"""Makes the database's recurring jobs what the code declares, in a few statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.errors import Conflict, InvalidArgument, InvalidSchedule
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.models import NewSchedule
from kumofire_fsm.reports import SyncReport
from kumofire_fsm.schedules._moves import RETRIES, fenced, store, switched
from kumofire_fsm.schedules.changes import declare, is_enabled, new_row, over
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.checks import check_key
from kumofire_fsm.values.jsontext import chunks
from kumofire_fsm.values.limits import ANSWER_BYTES

__all__ = ["sync"]

_OVERHEAD: Final = 2_000
"""About how many bytes a row adds to a statement's argument beside its payload."""


class _Plan(NamedTuple):
    """What is to be stored: new rows and moves by key, and which moves end a job."""

    rows: dict[str, dict[str, Any]]
    moves: dict[str, dict[str, Any]]
    ended: frozenset[str]


async def sync(binding: Binding, wanted: Sequence[NewSchedule], origin: str) -> SyncReport:
    """Create, change and end what differs; see `ScheduleClient.sync_schedules`.

    Every change is fenced by the row's revision and every key is unique, so that of several processes each
    change is made by one; who loses a race looks again.
    """
    declared = _by_key(wanted)
    created, changed, ended = set[str](), set[str](), set[str]()
    for _ in range(RETRIES):
        plan = _plan(binding, declared, await _found(binding, declared, origin), origin)
        done = await _store(binding, plan)
        created |= plan.rows.keys() & done
        ended |= plan.ended & done
        changed |= (plan.moves.keys() - plan.ended) & done
        if len(done) == len(plan.rows) + len(plan.moves):
            unchanged = declared.keys() - created - changed - ended
            return SyncReport(*(tuple(sorted(keys)) for keys in (created, changed, ended, unchanged)))
    raise Conflict(
        f"the schedules of {origin!r} are being changed by others; try again",
        row_id=origin,
        event="revise",
        state="",
    )


async def _found(binding: Binding, keys: Iterable[str], origin: str) -> list[ScheduleRow]:
    """Return the recurring jobs of these keys, and all that an origin declared, in one answer or more."""
    found: list[ScheduleRow] = []
    wanted, full = list(keys), True
    while full:
        after = found[-1].id if found else ""
        statement = binding.schedules.declared(origin=origin, keys=wanted, after=after)
        rows = await binding.storage.execute(statement)
        found += [ScheduleRow(*row) for *row, _ in rows]
        full = bool(rows) and rows[-1][-1] >= ANSWER_BYTES
    return found


def _by_key(wanted: Sequence[NewSchedule]) -> dict[str, NewSchedule]:
    declared: dict[str, NewSchedule] = {}
    given: object = wanted
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidArgument(f"sync_schedules takes a list of NewSchedule; found {type(given).__name__}")
    for new in wanted:
        if not isinstance(new, NewSchedule):
            found = type(new).__name__
            raise InvalidArgument(f"sync_schedules takes a list of NewSchedule; one is {found}")
        if declared.setdefault(check_key(new.schedule_key, "schedule_key"), new) is not new:
            raise InvalidArgument(f"two schedules are declared with the key {new.schedule_key!r}")
    return declared


def _plan(
    binding: Binding, declared: Mapping[str, NewSchedule], rows: Sequence[ScheduleRow], origin: str
) -> _Plan:
    settled = binding.schedules.spec.with_role(Role.SETTLED)
    found = {row.schedule_key: row for row in rows}
    fresh: dict[str, dict[str, Any]] = {}
    moves: dict[str, dict[str, Any]] = {}
    gone = {key: row for key, row in found.items() if key is not None and key not in declared}
    for key, new in declared.items():
        row, finished = found.get(key), over(binding, new)
        if row is None:
            if not finished:
                fresh[key] = new_row(binding, new, origin=origin)
            continue
        try:
            move = declare(binding, row, new, origin=origin)
            move = switched(binding, row, move, enabled=is_enabled(new.enabled))
        except InvalidSchedule:  # well-formed, as was seen above: it has no occurrence left
            gone[key] = row
            continue
        if move is not None:
            moves[key] = fenced(binding, row, move)
    ending = {key: row for key, row in gone.items() if row.state not in settled}
    moves |= {key: fenced(binding, row, {"event": "end"}) for key, row in ending.items()}
    return _Plan(fresh, moves, frozenset(ending))


async def _store(binding: Binding, plan: _Plan) -> set[str]:
    """Store a plan in batches of about 1 MB; return the keys that were stored."""
    done: set[str] = set()
    items = plan.rows | plan.moves
    for part in chunks(list(items), lambda key: _size(items[key])):
        rows, moves = ([there[key] for key in part if key in there] for there in (plan.rows, plan.moves))
        ids = await store(binding, rows, moves)
        done |= {key for key in part if items[key]["id"] in ids}
    return done


def _size(item: Mapping[str, Any]) -> int:
    return _OVERHEAD + 2 * len(item.get("payload") or item.get("new_payload") or "")
