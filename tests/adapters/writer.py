"""Inserts many things into a file, some at once; prints how many were stored. Started by a test."""

from __future__ import annotations

import asyncio
import json
import sys

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.ports import Statement

SQL = "INSERT INTO things (name) SELECT ?1 ->> 0 RETURNING name"


async def main(path: str, name: str, count: int, at_once: int) -> None:
    """Insert ``count`` things with ``at_once`` callers; any error ends the program."""
    storage = SqliteStorage(path)
    stored = 0

    async def caller(first: int) -> None:
        nonlocal stored
        for i in range(first, count, at_once):
            statement = Statement("put", SQL, json.dumps([f"{name}-{i:04}"]), ("name",))
            rows = await storage.execute(statement)
            stored += len(rows)
            await storage.execute(Statement("count", "SELECT count(*) FROM things", reads=True))

    async with asyncio.TaskGroup() as group:
        for i in range(at_once):
            group.create_task(caller(i))
    await storage.close()
    print(stored)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
