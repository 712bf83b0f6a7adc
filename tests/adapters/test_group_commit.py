"""Callers share commits, and yet each succeeds or fails alone."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.errors import RowRefused, StatementRefused, StoreError
from kumofire_fsm.ports import Statement


def test_what_is_submitted_in_one_turn_of_the_loop_shares_one_commit(path, things, stored):
    async def scenario() -> int:
        async with things.opened(path) as storage:
            await asyncio.gather(*(storage.execute(things.put(f"{i:03}")) for i in range(100)))
            return storage.group_commits

    assert asyncio.run(scenario()) == 1
    assert stored() == [f"{i:03}" for i in range(100)]


def test_single_statements_batches_and_functions_share_one_commit(path, things, stored):
    async def scenario() -> int:
        async with things.opened(path) as storage:
            await asyncio.gather(
                storage.execute(things.put("single")),
                storage.batch([things.put("batch-1"), things.put("batch-2")]),
                storage.call(lambda db: db.execute("INSERT INTO things (name) VALUES ('call')")),
            )
            return storage.group_commits

    assert asyncio.run(scenario()) == 1
    assert stored() == ["batch-1", "batch-2", "call", "single"]


def test_callers_that_wait_for_one_another_commit_one_by_one(path, things):
    async def scenario() -> int:
        async with things.opened(path) as storage:
            for i in range(5):
                await storage.execute(things.put(str(i)))
            return storage.group_commits

    assert asyncio.run(scenario()) == 5


def test_what_is_submitted_while_the_writer_is_busy_shares_the_next_commit(path, things):
    async def scenario() -> int:
        async with things.opened(path) as storage:
            busy, go = threading.Event(), threading.Event()

            def slow(db: sqlite3.Connection) -> None:
                db.execute("INSERT INTO things (name) VALUES ('slow')")
                busy.set()
                go.wait(60)

            first = asyncio.ensure_future(storage.call(slow))
            await asyncio.to_thread(busy.wait, 10)
            rest = []
            for i in range(20):  # each in a turn of its own
                rest.append(asyncio.ensure_future(storage.execute(things.put(str(i)))))
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            go.set()
            await asyncio.gather(first, *rest)
            return storage.group_commits

    assert asyncio.run(scenario()) == 2


def test_a_caller_resumes_only_after_its_commit(path, things, other):
    async def scenario() -> list[int]:
        async with things.opened(path) as storage:

            async def put_and_look(name: str) -> int:
                await storage.execute(things.put(name))
                return other.execute("SELECT count(*) FROM things WHERE name = ?", (name,)).fetchone()[0]

            return await asyncio.gather(*(put_and_look(str(i)) for i in range(50)))

    assert asyncio.run(scenario()) == [1] * 50


def test_a_failing_statement_fails_its_caller_alone(path, things, stored):
    async def scenario() -> tuple[list[object], int]:
        async with things.opened(path) as storage:
            answers = await asyncio.gather(
                storage.execute(things.put("a")),
                storage.execute(things.put("a")),
                storage.execute(things.put("b", size=-1)),
                storage.execute(Statement("typo", "INSRT INTO things")),
                storage.execute(things.put("c")),
                return_exceptions=True,
            )
            return answers, storage.group_commits

    answers, commits = asyncio.run(scenario())
    assert answers[0] == [("a",)]
    assert type(answers[1]) is RowRefused
    assert type(answers[2]) is RowRefused
    assert type(answers[3]) is StatementRefused
    assert answers[4] == [("c",)]
    assert stored() == ["a", "c"]
    assert commits == 1


LATER = "REFERENCES things (name) DEFERRABLE INITIALLY DEFERRED"
"""What is broken by this is told by the COMMIT, and not by the statement."""


@pytest.mark.parametrize("culprit", [0, 1, 2])
def test_a_commit_that_fails_for_one_caller_is_told_to_that_one_alone(path, things, stored, other, culprit):
    other.execute(f"CREATE TABLE needs (thing TEXT {LATER})")

    async def scenario() -> tuple[list[object], int]:
        async with things.opened(path) as storage:
            calls = [
                storage.execute(Statement("needs", "INSERT INTO needs VALUES ('nothing') RETURNING thing"))
                if place == culprit
                else storage.execute(things.put(f"{place}"))
                for place in range(3)
            ]
            return await asyncio.gather(*calls, return_exceptions=True), storage.group_commits

    answers, _ = asyncio.run(scenario())
    assert type(answers[culprit]) is RowRefused
    assert [a for a in answers if a is not answers[culprit]] == [
        [(f"{i}",)] for i in range(3) if i != culprit
    ]
    assert stored() == [f"{i}" for i in range(3) if i != culprit]
    assert other.execute("SELECT count(*) FROM needs").fetchone() == (0,)


def test_what_a_caller_did_alone_is_done_once_although_its_commit_fails(path, things, other):
    """Its statements are not tried a second time: a function may do more than write rows."""
    other.execute(f"CREATE TABLE needs (thing TEXT {LATER})")
    calls: list[int] = []

    def insert(db: sqlite3.Connection) -> None:
        calls.append(1)
        db.execute("INSERT INTO needs VALUES ('nothing')")

    async def scenario() -> None:
        async with things.opened(path) as storage:
            with pytest.raises(RowRefused):
                await storage.call(insert)

    asyncio.run(scenario())
    assert calls == [1]


def test_a_statement_that_fails_at_its_last_row_leaves_none_of_its_rows(path, things, stored):
    many = "INSERT INTO things (name, size) SELECT value, 1 - value FROM json_each('[0, 1, 2]')"

    async def scenario() -> list[object]:
        async with things.opened(path) as storage:
            return await asyncio.gather(
                storage.execute(things.put("before")),
                storage.execute(Statement("many", many)),
                storage.execute(things.put("after")),
                return_exceptions=True,
            )

    assert type(asyncio.run(scenario())[1]) is RowRefused
    assert stored() == ["after", "before"]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_failing_batch_leaves_nothing_and_its_neighbours_succeed(path, things, stored, position):
    batch = [things.put(f"batch-{i}", size=-1 if i == position else 0) for i in range(3)]

    async def scenario() -> tuple[list[object], int]:
        async with things.opened(path) as storage:
            answers = await asyncio.gather(
                storage.batch([things.put("left-1"), things.put("left-2")]),
                storage.batch(batch),
                storage.execute(things.put("right")),
                return_exceptions=True,
            )
            return answers, storage.group_commits

    answers, commits = asyncio.run(scenario())
    assert answers[0] == [[("left-1",)], [("left-2",)]]
    assert type(answers[1]) is RowRefused
    assert answers[2] == [("right",)]
    assert stored() == ["left-1", "left-2", "right"]
    assert commits == 1


@pytest.mark.parametrize("error", [sqlite3.IntegrityError("no"), ValueError("no")], ids=["sqlite", "python"])
def test_a_failing_function_leaves_nothing_of_what_it_did(path, things, stored, error):
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO things (name) VALUES ('half')")
        raise error

    async def scenario() -> list[object]:
        async with things.opened(path) as storage:
            return await asyncio.gather(
                storage.execute(things.put("neighbour")), storage.call(half), return_exceptions=True
            )

    answers = asyncio.run(scenario())
    assert isinstance(answers[1], (StoreError, ValueError))
    assert stored() == ["neighbour"]


def test_a_statement_of_a_batch_sees_those_before_it(path, things):
    count = Statement("count", "SELECT count(*) FROM things", reads=True)

    async def scenario() -> list[list[tuple]]:
        async with things.opened(path) as storage:
            return await storage.batch([count, things.put("a"), count, things.put("b"), count])

    assert asyncio.run(scenario()) == [[(0,)], [("a",)], [(1,)], [("b",)], [(2,)]]


def test_an_empty_batch_answers_nothing(path, things):
    async def scenario() -> list[list[tuple]]:
        async with things.opened(path) as storage:
            return await storage.batch([])

    assert asyncio.run(scenario()) == []


def test_reads_do_not_wait_for_the_writer_and_see_what_was_committed(path, things):
    async def scenario() -> tuple[list, bool]:
        async with things.opened(path) as storage:
            await storage.execute(things.put("committed"))
            busy, go = threading.Event(), threading.Event()

            def slow(db: sqlite3.Connection) -> None:
                db.execute("INSERT INTO things (name) VALUES ('under way')")
                busy.set()
                go.wait(60)

            writing = asyncio.ensure_future(storage.call(slow))
            await asyncio.to_thread(busy.wait, 10)
            seen = await asyncio.wait_for(storage.execute(things.names()), 5)
            waited = writing.done()
            go.set()
            await writing
            return seen, waited

    assert asyncio.run(scenario()) == ([("committed",)], False)


def test_a_failing_read_fails_its_caller_alone(path, things):
    typo = Statement("typo", "SELECT nothing FROM nowhere", reads=True)

    async def scenario() -> list[object]:
        async with things.opened(path) as storage:
            reads = [things.names(), typo, things.names()]
            return await asyncio.gather(*map(storage.execute, reads), return_exceptions=True)

    answers = asyncio.run(scenario())
    assert [answers[0], answers[2]] == [[], []]
    assert isinstance(answers[1], StoreError)


def test_a_caller_cancelled_while_its_statement_is_queued_does_not_disturb_its_group(path, things, stored):
    async def scenario() -> list[object]:
        async with things.opened(path) as storage:
            busy, go = threading.Event(), threading.Event()
            first = asyncio.ensure_future(storage.call(lambda _: (busy.set(), go.wait(60))))
            await asyncio.to_thread(busy.wait, 10)
            tasks = [asyncio.ensure_future(storage.execute(things.put(str(i)))) for i in range(4)]
            failing = asyncio.ensure_future(storage.execute(things.put("bad", size=-1)))
            await asyncio.sleep(0.01)
            tasks[1].cancel()
            failing.cancel()
            go.set()
            await first
            return await asyncio.gather(*tasks, failing, return_exceptions=True)

    answers = asyncio.run(scenario())
    assert [answers[0], answers[2], answers[3]] == [[("0",)], [("2",)], [("3",)]]
    assert [type(answers[1]), type(answers[4])] == [asyncio.CancelledError] * 2
    assert set(stored()) - {"1"} == {"0", "2", "3"}


def test_a_storage_whose_callers_were_all_cancelled_goes_on(path, things):
    async def scenario() -> list:
        async with things.opened(path) as storage:
            tasks = [asyncio.ensure_future(storage.execute(things.put(str(i)))) for i in range(5)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return await asyncio.wait_for(storage.execute(things.put("next")), 5)

    assert asyncio.run(scenario()) == [("next",)]


def test_close_finishes_what_was_submitted(path, things, stored):
    async def scenario() -> list[object]:
        async with things.opened(path) as storage:
            tasks = [asyncio.ensure_future(storage.execute(things.put(str(i)))) for i in range(9)]
            await asyncio.sleep(0)
        return await asyncio.wait_for(asyncio.gather(*tasks), 5)

    assert asyncio.run(scenario()) == [[(str(i),)] for i in range(9)]
    assert stored() == [str(i) for i in range(9)]


def test_close_may_be_called_twice_and_before_any_use(path, things):
    async def scenario() -> None:
        async with things.opened(path) as storage:
            await storage.close()
        async with things.opened(path) as storage:
            await storage.execute(things.put("a"))
            await storage.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("use", ["execute", "read", "batch", "call", "data_version"])
def test_use_after_close_is_refused_and_reopens_nothing(path, things, use):
    async def scenario() -> None:
        async with things.opened(path) as storage:
            await storage.execute(things.put("a"))
        before = threading.active_count()
        calls = {
            "execute": lambda: storage.execute(things.put("b")),
            "read": lambda: storage.execute(things.names()),
            "batch": lambda: storage.batch([things.put("b"), things.put("c")]),
            "call": lambda: storage.call(lambda db: db.execute("SELECT 1")),
        }
        try:
            with pytest.raises(StoreError, match="closed"):
                storage.data_version() if use == "data_version" else await calls[use]()
            assert threading.active_count() == before
        finally:
            await storage.close()

    asyncio.run(scenario())


def test_what_is_submitted_while_the_storage_closes_is_refused_and_the_close_ends(path, things, stored):
    """A second thread on the same inbox would take the first one's order to end, and close would wait for ever."""

    async def scenario() -> None:
        async with things.opened(path) as storage:
            busy, go = threading.Event(), threading.Event()
            first = asyncio.ensure_future(storage.call(lambda _: (busy.set(), go.wait(60))))
            await asyncio.to_thread(busy.wait, 10)
            closing = asyncio.ensure_future(storage.close())
            await asyncio.sleep(0.02)
            late = asyncio.ensure_future(storage.execute(things.put("late")))
            await asyncio.sleep(0.02)
            go.set()
            await asyncio.wait({closing, late}, timeout=600)
            closed, refused = closing.done(), late.done() and isinstance(late.exception(), StoreError)
            storage._writer._inbox.put(None)  # so that a failing test ends, too
            await asyncio.gather(first, closing)
            late.cancel()
            assert closed, "close waits for ever"
            assert refused

    asyncio.run(scenario())
    assert stored() == []


