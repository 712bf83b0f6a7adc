"""The statements that tell how a database is doing: each within a bound, whatever the tables hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._answers import Page
from kumofire_fsm.store._groups import group_key, groups_walk_sql
from kumofire_fsm.store._layout import common, indented, lines, select, where
from kumofire_fsm.store._looks import each_sql, find_failed_sql, up_to
from kumofire_fsm.store.edges import KNOWN
from kumofire_fsm.store.rows import FAILED, LAST_ID, RUNS, SCHEDULES, dump
from kumofire_fsm.values.limits import ERROR_LINE, LOOK_ROWS

__all__ = [
    "FailedRow",
    "GroupRow",
    "RecentRow",
    "count_failed",
    "latest_failed",
    "read_groups",
    "read_known",
    "read_recent",
    "suspended",
]

FAILED_LOOK: Final = 1_000
"""Failed runs that are looked at for their errors."""


class GroupRow(NamedTuple):
    """Rows with a deadline that share state, job and machine: how many, and the first of them.

    Attributes:
        number: how many there are, counted until they are more than `LOOK_ROWS`.
        due: how many of them have a deadline that is past, as far.
        wake_at: the earliest deadline.
        run_at: of runs: when the one with that deadline was to start.
    """

    kind: str
    state: str
    job: str
    machine: str
    number: int
    due: int
    wake_at: int
    run_at: int | None


class RecentRow(NamedTuple):
    """What the newest runs tell."""

    id: str
    job: str
    machine: str
    state: str
    rests: int
    created_at: int
    run_at: int
    started_at: int | None
    finished_at: int | None


class FailedRow(NamedTuple):
    """A failed run, and the beginning of its error."""

    id: str
    job: str
    finished_at: int
    error: str | None


def read_groups(now: int) -> Statement:
    """Count the runs and the schedules that have a deadline, in groups, by that index alone."""
    sql = lines(_groups(RUNS, "run_at"), "UNION ALL", _groups(SCHEDULES, "next_at"))
    return Statement("overview.groups", sql, dump({"now": now}), GroupRow._fields, reads=True)


def count_failed() -> Statement:
    """Count the failed runs of each job, by their index, until they are more than `LOOK_ROWS`."""
    failed = f"d.state = {quoted(FAILED)}"
    sql = lines(
        common({"f(job)": each_sql("job", "f", failed)}),
        f"SELECT f.job AS job, {up_to(RUNS, failed, 'd.job = f.job')} AS number",
        "FROM f",
        "WHERE f.job IS NOT NULL",
    )
    return Statement("overview.count_failed", sql, None, ("job", "number"), reads=True)


def latest_failed() -> Statement:
    """Read the newest failed runs and the first characters of their errors, by the index of failed runs."""
    shown = [f"f.{name} AS {name}" for name in FailedRow._fields[:3]]
    page = Page(list(FailedRow._fields), "0", [*shown, f"substr(f.error, 1, {ERROR_LINE}) AS error"])
    argument = dump({"before": LAST_ID, "limit": FAILED_LOOK, "bytes": 1})
    sql = find_failed_sql(page, named=False)
    return Statement("overview.latest_failed", sql, argument, FailedRow._fields, reads=True, scans=True)


def read_recent() -> Statement:
    """Read where the newest runs are, and when they were created, started and settled."""
    special = {"rests": "d.wake_at IS NULL AS rests"}
    columns = [special.get(name, f"d.{name} AS {name}") for name in RecentRow._fields]
    sql = select(
        columns, f"FROM {RUNS} AS d", "WHERE d.id < ?1 ->> '$'", "ORDER BY d.id DESC", f"LIMIT {LOOK_ROWS}"
    )
    return Statement("overview.recent", sql, dump(LAST_ID), RecentRow._fields, reads=True, scans=True)


def suspended(states: Sequence[str]) -> Statement:
    """Read schedules in these states, with their errors: a table of a person's size."""
    sql = select(
        ["s.id AS id", "s.schedule_key AS schedule_key", "s.job AS job", "s.error AS error"],
        f"FROM {SCHEDULES} AS s",
        where("s.state IN (SELECT value FROM json_each(?1))"),
        "ORDER BY s.id",
        f"LIMIT {FAILED_LOOK}",
    )
    columns = ("id", "schedule_key", "job", "error")
    return Statement("overview.suspended", sql, dump(list(states)), columns, reads=True, scans=True)


def read_known() -> Statement:
    """Read which schema a database has, the oldest one whose code it serves, and every edge as JSON."""
    return Statement("overview.known", KNOWN, None, ("version", "serves", "edges"), reads=True)


def _groups(table: str, due_at: str) -> str:
    due = "d.wake_at <= ?1 ->> '$.now'"
    alike = " AND ".join(f"d.{name} = g.{name}" for name in group_key(table))
    counted = [
        f"{up_to(table, alike, 'd.wake_at IS NOT NULL')} AS number",
        f"{up_to(table, alike, due)} AS due",
    ]
    earliest = f"SELECT min(d.wake_at) FROM {table} AS d\n{where(alike, 'd.wake_at IS NOT NULL')}"
    first = lines(
        f"SELECT d.{due_at} FROM {table} AS d",
        where(alike, "d.wake_at IS NOT NULL"),
        "ORDER BY d.wake_at, d.id\nLIMIT 1",
    )
    return select(
        [
            f"'{'runs' if table == RUNS else 'schedules'}' AS kind",
            *("g.state AS state", "g.job AS job", "g.machine AS machine"),
            *counted,
            f"(\n  {indented(earliest)}\n) AS wake_at",
            f"(\n  {indented(first)}\n) AS run_at",
        ],
        f"FROM (\n  {indented(lines(groups_walk_sql(table), 'SELECT * FROM g'))}\n) AS g",
    )
