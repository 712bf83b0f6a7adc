"""What the Worker does with queue batches and cron ticks: it writes them down, and obeys the message."""

import json


async def consume(env, batch):
    """Decide on each message what its body asks for: {"then": "ack" | "retry" | "nothing" | "raise"}.

    Dead letters are acknowledged.
    """
    for message in batch.messages:
        body = message.body if isinstance(message.body, dict) and batch.queue != "dead" else {}
        await note(env, batch.queue, {"id": message.id, "attempts": message.attempts, "body": message.body})
        match body.get("then", "ack"):
            case "ack":
                message.ack()
            case "retry":
                message.retry(delaySeconds=body.get("delay", 0))
            case "raise":
                raise RuntimeError("the consumer broke")


async def tick(env, controller):
    """Write down a cron tick."""
    await note(env, "cron", {"cron": controller.cron, "time": controller.scheduledTime})


async def note(env, kind, fact):
    insert = env.JOBS_DB.prepare("INSERT INTO harness_events (kind, fact) VALUES (?, ?)")
    await insert.bind(kind, json.dumps(fact)).run()
