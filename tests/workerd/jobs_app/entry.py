"""A small application on `KumofireWorker`: jobs, and a few paths to create, look at and cancel runs."""

import json
from dataclasses import asdict, is_dataclass
from urllib.parse import parse_qs, urlparse

import tables
from pydantic import BaseModel
from workers import Response

from kumofire_fsm import Backoff, Kumofire, RunContext, Timing
from kumofire_fsm.cloudflare import KumofireWorker
from kumofire_fsm.errors import QueueError
from kumofire_fsm.flows import End, Flow, Signal, Wait
from kumofire_fsm.machines import Deadline, Outcome
from kumofire_fsm.store.edges import missing_edges

app = Kumofire(retry=Backoff(first=1, cap=1))


@app.job("echo")
async def echo(ctx: RunContext, payload: dict[str, str]) -> dict[str, str]:
    return {**payload, "greeting": ctx.env.GREETING}


@app.job("flaky", max_attempts=3)
async def flaky(ctx: RunContext, payload: None) -> str:
    if ctx.attempt < 3:
        raise RuntimeError("not yet")
    return f"attempt {ctx.attempt}"


@app.job("hopeless", max_attempts=2)
async def hopeless(ctx: RunContext, payload: None) -> None:
    raise RuntimeError("never")


@app.job("mail", key_limit=1)
async def mail(ctx: RunContext, payload: dict[str, str]) -> str:
    return f"to {payload['to']}: {payload['text']}"


class Address(BaseModel):
    city: str


class Proof(BaseModel):
    signed: str


class Parcel(Flow[Address]):
    """A parcel, until somebody signs for it."""

    under_way = Wait("Somebody is to sign.", initial=True, deadline=Deadline("now + 86400000", "overdue"))
    delivered = End("It is there.")
    lost = End("Nobody signed.", Outcome.FAILURE)

    deliver = Signal(under_way.to(delivered), takes=Proof, doc="Somebody signed.")
    overdue = under_way.to(lost)


app.flow(Parcel)


class RefusingQueue:
    """A queue that takes nothing."""

    async def send(self, hints):
        raise QueueError("the queue is full")


class WithoutDatabase(KumofireWorker, app=app, db="NO_DB", queue="JOBS_QUEUE"):
    """Its database is not bound."""


class WithoutQueue(KumofireWorker, app=app, db="JOBS_DB", queue="NO_QUEUE"):
    """Its queue is not bound."""


class Swapped(KumofireWorker, app=app, db="JOBS_QUEUE", queue="JOBS_DB"):
    """It has the names of its bindings the wrong way round."""


WORKERS = {each.__name__: each for each in (WithoutDatabase, WithoutQueue, Swapped)}


class Default(KumofireWorker, app=app, db="JOBS_DB", queue="JOBS_QUEUE", timing=Timing(lost_ms=5000)):
    async def fetch(self, request):
        url = urlparse(request.url)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        asked |= json.loads(await request.text() or "{}")
        try:
            answer = await getattr(self, "on_" + url.path.strip("/"))(**asked)
        except Exception as exc:
            return Response(f"{type(exc).__name__}: {exc}", status=500)
        answer = asdict(answer) if is_dataclass(answer) else answer
        return Response(json.dumps(answer, default=str))

    async def on_create(self, name, payload=None, options=None, *, refused=False):
        jobs = self.app.bind(db=self.env.JOBS_DB, queue=RefusingQueue()) if refused else self.jobs
        created = await jobs.create(name, payload, **(options or {}))
        return {"id": created.kumofire_job_run_id, "is_new": created.is_new}

    async def on_status(self, id):  # noqa: A002 -- the name in the URL
        return await self.jobs.get_status(id)

    async def on_cancel(self, id):  # noqa: A002 -- the name in the URL
        return await self.jobs.cancel(id)

    async def on_counts(self):
        return dict(await self.jobs.count_runs())

    async def on_rebuild(self):
        edges = [edge.insert() for edge in missing_edges(self.app.registry.machines(), [])]
        return await tables.rebuild(self.env.JOBS_DB, edges)

    async def on_drop(self, table):
        return await tables.read(self.env.JOBS_DB, f'DROP TABLE "{table}"')

    async def on_timing(self):
        return self.jobs._binding.timing

    async def on_misbound(self, worker):
        """Ask a Worker for the jobs that it cannot have."""
        return str(WORKERS[worker](self.ctx, self.env).jobs)

    async def queue(self, batch, *rest):
        """Hand a batch of the queue "unbound" to the Worker without a database."""
        if batch.queue == "unbound":
            await WithoutDatabase(self.ctx, self.env).queue(batch, *rest)
        else:
            await super().queue(batch, *rest)
