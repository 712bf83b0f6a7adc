"""Code and schema of different ages on D1: what goes on, what is refused, and that nothing is lost meanwhile."""

from fakes import FakeBatch, FakeMessage
from shop import Shop

from kumofire_fsm.errors import SchemaMismatch, StoreError, UnknownJob
from kumofire_fsm.values.message import message_body

COMMAND = "run: kumofire migrate MODULE:APP --remote --d1 NAME "
LATER = [10]  # a message that met a failing database, in seconds
UNKNOWN_JOB = [60]


def shop_with_a_job(env):
    shop = Shop(env)

    @shop.job("work")
    async def work(ctx) -> str:
        shop.calls.append(ctx.attempt)
        return "done"

    return shop


async def refusal(work):
    try:
        await work
    except SchemaMismatch as exc:
        return str(exc)
    raise AssertionError("it was not refused")


async def migrate_further(env, *statements, version, serves):
    """Apply a migration that this code does not know."""
    record = f"INSERT INTO kumofire_schema (version, serves) VALUES ({version}, {serves})"
    await env.JOBS_DB.batch([env.JOBS_DB.prepare(sql) for sql in [*statements, record]])


# -- the schema -------------------------------------------------------------------------------------


async def test_a_newer_schema_that_serves_this_code_changes_nothing(env):
    shop = shop_with_a_job(env)
    older = await shop.create("work")
    wider = "ALTER TABLE kumofire_runs ADD COLUMN weight INTEGER NOT NULL DEFAULT 0"
    await migrate_further(env, wider, version=2, serves=1)
    newer = await shop.create("work")
    later = await shop.create("work", delay=3600)
    assert await shop.deliver(older, newer) == ["ack", "ack"]
    shop.clock.advance(3600)
    assert await shop.tick() == [later]
    assert await shop.deliver(later) == ["ack"]
    assert shop.calls == [1, 1, 1]


async def test_no_statement_looks_at_the_version(env):
    shop = shop_with_a_job(env)
    shop.db.reset()
    await shop.deliver(await shop.create("work"))
    await shop.tick()
    await shop.jobs.create_schedule("work", every=60)
    texts = [text for trip in shop.db.trips for text in trip]
    assert len(texts) >= 6
    assert [text for text in texts if "kumofire_schema" in text] == []


async def test_a_table_that_is_missing_names_the_command(env):
    shop = shop_with_a_job(env)
    await shop.jobs.get_status("0" * 32)
    for table in ("kumofire_runs", "kumofire_schedules", "kumofire_schema"):
        await shop.sql(f"DROP TABLE {table}")
    for work in (
        shop.create("work"),
        shop.jobs.get_status("0" * 32),
        shop.tick(),
        shop.jobs.create_schedule("work", every=60),
    ):
        said = await refusal(work)
        assert said.startswith(f"the database has no schema of kumofire_fsm yet; {COMMAND}"), said
        assert "no such table" in said, said


async def test_a_column_that_an_older_schema_lacks_names_the_command(env):
    shop = shop_with_a_job(env)
    await shop.sql("ALTER TABLE kumofire_runs DROP COLUMN progress")
    await shop.sql("UPDATE kumofire_schema SET version = 0, serves = 0")
    assert COMMAND in await refusal(shop.jobs.get_status("0" * 32))


async def test_a_newer_schema_that_no_longer_serves_this_code_says_so_when_a_statement_fails(env):
    shop = shop_with_a_job(env)
    await migrate_further(env, "ALTER TABLE kumofire_runs RENAME TO kumofire_runs_2", version=3, serves=2)
    said = await refusal(shop.jobs.get_status("0" * 32))
    assert "has schema 3, which serves code for schema 2 and newer" in said
    assert "deploy a newer kumofire_fsm" in said


async def test_a_schema_that_no_longer_fits_keeps_every_message_and_run(env):
    shop = shop_with_a_job(env)
    run_id = await shop.create("work")
    await shop.sql("ALTER TABLE kumofire_runs RENAME TO kumofire_runs_2")
    for _ in range(3):
        assert await shop.deliver(run_id) == LATER
    try:
        await shop.tick()
    except StoreError:
        pass
    else:
        raise AssertionError("it was not refused")
    await shop.sql("ALTER TABLE kumofire_runs_2 RENAME TO kumofire_runs")
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))


# -- jobs and messages of newer code ----------------------------------------------------------------


async def test_a_run_of_an_unknown_job_waits_for_newer_code(env):
    newer = Shop(env)

    @newer.job("novelty")
    async def novelty(ctx) -> str:
        newer.calls.append(ctx.attempt)
        return "done"

    run_id = await newer.create("novelty")
    older = shop_with_a_job(env)
    known = await older.create("work")
    for _ in range(10):
        assert await older.deliver(run_id) == UNKNOWN_JOB
    assert await older.deliver(run_id, known) == [*UNKNOWN_JOB, "ack"]
    older.clock.advance(hours=6)
    assert await older.tick() == []  # its hint is sent by code that knows the job
    assert await older.found(run_id) == ("queued", 0)
    newer.clock.advance(hours=6)
    assert await newer.tick() == [run_id]
    assert await newer.deliver(run_id) == ["ack"]
    assert (newer.calls, await newer.found(run_id)) == ([1], ("succeeded", 1))


async def test_a_run_of_an_unknown_machine_waits_for_newer_code(env):
    shop = shop_with_a_job(env)
    run_id = await shop.create("work")
    # Its machine is fixed by triggers, which a migration may drop.
    await shop.sql("DROP TRIGGER kumofire_runs_fixed")
    await shop.sql("DROP TRIGGER kumofire_runs_version")
    await shop.sql("UPDATE kumofire_runs SET machine = 'review'")
    assert await shop.deliver(run_id) == UNKNOWN_JOB
    shop.clock.advance(hours=6)
    assert await shop.tick() == []
    assert (shop.calls, await shop.found(run_id)) == ([], ("queued", 0))


async def test_an_unknown_job_cannot_be_created(env):
    shop = shop_with_a_job(env)
    try:
        await shop.create("novelty")
    except UnknownJob as exc:
        assert str(exc) == "no job 'novelty' is registered; registered are: work"
    else:
        raise AssertionError("it was created")


async def test_a_message_of_a_newer_version_is_retried_and_starts_nothing(env):
    shop = shop_with_a_job(env)
    run_id = await shop.create("work")
    message = FakeMessage({**message_body(run_id), "version": 2})
    await shop.jobs.consume_batch(FakeBatch([message]))
    assert (message.disposition, shop.calls) == (0, [])
