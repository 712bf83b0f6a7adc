"""A Worker whose clock can stand still, whose queue can refuse, and whose handlers can kill their invocation."""

import asyncio
import json
from dataclasses import asdict, is_dataclass
from urllib.parse import urlparse

import consumer
import floor
import tables
from js import Error, Promise
from workers import Response

from kumofire_fsm import Backoff, Kumofire, NewRun, RunContext
from kumofire_fsm.adapters.system import SystemClock
from kumofire_fsm.cloudflare import KumofireWorker


class Clock(SystemClock):
    """Real time, until a test says what time it is."""

    stands_at = None

    def now(self):
        return self.stands_at or super().now()


class State:
    """What a test sets, for all events of this isolate."""

    queue_fails = None  # "before" or "after" the real send


class Killed(BaseException):
    """What ends a whole invocation, as the limit of CPU time does."""


clock, state = Clock(), State()
options = {
    "clock": clock,
    "retry": Backoff(first=2, jitter=False),
    "max_attempts": 3,
    "timeout": 60,
}
app, newer = Kumofire(**options), Kumofire(**options)


async def note(ctx: RunContext, payload: dict) -> int:
    """Note the call, and do what the payload asks for in the first attempts."""
    await consumer.note(
        ctx.env, "call", {"id": ctx.run.id, "attempt": ctx.attempt, "at": SystemClock().now()}
    )
    if "seconds" in payload:
        await asyncio.sleep(payload["seconds"])
        await consumer.note(ctx.env, "slept", {"id": ctx.run.id, "at": SystemClock().now()})
    if ctx.attempt <= payload.get("kills", 0):
        raise Killed
    if ctx.attempt <= payload.get("fails", 0):
        raise RuntimeError("not yet")
    return ctx.attempt


app.job("note")(note)
newer.job("note")(note)
newer.job("novelty")(note)
app.job("stubborn", max_attempts=5, retry=Backoff(first=0, cap=0))(note)


@app.job("quick")
async def quick(ctx: RunContext, number: int) -> int:
    return number


class FaultyQueue:
    """The real queue, or one that refuses as JavaScript does."""

    def __init__(self, queue):
        self._queue = queue

    async def sendBatch(self, messages):
        if state.queue_fails == "before":
            await Promise.reject(Error.new("Queue sendBatch failed: Too Many Requests"))
        await self._queue.sendBatch(messages)
        if state.queue_fails == "after":
            await Promise.reject(Error.new("Network connection lost."))


class Env:
    """The Worker's env with that queue."""

    def __init__(self, env):
        self.real, self.JOBS_QUEUE = env, FaultyQueue(env.JOBS_QUEUE)

    def __getattr__(self, name):
        return getattr(self.real, name)


class Newer(KumofireWorker, app=newer):
    """The same Worker after its next deploy, which brings a job."""


class Wide(KumofireWorker, app=app, concurrency=10, settle="each"):
    """A Worker that works on ten runs at once."""


class Default(KumofireWorker, app=app):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.env = Env(self.env)

    async def fetch(self, request):
        asked = json.loads(await request.text() or "{}")
        answer = await getattr(self, "on_" + urlparse(request.url).path.strip("/"))(**asked)
        answer = asdict(answer) if is_dataclass(answer) else answer
        return Response(json.dumps(answer, default=str))

    async def queue(self, batch, *rest):
        """Hand each queue's batches to the Worker that it belongs to."""
        match batch.queue:
            case "newer":
                await self.another(Newer).queue(batch, *rest)
            case "wide":
                await self.another(Wide).queue(batch, *rest)
            case "floor":
                await floor.consume(self.env, batch)
            case "dead":
                await consumer.consume(self.env, batch)
            case _:
                await super().queue(batch, *rest)

    def another(self, kind):
        """Return a Worker of another class, on the same bindings."""
        worker = kind(self.ctx, self.env.real)
        worker.env = self.env
        return worker

    async def on_rebuild(self):
        clock.stands_at = state.queue_fails = None
        return await tables.rebuild(self.env.JOBS_DB)

    async def on_stand(self, later=0):
        """Stop the clock where it is, or move it on by seconds."""
        clock.stands_at = clock.now() + later * 1000

    async def on_fail(self, queue=None):
        state.queue_fails = queue

    async def on_create(self, name="note", payload=None, options=None):
        jobs = self.another(Newer).jobs if name == "novelty" else self.jobs
        created = await jobs.create(name, payload or {}, **(options or {}))
        return {"id": created.kumofire_job_run_id}

    async def on_create_many(self, count):
        created = await self.jobs.create_many([NewRun("quick", number) for number in range(count)])
        return len(created)

    async def on_send(self, messages):
        await self.env.real.JOBS_QUEUE.sendBatch([{"body": body, "contentType": "json"} for body in messages])

    async def on_status(self, id):  # noqa: A002 -- as the API calls it
        return await self.jobs.get_status(id)

    async def on_cancel(self, id):  # noqa: A002
        return (await self.jobs.cancel(id)).state

    async def on_events(self):
        rows = await tables.read(self.env.JOBS_DB, "SELECT kind, fact FROM harness_events ORDER BY id")
        return [[row["kind"], json.loads(row["fact"])] for row in rows]

    async def on_sql(self, text):
        return [dict(row) for row in await tables.read(self.env.JOBS_DB, text)]

    async def on_floor(self, count):
        await floor.create(self.env, count)
