"""Allowances: what claims take of the rates of jobs and of concurrency keys.

An allowance is one instant, up to which starts are spoken for, in microseconds. A job has one, and where it
has a rate by key, each of its concurrency keys. A row stands for what was taken and has not come back. Rows
of keys would gather for ever, so `prune_paces` deletes those whose allowance is whole again: no row says the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._due import ANY_PRIORITY, LIMIT, states_with
from kumofire_fsm.store._layout import indented, lines, select, where
from kumofire_fsm.store.rows import PACES, RUNS, dump
from kumofire_fsm.values.times import AHEAD_MS

__all__ = [
    "BY_JOB",
    "OPENS",
    "PACED",
    "STARTS",
    "Rates",
    "believed_sql",
    "least_sql",
    "paced_sql",
    "prune_paces",
    "rates_at",
    "read_paces",
    "take",
]


def take(
    specs: Sequence[MachineSpec], *, token: str, rates: Rates, key_rates: Rates | None = None
) -> Statement:
    """Take what a claim started, by its token, from the allowances of jobs and keys with a rate.

    In the claim's batch, after it, and by its time. A claim that took nothing writes nothing, as one that is
    repeated.
    """
    both = enumerate((rates, key_rates or {}))
    told = [(job, by_keys, *rate) for by_keys, of in both for job, rate in of.items()]
    sql = _take_sql(tuple(states_with(specs, Role.LEASED)))
    return Statement("paces.take", sql, dump({"token": token, "rates": told}), idempotent=True)


@cache
def _take_sql(leased: Sequence[str]) -> str:
    by_key = "j.value ->> 1"
    started = select(
        [
            "j.value ->> 0 AS job",
            f"iif({by_key}, d.concurrency_key, '{BY_JOB}') AS key",
            "j.value ->> 2 AS every",
            "j.value ->> 3 AS whole",
            "count(*) AS number",
            "1000 * max(d.started_at) AS at",
        ],
        "FROM json_each(?1, '$.rates') AS j",
        f"CROSS JOIN json_each({quoted(dump(leased))}) AS s",
        f"CROSS JOIN {RUNS} AS d ON d.state = s.value AND {ANY_PRIORITY}",
        where(
            "d.job = j.value ->> 0",
            "d.wake_at IS NOT NULL",
            "d.claim = ?1 ->> '$.token'",
            f"(NOT {by_key} OR d.concurrency_key IS NOT NULL)",
        ),
        "GROUP BY 1, 2",
    )
    return lines(
        f"INSERT INTO {PACES} (job, key, paced_to, paced_by)",
        select(
            [
                "k.job",
                "k.key",
                f"max({believed_sql('k.at + k.whole', 0)}, k.at) + k.number * k.every",
                "?1 ->> '$.token'",
            ],
            f"FROM (\n  {indented(started)}\n) AS k",
            f"LEFT JOIN {PACES} AS x ON x.job = k.job AND x.key = k.key",
            "WHERE x.paced_by IS NOT ?1 ->> '$.token'",
        ),
        "ON CONFLICT (job, key) DO UPDATE",
        "  SET paced_to = excluded.paced_to, paced_by = excluded.paced_by",
    )


def read_paces(jobs: Sequence[str]) -> Statement:
    """Read up to which instant, in microseconds, the starts of these jobs are spoken for."""
    sql = select(
        ["job", "paced_to"],
        f"FROM {PACES}",
        where("job IN (SELECT value FROM json_each(?1))", f"key = '{BY_JOB}'"),
    )
    return Statement("paces.read", sql, dump(list(jobs)), ("job", "paced_to"), reads=True)


def prune_paces(*, now: int, limit: int) -> Statement:
    """Forget keys whose allowances are whole again, so many at most."""
    whole = select(
        ["job", "key"],
        f"FROM {PACES}",
        where(f"key <> '{BY_JOB}'", "paced_to <= 1000 * (?1 ->> '$.now')"),
        LIMIT,
    )
    sql = f"DELETE FROM {PACES} WHERE (job, key) IN (\n  {indented(whole)}\n)"
    return Statement("paces.prune", sql, dump({"now": now, "limit": limit}), idempotent=True)


BY_JOB: Final = ""
"""Stands for the key in the row of a job's own rate; no concurrency key is empty."""
_ANY: Final = 2**53 - 1
"""Stands for any number where the least of several is looked for."""
Rates = Mapping[str, tuple[int, int]]
"""For jobs with a rate: how long a start takes to come back, and all that start at once, in microseconds."""


def rates_at(now: int, rates: Rates | None, *, ahead: int = 0) -> dict[str, tuple[int, int, int]] | None:
    """Return for jobs with a rate (microseconds a start, now, until when starts may be spoken for).

    Args:
        now: milliseconds.
        rates: the jobs' rates.
        ahead: for how many milliseconds more.
    """
    if not rates:
        return None
    at, top = 1000 * now, 1000 * (now + ahead)
    return {job: (each, at, top + whole) for job, (each, whole) in rates.items()}


def believed_sql(top: str, otherwise: object) -> str:
    """Return the SQL for what the row ``x`` says, or another value where a clock that was ahead has."""
    return f"iif(x.paced_to <= {top} + {1000 * AHEAD_MS}, x.paced_to, {otherwise})"


_EVERY, _AT, _TOP = (f"y.value ->> {i}" for i in range(3))
PACED: Final = f"max({believed_sql(_TOP, 0)}, {_AT})"
"""SQL for from when on the next start counts, by a rate ``y`` of `rates_at` and a row ``x``."""
STARTS: Final = f"max(0, (\n  {_TOP}\n  - {PACED}\n) / ({_EVERY}))"
"""SQL for how many runs a rate lets start now."""
OPENS: Final = f"(\n  {believed_sql(_TOP, 'NULL')}\n  - {_AT} + {_EVERY} + 999\n) / 1000"
"""SQL for when a rate lets the next run start, in milliseconds; NULL: at any time."""


def paced_sql(job: str, value: str = STARTS, rates: str = "rates") -> str:
    """Return the SQL for what a job's own rate says; NULL where it has none."""
    return (
        f"(\n  SELECT {indented(value)}\n  FROM json_each(?1 -> '$.{rates}') AS y\n"
        f"  LEFT JOIN {PACES} AS x ON x.job = y.key AND x.key = '{BY_JOB}'\n"
        f"  WHERE y.key = {job}\n)"
    )


def least_sql(first: str, second: str) -> str:
    """Return the SQL for the least of two numbers of runs; NULL is any number."""
    each = ",\n  ".join(f"coalesce({indented(indented(text))}, {_ANY})" for text in (first, second))
    return f"nullif(min(\n  {each}\n), {_ANY})"
