"""`ctx.commit`, `prepare_create` and `send_hint` on D1, through the binding as the SDK wraps it and the raw proxy."""

from fakes import FakeBatch, FakeMessage
from shop import Shop

INSERT = "INSERT INTO orders (number, note) VALUES (?, ?)"
LARGE = "x" * 600  # over what a run's own row holds
KINDS = "CREATE TABLE kinds (place INTEGER PRIMARY KEY, whole INTEGER, part REAL, said TEXT, any_kind)"
BIG = 2**53 - 2
VALUES = [
    # The value; then, as SQL quotes it: as INTEGER, as REAL, as TEXT by CAST, with no affinity.
    (None, "NULL", "NULL", "NULL", "NULL"),
    (True, "1", "1.0", "'1.0'", "1.0"),
    (False, "0", "0.0", "'0.0'", "0.0"),
    (7, "7", "7.0", "'7.0'", "7.0"),
    (-BIG, f"-{BIG}", f"-{BIG}.0", f"'-{BIG}.0'", f"-{BIG}.0"),
    (0.1, "0.1", "0.1", "'0.1'", "0.1"),
    ("", "''", "''", "''", "''"),
    ("grüße 🎈", "'grüße 🎈'", "'grüße 🎈'", "'grüße 🎈'", "'grüße 🎈'"),
]


async def shop_that_commits(env, storage, statements, *, value="done", **options):
    """Return a shop whose job "order" commits these statements, and one run of it."""
    shop = Shop(env, storage=storage)
    await shop.open_orders()

    @shop.job("order", **options)
    async def order(ctx) -> str:
        shop.calls.append(ctx.attempt)
        ctx.commit(statements)
        return value

    return shop, await shop.create("order")


async def error_of(shop):
    ((text,),) = await shop.sql("SELECT error FROM kumofire_runs")
    return text.split("\n")[0]


# -- what is committed ------------------------------------------------------------------------------


async def test_values_are_bound_as_they_are(env, storage):
    rows = [
        (
            "INSERT INTO kinds (place, whole, part, said, any_kind) VALUES (?, ?, ?, CAST(? AS TEXT), ?)",
            [i, *[value] * 4],
        )
        for i, (value, *_) in enumerate(VALUES)
    ]
    shop, run_id = await shop_that_commits(env, storage, rows)
    await shop.sql(KINDS)
    assert await shop.deliver(run_id) == ["ack"]
    columns = "quote(whole) AS a, quote(part) AS b, quote(said) AS c, quote(any_kind) AS d"
    stored = await shop.sql(f"SELECT {columns} FROM kinds ORDER BY place")
    assert stored == [tuple(expected) for _, *expected in VALUES]


async def test_the_largest_integer_that_is_accepted_is_bound_exactly(env, storage):
    most = 2**53 - 2  # D1 is handed 2**53 - 1 as a BigInt, which it refuses, so it is refused before
    statements = [(INSERT, (most, "most")), (INSERT, (-most, "least"))]
    shop, run_id = await shop_that_commits(env, storage, statements, max_attempts=1)
    assert await shop.deliver(run_id) == ["ack"]
    assert await shop.found(run_id) == ("succeeded", 1)
    stored = await shop.sql("SELECT quote(number) AS number FROM orders ORDER BY orders.number")
    assert stored == [(f"-{most}",), (f"{most}",)]


async def test_statements_and_a_small_result_are_committed_together(env, storage):
    statements = ["INSERT INTO orders VALUES (1, 'bare')", (INSERT, (2, "tuple")), (INSERT, [3, "list"])]
    shop, run_id = await shop_that_commits(env, storage, statements)
    assert await shop.deliver(run_id) == ["ack"]
    assert await shop.orders() == [(1, "bare"), (2, "tuple"), (3, "list")]
    assert (await shop.jobs.get_status(run_id)).result == "done"


async def test_a_result_that_stands_in_a_row_of_its_own_is_committed_too(env, storage):
    shop, run_id = await shop_that_commits(env, storage, [(INSERT, (1, "row"))], value=LARGE)
    assert await shop.deliver(run_id) == ["ack"]
    assert (await shop.jobs.get_status(run_id)).result == LARGE
    assert await shop.sql("SELECT kind, length(body) FROM kumofire_bodies") == [("result", 602)]
    assert await shop.orders() == [(1, "row")]


