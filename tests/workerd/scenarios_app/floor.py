"""The least that durable jobs cost by hand: the same table, the same statements in number, and no library."""

import json

from kumofire_fsm.adapters.system import SystemClock, SystemEntropy
from kumofire_fsm.values.ids import new_id

HUNDRED = 100
SETTLE = 25
COLUMNS = (
    "id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts, shared, suspect, deliveries, "
    "created_at, payload, history"
)
INSERT = (
    f"INSERT INTO kumofire_runs ({COLUMNS}) SELECT value ->> 0, 'run', 'queued', value ->> 1, 'floor', value ->> 1, "
    "0, 1, 0, 0, 0, 0, value ->> 1, value ->> 2, '[]' FROM json_each(?1)"
)
CLAIM = (
    "UPDATE kumofire_runs SET state = 'running', wake_at = ?1 ->> '$.until', attempt = attempt + 1, "
    "starts = starts + 1, claim = ?1 ->> '$.claim' WHERE state = 'queued' "
    "AND id IN (SELECT value FROM json_each(?1, '$.ids')) RETURNING id, payload"
)
SETTLED = (
    "UPDATE kumofire_runs SET state = 'succeeded', wake_at = NULL, finished_at = ?1 ->> '$.now', "
    "result = a.result FROM (SELECT value ->> 0 AS id, value ->> 1 AS result FROM json_each(?1, '$.rows')) AS a "
    "WHERE kumofire_runs.id = a.id AND state = 'running' AND claim = ?1 ->> '$.claim' RETURNING kumofire_runs.id"
)


async def run(db, sql, argument):
    return (await db.prepare(sql).bind(json.dumps(argument)).all())["results"]


async def create(env, count):
    """Store so many rows and send their messages, a hundred at a time."""
    now, entropy = SystemClock().now(), SystemEntropy()
    for start in range(0, count, HUNDRED):
        rows = [[new_id(now, entropy), now, str(number)] for number in range(start, start + HUNDRED)]
        await run(env.JOBS_DB, INSERT, rows)
        messages = [{"body": {"id": row[0]}, "contentType": "json"} for row in rows]
        await env.FLOOR_QUEUE.sendBatch(messages)


async def consume(env, batch):
    """Claim a batch by one statement, settle it by 25, and acknowledge."""
    now, claim = SystemClock().now(), SystemEntropy().token(8).hex()
    ids = [message.body["id"] for message in batch.messages]
    rows = await run(env.JOBS_DB, CLAIM, {"ids": ids, "claim": claim, "until": now + 60_000})
    done = [[row["id"], row["payload"]] for row in rows]
    for start in range(0, len(done), SETTLE):
        argument = {"rows": done[start : start + SETTLE], "claim": claim, "now": SystemClock().now()}
        await run(env.JOBS_DB, SETTLED, argument)
    for message in batch.messages:
        message.ack()
