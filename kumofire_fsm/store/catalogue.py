"""Every statement of a machine under a sentence: what it does, and when it is sent.

For people: `kumofire machine sql` prints it, and ``docs/sql.md`` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines.spec import ADMIT, HOLD, Actor, EventSpec, MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._selection import deadline_edges
from kumofire_fsm.store.controls import read_controls, set_control
from kumofire_fsm.store.moves import MOVED_ONE
from kumofire_fsm.store.overview import (
    count_failed,
    latest_failed,
    read_groups,
    read_known,
    read_recent,
    suspended,
)
from kumofire_fsm.store.paces import prune_paces, read_paces, take
from kumofire_fsm.store.rows import FAILED, INSERT_COLUMNS, RUNS
from kumofire_fsm.store.runs import RunStatements, count_rows
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.store.unknown import find_unknown
from kumofire_fsm.store.versions import drop_payloads
from kumofire_fsm.values.limits import INLINE_BYTES

__all__ = ["Entry", "catalogue", "entries_of"]

_CLAIM: Final[dict[str, Any]] = {"now": 0, "token": "", "alone": True, "jobs": {}}
_DUE: Final[dict[str, Any]] = {"now": 0, "limit": 0, "jobs": ()}
_KEYED: Final[dict[str, Any]] = {"key_limits": {"a job": 1}}
_ROW: Final[dict[str, Any]] = {**dict.fromkeys(INSERT_COLUMNS), "payload": "null"}
_TOGETHER: Final = ("advance", "suspend")
"""What may happen to several schedules at one look."""

_SENT: Final = {
    Actor.PERSON: "Sent when a person asks for it.",
    Actor.DISPATCHER: "Sent by a dispatch.",
    Actor.DEADLINE: "Sent by a dispatch.",
    Actor.CONSUMER: "Sent by the consumer that holds the run's claim.",
}


class Entry(NamedTuple):
    """A statement as a person reads it; ``events`` are those that it fires."""

    name: str
    says: str
    sql: str
    events: tuple[str, ...] = ()


def catalogue(specs: Sequence[MachineSpec]) -> list[Entry]:
    """Return the statements of these machines; those that follow runs share theirs."""
    following = [spec for spec in specs if spec.table == RUNS]
    found = [*_of_runs(following)] if following else []
    for spec in specs:
        if spec.table != RUNS:
            found += _of_schedules(spec)
    return found


def entries_of(entries: Sequence[Entry], event: str) -> list[Entry]:
    """Return the statement that is named after an event; without one, those that fire it among others.

    Raises:
        InvalidArgument: no statement fires it.
    """
    firing = [entry for entry in entries if event in entry.events]
    found = [entry for entry in firing if entry.name.partition(".")[2] == event] or firing
    if not found:
        known = dict.fromkeys(each for entry in entries for each in entry.events)
        raise InvalidArgument(f"no statement fires {event!r}; the events are {', '.join(sorted(known))}")
    return found


def _entry(statement: Statement, says: str, events: Sequence[str] = ()) -> Entry:
    return Entry(statement.name, says, statement.sql, tuple(events))


def _of_runs(specs: Sequence[MachineSpec]) -> Iterator[Entry]:
    runs = RunStatements(specs)
    yield from _creation(runs)
    yield from _sweeps(runs, specs)
    yield from _claims(runs)
    yield from _fires(runs, specs)
    yield from _settling(runs, specs)
    yield from _mending(runs, specs)
    yield from _reading(runs)
    yield from _controls(specs)
    for spec in specs:
        yield _entry(count_rows(spec), "Counts the rows in each state: a diagram with counts.")
    bodies, pruned = runs.prune(below="", also="", rules={}, limit=0)
    yield _entry(bodies, "Deletes what runs settled long ago stored apart: prune(), and retention.")
    yield _entry(pruned, "Deletes those runs: in the same batch.")


def _creation(runs: RunStatements) -> Iterator[Entry]:
    yield _entry(runs.insert([]), "Creates runs, one or many: create() and create_many().")
    yield _entry(
        runs.insert_bodies("payload", []),
        "Stores payloads too large for a run's row: in the batch that creates the run, or moves it.",
    )
    yield _entry(
        runs.find_holders([]), "Finds who holds a dedupe key already: in the same batch, where one is given."
    )
    yield _entry(
        runs.adopt_keys([]),
        "Renames the job of who holds it under an earlier name: in the same batch, where a job has aliases.",
    )
    body, replaced = runs.replace("", "", "x" * (INLINE_BYTES + 1), "{}", 0)
    yield _entry(
        replaced, "Gives a run that has not started another payload: create(..., on_conflict='replace')."
    )
    yield _entry(body, "Stores that payload where it is too large for the row: before, in the same batch.")
    yield _entry(runs.adopt([], {}), "The same for runs that are to take a key back: redrive().")


def _sweeps(runs: RunStatements, specs: Sequence[MachineSpec]) -> Iterator[Entry]:
    for hints, sender in (
        ("all", "a dispatch with a queue"),
        ("moves", "a dispatch without a queue, which has nobody to remind"),
        ("none", "an embedded worker, which claims due runs itself"),
    ):
        edges = deadline_edges(specs, skip=runs.skipped[hints])
        events = dict.fromkeys(edge.event for each in edges.values() for edge in each)
        if not events:
            continue
        every = runs.sweep(None, timing={}, hints=hints, **_DUE)
        yield _entry(every, f"Fires the deadlines that have passed: {sender}.", (*events,))
        if hints == "all":
            some = runs.sweep([], timing={}, hints=hints, **_DUE)
            says = "The same for some runs: once a row was refused. (So for the other two sweeps, too.)"
            yield _entry(some, says, (*events,))
            keyed = runs.sweep(None, timing={}, hints=hints, **_DUE, **_KEYED)
            says = "The same where a job limits its concurrency keys. (So for the other two sweeps, too.)"
            yield _entry(keyed, says, (*events,))


def _claims(runs: RunStatements) -> Iterator[Entry]:
    if runs.start_events:
        by_hint, by_scan = runs.claim([], **_CLAIM), runs.claim(None, **_CLAIM)
        yield _entry(by_hint, "Starts the due runs that hints name: the consumer.", runs.start_events)
        yield _entry(by_scan, "Starts the oldest due runs: an embedded worker.", runs.start_events)
        by_hint, by_scan = runs.claim([], **_CLAIM, **_KEYED), runs.claim(None, **_CLAIM, **_KEYED)
        says = "Starts the due runs that hints name where a job has concurrency keys, and holds others."
        yield _entry(by_hint, says, (*runs.start_events, HOLD))
        says = "Starts the oldest due runs where a job has concurrency keys, and holds others."
        yield _entry(by_scan, says, (*runs.start_events, HOLD))
        yield _entry(
            runs.payloads([]), "Reads payloads that were too large together for a claim: after that."
        )


def _fires(runs: RunStatements, specs: Sequence[MachineSpec]) -> Iterator[Entry]:
    """Yield what fires one event, but for starts and for what deadlines alone fire."""
    swept = {event for s in specs for state in s.states if state.deadline for event in state.deadline.fires}
    events: dict[str, EventSpec] = {}
    for event in (event for spec in specs for event in spec.events if spec.edges_of(event.id)):
        events.setdefault(event.id, event)
    for event in events.values():
        fenced = event.by is Actor.CONSUMER
        if event.id not in (*runs.start_events, HOLD) and (fenced or event.id not in swept):
            yield _entry(runs.fire([event.id], [], fenced=fenced), _told(event), (event.id,))
    if "cancel" in events:
        says = "Cancels runs that an occurrence replaces: a dispatch, in the batch that fires the occurrence."
        yield _entry(runs.fire_for_tick("cancel", "", []), says)


def _told(event: EventSpec) -> str:
    return f"{event.doc} {_SENT[event.by]}".strip()


def _settling(runs: RunStatements, specs: Sequence[MachineSpec]) -> Iterator[Entry]:
    endings = sorted(
        {event for spec in specs for event in spec.events_by(Actor.CONSUMER) if _ends(spec, event)}
    )
    if len(endings) > 1:
        mixed = runs.fire(endings, [], fenced=True)
        says = "Settles runs that ended in different ways: the consumer, for those that end together."
        yield _entry(mixed, says, endings)
    yield _entry(
        runs.insert_bodies("result", []),
        "Stores results too large for a run's row: after the settle, in the same batch.",
    )
    if any(spec.steps for spec in specs):
        says = "Deletes what stood apart of a flow's data that fits into its row now: in the same batch."
        yield _entry(drop_payloads([]), says)
    if any(spec.held for spec in specs):
        says = "Lets held runs start in the place of those that ended: after the settle, in the same batch."
        yield _entry(runs.admit([], timing={}, now=0), says, (ADMIT,))
    yield _entry(MOVED_ONE, "Undoes the batch unless the run moved: after the settle of a run with effects.")


def _mending(runs: RunStatements, specs: Sequence[MachineSpec]) -> Iterator[Entry]:
    yield _entry(runs.due_ids(**_DUE), "Finds due runs, to move them in halves: once a row was refused.")
    yield _entry(runs.defer([], 0, now=0), "Sets refused rows aside until later: after that.")
    yield _entry(
        runs.due_suspect(now=0, jobs=()), "Finds a run that may only start alone: a busy embedded worker."
    )
    yield _entry(
        find_unknown([], specs[0], before=0, look=0, jobs=()),
        "Counts overdue work that the code does not know: a worker once a minute, a dispatch once an hour.",
    )
    yield _entry(
        runs.next_wake(jobs=[]), "Finds the earliest deadlines: an embedded worker, before it sleeps."
    )
    yield _entry(
        runs.far_leases(after=0, jobs=(), limit=0),
        "Finds leases longer than any: an embedded worker, hourly and once the clock was set.",
    )
    yield _entry(
        runs.far_ids(above="", after=0, jobs=(), limit=0),
        "Finds runs that wait as long as a clock said that was ahead: after that.",
    )


def _reading(runs: RunStatements) -> Iterator[Entry]:
    yield _entry(
        runs.read([], results=True), "Reads runs by their ids: get_status(), and whoever lost a race."
    )
    yield _entry(runs.states([]), "Reads where runs stand: wait(), for all who wait in a process.")
    yield _entry(runs.find({}), "Reads runs, newest first: list_runs().")
    failed = {"states": [FAILED]}
    yield _entry(runs.find(failed), "Reads failed runs, newest first: list_runs() for these alone.")
    yield _entry(runs.find({**failed, "names": []}), "The same for one job.")
    says = "Finds runs that are to be moved, of those that have a deadline: match_runs(), 10,000 at a time."
    yield _entry(runs.match({}, "deadline"), says)
    yield _entry(runs.match({}, "failed"), "The same of failed runs.")
    yield _entry(runs.match({}, "id"), "The same of all others.")
    for statement, says in (
        (read_groups(0), "Counts what has a deadline, in groups: stats() and doctor()."),
        (count_failed(), "Counts failed runs by job: stats()."),
        (read_recent(), "Reads the newest runs, for throughput, lag and clocks: stats() and doctor()."),
        (latest_failed(), "Reads the errors of the newest failed runs: stats()."),
        (suspended([]), "Reads the schedules that are set aside: doctor()."),
        (read_known(), "Reads the schema's version, and the edges that are known: doctor()."),
    ):
        yield _entry(statement, says)
    yield _entry(runs.count(None), "Counts runs by state, within a bound: count_runs().")
    yield _entry(runs.count(""), "The same for one job.")


def _controls(specs: Sequence[MachineSpec]) -> Iterator[Entry]:
    for what in ("pause", "resume", "limit"):
        yield _entry(set_control(what, {}), f"Says something of a job by its name: {what}_job().")
    rated = take(specs, token="", rates={})
    yield _entry(
        rated, "Takes what a claim started from the allowances of jobs and keys: after it, in its batch."
    )
    yield _entry(
        read_paces([]), "Reads when the runs of jobs with a rate may start, for messages that came too soon."
    )
    yield _entry(prune_paces(now=0, limit=0), "Forgets keys whose allowances are whole again: prune().")
    yield _entry(read_controls(specs, [], others=False), "Reads what is said of a job: after each of these.")
    yield _entry(read_controls(specs, [], others=True), "Reads what is said of all jobs: list_jobs().")


def _of_schedules(spec: MachineSpec) -> Iterator[Entry]:
    schedules = ScheduleStatements(spec)
    yield _entry(schedules.insert([]), "Creates recurring jobs: create_schedule() and upsert_schedule().")
    yield _entry(schedules.due(**_DUE), "Finds the recurring jobs whose occurrence is due: every dispatch.")
    for event in spec.events:
        yield _entry(schedules.fire([event.id], []), _told(event), (event.id,))
    together = [event for event in _TOGETHER if spec.edges_of(event)]
    if len(together) > 1:
        mixed = schedules.fire(together, [])
        yield _entry(
            mixed,
            "Advances schedules, and sets aside those whose row is broken: a dispatch that finds such a row.",
            together,
        )
    runs, bodies = schedules.insert_occurrences("", [{**_ROW, "schedule_id": ""}])
    yield _entry(runs, "Creates the runs of the occurrences: after that, in the same batch.")
    yield _entry(bodies, "Stores their payloads where they are too large for a run's row: in the same batch.")
    yield _entry(
        schedules.next_wake(jobs=[]), "Finds the earliest occurrence: an embedded worker, before it sleeps."
    )
    yield _entry(
        schedules.defer({}, 0), "Sets refused rows aside until later: a dispatch, once a row was refused."
    )
    yield _entry(schedules.read(column="id", value=""), "Reads a recurring job by its id: get_schedule().")
    by_key = schedules.read(column="schedule_key", value="")
    yield _entry(by_key, "Reads a recurring job by its key: get_schedule() and upsert_schedule().")
    yield _entry(
        schedules.find(after="", limit=0), "Reads recurring jobs in the order of their ids: list_schedules()."
    )
    yield _entry(schedules.declared(origin="", keys=()), "Reads what an origin declared: sync_schedules().")
    yield _entry(count_rows(spec), "Counts the rows in each state: a diagram with counts.")


def _ends(spec: MachineSpec, event: str) -> bool:
    """Return whether an event ends attempts: each of its edges leaves the leased states."""
    leased = spec.with_role(Role.LEASED)
    edges = spec.edges_of(event)
    return bool(edges) and all(edge.source in leased and edge.target not in leased for edge in edges)
