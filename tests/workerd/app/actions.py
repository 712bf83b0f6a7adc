"""What the Worker does on request: look at itself, run SQL, rebuild the tables, run a test of a suite."""

import json
import sys
from importlib import metadata

import tables
from metered import MeteredD1
from suite_runner import run_suite

import kumofire_fsm


async def facts(env):
    """Return what is installed here, and from where."""
    return {
        "file": kumofire_fsm.__file__,
        "version": metadata.version("kumofire_fsm"),
        "python": sys.version,
        "platform": sys.platform,
        "requires": metadata.requires("kumofire_fsm"),
        "installed": {each.name: each.version for each in metadata.distributions()},
    }


async def rebuild(env):
    """Drop every table, and apply the migrations of the installed package."""
    return {"statements": await tables.rebuild(env.JOBS_DB)}


async def sql(env, statements, *, batch=False):
    """Run [sql, argument or None] pairs; return rows and meta of each, or the error."""
    db = MeteredD1(env.JOBS_DB)
    prepared = [
        db.prepare(text) if argument is None else db.prepare(text).bind(argument)
        for text, argument in statements
    ]
    try:
        answers = await db.batch(prepared) if batch else [await each.all() for each in prepared]
    except Exception as exc:
        return {"error": str(exc), "calls": db.calls}
    return {"rows": [answer["results"] for answer in answers], "calls": db.calls}


async def send(env, messages):
    """Send [body, delay in seconds] pairs to the real queue, in one batch."""
    await env.JOBS_QUEUE.sendBatch(
        [{"body": body, "contentType": "json", "delaySeconds": delay} for body, delay in messages]
    )
    return {"sent": len(messages)}


async def events(env):
    """Return what `consumer` wrote down, in order."""
    rows = await tables.read(env.JOBS_DB, "SELECT kind, fact FROM harness_events ORDER BY id")
    return [[row["kind"], json.loads(row["fact"])] for row in rows]


BY_PATH = {f"/{action.__name__}": action for action in (facts, rebuild, sql, send, events, run_suite)}
