"""Every statement on recurring jobs, and the one that turns their occurrences into runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.compiler import compare_and_set, event_edges, quoted_list
from kumofire_fsm.store.rows import BODIES, RUNS, SCHEDULES
from kumofire_fsm.store.runs import INSERT_COLUMNS, dump
from kumofire_fsm.values.limits import INLINE_BYTES

__all__ = ["ScheduleRow", "ScheduleStatements"]

_MOVE: Final = (
    "id", "event", "revision", "due", "now", "value", "occurrence", "token", "facts", "latest", "runs",
    "passed", "passed_at", "passed_why", "held_until", "new_catch_up", "new_schedule", "new_template",
    "new_payload", "new_job", "new_origin",
)  # fmt: skip
_LARGE: Final = f"length(j.payload) > {INLINE_BYTES}"
_PREVIOUS: Final = 10
"""How many of a job's latest runs are looked at to tell whether one is not settled."""


class ScheduleRow(NamedTuple):
    """A recurring job as it is read."""

    id: str
    schedule_key: str | None
    job: str
    machine: str
    state: str
    wake_at: int | None
    next_at: int | None
    last_at: int | None
    revision: int
    origin: str | None
    made: int
    skipped: int
    skipped_at: int | None
    skipped_why: str | None
    catch_up: str | None
    schedule: str
    template: str
    payload: str | None
    error: str | None
    created_at: int
    updated_at: int
    history: str


