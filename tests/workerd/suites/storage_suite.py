"""What every storage adapter does. The same tests run on an embedded file and, inside workerd, on D1.

Each takes a storage whose tables were just made.
"""

import json

from kumofire_fsm.errors import RowRefused, SchemaMismatch, StoreError
from kumofire_fsm.ports import Statement

EDGE = "INSERT INTO kumofire_edges (machine, source, target, wakes) SELECT value ->> 0, value ->> 1, value ->> 2, 0 "
ADD_EDGES = EDGE + "FROM json_each(?1) RETURNING target"
FIND_EDGES = "SELECT target FROM kumofire_edges WHERE machine = ?1 ->> '$' ORDER BY target"


def add(machine, *targets):
    rows = [[machine, "", target] for target in targets]
    return Statement("edges.add", ADD_EDGES, json.dumps(rows), ("target",))


def find(machine):
    return Statement("edges.find", FIND_EDGES, json.dumps(machine), ("target",), reads=True)


async def refusal(work):
    """Return the error that awaiting it raises."""
    try:
        await work
    except StoreError as exc:
        return exc
    raise AssertionError("it was not refused")


async def test_values_come_back_as_they_went_in(storage):
    values = [1, 0, -1, 1_792_000_000_123, 2**53 - 1, 1.5, "5", "5.0", "", "a'b\"\\\n", "日本 🔥", None]
    sql = "SELECT value FROM json_each(?1)"
    rows = await storage.execute(Statement("echo", sql, json.dumps(values), ("value",), reads=True))
    assert rows == [(value,) for value in values]
    assert [type(row[0]) for row in rows] == [type(value) for value in values]


async def test_columns_come_in_the_order_of_the_statement(storage):
    # JavaScript's objects put names that look like numbers first.
    sql = "SELECT 'z' AS z, 'a' AS a, 1 + 1 AS two, (SELECT 3) AS three, CASE WHEN true THEN 4 END AS \"1\""
    rows = await storage.execute(Statement("order", sql, None, ("z", "a", "two", "three", "1"), reads=True))
    assert rows == [("z", "a", 2, 3, 4)]


async def test_a_write_gives_back_its_rows(storage):
    assert await storage.execute(add("m", "one", "two")) == [("one",), ("two",)]
    assert await storage.execute(find("m")) == [("one",), ("two",)]


async def test_a_write_without_returning_gives_nothing(storage):
    deletion = Statement("edges.clear", "DELETE FROM kumofire_edges WHERE machine = ?1 ->> '$'", '"run"')
    assert await storage.execute(deletion) == []
    assert await storage.execute(find("run")) == []


async def test_a_statement_may_bind_its_parameters_one_by_one(storage):
    sql = "INSERT INTO kumofire_edges (machine, source, target, wakes) VALUES (?, ?, ?, ?) RETURNING target, wakes"
    edge = Statement("edges.own", sql, None, ("target", "wakes"), parameters=("m", "", "日本", 1))
    assert await storage.execute(edge) == [("日本", 1)]
    sql = "SELECT ?1 IS NULL AS missing, ?2 AS half, ?3 AS text"
    look = Statement("look", sql, None, ("missing", "half", "text"), reads=True, parameters=(None, 0.5, "5"))
    assert await storage.execute(look) == [(1, 0.5, "5")]


async def test_a_large_argument_and_many_rows_pass(storage):
    targets = [f"{i:04d}" + "x" * 900 for i in range(1000)]
    assert len(await storage.execute(add("m", *targets))) == len(targets)
    assert await storage.execute(find("m")) == [(target,) for target in targets]


async def test_a_batch_answers_each_statement_in_order(storage):
    answers = await storage.batch([add("m", "one"), find("m"), add("m", "two"), find("m")])
    assert answers == [[("one",)], [("one",)], [("two",)], [("one",), ("two",)]]


async def test_a_batch_of_one_is_a_batch(storage):
    assert await storage.batch([add("m", "one")]) == [[("one",)]]


