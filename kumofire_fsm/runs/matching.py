"""Moves all runs that match a filter: they are found first, so that a person sees how many."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Unpack

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.flow_jobs import REDRIVE
from kumofire_fsm.engine.flow_versions import redrive_settled
from kumofire_fsm.engine.moves import Fired, fire, startable_by
from kumofire_fsm.engine.reading import read_runs
from kumofire_fsm.engine.refusals import refusal_of
from kumofire_fsm.errors import GuardFailed, InvalidArgument, MigrationConflict, SchemaMismatch
from kumofire_fsm.reports import FiredAll, Matched
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.runs.filters import RunFilter, run_filters
from kumofire_fsm.runs.people import adopt_keys, check_carries, events_of_people, jobs_with_versions
from kumofire_fsm.store.rows import FAILED, Move, Moved
from kumofire_fsm.values.checks import facts, whole_number
from kumofire_fsm.values.ids import check_id
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.limits import MATCH_RUNS, MOVE_RUNS
from kumofire_fsm.values.printable import shown

__all__ = ["RunMatching"]

log = logging.getLogger(__package__)

_FIRST: Final = ["", -1, "", "", -(2**53), ""]
"""What comes before every row in the index of deadlines."""
_Fence = dict[str, Any]
"""``was`` and ``starts`` of the `Move` of a run that was found."""


class RunMatching:
    """What an application calls to move many runs by one event of people's, such as a cancel."""

    _binding: Binding
    _rows: RowMaker

    async def match_runs(
        self, event: str, *, limit: int = MATCH_RUNS, **filters: Unpack[RunFilter]
    ) -> Matched:
        """Find the runs that match a filter, and from whose state people may fire an event.

        Nothing is changed; `fire_all` moves what was found. Runs that have a deadline, and failed ones, are
        found by an index; for the others every run is looked at. Each statement looks at 10,000.

        Args:
            event: such as "cancel", "redrive" or "reschedule".
            limit: how many to find, 1 to 100,000.
            filters: those of `list_runs`, by name: name, state, tag, schedule_id, and so on.

        Raises:
            InvalidArgument: people cannot fire the event at all, or not from a state that was named.
        """
        whole_number(limit, "limit", MATCH_RUNS)
        binding = self._binding
        wanted = run_filters(binding, **filters)
        sources = _sources(binding, event)
        for state in wanted["states"] or ():
            if state not in sources:
                raise InvalidArgument(
                    f"{event!r} is not allowed from {state!r}; it is from {', '.join(sorted(sources))}"
                )
        found: dict[str, tuple[str, int]] = {}
        given = sorted(sources) if wanted["states"] is None else wanted["states"]
        for by, states in _places(binding, given):
            await _look(binding, {**wanted, "states": states}, by, limit, found)
        more = len(found) > limit
        return Matched(event, dict(list(found.items())[:limit]), more)

    async def fire_all(
        self,
        matched: Matched,
        *,
        run_at: datetime | None = None,
        delay: timedelta | float | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> FiredAll:
        """Fire an event on the runs that `match_runs` found, 500 a statement.

        Each chunk is stored by itself; a call that was interrupted is repeated from `match_runs` on. A run
        that somebody has moved on meanwhile is left where it is, and counted: it moves only from the state in
        which it was found.

        Args:
            matched: what `match_runs` gave.
            run_at: for "reschedule": not before this aware datetime.
            delay: for "reschedule": not before this time from now (timedelta or seconds).
            by, note: who and why, kept in each history.

        Raises:
            InvalidArgument, TooLarge: nothing was changed; a flow's signal that carries something is refused.
            StoreError: the database failed; the chunks before this one are stored.
        """
        given: object = matched
        if not isinstance(given, Matched):
            raise InvalidArgument(f"fire_all takes what match_runs gave; found {shown(given)}")
        found = _fences(matched)
        binding = self._binding
        _sources(binding, matched.event)
        what: dict[str, Any] = {
            "facts": facts(by=by, note=note),
            **_due(binding, self._rows, matched.event, run_at, delay),
        }
        await check_carries(binding, matched.event, list(found))
        moved = refused = 0
        for ids in _chunks(list(found)):
            binding.wake()
            fired = await _fire_chunk(binding, matched.event, {each: found[each] for each in ids}, what)
            moved += len(fired[0])
            refused += len(fired[1])
        return FiredAll(moved, len(found) - moved - refused, refused)


def _sources(binding: Binding, event: object) -> set[str]:
    """Return the states from which people may fire an event."""
    specs = binding.runs.specs.values()
    storable(event, "an event")
    mine = events_of_people(binding)
    if event not in mine:
        raise InvalidArgument(f"people cannot fire {shown(event)}; they may fire {', '.join(sorted(mine))}")
    return {edge.source for spec in specs for edge in spec.edges_of(str(event))}


def _places(binding: Binding, states: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield how to look for runs in these states: by deadline, by the index of failures, or by id."""
    specs = binding.runs.specs.values()
    known = [state for spec in specs for state in spec.states]
    resting = {state.id for state in known if not state.wakes}
    for by, these in (
        ("deadline", [each for each in states if each not in resting]),
        ("failed", [each for each in states if each == FAILED]),
        ("id", [each for each in states if each in resting and each != FAILED]),
    ):
        if these:
            yield by, these


async def _look(
    binding: Binding, filters: dict[str, Any], by: str, limit: int, found: dict[str, tuple[str, int]]
) -> None:
    """Add the runs that match to what was found, until there is one more than the limit."""
    at: dict[str, Any] = {"after": _FIRST}
    while at and len(found) <= limit:
        rows = await binding.storage.execute(binding.runs.match({**filters, **at}, by))
        at = {}
        for run_id, state, starts, after in rows:
            if state is not None:
                found[run_id] = state, starts
            else:
                at = {"after": json.loads(after)} if by == "deadline" else {"before": run_id}


def _due(
    binding: Binding, rows: RowMaker, event: str, run_at: datetime | None, delay: timedelta | float | None
) -> dict[str, Any]:
    specs = binding.runs.specs.values()
    timed = any("next_at" in edge.names() for spec in specs for edge in spec.edges_of(event))
    given = run_at is not None or delay is not None
    if timed and not given:
        raise InvalidArgument(f"{event!r} needs run_at or delay")
    if given and not timed:
        raise InvalidArgument(f"{event!r} takes neither run_at nor delay")
    return {"next_at": rows.due(run_at, delay, binding.now())} if given else {}


def _fences(matched: Matched) -> dict[str, _Fence]:
    """Return what fences the moves of the runs that were found, by id."""
    if not isinstance(matched.found, Mapping):
        raise InvalidArgument(f"found must tell of each id how it was found; found {shown(matched.found)}")
    fences: dict[str, _Fence] = {}
    for run_id, each in matched.found.items():
        match each:
            case (str(state), int(starts)):
                storable(state, "a state")
                fences[check_id(run_id)] = {"was": state, "starts": starts}
            case _:
                said = f"found[{shown(run_id)}] must be a state and how often it had started"
                raise InvalidArgument(f"{said}; found {shown(each)}")
    return fences


async def _fire_chunk(
    binding: Binding, event: str, found: Mapping[str, _Fence], what: dict[str, Any]
) -> Fired:
    ids = list(found)
    await adopt_keys(binding, event, ids)
    moved: dict[str, Moved] = {}
    refused: dict[str, Exception] = {}
    for job in jobs_with_versions(binding) if event == REDRIVE else ():
        fired, bad = await redrive_settled(binding, job, ids, said=what["facts"], found=found)
        for run_id, why in bad.items():
            log.error("%r on run %s was refused, and is left as it was: %s", event, run_id, why)
        moved |= fired.moved
        refused |= {**fired.refused, **{run_id: MigrationConflict(why) for run_id, why in bad.items()}}
    left = [run_id for run_id in ids if run_id not in moved and run_id not in refused]
    moves = [binding.move(run_id, event, hint_ms=binding.hint_ms, **what, **found[run_id]) for run_id in left]
    fired = await fire(binding, moves, hint=startable_by(event))
    stayed = [move for move in moves if move.id not in fired.moved and move.id not in fired.refused]
    refused |= await _refused(binding, stayed)
    return Fired(moved | fired.moved, {**refused, **fired.refused})


async def _refused(binding: Binding, stayed: Sequence[Move]) -> dict[str, Exception]:
    """Return which runs could not move as they are, and why: a guard, or a machine that is not known here.

    The others have been moved by somebody else, are gone, or follow a machine without such a move.
    """
    rows = await read_runs(binding, [move.id for move in stayed]) if stayed else {}
    whys = {move.id: refusal_of(binding, move, rows.get(move.id)) for move in stayed}
    found: dict[str, Exception] = {
        run_id: why for run_id, why in whys.items() if isinstance(why, GuardFailed | SchemaMismatch)
    }
    alike: dict[tuple[str, str], list[str]] = {}
    for run_id in found:
        alike.setdefault((rows[run_id].machine, rows[run_id].state), []).append(run_id)
    for ids in alike.values():
        number = f"{len(ids):,} run{'s' * (len(ids) != 1)}"
        said = "%r was refused on %s, left as they were; of the first: %s"
        log.error(said, stayed[0].event, number, found[ids[0]], extra={"run_id": ids[0]})
    return found


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), MOVE_RUNS):
        yield ids[start : start + MOVE_RUNS]
