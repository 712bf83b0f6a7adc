"""Every column of every table, and what may stand in it: STRICT tables keep the type, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

from fakes import START
from harness import Bound
from slices import sliced

from kumofire_fsm.store.schema import migrate
from kumofire_fsm.values.times import LAST_MS

NOW = int(START.timestamp() * 1000)
TABLES = (
    "kumofire_runs", "kumofire_bodies", "kumofire_schedules", "kumofire_controls", "kumofire_paces", "kumofire_edges", "kumofire_schema",
)  # fmt: skip


class Column(NamedTuple):
    """A column, as the schema declares it."""

    table: str
    name: str
    is_text: bool
    nullable: bool

    def __str__(self) -> str:
        return f"{self.table.removeprefix('kumofire_')}.{self.name}"


class Raw(bytes):
    """The bytes of a text that is no UTF-8."""


def columns() -> list[Column]:
    """Return every column of every table that the migrations make."""
    with closing(sqlite3.connect(":memory:")) as db:
        migrate(db)
        found = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert sorted(found) == sorted(TABLES), "a table is not fuzzed"
        listed = []
        for table in TABLES:
            for _, name, kind, not_null, _, key in db.execute(f"PRAGMA table_info({table})"):
                assert kind in ("TEXT", "INTEGER"), "a type that is not fuzzed"
                listed.append(Column(table, name, kind == "TEXT", not not_null and not key))
        return listed


INTEGERS = [
    0, 1, -1, 7, 2**31, 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**53), -(2**62), -(2**63),
    NOW, NOW + 1, NOW // 1000, NOW * 1000, NOW * 1_000_000, LAST_MS, LAST_MS + 1, 1_000_000, 1_000_001,
]  # fmt: skip
"""Every magnitude: counts, seconds, milliseconds, microseconds, and what overflows when it is added to."""
DEEP = "[" * 2000 + "]" * 2000
PLAIN = [
    "", " ", "0", "-1", "text", "null", "true", "nul", "é 🦶 \u2028", "a\0b", "\0", "x" * 70_000, "run", "job", "ready", "succeeded",
    Raw(b"caf\xe9"), Raw(b'["\xff"]'),
]  # fmt: skip
JSON = [
    "[", "{", "[]", "{}", "[[]]", "[5]", "[null]", '["a", 5]', '[["a"]]', '[["a", "b", "c"]]', '[["a", "b", -9e99]]', '[["a", "b", 1e400]]',
    '[["a", "b", 9e18, 5]]', '[[5, "b", 1]]', '[[["a"], "b", 1]]', '[["a", "b", 1, [1]]]', "NaN", "1e400", DEEP,
    '{"max_attempts": -1}', '{"max_attempts": 1e9}', '{"max_attempts": true}', '{"tags": 5}', '{"tags": [5]}', '{"tags": {"a": 1}}',
    '{"tags": ["' + "x" * 65 + '"]}',
]  # fmt: skip
RULES = [
    json.dumps(rule)
    for rule in (
        {"every_ms": 0, "anchor_ms": 0}, {"every_ms": 1, "anchor_ms": 0}, {"every_ms": 999, "anchor_ms": NOW}, {"every_ms": -60_000, "anchor_ms": 0},
        {"every_ms": 2**62, "anchor_ms": 0}, {"every_ms": 60_000, "anchor_ms": 2**62}, {"every_ms": 60_000, "anchor_ms": -(2**62)},
        {"every_ms": 60_000, "anchor_ms": NOW * 1000}, {"every_ms": True, "anchor_ms": False}, {"every_ms": 1e300, "anchor_ms": 0}, {"every_ms": "5"},
        {"every_ms": 10**400, "anchor_ms": 0}, {"every_ms": 60_000.5, "anchor_ms": 0}, {"at_ms": 2**62}, {"at_ms": -1}, {"at_ms": NOW + 60_000, "end_at": 5},
        {"cron": "* * * * *", "timezone": ""}, {"cron": "", "timezone": "UTC"}, {"cron": "* * * * *", "timezone": "Mars/Olympus"},
        {"cron": "* * * * *", "timezone": "../../etc/passwd"}, {"cron": "0 0 30 2 *", "timezone": "UTC"}, {"cron": "*/90 * * * *", "timezone": "UTC"},
        {"cron": 5, "timezone": 5}, {"cron": [], "timezone": {}}, {"cron": "x" * 2000, "timezone": "UTC"},
    )
] + [
    json.dumps({"every_ms": 60_000, "anchor_ms": NOW, name: value})
    for name, values in {
        "start_at": (2**62, "a", True, -1), "end_at": (2**62, 0, -(2**62), 1.5, []), "max_occurrences": (0, -1, 1.5, "3", True, 2**62),
        "jitter_ms": (-1, 2**62, 10**30, "5", None, True), "grace_ms": (-1, 2**62, None, 1.5), "misfire": ("never", 5, None, [], {}),
        "overlap": ("none", 5, None, ["skip"]),
    }.items()
    for value in values
]  # fmt: skip


PARTS = 24
"""Of what is not tried each time, one part is."""
ALWAYS = (2**62, -(2**63), NOW * 1000, "\0", "{", '{"every_ms": 1, "anchor_ms": 0}', Raw(b"caf\xe9"))


def values(column: Column) -> list[Any]:
    """Return values that may stand in a column: some always, and a part of all others."""
    every = permitted(column)
    rest = [value for value in every if value is not None and value not in ALWAYS]
    return [value for value in every if value is None or value in ALWAYS] + sliced(rest, PARTS)


def permitted(column: Column) -> list[Any]:
    """Return what may stand in a column: every type and magnitude that a STRICT table permits."""
    found: list[Any] = [None] if column.nullable else []
    if not column.is_text:
        return found + INTEGERS
    if column.name == "id":  # one that no JSON argument can carry names no row to anybody
        return [each for each in PLAIN + JSON if not isinstance(each, Raw) and "\0" not in each]
    return found + PLAIN + JSON + (RULES if column.name == "schedule" else [])


async def put(w: Bound, column: Column, value: Any, where: str = "true", *arguments: Any) -> int:
    """Write a value into a column of some rows, as somebody may who goes past the triggers; return of how many.

    What another constraint refuses, such as a key that is taken, is left out.
    """
    triggers = await w.sql("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    given = "CAST(? AS TEXT)" if isinstance(value, Raw) else "?"

    def write(db: sqlite3.Connection) -> int:
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        keys = {
            "kumofire_bodies": "owner, kind",
            "kumofire_edges": "machine, source, target",
            "kumofire_schema": "version",
            "kumofire_controls": "job",
            "kumofire_paces": "job, key",
        }
        key = keys.get(column.table, "id")
        db.text_factory = bytes
        rows = db.execute(f"SELECT {key} FROM {column.table} WHERE {where}", arguments).fetchall()
        db.text_factory = str
        done = 0
        for row in rows:
            one = " AND ".join(
                f"{each} = {'?' if isinstance(it, int) else 'CAST(? AS TEXT)'}"
                for each, it in zip(key.split(", "), row, strict=True)
            )
            try:
                done += db.execute(
                    f"UPDATE {column.table} SET {column.name} = {given} WHERE {one}", (value, *row)
                ).rowcount
            except sqlite3.IntegrityError:
                continue
        for _, sql in triggers:
            db.execute(sql)
        return done

    changed: int = await w.storage.inner.call(write)
    return changed


def chunks(listed: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
