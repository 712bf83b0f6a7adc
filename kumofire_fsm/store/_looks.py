"""The SQL that people look with: lists and counts, each within a bound, whatever the table holds.

What waits stands in the index of deadlines, and what failed in an index of its own. Everything else is looked
for among the newest `LOOK_ROWS` runs below an id.
"""

from __future__ import annotations

from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.store._answers import Page
from kumofire_fsm.store._due import ANY_PRIORITY, LIMIT
from kumofire_fsm.store._layout import common, indented, lines, listed, select, where
from kumofire_fsm.store.rows import FAILED, RUNS
from kumofire_fsm.values.limits import LOOK_ROWS

__all__ = [
    "MATCH",
    "count_sql",
    "each_sql",
    "find_failed_sql",
    "find_sql",
    "find_waiting_sql",
    "prunable_sql",
    "up_to",
]

_BEFORE: Final = "?1 ->> '$.before'"
_MOST: Final = f"LIMIT {LOOK_ROWS}"
_IN_THE_WAY: Final = 1_000
"""How many runs that stay a prune looks at, in each place, beside those that it may delete."""


_MATCHED: Final = ("id", "state", "starts")
MATCH: Final = Page(_MATCHED, "0", [*(f"f.{name} AS {name}" for name in _MATCHED), "NULL AS after"])
"""What `find_sql` and `find_failed_sql` read of runs that are to be moved."""
_WAKE: Final = ("state", "priority", "job", "machine", "wake_at", "id")
"""The order of the index of deadlines."""


def find_sql(page: Page) -> str:
    """Return the SQL that reads runs, newest first, by what a list filters by, and ids below a cursor.

    Where the runs looked at were not enough, a last row tells the id of the last of them, and nothing else.
    """
    looked = select(
        ["d.id", "d.job", "d.state", "d.schedule_id", "d.concurrency_key", "d.tags"],
        f"FROM {RUNS} AS d",
        f"WHERE d.id < {_BEFORE}",
        "ORDER BY d.id DESC",
        _MOST,
    )
    return _found(looked, page, "q")


def find_failed_sql(page: Page, *, named: bool) -> str:
    """Return the SQL that reads failed runs as `find_sql` does, by the index of failed runs.

    Args:
        page: what is read of a run.
        named: whether they are of one job, by all its names; else the jobs' failed runs are merged by age.
    """
    failed = f"d.state = {quoted(FAILED)}"
    jobs = "SELECT value FROM json_each(?1, '$.names')" if named else each_sql("job", "f", failed)
    before = select(
        ["d.id"],
        f"FROM {RUNS} AS d",
        f"WHERE {failed} AND d.job = q.job AND d.id < q.id",
        "ORDER BY d.id DESC",
        "LIMIT 1",
    )
    merged = lines(
        f"SELECT 0 AS place, job, {_BEFORE} AS id FROM f WHERE job IS NOT NULL",
        "UNION ALL",
        f"SELECT 1, q.job, (\n  {indented(before)}\n)\nFROM q\nWHERE q.id IS NOT NULL",
        f"ORDER BY id DESC\n{_MOST}",
    )
    # Not `common`: it is worked out as far as the page needs, and once more only where that was not enough.
    f, q = (
        f"{name} AS (\n  {indented(text)}\n)"
        for name, text in {"f(job)": jobs, "q(place, job, id)": merged}.items()
    )
    looked = f"WITH RECURSIVE {f},\n{q}\nSELECT id FROM q WHERE place = 1"
    return _found(looked, page, "r")


def _found(looked: str, page: Page, row: str) -> str:
    """Return the SELECT of the runs looked at that pass the filters, then of where the look ended."""
    passed = select(
        [f"r.{column}" for column in page.columns],
        f"FROM (\n  {indented(looked)}\n) AS q CROSS JOIN {RUNS} AS r ON r.id = q.id",
        where(*_fit(row)),
        LIMIT,
    )
    found = page.until_full(passed)
    counted = f"SELECT min(id) AS id, count(*) AS looked FROM (\n  {indented(looked)}\n)"
    ended = select(
        ["id", *["NULL"] * (len(page.shown) - 1)],
        f"FROM (\n  {indented(counted)}\n)",
        f"WHERE looked = {LOOK_ROWS}",
    )
    return lines(found, "UNION ALL", ended, LIMIT)


def find_waiting_sql() -> str:
    """Return the SQL that reads (id, state, starts, after) of runs with a deadline, from ``after``.

    Where the runs looked at were not enough, a last row tells in ``after`` where the next look begins.
    """
    order = ", ".join(f"d.{name}" for name in _WAKE)
    after = listed(f"?1 ->> '$.after[{place}]'" for place in range(len(_WAKE)))
    looked = select(
        [f"d.{name}" for name in _WAKE],
        f"FROM {RUNS} AS d",
        where("d.wake_at IS NOT NULL", f"({order}) > (\n  {indented(after)}\n)"),
        f"ORDER BY {order}\n{_MOST}",
    )
    passed = select(
        [*(f"r.{name} AS {name}" for name in _MATCHED), "NULL AS after"],
        f"FROM q CROSS JOIN {RUNS} AS r ON r.id = q.id",
        where(f"r.id < {_BEFORE}", *_fit("r")),
    )
    last = select(
        [f"json_array({', '.join(_WAKE)}) AS after"],
        "FROM q",
        f"LIMIT 1 OFFSET {LOOK_ROWS - 1}",
    )
    ended = select([*["NULL"] * len(_MATCHED), "after"], f"FROM (\n  {indented(last)}\n)")
    return lines(common({"q": looked}), passed, "UNION ALL", ended)