class ScheduleStatements:
    """The statements on recurring jobs."""

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self._cache: dict[tuple[str, ...], str] = {}

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> Statement:
        """Create recurring jobs; one whose key is taken is left out of the answer."""
        columns = [column for column in self.spec.fields if column != "tick"]
        picks = ", ".join(f"value ->> {i}" for i in range(len(columns)))
        sql = (
            f"INSERT INTO {SCHEDULES} ({', '.join(columns)}) SELECT {picks} FROM json_each(?1) "
            "WHERE true ON CONFLICT DO NOTHING RETURNING id"
        )
        argument = dump([[row[column] for column in columns] for row in rows])
        return Statement("schedules.insert", sql, argument, ("id",))

    def read(self, *, column: str, value: str) -> Statement:
        """Read one job by its id or by its schedule_key."""
        assert column in ("id", "schedule_key")
        sql = f"SELECT {', '.join(ScheduleRow._fields)} FROM {SCHEDULES} WHERE {column} = ?1 ->> '$'"
        return Statement("schedules.read", sql, dump(value), ScheduleRow._fields, reads=True)

    def find(self, *, after: str, limit: int) -> Statement:
        """Read jobs in the order of their ids."""
        sql = (
            f"SELECT {', '.join(ScheduleRow._fields)} FROM {SCHEDULES} WHERE id > ?1 ->> '$.after' "
            "ORDER BY id LIMIT ?1 ->> '$.limit'"
        )
        argument = dump({"after": after, "limit": limit})
        return Statement("schedules.find", sql, argument, ScheduleRow._fields, reads=True)

    def declared(self, *, origin: str, keys: Sequence[str]) -> Statement:
        """Read the jobs of these keys, and all that an origin declared."""
        columns = ", ".join(ScheduleRow._fields)
        sql = (
            f"SELECT {columns} FROM {SCHEDULES} WHERE origin = ?1 ->> '$.origin' "
            "OR schedule_key IN (SELECT value FROM json_each(?1, '$.keys'))"
        )
        argument = dump({"origin": origin, "keys": keys})
        return Statement("schedules.declared", sql, argument, ScheduleRow._fields, reads=True)

    def due(self, *, now: int, limit: int, jobs: Sequence[str]) -> Statement:
        """Find recurring jobs whose occurrence is due and whose handler is known here.

        For jobs that care about overlaps there are their latest runs beside, as JSON of (id, machine, state,
        wake_at).
        """
        states = quoted_list(state.id for state in self.spec.states if state.wakes)
        latest = (
            f"SELECT p.id, p.machine, p.state, p.wake_at FROM {RUNS} AS p WHERE p.schedule_id = j.id "
            "AND p.scheduled_for IS NOT NULL "  # a run that somebody triggered stands outside
            f"ORDER BY p.scheduled_for DESC LIMIT {_PREVIOUS}"
        )
        sql = (
            f"SELECT {', '.join(f'j.{column}' for column in ScheduleRow._fields)}, "
            "CASE WHEN instr(j.schedule, '\"overlap\"') THEN (SELECT json_group_array("
            f"json_array(id, machine, state, wake_at)) FROM ({latest})) END AS latest FROM {SCHEDULES} AS j "
            f"WHERE j.state IN ({states}) AND j.wake_at <= ?1 ->> '$.now' "
            f"AND j.machine = '{self.spec.name}' "
            "AND j.job IN (SELECT value FROM json_each(?1, '$.jobs')) "
            "ORDER BY j.wake_at LIMIT ?1 ->> '$.limit'"
        )
        argument = dump({"now": now, "limit": limit, "jobs": jobs})
        return Statement("schedules.due", sql, argument, (*ScheduleRow._fields, "latest"), reads=True)

    def defer(self, ids: Sequence[str], wake_at: int) -> Statement:
        """Set broken rows aside until later, so that they do not stand first in every look."""
        sql = (
            f"UPDATE {SCHEDULES} SET wake_at = (?1 ->> '$.wake_at') WHERE wake_at IS NOT NULL "
            "AND id IN (SELECT value FROM json_each(?1, '$.ids'))"
        )
        return Statement("schedules.defer", sql, dump({"ids": ids, "wake_at": wake_at}))

    def next_wake(self) -> Statement:
        """Find the earliest occurrence."""
        states = quoted_list(state.id for state in self.spec.states if state.wakes)
        where = f"state IN ({states}) AND wake_at IS NOT NULL"
        sql = f"SELECT min(wake_at) AS wake_at FROM {SCHEDULES} WHERE {where}"
        return Statement("schedules.next_wake", sql, None, ("wake_at",), reads=True)

    def fire(self, events: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Statement:
        """Fire events on jobs, each fenced by its revision and, where given, its due occurrence."""
        key = tuple(sorted(events))
        if key not in self._cache:
            picks = ", ".join(f"value ->> {i} AS {name}" for i, name in enumerate(_MOVE))
            self._cache[key] = compare_and_set(
                [self.spec],
                event_edges([self.spec], key),
                parameters=_MOVE,
                source=f"a AS MATERIALIZED (SELECT {picks} FROM json_each(?1))",
                match="r.id = a.id AND r.revision = a.revision AND (a.due IS NULL OR r.next_at = a.due)",
                returning="id, state, next_at",
                by_event=len(key) > 1,
            )
        usual = self.spec.parameters
        argument = dump([[row.get(name, usual.get(name)) for name in _MOVE] for row in rows])
        columns = ("id", "state", "next_at")
        return Statement("schedules." + "+".join(key), self._cache[key], argument, columns)

    def insert_occurrences(self, token: str, rows: Sequence[Mapping[str, Any]]) -> list[Statement]:
        """Create the runs of jobs that carry this tick's token; to stand in one batch after `fire`.

        The payload is taken from the job's row. The unique (job, occurrence) is the second lock.
        """
        picks = [
            f"CASE WHEN {_LARGE} THEN '' ELSE j.payload END" if name == "payload" else f"value ->> {i}"
            for i, name in enumerate(INSERT_COLUMNS)
        ]
        at = INSERT_COLUMNS.index("schedule_id")
        carried = (
            f"FROM json_each(?1) JOIN {SCHEDULES} AS j ON j.id = value ->> {at} "
            f"AND j.tick = value ->> {len(INSERT_COLUMNS)}"
        )
        runs = (
            f"INSERT INTO {RUNS} ({', '.join(INSERT_COLUMNS)}) SELECT {', '.join(picks)} {carried} "
            "WHERE true ON CONFLICT DO NOTHING RETURNING id"
        )
        bodies = (
            f"INSERT INTO {BODIES} (owner, kind, body) "
            f"SELECT value ->> {INSERT_COLUMNS.index('id')}, 'payload', j.payload "
            f"{carried} WHERE {_LARGE} ON CONFLICT DO NOTHING"
        )
        argument = dump([[*(row[name] for name in INSERT_COLUMNS), token] for row in rows])
        statements = [Statement("runs.insert_occurrences", runs, argument, ("id",))]
        if any(row["payload"] for row in rows):
            statements.append(Statement("bodies.insert_occurrences", bodies, argument))
        return statements
