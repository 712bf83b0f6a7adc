"""Every statement on recurring jobs, and the one that turns their occurrences into runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._answers import Page, bytes_sql, size_sql
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import LIMIT, due_sql, places_of, present_sql
from kumofire_fsm.store._layout import Texts, common, indented, lines, listed, picked, select, where
from kumofire_fsm.store._selection import event_edges
from kumofire_fsm.store.rows import BODIES, FLOW_COLUMNS, INSERT_COLUMNS, RUNS, SCHEDULES, dump
from kumofire_fsm.values.limits import ANSWER_BYTES, INLINE_BYTES, MADE_AHEAD

__all__ = ["ScheduleRow", "ScheduleStatements"]

_MOVE: Final = (
    "id", "event", "revision", "follows", "now", "value", "occurrence", "token", "facts", "latest", "runs",
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
    """The statements on recurring jobs; what it keeps between calls are compiled texts alone."""

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self._compiled = Texts()
        self._waking = places_of([spec], {state.id for state in spec.states if state.wakes})

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> Statement:
        """Create recurring jobs; one whose key is taken is left out of the answer."""
        columns = [column for column in self.spec.fields if column != "tick"]
        sql = lines(
            f"INSERT INTO {SCHEDULES} (\n  {indented(listed(columns))}\n)",
            select((f"value ->> {i}" for i in range(len(columns))), "FROM json_each(?1)", "WHERE true"),
            "ON CONFLICT DO NOTHING",
            "RETURNING id",
        )
        argument = dump([[row[column] for column in columns] for row in rows])
        return Statement("schedules.insert", sql, argument, ("id",))

    def read(self, *, column: str, value: str) -> Statement:
        """Read one job by its id or by its schedule_key."""
        assert column in ("id", "schedule_key")
        sql = select(ScheduleRow._fields, f"FROM {SCHEDULES}", f"WHERE {column} = ?1 ->> '$'")
        return Statement("schedules.read", sql, dump(value), ScheduleRow._fields, reads=True)

    def find(self, *, after: str, limit: int) -> Statement:
        """Read jobs in the order of their ids; the answer ends once it has `ANSWER_BYTES`."""
        argument = dump({"after": after, "limit": limit, "bytes": ANSWER_BYTES})
        return Statement("schedules.find", _FIND, argument, ScheduleRow._fields, reads=True, scans=True)

    def declared(self, *, origin: str, keys: Sequence[str], after: str = "") -> Statement:
        """Read the jobs of these keys, and all that an origin declared, in the order of their ids.

        The answer ends once it has `ANSWER_BYTES`; its last column has the bytes so far.
        """
        argument = dump({"origin": origin, "keys": keys, "after": after, "bytes": ANSWER_BYTES})
        columns = (*ScheduleRow._fields, "total")
        return Statement("schedules.declared", _DECLARED, argument, columns, reads=True)

    def due(self, *, now: int, limit: int, jobs: Sequence[str], ahead: int = 0) -> Statement:
        """Find recurring jobs whose occurrence is due and whose handler is known here, and others beside.

        For jobs that care about overlaps there are the latest runs of earlier occurrences beside, as JSON of
        (id, machine, state, wake_at). Of a payload there is no more than tells whether it is a large one.

        Args:
            now: milliseconds.
            limit: how many at most.
            jobs: the jobs known here.
            ahead: how many are given back that are not due, the furthest ahead first, without their payloads;
                with the first `MADE_AHEAD` occurrences after now that are runs already, as JSON.
        """
        sql = self._compiled("due", self._compile_due)
        argument = dump({"now": now, "limit": limit, "jobs": jobs, "ahead": ahead})
        given = (*ScheduleRow._fields, "latest", "made_ahead")
        return Statement("schedules.due", sql, argument, given, reads=True)

    def _compile_due(self) -> str:
        latest = select(
            ["l.id", "l.machine", "l.state", "l.wake_at"],
            f"FROM {RUNS} AS l",
            # A run that somebody triggered has no occurrence, and stands outside.
            # One that was made ahead by a wrong clock stands before those that are due by now.
            "WHERE l.schedule_id = j.id AND l.scheduled_for < max(j.next_at, ?1 ->> '$.now')",
            "ORDER BY l.scheduled_for DESC",
            f"LIMIT {_PREVIOUS}",
        )
        runs = lines(
            "SELECT json_group_array(json_array(id, machine, state, wake_at)) FROM (",
            f"  {indented(latest)}",
            ")",
        )
        asked = "instr(j.schedule, '\"overlap\"')"
        beside = f"CASE WHEN {asked} THEN (\n  {indented(runs)}\n) END AS latest"
        known = "WHERE p.job IN (SELECT value FROM json_each(?1, '$.jobs'))"
        groups = select(["urgency", "state", "job", "machine"], "FROM p", known)
        begun = f"substr(j.payload, 1, {INLINE_BYTES + 1}) AS payload"
        columns = [begun if name == "payload" else f"j.{name}" for name in ScheduleRow._fields]
        bare = ["NULL AS payload" if name == "payload" else f"j.{name}" for name in ScheduleRow._fields]
        due = select(
            [*columns, beside, "NULL AS made_ahead"],
            f"FROM q CROSS JOIN {SCHEDULES} AS j ON j.id = q.id",
            LIMIT,
        )
        made = select(
            ["o.scheduled_for"],
            f"FROM {RUNS} AS o",
            "WHERE o.schedule_id = j.id AND o.scheduled_for > ?1 ->> '$.now' AND o.scheduled_for < j.next_at",
            "ORDER BY o.scheduled_for",
            f"LIMIT {MADE_AHEAD}",
        )
        occurrences = lines("SELECT json_group_array(scheduled_for) FROM (", f"  {indented(made)}", ")")
        others = select(
            [*bare, "NULL AS latest", f"(\n  {indented(occurrences)}\n) AS made_ahead"],
            f"FROM g CROSS JOIN {SCHEDULES} AS j",
            where(
                "j.state = g.state AND j.job = g.job AND j.machine = g.machine",
                "j.wake_at > ?1 ->> '$.now'",
            ),
            "ORDER BY j.wake_at DESC",
            "LIMIT ?1 ->> '$.ahead'",
        )
        both = "\nUNION ALL\n".join(f"SELECT * FROM (\n  {indented(part)}\n)" for part in (due, others))
        return lines(common(due_sql(SCHEDULES, {**present_sql(SCHEDULES, self._waking), "g": groups})), both)

    def defer(self, revisions: Mapping[str, int], wake_at: int) -> Statement:
        """Set broken rows aside until later, unless they have changed since they were read.

        Args:
            revisions: the revision of each, by its id.
            wake_at: until when, so that they do not stand first in every look.
        """
        sql = lines(
            f"UPDATE {SCHEDULES}",
            "SET wake_at = ?1 ->> '$.wake_at'",
            "FROM json_each(?1, '$.revisions') AS a",
            where("wake_at IS NOT NULL", f"{SCHEDULES}.id = a.key", "revision = a.value"),
        )
        return Statement("schedules.defer", sql, dump({"revisions": revisions, "wake_at": wake_at}))

    def next_wake(self, *, jobs: Iterable[str]) -> Statement:
        """Find the earliest occurrence of the jobs known here."""
        sql = self._compiled("next wake", self._compile_next_wake)
        return Statement("schedules.next_wake", sql, dump(list(jobs)), ("wake_at",), reads=True)

    def _compile_next_wake(self) -> str:
        first = lines(
            f"SELECT min(d.wake_at) FROM {SCHEDULES} AS d",
            "WHERE d.state = p.state AND d.job = p.job AND d.machine = p.machine AND d.wake_at IS NOT NULL",
        )
        return lines(
            common(present_sql(SCHEDULES, self._waking)),
            select(
                [f"min((\n  {indented(first)}\n)) AS wake_at"],
                "FROM p",
                "WHERE p.job IN (SELECT value FROM json_each(?1))",
            ),
        )

    def fire(self, events: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Statement:
        """Fire events on jobs, each fenced by its revision, and by the token of a move that it follows."""
        key = tuple(sorted(events))
        sql = self._compiled(key, lambda: self._compile_fire(key))
        usual = self.spec.parameters
        argument = dump([[row.get(name, usual.get(name)) for name in _MOVE] for row in rows])
        return Statement("schedules." + "+".join(key), sql, argument, _MOVED)

    def _compile_fire(self, events: Sequence[str]) -> str:
        return compare_and_set(
            [self.spec],
            event_edges([self.spec], events),
            parameters=_MOVE,
            source={"a": select(picked(_MOVE), "FROM json_each(?1)")},
            match=["r.id = a.id", "r.revision = a.revision", "(a.follows IS NULL OR r.tick = a.follows)"],
            returning=_MOVED,
            by_event=len(events) > 1,
        )

    def insert_occurrences(self, token: str, rows: Sequence[Mapping[str, Any]]) -> list[Statement]:
        """Create the runs of jobs that carry this tick's token; to stand in one batch after `fire`.

        The payload is taken from the job's row. The unique (job, occurrence) is the second lock.
        """
        more = FLOW_COLUMNS if any(row.get("step") is not None for row in rows) else ()
        sql = _OCCURRENCES_OF_FLOWS if more else _OCCURRENCES
        own = [
            [*(row[name] for name in INSERT_COLUMNS), token, *(row[name] for name in more)] for row in rows
        ]
        argument = dump(own)
        statements = [Statement("runs.insert_occurrences", sql, argument, ("id",))]
        if any(row["payload"] for row in rows):
            statements.append(Statement("bodies.insert_occurrences", _OCCURRENCE_BODIES, argument))
        return statements


_SIZE: Final = size_sql(("schedule", "template", "payload", "error", "history"))
_SHOWN: Final = [f"f.{name}" for name in ScheduleRow._fields]
_FIND: Final = Page(ScheduleRow._fields, _SIZE, _SHOWN).of(SCHEDULES, "WHERE r.id > ?1 ->> '$.after'", "r.id")
_DECLARED: Final = Page(ScheduleRow._fields, _SIZE, [*_SHOWN, "f.total"]).until_full(
    lines(
        select(
            [f"r.{name}" for name in ScheduleRow._fields],
            f"FROM {SCHEDULES} AS r",
            "WHERE r.id IN (",
            f"  SELECT id FROM {SCHEDULES} WHERE origin = ?1 ->> '$.origin'",
            f"  UNION SELECT id FROM {SCHEDULES}",
            "  WHERE schedule_key IN (SELECT value FROM json_each(?1, '$.keys'))",
            ") AND r.id > ?1 ->> '$.after'",
        ),
        "ORDER BY r.id",
    )
)
_MOVED: Final = ("id", "state", "next_at")
_CARRIED: Final = (
    f"FROM json_each(?1) JOIN {SCHEDULES} AS j",
    f"  ON j.id = value ->> {INSERT_COLUMNS.index('schedule_id')}",
    f"  AND j.tick = value ->> {len(INSERT_COLUMNS)}",
)


def _occurrences_sql(more: Sequence[str] = ()) -> str:
    """Return the INSERT of occurrences' runs, with more columns, which stand behind the tick's token."""
    columns = {name: f"value ->> {i}" for i, name in enumerate((*INSERT_COLUMNS, "", *more)) if name}
    columns["payload"] = f"CASE WHEN {_LARGE} THEN '' ELSE j.payload END"
    return lines(
        f"INSERT INTO {RUNS} (\n  {indented(listed(tuple(columns)))}\n)",
        select(columns.values(), *_CARRIED, "WHERE true"),
        "ON CONFLICT DO NOTHING",
        "RETURNING id",
    )


_OCCURRENCES: Final = _occurrences_sql()
_OCCURRENCES_OF_FLOWS: Final = _occurrences_sql(FLOW_COLUMNS)
_OCCURRENCE_BODIES: Final = lines(
    f"INSERT INTO {BODIES} (owner, kind, bytes, body)",
    select(
        [f"value ->> {INSERT_COLUMNS.index('id')}", "'payload'", bytes_sql("j.payload"), "j.payload"],
        *_CARRIED,
        # An occurrence that a clock which was set has made before makes no second run, and so no body.
        where(
            _LARGE, f"EXISTS (SELECT 1 FROM {RUNS} AS r WHERE r.id = value ->> {INSERT_COLUMNS.index('id')})"
        ),
    ),
    "ON CONFLICT DO NOTHING",
)