async def test_an_error_undoes_a_whole_batch(storage):
    error = await refusal(storage.batch([add("m", "one"), add("run", "ready"), add("m", "two")]))
    assert isinstance(error, RowRefused), error
    assert await storage.execute(find("m")) == []


async def test_a_failed_statement_writes_nothing(storage):
    error = await refusal(storage.execute(add("m", "one", "one")))
    assert isinstance(error, RowRefused), error
    assert await storage.execute(find("m")) == []


async def test_the_storage_goes_on_after_an_error(storage):
    await refusal(storage.execute(add("m", "one", "one")))
    assert await storage.execute(add("m", "one")) == [("one",)]


async def test_a_trigger_refuses_with_its_own_words(storage):
    columns = (
        "id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts, shared, suspect, deliveries"
    )
    sql = (
        f"INSERT INTO kumofire_runs ({columns}, created_at, history) "
        "VALUES ('r', 'run', 'succeeded', NULL, 'j', 1, 0, 1, 0, 0, 0, 0, 1, '[]')"
    )
    error = await refusal(storage.execute(Statement("runs.wrong", sql)))
    assert isinstance(error, RowRefused), error
    assert "a row may not be created in this state" in str(error)


RUN = {
    "id": "r", "machine": "run", "state": "ready", "wake_at": 5, "job": "j", "run_at": 1, "attempt": 0,
    "max_attempts": 1, "starts": 0, "shared": 0, "suspect": 0, "deliveries": 0, "created_at": 1,
    "history": "[]", "dedupe_slot": "k", "schedule_id": None, "scheduled_for": None, "result": None,
    "finished_at": None,
}  # fmt: skip
"""A run as it is created, with a dedupe key."""


def put(verb, **changed):
    """Return the statement that inserts a run; it gives the ids that it inserted."""
    row = RUN | changed
    values = ", ".join("?" * len(row))
    sql = f"{verb} INTO kumofire_runs ({', '.join(row)}) VALUES ({values}) RETURNING id"
    return Statement("runs.put", sql, columns=("id",), parameters=tuple(row.values()))


def own(sql):
    return Statement("runs.own", sql, columns=("found",), parameters=())


async def test_no_insert_and_no_update_replaces_a_run(storage):
    assert await storage.execute(put("INSERT")) == [("r",)]
    leave = (
        "UPDATE kumofire_runs SET state = 'canceled', wake_at = NULL, finished_at = 9 RETURNING id AS found"
    )
    await storage.execute(own(leave))
    for verb in ("INSERT", "INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"):
        error = await refusal(storage.execute(put(verb, created_at=2)))
        assert "the row exists, and changes along its edges alone" in str(error), error
        assert isinstance(error, RowRefused), error
        for changed in ({}, {"id": "new"}):  # a repeated creation, and one whose key is held
            assert await storage.execute(put(verb, **changed)) == [], changed
    other = {"id": "other", "dedupe_slot": None, "schedule_id": "s", "scheduled_for": 3}
    assert await storage.execute(put("INSERT", **other)) == [("other",)]
    assert await storage.execute(put("REPLACE", **other | {"id": "new"})) == []
    take = "UPDATE OR REPLACE kumofire_runs SET dedupe_slot = 'k' WHERE id = 'other' RETURNING id AS found"
    assert "another run has this dedupe_slot" in str(await refusal(storage.execute(own(take))))
    change = "UPDATE kumofire_runs SET result = '1' WHERE id = 'r' RETURNING id AS found"
    assert "the run is settled" in str(await refusal(storage.execute(own(change))))
    kept = await storage.execute(own("SELECT id || ' ' || state AS found FROM kumofire_runs ORDER BY id"))
    assert kept == [("other ready",), ("r canceled",)]


async def test_a_missing_table_is_a_mismatch_of_the_schema(storage):
    error = await refusal(storage.execute(Statement("missing", "SELECT 1 FROM kumofire_missing", reads=True)))
    assert isinstance(error, SchemaMismatch), error


async def test_sql_that_is_none_is_an_error_of_the_store(storage):
    await refusal(storage.execute(Statement("wrong", "SELEC 1", reads=True)))