async def test_a_message_that_comes_twice_commits_once(env, storage):
    shop, run_id = await shop_that_commits(env, storage, [(INSERT, (1, "row"))])
    assert await shop.deliver(run_id, run_id) == ["ack", "ack"]
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.orders()) == ([1], [(1, "row")])


# -- what is refused --------------------------------------------------------------------------------


async def test_a_violated_constraint_is_the_handlers_failure_and_keeps_nothing(env, storage):
    statements = [(INSERT, (1, "first")), (INSERT, (1, "again"))]
    shop, run_id = await shop_that_commits(env, storage, statements, max_attempts=2)
    assert await shop.deliver(run_id) == [2]
    assert (await shop.found(run_id), await shop.orders()) == (("retrying", 1), [])
    shop.clock.advance(2)
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id), await shop.orders()) == ([1, 2], ("failed", 2), [])
    said = await error_of(shop)
    assert said.startswith("CommitRefused: the database refused the handler's own statements: "), said
    assert "UNIQUE constraint failed: orders.number" in said, said


async def test_a_constraint_that_is_mended_meanwhile_is_no_obstacle(env, storage):
    shop, run_id = await shop_that_commits(env, storage, [(INSERT, (1, "row"))])
    await shop.sql("INSERT INTO orders VALUES (1, 'in the way')")
    assert await shop.deliver(run_id) == [2]
    await shop.sql("DELETE FROM orders")
    shop.clock.advance(2)
    assert await shop.deliver(run_id) == ["ack"]
    assert (await shop.found(run_id), await shop.orders()) == (("succeeded", 2), [(1, "row")])


async def test_an_error_in_the_sql_itself_is_the_handlers_failure(env, storage):
    wrong = {
        "INSERT INTO orders VALUE (1, 'x')": "syntax error",
        "INSERT INTO oders VALUES (1, 'x')": "no such table: oders",
        "INSERT INTO orders (nummer) VALUES (1)": "no column named nummer",
        "SELECT no_such_function(1)": "no such function",
    }
    for sql, text in wrong.items():
        await env.JOBS_DB.batch([env.JOBS_DB.prepare(each) for each in CLEAR])
        shop, run_id = await shop_that_commits(env, storage, [(INSERT, (1, "row")), sql], max_attempts=1)
        assert await shop.deliver(run_id) == ["ack"]
        assert (shop.calls, await shop.found(run_id), await shop.orders()) == ([1], ("failed", 1), [])
        said = await error_of(shop)
        assert said.startswith("CommitRefused: "), said
        assert text in said, said


CLEAR = ["DROP TABLE IF EXISTS orders", "DELETE FROM kumofire_runs"]


async def test_too_few_values_are_the_handlers_failure(env, storage):
    shop, run_id = await shop_that_commits(env, storage, [(INSERT, (1,))], max_attempts=1)
    assert await shop.deliver(run_id) == ["ack"]
    assert (await shop.found(run_id), await shop.orders()) == (("failed", 1), [])
    assert (await error_of(shop)).startswith("CommitRefused: ")


async def test_the_neighbours_of_a_refused_commit_succeed(env, storage):
    shop = Shop(env, storage=storage)
    await shop.open_orders()

    @shop.job("order")
    async def order(ctx, number: int) -> None:
        ctx.commit([(INSERT, (number, "row"))])

    ids = [await shop.create("order", number) for number in (1, 2, 2, 3)]
    dispositions = await shop.deliver(*ids)
    assert sorted(dispositions, key=str) == [2, "ack", "ack", "ack"]
    assert (dispositions[0], dispositions[3]) == ("ack", "ack")
    assert await shop.orders() == [(1, "row"), (2, "row"), (3, "row")]


# -- runs created in a transaction of the application -----------------------------------------------


async def test_a_handler_creates_further_runs_in_its_commit(env, storage):
    shop = Shop(env, storage=storage)

    @shop.job("first")
    async def first(ctx) -> None:
        small = ctx.jobs.prepare_create("second", "small")
        large = ctx.jobs.prepare_create("second", LARGE)
        keyed = ctx.jobs.prepare_create("second", "keyed", dedupe_key="k")
        again = ctx.jobs.prepare_create("second", "again", dedupe_key="k")
        for prepared in (small, large, keyed, again):
            ctx.commit(prepared.statements)

    @shop.job("second")
    async def second(ctx, payload: str) -> None:
        shop.calls.append(payload)

    assert await shop.deliver(await shop.create("first")) == ["ack"]
    sent = await shop.tick()
    assert len(sent) == 3
    assert await shop.deliver(*sent) == ["ack"] * 3
    assert sorted(shop.calls) == ["keyed", "small", LARGE]


