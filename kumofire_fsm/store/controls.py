"""The statements on a job by its name: whether people pause it, and how many may run at once.

A job has at most one row of them. Claims and sweeps read it in their own statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._due import ANY_PRIORITY, places_of, present_sql, states_with
from kumofire_fsm.store._keys import held_states
from kumofire_fsm.store._layout import common, indented, lines, listed, select, where
from kumofire_fsm.store.paces import BY_JOB
from kumofire_fsm.store.rows import CONTROLS, PACES, RUNS, dump
from kumofire_fsm.values.limits import LOOK_ROWS

__all__ = ["ControlRow", "read_controls", "set_control"]

_SETS: Final = {
    "pause": "paused_at = coalesce(paused_at, excluded.paused_at)",
    "resume": "paused_at = NULL",
    "limit": "slots = excluded.slots",
}
"""What each call says; everything else that was said before stays."""
_TOLD: Final = {
    "pause": "excluded.{0}",
    "resume": "excluded.{0}",
    "limit": "iif(paused_at IS NULL, excluded.{0}, {0})",
}
"""Who said it, why and when: of a paused job always what was said of the pause."""
_COLUMNS: Final = ("job", "paused_at", "slots", "said_by", "note", "updated_at")


class ControlRow(NamedTuple):
    """A job: what people say of it, how many runs are leased, wait, and are held, as far as was counted."""

    job: str
    paused_at: int | None
    slots: int | None
    said_by: str | None
    note: str | None
    updated_at: int | None
    paced_to: int | None
    leased: int
    waiting: int
    held: int


def set_control(what: str, values: Mapping[str, Any]) -> Statement:
    """Say something of a job.

    Args:
        what: "pause", "resume" or "limit".
        values: columns of the row; those that are not named are NULL.
    """
    columns = select((f"?1 ->> '$.{column}'" for column in _COLUMNS), "WHERE true")
    told = ",\n  ".join(
        f"{column} = {_TOLD[what].format(column)}" for column in ("said_by", "note", "updated_at")
    )
    sql = lines(
        f"INSERT INTO {CONTROLS} ({listed(_COLUMNS)})",
        columns,
        f"ON CONFLICT (job) DO UPDATE SET\n  {_SETS[what]},\n  {told}",
    )
    return Statement(f"controls.{what}", sql, dump(dict(values)), idempotent=True)


def read_controls(specs: Sequence[MachineSpec], jobs: Sequence[str], *, others: bool) -> Statement:
    """Read these jobs, and with ``others`` all that have a row here or runs that are not settled, by name."""
    leased = _count(states_with(specs, Role.LEASED))
    waiting = _count(states_with(specs, Role.CLAIMABLE))
    held = _count(held_states(specs))
    states = {*states_with(specs, Role.LEASED, Role.CLAIMABLE), *held_states(specs)}
    places = places_of(specs, states) if others else []
    known = "SELECT value AS job FROM json_each(?1)"
    if others:
        present = "SELECT job FROM p WHERE job IS NOT NULL"
        known = lines(known, f"UNION SELECT job FROM {CONTROLS}", f"UNION {present}")
    tables = present_sql(RUNS, places) if others else {}
    sql = lines(
        common({**tables, "j": known}),
        select(
            [
                "j.job",
                *(f"c.{column}" for column in _COLUMNS[1:]),
                "x.paced_to",
                f"{leased} AS leased",
                f"{waiting} AS waiting",
                f"{held} AS held",
            ],
            f"FROM j LEFT JOIN {CONTROLS} AS c ON c.job = j.job",
            f"LEFT JOIN {PACES} AS x ON x.job = j.job AND x.key = '{BY_JOB}'",
            "ORDER BY j.job",
        ),
    )
    return Statement("controls.read", sql, dump(list(jobs)), ControlRow._fields, reads=True)


def _count(states: Sequence[str]) -> str:
    """Return the SQL for how many runs of the job are in these states, up to a bound."""
    counted = select(
        ["1"],
        f"FROM json_each({quoted(dump(states))}) AS s",
        f"CROSS JOIN {RUNS} AS d ON d.state = s.value AND {ANY_PRIORITY}",
        where("d.job = j.job", "d.wake_at IS NOT NULL"),
        f"LIMIT {LOOK_ROWS}",
    )
    return f"(SELECT count(*) FROM (\n  {indented(counted)}\n))"