def test_a_storage_serves_one_event_loop_after_another(path, things):
    """Scripts call asyncio.run several times; an answer must never go to a loop that has ended."""
    storage = None

    async def first() -> None:
        nonlocal storage
        storage = SqliteStorage(path)
        await storage.execute(things.put("first"))

    async def second() -> list:
        try:
            await asyncio.wait_for(storage.execute(things.put("second")), 3)
            return await asyncio.wait_for(storage.execute(things.names()), 3)
        finally:
            await storage.close()

    asyncio.run(first())
    assert asyncio.run(second()) == [("first",), ("second",)]


def test_memory_is_a_database_of_its_own(things):
    async def scenario() -> tuple:
        async with things.opened(":memory:") as one, things.opened(":memory:") as two:
            for storage in (one, two):
                await storage.execute(Statement("create", things.table))
            await asyncio.gather(*(one.execute(things.put(str(i))) for i in range(3)))
            failed = await asyncio.gather(
                one.batch([things.put("x"), things.put("y", size=-1)]), return_exceptions=True
            )
            return (
                await one.execute(things.names()),
                await two.execute(things.names()),
                type(failed[0]),
                one.data_version() == one.data_version(),
            )

    assert asyncio.run(scenario()) == ([("0",), ("1",), ("2",)], [], RowRefused, True)