def in_javascript(db, statements):
    """Return a list as ``db.batch`` of this form of the binding takes it."""
    from pyodide.ffi import JsProxy, to_js

    return to_js(statements) if isinstance(db, JsProxy) else statements


async def prepared_runs(env, storage, db):
    """Return a shop and three prepared runs: a small one, a large one, and one with a key."""
    shop = Shop(env, storage=storage)
    await shop.open_orders()

    @shop.job("pack")
    async def pack(ctx, payload: str) -> str:
        shop.calls.append(payload)
        return payload

    prepare = shop.jobs.prepare_create
    runs = [prepare("pack", "small"), prepare("pack", LARGE), prepare("pack", "keyed", dedupe_key="k")]
    return shop, runs, [statement for run in runs for statement in run.for_d1(db)]


async def test_the_callers_own_batch_creates_runs(env, storage):
    for db in (env.JOBS_DB, env._env.JOBS_DB):
        await env.JOBS_DB.batch([env.JOBS_DB.prepare(sql) for sql in CLEAR])
        shop, runs, statements = await prepared_runs(env, storage, db)
        mine = db.prepare("INSERT INTO orders VALUES (1, ?)").bind(runs[0].kumofire_job_run_id)
        answers = await db.batch(in_javascript(db, [mine, *statements]))
        ids = [run.new_id for run in runs]
        assert holder_of(answers) == ids[2]
        assert await shop.orders() == [(1, ids[0])]
        for run in runs:
            await shop.jobs.send_hint(run)
        assert shop.queue.sent == [(run_id, 0) for run_id in ids]
        assert await shop.deliver(*ids) == ["ack"] * 3
        assert sorted(shop.calls) == ["keyed", "small", LARGE]


def holder_of(answers):
    """Return the id in the last statement's one row, in whichever form the answers came."""
    *_, last = answers.to_py() if hasattr(answers, "to_py") else answers
    return last["results"][0]["id"]


async def test_the_callers_batch_that_fails_creates_nothing(env, storage):
    shop, runs, statements = await prepared_runs(env, storage, env.JOBS_DB)
    wrong = env.JOBS_DB.prepare("INSERT INTO orders VALUES (1, NULL)")
    try:
        await env.JOBS_DB.batch([*statements, wrong])
    except Exception as exc:
        assert "NOT NULL constraint failed" in str(exc), exc
    else:
        raise AssertionError("the batch was kept")
    assert await shop.sql("SELECT count(*) FROM kumofire_runs") == [(0,)]
    await shop.jobs.send_hint(runs[0])  # a hint for nothing is not sent
    assert shop.queue.sent == []
    assert await shop.deliver(runs[0].kumofire_job_run_id) == ["ack"]
    assert shop.calls == []


async def test_a_key_that_is_held_gives_the_older_run(env, storage):
    shop, runs, _ = await prepared_runs(env, storage, env.JOBS_DB)
    older = await shop.create("pack", "older", dedupe_key="k")
    *_, answer = await env.JOBS_DB.batch(runs[2].for_d1(env.JOBS_DB))
    assert answer["results"][0]["id"] == older
    assert await shop.sql("SELECT id FROM kumofire_runs") == [(older,)]


async def test_without_a_hint_the_tick_sends_what_was_created_so(env, storage):
    shop, runs, statements = await prepared_runs(env, storage, env.JOBS_DB)
    await env.JOBS_DB.batch(statements)
    ids = [run.new_id for run in runs]
    assert sorted(await shop.tick()) == sorted(ids)
    assert await shop.deliver(*ids) == ["ack"] * 3


async def test_a_hint_for_a_run_that_is_not_due_is_left_to_the_tick(env, storage):
    shop, *_ = await prepared_runs(env, storage, env.JOBS_DB)
    later = shop.jobs.prepare_create("pack", "later", delay=3600)
    await env.JOBS_DB.batch(later.for_d1(env.JOBS_DB))
    await shop.jobs.send_hint(later)
    assert (shop.queue.sent, await shop.tick()) == ([], [])
    await shop.jobs.consume_batch(FakeBatch([message := FakeMessage.of(later.kumofire_job_run_id)]))
    assert message.disposition == "ack"  # the tick sends one in time
