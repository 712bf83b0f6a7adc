"""Who reads does not wait for those who read much."""

from __future__ import annotations

import asyncio
import threading

from kumofire_fsm.ports import Statement


def held(until: threading.Event) -> Statement:
    """Return a statement that may walk over many rows, and is executed once an event is set."""

    def anew() -> str:
        assert until.wait(600)
        return '"slow"'

    sql = "SELECT ?1 ->> '$' AS name"
    return Statement("things.slow", sql, '""', ("name",), reads=True, scans=True, anew=anew)


def test_no_other_read_waits_for_one_that_may_walk_over_many_rows(path, things):
    async def scenario() -> list[str]:
        async with things.opened(path) as storage:
            await storage.execute(things.put("quick"))
            go = threading.Event()
            slow = [asyncio.ensure_future(storage.execute(held(go))) for _ in range(3)]
            quick = await storage.execute(things.names())
            seen = ["quick" if not any(each.done() for each in slow) else "late"]
            go.set()
            await asyncio.gather(*slow)
            return [*seen, *(row[0] for row in quick)]

    assert asyncio.run(scenario()) == ["quick", "quick"]


def test_who_has_rows_does_not_wait_for_those_whose_turn_comes_later(path, things):
    async def scenario() -> list[object]:
        async with things.opened(path) as storage:
            go = threading.Event()
            reader = storage._reader  # whose thread gets both together
            first, last = reader.submit(lambda _: "first"), reader.submit(lambda _: go.wait(600))
            found = [await first, last.done()]
            go.set()
            return [*found, await last]

    assert asyncio.run(scenario()) == ["first", False, True]


def test_what_reads_much_reads_what_was_committed_before(path, things):
    async def scenario() -> list[tuple[str, ...]]:
        async with things.opened(path) as storage:
            names = things.names()
            scan = Statement(names.name, names.sql, names.argument, names.columns, reads=True, scans=True)
            seen = []
            for name in ("a", "b"):
                await storage.execute(things.put(name))
                seen.append(tuple(row[0] for row in await storage.execute(scan)))
            return seen

    assert asyncio.run(scenario()) == [("a",), ("a", "b")]
