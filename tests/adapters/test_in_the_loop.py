"""What is short is done in the event loop's own thread; what waits or takes long is left to the connection's thread."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kumofire_fsm.adapters import _turns
from kumofire_fsm.adapters._turns import MOST_SKIPPED, Turns
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.ports import Statement

WHERE = Statement("where", "INSERT INTO things (name) SELECT thread() RETURNING name")
ELSE = Statement("else", "INSERT INTO things (name) SELECT 'else'")
READ = Statement("where", "SELECT thread()", reads=True)
LONG = (
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
    "SELECT thread(), max(i) FROM n"
)
LONG_READ = Statement("long", LONG, reads=True)
LONG_WRITE = Statement("long", f"INSERT INTO things (name, size) {LONG} WHERE true RETURNING name, size")


@pytest.fixture
def storage(path, things):
    """Open a storage whose connections know which thread uses them."""

    def know(db: sqlite3.Connection) -> None:
        db.create_function("thread", 0, here)

    @asynccontextmanager
    async def opened() -> AsyncIterator[SqliteStorage]:
        async with things.opened(path) as storage:
            await storage.call(know)
            await storage._reader.submit(know)
            yield storage

    return opened


def here() -> str:
    return str(threading.get_ident())


def test_short_statements_need_no_thread(storage, monkeypatch):
    monkeypatch.setattr(_turns, "SHORT_SECONDS", 3600.0)

    async def scenario() -> list[object]:
        async with storage() as opened:
            writes = [await opened.execute(WHERE), (await opened.batch([ELSE, READ]))[1]]
            return [row[0] for rows in (*writes, await opened.execute(READ)) for row in rows]

    assert asyncio.run(scenario()) == [here()] * 3


def test_a_function_of_unknown_length_is_left_to_the_thread(storage):
    async def scenario() -> str:
        async with storage() as opened:
            return await opened.call(lambda _: here())

    assert asyncio.run(scenario()) != here()


@pytest.mark.parametrize("statement", [LONG_READ, LONG_WRITE], ids=["read", "write"])
def test_a_long_statement_is_broken_off_and_done_once_by_the_thread(storage, statement, monkeypatch, stored):
    monkeypatch.setattr(_turns, "SHORT_SECONDS", 0.0)

    async def scenario() -> list[object]:
        async with storage() as opened:
            rows = await opened.execute(statement)
            return [rows[0][0] == here(), rows[0][1], len(rows)]

    assert asyncio.run(scenario()) == [False, 200_000, 1]
    assert len(stored()) == (statement is LONG_WRITE)


def test_what_shares_a_commit_with_a_long_statement_is_done_once_as_well(
    storage, things, monkeypatch, stored
):
    monkeypatch.setattr(_turns, "SHORT_SECONDS", 0.0)

    async def scenario() -> list[object]:
        async with storage() as opened:
            return await asyncio.gather(
                opened.execute(things.put("a")),
                opened.execute(things.put("a")),
                opened.execute(LONG_WRITE),
                opened.batch([things.put("b"), things.put("c")]),
                return_exceptions=True,
            )

    answers = asyncio.run(scenario())
    assert answers[0] == [("a",)]
    assert type(answers[1]) is RowRefused
    assert answers[3] == [[("b",)], [("c",)]]
    assert [name for name in stored() if not name.isdigit()] == ["a", "b", "c"]


def test_a_lock_of_another_program_does_not_stop_the_loop(storage, things, other, stored):
    async def scenario() -> bool:
        async with storage() as opened:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.ensure_future(opened.execute(things.put("late")))
            for _ in range(100):
                await asyncio.sleep(0)  # the loop turns
            waited = not writing.done()
            assert await opened.execute(things.names()) == []  # and reads
            other.execute("COMMIT")
            await writing
            return waited

    assert asyncio.run(scenario())
    assert stored() == ["late"]


def test_what_the_thread_has_is_not_overtaken(storage, things):
    async def scenario() -> list[str]:
        async with storage() as opened:
            busy, go = threading.Event(), threading.Event()
            ended: list[str] = []

            async def put(name: str) -> None:
                await opened.execute(things.put(name))
                ended.append(name)

            slow = asyncio.ensure_future(opened.call(lambda _: (busy.set(), go.wait(60))))
            await asyncio.to_thread(busy.wait, 60)
            first = asyncio.ensure_future(put("first"))
            await asyncio.sleep(0)
            second = asyncio.ensure_future(put("second"))
            await asyncio.sleep(0)
            go.set()
            await asyncio.gather(slow, first, second)
            return ended

    assert asyncio.run(scenario()) == ["first", "second"]


def test_what_takes_long_is_left_to_the_thread_ever_longer_and_forgiven_slowly(monkeypatch):
    turns, tried = Turns(), []
    for number in range(2000):
        if turns.allow():
            turns.begin()
            turns.end(handed_over=True)
            tried.append(number)
    gaps = [b - a - 1 for a, b in itertools.pairwise(tried)]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, MOST_SKIPPED, MOST_SKIPPED]
    monkeypatch.setattr(_turns, "SHORT_SECONDS", 3600.0)
    allowed = 0
    for _ in range(2 * MOST_SKIPPED):
        if turns.allow():
            turns.begin()
            assert not turns.is_over()
            turns.end(handed_over=False)
            allowed += 1
    assert allowed > MOST_SKIPPED  # one quick group, and those that follow are tried at once


def test_who_reads_again_and_again_lets_others_have_their_turn(storage, things):
    async def scenario() -> list[tuple[str]]:
        async with storage() as opened:
            ended = asyncio.Event()

            async def put() -> None:
                await opened.execute(things.put("theirs"))
                ended.set()

            writing = asyncio.ensure_future(put())
            while not ended.is_set():
                rows = await opened.execute(things.names())
            await writing
            return rows

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == [("theirs",)]
