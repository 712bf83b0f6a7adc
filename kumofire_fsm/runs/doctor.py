"""Looks whether a database is as it should be, and says what to do where it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.unknown import OVERDUE_MS, unknown_work
from kumofire_fsm.errors import InvalidArgument, MigrationConflict, SchemaMismatch
from kumofire_fsm.machines.spec import Actor, MachineSpec, Role, StateSpec
from kumofire_fsm.reports import Health
from kumofire_fsm.store.controls import ControlRow, read_controls
from kumofire_fsm.store.diagnosis import MIGRATE
from kumofire_fsm.store.edges import edges_of, listed, missing_edges, own_machines
from kumofire_fsm.store.overview import (
    GroupRow,
    RecentRow,
    read_groups,
    read_known,
    read_recent,
    suspended,
)
from kumofire_fsm.store.rows import VERSION
from kumofire_fsm.store.runs import count_rows
from kumofire_fsm.values.limits import LOOK_ROWS
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import LAST_MS, brief, nearest

__all__ = ["Doctor"]

SKEW_MS: Final = 5_000
"""By so much a clock may be ahead of this one before it is told of."""


class Doctor:
    """What an application asks when something may be wrong."""

    _binding: Binding

    async def doctor(self, *, full: bool = False) -> list[Health]:
        """Check schema, edges, deadlines, schedules, clocks and unknown work, and sweep without moving.

        Nothing is changed. Each statement is bounded, but for ``full``.

        Args:
            full: whether to read every run to find states that no machine has any more; else those that have
                a deadline are found, and of the others the newest 10,000.
        """
        given: object = full
        if not isinstance(given, bool):
            raise InvalidArgument(f"full must be True or False; found {shown(full)}")
        schema, edges = await _schema(self._binding)
        if not schema.fine:
            return [schema]
        binding, now = self._binding, self._binding.now()
        execute = binding.storage.execute
        groups = [GroupRow(*row) for row in await execute(read_groups(now))]
        recent = [RecentRow(*row) for row in await execute(read_recent())]
        of_runs = [group for group in groups if group.kind == "runs"]
        return [
            schema,
            _edges(binding, edges),
            await _overdue(binding, of_runs, now),
            await _schedules(binding, [group for group in groups if group.kind != "runs"], now),
            _clocks(recent, now),
            await _unknown(binding),
            await _gone(binding, of_runs, recent, full=full),
            _sweep(binding, groups),
        ]


async def _schema(binding: Binding) -> tuple[Health, str]:
    """Tell whether the database has this code's schema; and its edges as JSON, where it has."""
    try:
        ((version, serves, edges),) = await binding.storage.execute(read_known())
    except SchemaMismatch as exc:
        return Health("schema", False, (str(exc),), MIGRATE), "[]"
    if version is None or version < VERSION:
        return Health("schema", False, (f"schema {version}, and this code needs {VERSION}",), MIGRATE), edges
    if serves > VERSION:
        what = f"schema {version}, which serves code for schema {serves} and newer"
        return Health("schema", False, (what,), "upgrade: pip install --upgrade kumofire_fsm"), edges
    return Health("schema", True, (f"schema {version}",)), edges


def _edges(binding: Binding, known: str) -> Health:
    own = own_machines(binding.runs.specs.values())
    if not own:
        return Health("edges", True, ("no machine of your own is known here",))
    try:
        missing = missing_edges(own, edges_of(known, own))
    except MigrationConflict as exc:
        return Health("edges", False, (str(exc),), "give the state another name, and retire the old one")
    if missing:
        return Health("edges", False, (f"not known to the database: {listed(missing)}",), MIGRATE)
    return Health("edges", True, (f"all of {', '.join(spec.name for spec in own)}",))


async def _overdue(binding: Binding, groups: Sequence[GroupRow], now: int) -> Health:
    """Tell of runs whose deadline is past, for longer than a worker or a tick takes to see it."""
    late = [group for group in groups if group.due and group.wake_at <= now - OVERDUE_MS]
    if not late:
        return Health("deadlines", True, ("none is past for more than a minute",))
    jobs = sorted({group.job for group in late})
    statement = read_controls(list(binding.runs.specs.values()), jobs, others=False)
    rows = [ControlRow(*row) for row in await binding.storage.execute(statement)]
    paused = {row.job for row in rows if row.paused_at is not None}
    what = [
        f"{_many(group.due)} of job {group.job!r} in {group.state!r}, the first since {_utc(group.wake_at)}"
        f"{' (the job is paused)' if group.job in paused else ''}"
        for group in late
    ]
    fine = all(group.job in paused for group in late)
    mend = "" if fine else "see whether a worker runs that knows the job, or on Cloudflare the cron trigger"
    return Health("deadlines", fine, tuple(what), mend)


