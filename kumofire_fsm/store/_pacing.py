"""The SQL of rates: an allowance is one instant, up to which starts are spoken for, in microseconds.

A job has one, and where it has a rate by key, each of its concurrency keys. Where there is no row, nothing
was taken so far, or all of it has come back. See `kumofire_fsm.store.paces` for what is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kumofire_fsm.store._layout import indented
from kumofire_fsm.store.rows import PACES
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
    "rates_at",
]

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