def _fit(row: str) -> list[str]:
    """Return the conditions of what a list filters by, on a run ``r``.

    Args:
        row: ``r``, or another name under which all but the error is at hand already.
    """
    tagged = f"EXISTS (SELECT 1 FROM json_each({row}.tags) WHERE value = ?1 ->> '$.tag')"
    return [
        f"(?1 ->> '$.names' IS NULL OR {row}.job IN (SELECT value FROM json_each(?1, '$.names')))",
        f"(?1 ->> '$.schedule' IS NULL OR {row}.schedule_id = ?1 ->> '$.schedule')",
        f"(?1 ->> '$.key' IS NULL OR {row}.concurrency_key = ?1 ->> '$.key')",
        f"(?1 ->> '$.states' IS NULL OR {row}.state IN (SELECT value FROM json_each(?1, '$.states')))",
        f"(?1 ->> '$.tag' IS NULL OR CASE WHEN json_valid({row}.tags) THEN\n  {tagged}\nEND)",
        "(?1 ->> '$.error' IS NULL OR instr(r.error, ?1 ->> '$.error') > 0)",
    ]


def count_sql(*, named: bool) -> str:
    """Return the SQL that counts runs: (state, how many, whether there may be more).

    Args:
        named: whether those of one job are counted.
    """
    job = "d.job IN (SELECT value FROM json_each(?1))" if named else ""
    tables = {
        "s(state)": each_sql("state", "s", "d.wake_at IS NOT NULL"),
        "n": select(
            ["d.state AS state", "d.job AS job", "d.wake_at IS NULL AS rests"],
            f"FROM {RUNS} AS d",
            f"ORDER BY d.id DESC\nLIMIT {LOOK_ROWS} + 1",
        ),
    }
    waiting = up_to(RUNS, "d.state = s.state", "d.wake_at IS NOT NULL", ANY_PRIORITY if named else "", job)
    failed = up_to(RUNS, f"d.state = {quoted(FAILED)}", job)
    tables["k"] = lines(
        f"SELECT s.state AS state, {waiting} AS number",
        f"FROM s\nWHERE s.state IS NOT NULL AND s.state <> {quoted(FAILED)}",
        f"UNION ALL\nSELECT {quoted(FAILED)}, {failed}",
    )
    known = select(
        ["state", f"min(number, {LOOK_ROWS}) AS number", f"number > {LOOK_ROWS} AS more"],
        "FROM k",
        "WHERE number > 0",
    )
    rest = select(
        ["state", f"min(count(*), {LOOK_ROWS})", f"(SELECT count(*) FROM n) > {LOOK_ROWS}"],
        "FROM n AS d",
        where("d.rests", f"d.state <> {quoted(FAILED)}", job),
        "GROUP BY state",
    )
    return lines(common(tables), known, "UNION ALL", rest)


def each_sql(column: str, of: str, condition: str) -> str:
    """Return the recursive table ``of``: each value of a column of runs, by one look-up; the last is NULL."""
    first = f"SELECT min(d.{column}) FROM {RUNS} AS d WHERE {condition}"
    step = f"SELECT (\n  {first} AND d.{column} > {of}.{column}\n)\nFROM {of}\nWHERE {column} IS NOT NULL"
    return f"{first}\nUNION ALL\n{step}"


def up_to(table: str, *conditions: str) -> str:
    """Return the SQL for how many rows ``d`` there are, counted until they are more than are looked at."""
    counted = select(["1"], f"FROM {table} AS d", where(*conditions), f"LIMIT {LOOK_ROWS} + 1")
    return f"(SELECT count(*) FROM (\n  {indented(counted)}\n))"


def prunable_sql(settled: str, machines: str) -> str:
    """Return the SELECT of the ids of runs that may be pruned, the oldest first.

    Which may is said by ``rules``: before when a run must have settled, by job and state, and of the jobs
    that are not named there by state. Where nothing is said, a run stays.

    Unsettled runs may stand in the way, more than are looked at. So it looks at three places until it has
    enough: the oldest runs, the youngest that are old enough, and those below ``also``, drawn by the caller.

    Args:
        settled, machines: lists of the states and machines, as SQL.
    """
    own = "FROM json_each(?1, '$.rules.jobs') AS j WHERE j.key = o.job"
    before = lines(
        f"CASE WHEN EXISTS (SELECT 1 {own})",
        f"  THEN (SELECT j.value ->> o.state {own})",
        "  ELSE ?1 -> '$.rules.states' ->> o.state",
        "END",
    )
    old = f"o.finished_at < (\n  {indented(before)}\n)"
    fit = where(f"o.state IN ({settled})", f"o.machine IN ({machines})", old)
    columns = ["id", "state", "machine", "job", "finished_at"]
    places = [
        select(
            columns, f"FROM {RUNS}", f"WHERE id < {below}", f"ORDER BY {order}", f"{LIMIT} + {_IN_THE_WAY}"
        )
        for below, order in (
            ("?1 ->> '$.below'", "id"),
            ("?1 ->> '$.below'", "id DESC"),
            ("?1 ->> '$.also'", "id DESC"),
        )
    ]
    each = [lines(f"SELECT o.id FROM (\n  {indented(text)}\n) AS o", fit) for text in places]
    return lines("\nUNION ALL\n".join(each), LIMIT)