@pytest.mark.parametrize(
    ("option", "value"), [({}, 2), ({"synchronous": "NORMAL"}, 1), ({"synchronous": "OFF"}, 0)]
)
def test_commits_are_durable_unless_an_option_relaxes_them(path, things, option, value):
    async def scenario() -> tuple:
        async with things.opened(path, **option) as storage:
            pragma = "SELECT * FROM pragma_journal_mode, pragma_synchronous, pragma_foreign_keys"
            return (await storage.call(lambda db: db.execute(pragma).fetchall()))[0]

    assert asyncio.run(scenario()) == ("wal", value, 1)


def test_data_version_changes_when_another_connection_commits_and_only_then(path, things, other):
    async def scenario() -> list[bool]:
        async with things.opened(path) as storage:
            await storage.execute(things.put("ours"))
            changed, seen = [], storage.data_version()
            steps = [
                lambda: None,
                lambda: other.execute("INSERT INTO things (name) VALUES ('theirs')"),
                lambda: other.execute("SELECT * FROM things").fetchall(),
                lambda: other.execute("BEGIN IMMEDIATE"),
                lambda: other.execute("INSERT INTO things (name) VALUES ('undone')"),
                lambda: other.execute("ROLLBACK"),
                lambda: other.execute("DELETE FROM things"),
            ]
            for step in steps:
                step()
                version = storage.data_version()
                changed.append(version != seen)
                seen = version
            await storage.execute(things.put("ours again"))
            return [*changed, storage.data_version() != seen]

    assert asyncio.run(scenario()) == [False, True, False, False, False, False, True, False]


def test_a_failing_look_at_the_data_version_is_an_error_of_ours(path, things):
    async def scenario() -> None:
        async with things.opened(path) as storage:
            await storage.execute(things.put("a"))
            storage._writer._db.close()
            with pytest.raises(StoreError):
                storage.data_version()

    asyncio.run(scenario())


def test_while_the_writer_is_busy_the_data_version_is_the_last_one_seen(path, things, other):
    async def scenario() -> tuple[bool, bool]:
        async with things.opened(path) as storage:
            await storage.execute(things.put("ours"))
            other.execute("INSERT INTO things (name) VALUES ('theirs')")
            first = storage.data_version()
            busy, go = threading.Event(), threading.Event()
            writing = asyncio.ensure_future(storage.call(lambda db: (busy.set(), go.wait(60))))
            await asyncio.to_thread(busy.wait, 60)
            other_seen = storage.data_version() == first
            go.set()
            await writing
            other.execute("INSERT INTO things (name) VALUES ('theirs again')")
            return other_seen, storage.data_version() != first

    assert asyncio.run(scenario()) == (True, True)