async def _schedules(binding: Binding, groups: Sequence[GroupRow], now: int) -> Health:
    """Tell of schedules that are set aside, or whose occurrence is due and nobody makes a run."""
    spec = binding.schedules.spec
    waits = [state.id for state in spec.states if state.waits and _entered_by_code(spec, state)]
    aside = await binding.storage.execute(suspended(waits))
    what = [f"{key or each} of job {job!r} is set aside: {error}" for each, key, job, error in aside]
    what += [
        f"{group.due} of job {group.job!r} due, the first since {_utc(group.wake_at)}"
        for group in groups
        if group.due and group.wake_at <= now - OVERDUE_MS
    ]
    if not what:
        return Health("schedules", True, (f"{sum(group.number for group in groups):,} active, none late",))
    mend = "mend what is set aside by an update; for what is due see whether a worker or a cron trigger runs"
    return Health("schedules", False, tuple(what), mend)


def _entered_by_code(spec: MachineSpec, state: StateSpec) -> bool:
    """Return whether only the package itself moves rows into a state, and no person."""
    people = spec.events_by(Actor.PERSON)
    return not any(
        edge.target == state.id and edge.source != state.id and edge.event in people for edge in spec.edges
    )


def _clocks(recent: Iterable[RecentRow], now: int) -> Health:
    """Tell of instants that lie ahead of this clock: whoever wrote them has another."""
    ahead = max(
        ((at, row.id) for row in recent for at in (row.created_at, row.started_at, row.finished_at) if at),
        default=(0, ""),
    )
    if ahead[0] <= now + SKEW_MS:
        return Health("clocks", True, ("nothing was written ahead of this clock",))
    by = brief(timedelta(milliseconds=min(ahead[0], LAST_MS) - now))
    what = f"run {ahead[1]} was written {by} ahead of this clock"
    return Health("clocks", False, (what,), "set the clocks of these machines by one source (NTP)")


async def _unknown(binding: Binding) -> Health:
    if not binding.registry.jobs:
        return Health("unknown work", True, ("not looked for: it takes the application",))
    found = await unknown_work(binding)
    if not found:
        return Health("unknown work", True, ("nothing",))
    return Health(
        "unknown work", False, tuple(map(str, found)), "register what is missing, or cancel its runs"
    )


async def _gone(
    binding: Binding, groups: Iterable[GroupRow], recent: Sequence[RecentRow], *, full: bool
) -> Health:
    """Tell of runs in states that their machine, known here, does not have any more."""
    specs = binding.runs.specs
    found: Counter[tuple[str, str]] = Counter()
    if full:
        for spec in specs.values():
            for state, number in await binding.storage.execute(count_rows(spec)):
                found[spec.name, state] += number
    else:
        for group in groups:
            found[group.machine, group.state] += group.number
        found.update((row.machine, row.state) for row in recent if row.rests)
    what = [
        f"{_many(number)} in {state!r}, which the machine {machine!r} no longer has"
        for (machine, state), number in sorted(found.items())
        if machine in specs and specs[machine].state(state) is None
    ]
    looked = "every run" if full else "those with a deadline, and the newest 10,000"
    if not what:
        return Health("states", True, (f"all are known, of {looked}",))
    return Health(
        "states", False, tuple(what), "declare the state again (retired=True), until no run is in it"
    )


def _sweep(binding: Binding, groups: Iterable[GroupRow]) -> Health:
    """Tell which deadlines a sweep would fire now, without firing them."""
    due: Counter[str] = Counter()
    for group in groups:
        specs = binding.runs.specs.values() if group.kind == "runs" else [binding.schedules.spec]
        state = next((s.state(group.state) for s in specs if s.name == group.machine), None)
        if group.due and state is not None and state.deadline is not None:
            claimable = state.role is Role.CLAIMABLE
            due["start" if claimable else state.deadline.fires[-1]] += group.due
    told = ", ".join(f"{number:,} {event}" for event, number in sorted(due.items()))
    return Health("sweep", True, (f"would fire now: {told or 'nothing'}",))


def _utc(at: int) -> str:
    return f"{nearest(at):%Y-%m-%d %H:%M:%S} UTC"


def _many(number: int) -> str:
    return f"{min(number, LOOK_ROWS):,}{'+' * (number > LOOK_ROWS)} run{'s' * (number != 1)}"
