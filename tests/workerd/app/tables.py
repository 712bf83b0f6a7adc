"""The tables of the database under test: dropped, and made again by the package's own migrations."""

from kumofire_fsm.store.schema import migrations

EVENTS = "CREATE TABLE harness_events (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, fact TEXT NOT NULL)"


async def read(db, sql):
    """Return the rows of a query without parameters, as dicts."""
    return (await db.prepare(sql).all())["results"]


async def rebuild(db, more=()):
    """Empty the database, migrate it, and execute what is given; return how many statements migrations have.

    Everything goes in one batch. D1's exec() would split the statements at line ends.
    """
    found = await read(db, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    old = [row["name"] for row in found if not row["name"].startswith(("_cf_", "sqlite_", "d1_"))]
    new = [statement for migration in migrations() for statement in migration.statements()]
    await db.batch(
        [db.prepare(sql) for sql in [*(f'DROP TABLE "{name}"' for name in old), *new, EVENTS, *more]]
    )
    return len(new)
