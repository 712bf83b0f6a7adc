"""The jobs over HTTP: a request stores a run, the queue calls its handler, cron fires what is due."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from jobs import Email, app
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json
from workers import Request, Response

from kumofire_fsm.cloudflare import KumofireWorker
from kumofire_fsm.errors import InvalidArgument, NotFound, TransientStoreError, TransitionError, UnknownRun

JSON = TypeAdapter(Any)


class RunOptions(BaseModel, extra="forbid"):
    delay: float = 0
    """Seconds."""


class Recurring(BaseModel, extra="forbid"):
    key: str
    job: str
    payload: Any = None
    cron: str | None = None
    timezone: str | None = None
    every: float | None = None
    """Seconds, instead of cron."""


class Order(BaseModel):
    item: str
    email: str


class Default(KumofireWorker, app=app, db="JOBS_DB", queue="JOBS_QUEUE"):
    """The base class consumes the queue and dispatches at each cron tick; here is the HTTP side."""

    async def fetch(self, request: Request) -> Response:
        _, collection, *rest = map(unquote, urlsplit(request.url).path.split("/"))
        actions = ROUTES.get((collection, len(rest)))
        if actions is None:
            return reply(404, {"error": "no such path"})
        if request.method not in actions:
            return reply(405, {"error": f"{request.method} is not allowed here"}, allow=", ".join(actions))
        try:
            return await actions[request.method](self, request, *rest)
        except NotFound as exc:
            return error(404, exc)
        except TransitionError as exc:
            return error(409, exc)
        except (InvalidArgument, ValidationError) as exc:
            return error(400, exc)
        except TransientStoreError as exc:
            return error(503, exc)

    async def create_run(self, request: Request, name: str) -> Response:
        options = RunOptions.model_validate(dict(parse_qsl(urlsplit(request.url).query)))
        created = await self.jobs.create(
            name,
            JSON.validate_json(await request.text() or "null"),
            delay=options.delay,
            dedupe_key=request.headers.get("Idempotency-Key"),
        )
        return reply(202, created)

    async def show_run(self, _request: Request, run_id: str) -> Response:
        status = await self.jobs.get_status(run_id)
        if status is None:
            raise UnknownRun(run_id)
        return reply(200, status)

    async def cancel_run(self, _request: Request, run_id: str) -> Response:
        return reply(200, await self.jobs.cancel(run_id, by="http"))

    async def save_schedule(self, request: Request) -> Response:
        asked = Recurring.model_validate_json(await request.text())
        schedule = await self.jobs.upsert_schedule(
            asked.job,
            asked.payload,
            schedule_key=asked.key,
            cron=asked.cron,
            timezone=asked.timezone,
            every=asked.every,
        )
        return reply(200, schedule)

    async def list_schedules(self, _request: Request) -> Response:
        return reply(200, await self.jobs.list_schedules())

    async def pause_schedule(self, _request: Request, key: str) -> Response:
        return reply(200, await self.jobs.pause_schedule(schedule_key=key))

    async def list_records(self, _request: Request) -> Response:
        found = await self.env.JOBS_DB.prepare("SELECT * FROM records ORDER BY id DESC LIMIT 100").all()
        return reply(200, found["results"])

    async def place_order(self, request: Request) -> Response:
        """Store an order and the run that confirms it, both or neither."""
        order = Order.model_validate_json(await request.text())
        run = self.jobs.prepare_create("email", Email(to=order.email, subject=f"Your order: {order.item}"))
        db = self.env.JOBS_DB
        insert = db.prepare("INSERT INTO orders (kumofire_job_run_id, item) VALUES (?, ?)")
        await db.batch([insert.bind(run.kumofire_job_run_id, order.item), *run.for_d1(db)])
        await self.jobs.send_hint(run)  # else the next cron tick sends it
        return reply(202, {"kumofire_job_run_id": run.kumofire_job_run_id})


ROUTES = {  # (collection, parts after it) -> method -> action
    ("jobs", 1): {"POST": Default.create_run, "GET": Default.show_run, "DELETE": Default.cancel_run},
    ("schedules", 0): {"POST": Default.save_schedule, "GET": Default.list_schedules},
    ("schedules", 1): {"DELETE": Default.pause_schedule},
    ("records", 0): {"GET": Default.list_records},
    ("orders", 0): {"POST": Default.place_order},
}


def reply(status: int, body: Any, **headers: str) -> Response:
    text = to_json(body, timedelta_mode="float").decode()
    return Response(text, status=status, headers={"content-type": "application/json", **headers})


def error(status: int, exc: Exception) -> Response:
    return reply(status, {"error": type(exc).__name__, "message": str(exc)})
